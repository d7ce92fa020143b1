"""Pages of a listing, as they are read and as they cannot be believed."""

from __future__ import annotations

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._s3 import errors, responses

PAGE = (
    '<?xml version="1.0"?><ListBucketResult><KeyCount>{count}</KeyCount><EncodingType>url</EncodingType>'
    "<IsTruncated>{more}</IsTruncated>{rest}{entries}</ListBucketResult>"
)
ENTRY = "<Contents><Key>a%20b</Key><LastModified>T</LastModified><ETag>&quot;e&quot;</ETag><Size>5</Size></Contents>"
TURNED = '<Contents><Size>5</Size><ETag>"e"</ETag><Owner><ID>x</ID></Owner><Key>a%20b</Key><LastModified>T</LastModified></Contents>'


@pytest.mark.parametrize("entry", [ENTRY, TURNED])
def test_a_page_of_a_listing(entry):
    page = responses.page(PAGE.format(count=2, more="false", rest="", entries=entry * 2).encode())
    assert page == ([("a b", 5, "e", "T")] * 2, "")


@pytest.mark.parametrize(
    "text",
    [
        "", "<html>", PAGE.format(count=1, more="false", rest="", entries=ENTRY)[:-9],
        PAGE.format(count=2, more="false", rest="", entries=ENTRY), PAGE.format(count=1, more="true", rest="", entries=ENTRY),
        PAGE.format(count=1, more="false", rest="", entries="<Contents><Key>a</Key></Contents>"),
        PAGE.format(count=1, more="", rest="", entries=ENTRY),
    ],
)  # fmt: skip
def test_a_page_that_cannot_be_believed(text):
    with pytest.raises(errors.Malformed):
        responses.page(text.encode())
