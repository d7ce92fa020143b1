"""What is asked without credentials, and where."""

from __future__ import annotations

import contextlib
import http.server
import threading

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._bucket import verify
from ansible_collections.samefiles.aws.plugins.module_utils._s3.endpoint import by_url

from tests.support.bucket_model import (
    OPEN,
    wish,
)


def test_what_is_asked_without_credentials():
    keys, asked = verify.checks(wish(**OPEN), "run")
    assert keys == ["public/proof/run", "gallery/proof/run"]
    assert [check for check in asked if check.answered] == [asked[0]]
    assert (asked[0].method, asked[0].path) == ("GET", "public/proof/run")
    keys, asked = verify.checks(wish(public_prefix="public"), "run")
    assert len(keys) == 2
    assert not any(check.answered for check in asked)
    assert verify.checks(wish(), "run")[0] == ["gallery/proof/run"]


@pytest.mark.parametrize(
    ("browser", "bucket", "place"),
    [
        ("https://s3.example.com/", "site", "https://site.s3.example.com/"),
        ("https://s3.example.com:8443", "site", "https://site.s3.example.com:8443/"),
        ("https://s3.example.com", "my.site", "https://s3.example.com/my.site/"),
        ("http://10.0.0.6:8080", "site", "http://10.0.0.6:8080/site/"),
    ],
)
def test_browsers_are_proved_to_where_tickets_and_links_lead(browser, bucket, place):
    endpoint = by_url("https://10.0.0.6", bucket, "eu-central-1")
    places = verify.Anybody(endpoint, browser).places
    assert places == [f"https://10.0.0.6/{bucket}/", place]


@pytest.mark.parametrize(
    ("method", "status", "body", "refused"),
    [
        ("GET", 403, b"", True), ("PUT", 401, b"", True), ("GET", 404, b"", False), ("GET", 200, b"x", False),
        # of an object that KMS encrypts
        ("GET", 400, b"<Error><Code>InvalidArgument</Code></Error>", True), ("GET", 400, b"<Error/>", False),
        ("PUT", 400, b"<Error><Code>InvalidArgument</Code></Error>", False),
    ],
)  # fmt: skip
def test_what_counts_as_refused_without_credentials(method, status, body, refused):
    check = verify.Check(method, "k", "nobody")
    said = verify._verdict(check, "https://s3/k", status, body, b"the proof")
    assert (said == "") is refused
    assert refused or f"got {status} and should be refused" in said


@contextlib.contextmanager
def answering(status: int, **headers: str):
    """A server on a port of its own with one answer to everything; its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            for name, value in {"Content-Length": "0", **headers}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_words):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_for_another_host_would_give_the_verdict(status):
    with answering(403) as other, answering(status, Location=other) as url:
        anybody = verify.Anybody(by_url(url, "site", "eu-central-1"), "")
        assert anybody.ask(f"{url}site/k", "GET")[0] == status
