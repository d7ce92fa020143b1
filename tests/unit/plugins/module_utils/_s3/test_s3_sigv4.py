"""The signature of a request, against the example of Amazon's documentation."""

from __future__ import annotations

from ansible_collections.samefiles.aws.plugins.module_utils._s3 import endpoint, sigv4


def test_the_example_of_amazon_s_documentation():
    """GET Object of docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html."""
    keys = endpoint.Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    headers = {
        "host": "examplebucket.s3.amazonaws.com", "range": "bytes=0-9", "x-amz-content-sha256": sigv4.EMPTY,
        "x-amz-date": "20130524T000000Z",
    }  # fmt: skip
    header = sigv4.sign("GET", "/test.txt", "", headers, sigv4.EMPTY, keys, "us-east-1")
    assert header.endswith("Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")
