"""Where a bucket is, by an endpoint of the user's or Amazon's, and by a proxy."""

from __future__ import annotations

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._s3 import endpoint, errors


@pytest.mark.parametrize(
    ("url", "bucket", "header", "base"),
    [
        ("https://s3.eu-central-1.amazonaws.com", "site", "site.s3.eu-central-1.amazonaws.com", "/"),
        ("https://s3.eu-central-1.amazonaws.com", "my.site", "s3.eu-central-1.amazonaws.com", "/my.site/"),
        ("http://127.0.0.1:8333", "site", "127.0.0.1:8333", "/site/"),
        ("https://localhost", "site", "localhost", "/site/"),
        ("https://[::1]:9000", "site", "[::1]:9000", "/site/"),
    ],
)
def test_where_a_bucket_is(url, bucket, header, base):
    made = endpoint.by_url(url, bucket, "r")
    assert (made.header, made.base) == (header, base)


@pytest.mark.parametrize("url", ["s3.example.com", "ftp://x", "https://x/path", "https://x:y"])
def test_an_endpoint_that_is_none(url):
    with pytest.raises(errors.EndpointError, match="endpoint_url"):
        endpoint.by_url(url, "site", "r")


@pytest.mark.parametrize(
    ("names", "host", "spared"),
    [
        ("*", "a.b", True), ("b.c", "a.b.c", True), (".b.c", "a.b.c", True), ("b.c", "ab.c", False), ("", "a", False),
        ("10.0.0.0/8", "10.1.2.3", True), ("10.0.0.0/8", "11.1.2.3", False), ("x/y", "10.1.2.3", False), ("*.b.c", "a.b.c", True),
    ],
)  # fmt: skip
def test_no_proxy(names, host, spared):
    assert (endpoint.proxy_of(True, host, {"https_proxy": "http://p:1", "no_proxy": names}) is None) is spared


@pytest.mark.parametrize(
    "url",
    [
        "http://p:99999",
        "http://p:0",
        "http://p:abc",
        "http://[::1",
        "https://p:1",
        "http://me:ge#heim@p:1",
        "https://me:ge@heim@p:1",
        "me:ge@heim@p:x",
    ],
)
def test_a_proxy_that_is_none_is_shown_without_its_password(url):
    with pytest.raises(errors.EndpointError, match="^https_proxy must be http://, a host and a port, got '") as caught:
        endpoint.proxy_of(True, "s3.example.com", {"HTTPS_PROXY": url})
    assert "heim" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://h:99999", "https://h:0", "https://[::1", "https://me:ge/heim@h", "https://me:ge@heim@h:x"]
)
def test_an_endpoint_that_is_none_is_shown_without_its_password(url):
    with pytest.raises(errors.EndpointError, match="^endpoint_url ") as caught:
        endpoint.by_url(url, "bkt", "eu-central-1")
    assert "heim" not in str(caught.value)
