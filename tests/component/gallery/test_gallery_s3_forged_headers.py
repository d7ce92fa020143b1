"""Headers that a ticket has not signed: S3 refuses them, or publishing drops them."""

from __future__ import annotations

import contextlib
import http.client
import urllib.parse

import pytest
from gallery import keys

from tests.support.gallery_server import Answer
from tests.support.gallery_tickets import DATA, confirm, followed, put, ticket
from tests.support.seaweedfs import BUCKET, environment

PREFIX = "gallery/forged"
SECRET = f"{PREFIX}/files/secret"
EVERYBODY = 'uri="http://acs.amazonaws.com/groups/global/AllUsers"'
FORGED = {
    "x-amz-copy-source": f"/{BUCKET}/{SECRET}",
    "x-amz-copy-source-range": "bytes=0-3",
    "x-amz-acl": "public-read",
    "x-amz-grant-read": EVERYBODY,
    "x-amz-meta-a": "b",
    "x-amz-tagging": "a=b",
    "x-amz-website-redirect-location": "https://other.test/",
    "x-amz-storage-class": "GLACIER",
    "x-amz-server-side-encryption": "aws:kms",
    "x-amz-object-lock-legal-hold": "ON",
    "x-amz-checksum-crc32": "AAAAAA==",
    "x-amz-decoded-content-length": "3",
}
# S3 takes these unsigned, and keeps them with the object
KEPT = {
    "content-encoding": "gzip",
    "content-language": "tlh",
    "content-disposition": 'attachment; filename="a.exe"',
    "expires": "Thu, 01 Dec 2033 16:00:00 GMT",
}
PUBLISHED = {"ContentType": "image/png", "CacheControl": "private, max-age=31536000, immutable", "Metadata": {}}
SAID = ("ContentEncoding", "ContentLanguage", "ContentDisposition", "Expires", "WebsiteRedirectLocation", "TagCount")


@pytest.fixture(scope="module")
def server(start, weed):
    """A gallery with the role's temporary credentials, and an object that strangers may not read."""
    weed.client.put_object(Bucket=BUCKET, Key=SECRET, Body=b"a secret", ContentType="image/png")
    return start(aws=environment(weed.role()), **weed.settings(KEY_PREFIX=PREFIX))


def put_with(issued: dict, name: str, text: str) -> int:
    """The status of the upload with one header more."""
    return put({**issued, "headers": {**issued["headers"], name: text}}).status


def check_published(server, weed, key: str) -> None:
    """It is the bytes that were uploaded, with our headers and no others, and no grants to others."""
    answer = confirm(server, key)
    assert answer.status == 201, answer.body
    place = {"Bucket": BUCKET, "Key": f"{PREFIX}/files/{key}"}
    head = weed.client.head_object(**place)
    assert {name: head[name] for name in (*PUBLISHED, *SAID) if name in head} == PUBLISHED
    grants = weed.client.get_object_acl(**place)["Grants"]
    assert [(grant["Grantee"]["Type"], grant["Permission"]) for grant in grants] == [("CanonicalUser", "FULL_CONTROL")]
    read = followed(server, f"/files/{key}")
    assert (read.status, read.body) == (200, DATA)
    assert "Content-Encoding" not in read.headers


@pytest.mark.parametrize("name", FORGED)
def test_a_header_of_s3_that_was_not_signed_is_refused(server, weed, name):
    """AWS: 403 "There were headers present in the request which were not signed"; SeaweedFS signs them itself, and differs."""
    issued = ticket(server)
    assert put_with(issued, name, FORGED[name]) == 403
    assert weed.keys(f"{PREFIX}/incoming/{issued['key']}") == []
    assert put(issued).status == 200
    check_published(server, weed, issued["key"])


@pytest.mark.parametrize("name", KEPT)
def test_another_header_that_was_not_signed_does_not_survive(server, weed, name):
    issued = ticket(server)
    assert put_with(issued, name, KEPT[name]) == 200
    check_published(server, weed, issued["key"])


def test_headers_that_s3_has_let_through_do_not_survive(server, weed):
    """As with an S3 that refuses less than AWS."""
    more = {"ContentType": "text/html", "CacheControl": "public", "Metadata": {"a": "b"}, "ACL": "public-read"}
    more |= {"ContentEncoding": "gzip", "ContentLanguage": "tlh", "ContentDisposition": "inline"}
    key = keys.new_key("a.png")
    more["WebsiteRedirectLocation"] = "https://other.test/"
    weed.client.put_object(Bucket=BUCKET, Key=f"{PREFIX}/incoming/{key}", Body=DATA, **more)
    check_published(server, weed, key)


def twice(issued: dict, name: str, text: str, first: bool) -> int:
    """The status of the upload with a header that comes once more, with another value."""
    address = urllib.parse.urlsplit(issued["url"])
    right = [("Host", address.netloc), ("content-length", str(len(DATA))), *issued["headers"].items()]
    with contextlib.closing(http.client.HTTPConnection(address.netloc, timeout=30)) as connection:
        connection.putrequest("PUT", f"{address.path}?{address.query}", skip_host=True, skip_accept_encoding=True)
        for pair in [(name, text), *right] if first else [*right, (name, text)]:
            connection.putheader(*pair)
        connection.endheaders(DATA)
        return Answer(connection.getresponse()).status


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    ("name", "text"),
    [("content-type", "text/html"), ("cache-control", "public"), ("if-none-match", '"x"')],
)
def test_a_signed_header_that_comes_twice_is_refused(server, weed, name, text, first):
    issued = ticket(server)
    assert twice(issued, name, text, first) == 403
    assert weed.keys(f"{PREFIX}/incoming/{issued['key']}") == []


@pytest.mark.parametrize(
    "more",
    [
        "x-amz-acl=public-read",
        "x-amz-copy-source=%2Fbkt%2Fgallery%2Fforged%2Ffiles%2Fsecret",
        "x-amz-meta-a=b",
        "acl",
        "tagging",
        "uploads",
        "partNumber=1&uploadId=x",
        "versionId=null",
    ],
)
def test_an_address_with_more_to_say_is_refused(server, weed, more):
    """What a header can say, a parameter of the address can say too."""
    issued = ticket(server)
    assert put({**issued, "url": f"{issued['url']}&{more}"}).status == 403
    assert weed.keys(f"{PREFIX}/incoming/{issued['key']}") == []
