"""Wishes that cannot be, each refused in one sentence."""

from __future__ import annotations

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._bucket import spec
from ansible_collections.samefiles.aws.plugins.module_utils._bucket.spec import BucketError

from tests.support.bucket_model import (
    NAME,
    OPEN,
    wish,
)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"public_access_confirmed": True}, "there is no public_prefix"),
        *[({**OPEN, "public_prefix": text}, "public_prefix must be parts of") for text in (
            "/", "*", "public/*", "pub?ic", "a//b", "/public", "public//", ".", "..", "a/../b", "${aws:username}", "a b", "ü", "a\n",
        )],
        ({"public_prefix": "*"}, "public_prefix must be parts of"),
        ({**OPEN, "public_prefix": "gallery"}, "lie in each other"),
        ({**OPEN, "public_prefix": "gallery/files/"}, "lie in each other"),
        ({**OPEN, "key_prefix": "public/gallery"}, "lie in each other"),
        ({"public_prefix": "gallery/files"}, "lie in each other"),
        ({"key_prefix": ""}, "key_prefix must be parts of"),
        ({"key_prefix": "/"}, "key_prefix must be parts of"),
        ({"cors_origins": ["*"]}, "cors_origins must be origins"),
        ({"cors_origins": ["https://files.example.com/"]}, "cors_origins must be origins"),
        ({"cors_origins": ["files.example.com"]}, "cors_origins must be origins"),
        ({"kms_key_id": "1234"}, "kms_key_id is for encryption aws:kms, and encryption is not set: "),
        ({"kms_key_id": "1234", "encryption": "AES256"}, "kms_key_id is for encryption aws:kms, and encryption is AES256: "),
        ({**OPEN, "encryption": "aws:kms"}, "exclude each other"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(options, said):
    with pytest.raises(BucketError, match=said) as caught:
        wish(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "browser", ["s3.example.com", "https://", "https://s3.example.com/x", "https://a:x", "ftp://a"]
)
def test_what_is_no_place_for_browsers(browser):
    with pytest.raises(BucketError, match="^browser_endpoint_url "):
        spec.for_browsers(browser, NAME, "")
