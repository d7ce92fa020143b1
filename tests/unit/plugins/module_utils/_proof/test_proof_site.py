"""The proof's visitor: what it sends to the site, what to S3, and what it believes."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import threading
import time

import pytest
from ansible_collections.samefiles.aws.plugins.action import proof_report
from ansible_collections.samefiles.aws.plugins.module_utils._proof import host
from ansible_collections.samefiles.aws.plugins.module_utils._proof.site import (
    Refused,
    _follow,
    content,
    fetch,
    file_name,
    gone,
    unlisted,
    upload,
)
from gallery import media_types

KEY = "0" * 27 + "-proof.txt"
DATA = b"the bytes"


class Place:
    """A server on a port of its own: its responses by (method, path without its query), and what it was asked."""

    def __init__(self):
        self.responses, self.asked = {}, []
        place = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def _serve(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                place.asked.append((self.command, self.path, dict(self.headers), body))
                status, head, text = place.responses.get((self.command, self.path.partition("?")[0]), (404, {}, b""))
                self.send_response(status)
                for name, value in {"Content-Length": str(len(text)), **head}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_CONNECT = _serve

            def log_message(self, *_words):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def heads(self) -> str:
        return json.dumps([asked[2] for asked in self.asked])


@pytest.fixture
def places():
    """A site and its S3."""
    made = [Place(), Place()]
    yield made
    for place in made:
        place.server.shutdown()
        place.server.server_close()


@pytest.fixture
def site(places):
    """The site, which works: it gives a ticket, confirms, lists, and redirects to S3."""
    front, s3 = places
    ticket = {
        "key": KEY,
        "method": "PUT",
        "url": f"{s3.url}/bkt/incoming/{KEY}?X-Amz-Signature=abc",
        "headers": {"content-type": "text/plain", "if-none-match": "*"},
        "expires": 900,
    }
    front.responses = {
        ("POST", "/tickets"): (201, {}, json.dumps(ticket).encode()),
        ("POST", f"/tickets/{KEY}"): (201, {}, json.dumps({"key": KEY}).encode()),
        ("GET", f"/files/{KEY}"): (302, {"Location": f"{s3.url}/bkt/files/{KEY}?X-Amz-Signature=abc"}, b""),
        ("GET", "/files"): (200, {}, json.dumps({"files": [{"key": KEY}]}).encode()),
    }
    s3.responses = {
        ("PUT", f"/bkt/incoming/{KEY}"): (200, {}, b""),
        ("GET", f"/bkt/files/{KEY}"): (200, {}, DATA),
    }
    return {"url": front.url, "host": "files.example", "password": "open sesame 42", "storage": "s3"}


def soon() -> float:
    return time.monotonic() + 0.2


def test_an_upload_goes_to_s3_as_its_ticket_says(site, places):
    front, s3 = places
    assert upload(site, "proof.txt", DATA) == KEY
    asked = json.loads(front.asked[0][3])
    digest = hashlib.sha256(DATA).hexdigest()
    assert asked == {"name": "proof.txt", "size": len(DATA), "sha256": digest}
    assert [request[:2] for request in front.asked] == [("POST", "/tickets"), ("POST", f"/tickets/{KEY}")]
    method, path, head, body = s3.asked[0]
    assert (method, body) == ("PUT", DATA)
    assert path.endswith("?X-Amz-Signature=abc")
    assert (head["content-type"], head["if-none-match"], head["Content-Length"]) == ("text/plain", "*", str(len(DATA)))


def test_s3_is_reached_by_the_proxy_of_the_site_and_the_site_is_not(site, places, monkeypatch):
    front, proxy = places
    ticket = json.loads(front.responses["POST", "/tickets"][2])
    ticket["url"] = f"http://s3.example.com/bkt/incoming/{KEY}?X-Amz-Signature=abc"
    front.responses["POST", "/tickets"] = (201, {}, json.dumps(ticket).encode())
    proxy.responses["PUT", f"http://s3.example.com/bkt/incoming/{KEY}"] = (200, {}, b"")
    monkeypatch.setenv("http_proxy", proxy.url.replace("//", "//me:word@"))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert upload(site, "proof.txt", DATA) == KEY
    assert len(front.asked) == 2
    assert "Proxy-Authorization" not in front.heads()
    assert (proxy.asked[0][2]["Host"], proxy.asked[0][2]["Proxy-Authorization"]) == (
        "s3.example.com",
        "Basic bWU6d29yZA==",
    )
    # with TLS the proxy sees a name, and nothing else
    ticket["url"] = ticket["url"].replace("http:", "https:")
    front.responses["POST", "/tickets"] = (201, {}, json.dumps(ticket).encode())
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    with pytest.raises(OSError, match="Tunnel connection failed: 404"):
        upload(site, "proof.txt", DATA)
    assert proxy.asked[1][:2] == ("CONNECT", "s3.example.com:443")
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:1")
    with pytest.raises(Refused, match="https_proxy must be http://"):
        upload(site, "proof.txt", DATA)


@pytest.mark.parametrize(
    ("page", "origin", "allowed"),
    [
        ("https://files.example.com/", "https://files.example.com", "https://files.example.com"),
        ("https://Files.example.com:443", "https://files.example.com", "*"),
        ("http://10.0.0.1:8080/a", "http://10.0.0.1:8080", "http://10.0.0.1:8080"),
    ],
)
def test_s3_is_asked_first_whether_a_page_may_upload(site, places, page, origin, allowed):
    s3 = places[1]
    s3.responses["OPTIONS", f"/bkt/incoming/{KEY}"] = (200, {"Access-Control-Allow-Origin": allowed}, b"")
    assert upload(site, "proof.txt", DATA, page) == KEY
    assert [request[0] for request in s3.asked] == ["OPTIONS", "PUT"]
    assert s3.asked[0][1] == s3.asked[1][1]
    head = s3.asked[0][2]
    assert (head["Origin"], head["Access-Control-Request-Method"]) == (origin, "PUT")
    assert head["Access-Control-Request-Headers"] == "content-type,if-none-match"


@pytest.mark.parametrize(
    "answer",
    [
        (403, {}, b"<Error><Code>AccessForbidden</Code></Error>"),
        (200, {}, b""),
        (200, {"Access-Control-Allow-Origin": "https://other.example.com"}, b""),
    ],
)
def test_a_bucket_that_lets_no_browser_upload_is_reported_in_one_sentence(site, places, answer):
    places[1].responses["OPTIONS", f"/bkt/incoming/{KEY}"] = answer
    with pytest.raises(Refused) as fault:
        upload(site, "proof.txt", DATA, "https://files.example.com")
    assert str(fault.value) == (
        "browsers cannot upload, for the CORS rules of the bucket do not name https://files.example.com: "
        "run playbooks/bucket.yml"
    )
    assert [request[0] for request in places[1].asked] == ["OPTIONS"]


def test_the_proof_asks_for_the_pages_that_users_see(site, places):
    report = proof_report._through_balancer(site, "run", {})
    assert report["problems"] == [
        f"balancer: uploading a file through {site['url']} failed: browsers cannot upload, for the CORS rules of the "
        f"bucket do not name {site['url']}: run playbooks/bucket.yml"
    ]
    assert places[1].asked[0][2]["Origin"] == site["url"]


def test_the_password_and_the_site_s_name_stay_at_the_site(site, places):
    front, s3 = places
    upload(site, "proof.txt", DATA)
    assert fetch(site, KEY, DATA, soon())["same"] is True
    assert all("Authorization" in request[2] and request[2]["Host"] == "files.example" for request in front.asked)
    assert len(s3.asked) == 2
    assert "Authorization" not in s3.heads()
    assert "files.example" not in s3.heads()


@pytest.mark.parametrize(
    ("who", "call", "answer", "fault"),
    [
        ("front", ("GET", f"/files/{KEY}"), (200, {}, DATA), "the server sent it itself, not S3"),
        ("front", ("GET", f"/files/{KEY}"), (503, {}, b'{"error": "away"}'), "HTTP 503: away"),
        ("s3", ("GET", f"/bkt/files/{KEY}"), (200, {}, b"x"), "other bytes"),
        (
            "s3",
            ("GET", f"/bkt/files/{KEY}"),
            (403, {}, b"<Error><Code>AccessDenied</Code></Error>"),
            "S3 does not serve it: HTTP 403 AccessDenied",
        ),
        # S3's own redirects are not followed: the server must know where its bucket is
        ("s3", ("GET", f"/bkt/files/{KEY}"), (307, {"Location": "/x"}, b""), "S3 does not serve it: HTTP 307"),
    ],
)
def test_a_reading_that_fails_says_who_failed(site, places, who, call, answer, fault):
    dict(zip(("front", "s3"), places))[who].responses[call] = answer
    reading = fetch(site, KEY, DATA, soon())
    assert reading["same"] is False
    assert re.fullmatch(rf"{re.escape(fault)} after \d+ s", reading["fault"])


def test_a_redirect_of_a_site_with_files_on_efs_is_not_followed(site, places):
    reading = fetch({**site, "storage": "efs"}, KEY, DATA, soon())
    assert re.fullmatch(r"HTTP 302 after \d+ s", reading["fault"])
    assert places[1].asked == []


def test_a_link_out_of_tls_is_not_followed():
    with pytest.raises(Refused, match="is not https"):
        _follow({"url": "https://files.example"}, "http://s3.example/x")


@pytest.mark.parametrize(
    ("who", "call", "answer", "said"),
    [
        ("front", ("POST", "/tickets"), (401, {}, b'{"error": "the password"}'), "HTTP 401: the password"),
        (
            "s3",
            ("PUT", f"/bkt/incoming/{KEY}"),
            (403, {}, b"<Error><Code>SignatureDoesNotMatch</Code></Error>"),
            "S3 refuses the upload: HTTP 403 SignatureDoesNotMatch",
        ),
        ("front", ("POST", f"/tickets/{KEY}"), (404, {}, b'{"error": "nothing is there"}'), "HTTP 404: nothing is there"),
        ("front", ("POST", f"/tickets/{KEY}"), (201, {}, b'{"sha256": "0"}'), "other bytes are in S3 than were sent"),
    ],
)  # fmt: skip
def test_an_upload_that_fails_says_where(site, places, who, call, answer, said):
    dict(zip(("front", "s3"), places))[who].responses[call] = answer
    with pytest.raises(Refused) as fault:
        upload(site, "proof.txt", DATA)
    assert str(fault.value) == said


@pytest.mark.parametrize(
    ("status", "code", "is_gone"),
    [(404, "NoSuchKey", True), (403, "AccessDenied", True), (403, "RequestTimeTooSkewed", False), (200, "", False)],
)
def test_what_is_gone_in_s3(site, places, status, code, is_gone):
    places[1].responses["GET", f"/bkt/files/{KEY}"] = (status, {}, f"<Error><Code>{code}</Code></Error>".encode())
    assert gone(site, KEY, soon()) is is_gone


def test_a_file_that_a_server_does_not_list_is_not_proved(site, places):
    keys = {"web-01": KEY}
    good = host.site_read(site, "web-02", keys, "run", 1, 5)
    assert "other bytes" in good["site"]["web-01"]["fault"]  # it is listed, and has not the bytes of this run
    places[0].responses["GET", "/files"] = (200, {}, b'{"files": []}')
    reading = host.site_read(site, "web-02", keys, "run", 0.1, 5)
    assert reading["site"]["web-01"] == {"same": False, "lag_ms": None, "fault": "it is not in the list of files"}


def test_the_list_is_read_until_it_names_the_files(site, places):
    front = places[0]
    front.responses["GET", "/files"] = (200, {}, json.dumps({"files": [{"key": "1"}], "next": "1"}).encode())
    assert unlisted(site, [KEY], soon()) == [KEY]
    paths = [request[1] for request in front.asked]
    assert paths[:2] == ["/files?limit=200", "/files?limit=200&after=1"]
    assert len(paths) % 10 == 0


def test_a_deleted_file_that_is_still_listed_is_reported(site, places):
    places[1].responses.clear()
    report = host.site_gone(site, "web-02", {"web-01": KEY}, 0.1, 5)
    assert report["problems"] == ["web-02: still lists the file of web-01, which was deleted"]
    places[0].responses["GET", "/files"] = (200, {}, b'{"files": []}')
    assert host.site_gone(site, "web-02", {"web-01": KEY}, 0.1, 5)["problems"] == []


@pytest.mark.parametrize(
    ("types", "name"),
    [
        (None, "p.txt"), ([], "p.txt"), (["png", "TXT", "csv"], "p.txt"), (["png", "pdf"], "p.pdf"), (["webp", "PNG"], "p.png"),
        *(([extension], f"p.{extension}") for extension in media_types.IMAGES),
    ],
)  # fmt: skip
def test_the_proof_sends_what_the_site_takes(types, name):
    """A gallery of pictures alone checks first bytes."""
    assert file_name({"types": types}, "p") == name
    data = content(f"0abc-{name}", DATA)
    assert data.endswith(DATA)
    assert media_types.fits(name.rpartition(".")[2], data)
