"""The role's two nginx: what they say by themselves, what they serve of an app's own files, and by which names."""

from __future__ import annotations

import contextlib
import json
import os
import time

import pytest
from front import needs_nginx
from gallery import keys
from pictures import small
from serving import BOUNDARY, check, form, head_of, part

pytestmark = needs_nginx
PNG = small()
BROWSER = {"Accept": "text/html,*/*"}
SECURE = ("X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy", "Content-Security-Policy", "Cache-Control")


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """What users of some other app have uploaded."""
    folder = tmp_path_factory.mktemp("media")
    os.chmod(folder, 0o755)
    (folder / "shop").mkdir()
    (folder / "secret").write_text("secret")
    for name in ("page.html", "drawing.SVG", "run.js", "page.xhtml", "notes.txt", "blob"):
        (folder / "shop" / name).write_text("<script>alert(1)</script>")
    (folder / "shop" / "photo.PNG").write_bytes(PNG)
    (folder / "shop" / "sub").mkdir()
    (folder / "shop" / "link.txt").symlink_to(folder / "secret")
    (folder / "shop" / "folder").symlink_to(folder)
    return folder / "shop"


@pytest.fixture(scope="module")
def site(start, media):
    """A gallery that has one media folder of another app, and one that is not there."""
    role = {"webapp_media": {"/media/": str(media), "away": f"{media}/no/such/"}, "webapp_files_deadline": 1}
    return start(role=role, MAX_BYTES="2000000")


@pytest.fixture(scope="module")
def named(start):
    """A gallery that has names."""
    return start(role={"webapp_server_names": ["files.example.com", "*.example.org"]})


def plain_answer(server, request: bytes) -> tuple[bytes, dict]:
    """Head and JSON of what answers a request that no client would send."""
    with server.connected() as plain:
        plain.sendall(request)
        head, _, body = head_of(plain).partition(b"\r\n\r\n")
    return head, json.loads(body)


@pytest.mark.parametrize(
    ("request_", "status", "said"),
    [
        (b"GARBAGE\r\n\r\n", b"400", "well-formed"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400", "well-formed"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", b"400", "too long"),
        (b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"414", "address"),
        (b"POST /files HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999999\r\n\r\n", b"413", "larger than 204800 MiB"),
    ],
)
def test_nginx_itself_refuses_in_one_sentence(site, request_, status, said):
    head, told = plain_answer(site, request_)
    assert head.split()[1] == status
    assert b"application/json" in head
    assert b"X-Served-By: web-01" in head
    assert all(f"\r\n{name}: ".encode() in head for name in SECURE)
    assert said in told["error"]


def test_a_client_cannot_tell_its_own_address(site):
    """The limit of uploads for one client would be none if it could."""
    body = form(part("a.txt", b"x"))
    with contextlib.ExitStack() as after:
        for number in range(16):
            plain = after.enter_context(site.connected())
            head = f"POST /files HTTP/1.1\r\nHost: g\r\nX-Forwarded-For: 192.0.2.{number}\r\n"
            head += f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {len(body)}\r\n\r\n"
            plain.sendall(head.encode() + body[:20])
        time.sleep(0.5)
        check(site.upload("b.txt", b"x", X_Forwarded_For="192.0.2.99"), 429, "from your address")


def test_two_files_of_nearly_the_limit_in_one_form(site):
    data = bytes(1_900_000)
    answer = site.post(form(part("a.txt", data), part("b.txt", data)))
    assert answer.status == 201, answer.body


def test_a_problem_is_a_page_for_a_person(site):
    answer = site.get("/.webapp/large/json")
    check(answer, 404, "nothing at this address")
    answer = site.get("/.webapp/large/page", **BROWSER)
    assert (answer.status, answer.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert b"<p>There is nothing at this address.</p>" in answer.body
    assert b"served by web-01" in answer.body
    assert all(answer.headers[name] for name in SECURE)


@pytest.mark.parametrize("extension", ["png", "txt", "html"])
def test_a_missing_file_is_json_or_a_page_whatever_its_extension(site, extension):
    key = keys.new_key(f"gone.{extension}")
    check(site.get(f"/files/{key}"), 404, "no such file")
    assert b"<p>There is no such file.</p>" in site.get(f"/files/{key}", **BROWSER).body


def test_a_range_behind_the_file(site):
    url = site.upload("ten.txt", b"0123456789").json[0]["url"]
    answer = site.get(url, Range="bytes=10-")
    check(answer, 416, "behind")
    assert answer.headers["Content-Range"] == "bytes */10"
    assert site.get(url, Range="bytes=2-3").body == b"23"


@pytest.mark.parametrize("name", ["page.html", "drawing.SVG", "run.js", "page.xhtml", "blob"])
def test_what_a_browser_could_run_is_only_saved(site, name):
    answer = site.get(f"/media/{name}")
    assert answer.status == 200
    assert answer.headers["Content-Disposition"] == "attachment"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(("name", "kind"), [("photo.PNG", "image/png"), ("notes.txt", "text/plain")])
def test_pictures_and_texts_are_shown(site, name, kind):
    answer = site.get(f"/media/{name}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, kind)
    assert answer.headers["Content-Disposition"] is None
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    ["link.txt", "folder/secret", "folder", "folder/", "sub/", "", "../secret", "..%2fsecret", "gone.txt", "gone.svg"],
)
def test_no_link_no_folder_and_nothing_outside_is_served(site, path):
    answer = site.get(f"/media/{path}")
    check(answer, 404, "")


def test_a_folder_without_its_slash_is_led_to_a_relative_address(site):
    answer = site.get("/media/sub")
    assert (answer.status, answer.headers["Location"]) == (301, "/media/sub/")


def test_media_without_a_slash_is_no_way_out(site):
    assert site.get("/away../page.html").status == 404


def test_a_folder_that_is_not_there_is_said_to_be_away(site):
    check(site.get("/away/page.html"), 404, "no such file")


def test_a_dead_app_and_a_dead_files_unit(start):
    server = start(role={})
    url = server.upload("a.png", PNG).json[0]["url"]
    server.nginx[0].terminate()
    server.nginx[0].wait()
    check(server.get(url), 502, "does not answer on this server")
    assert server.get("/healthz").status == 200
    server.stop()
    check(server.get("/"), 502, "does not answer on this server")
    assert b"does not answer on this server" in server.get("/", **BROWSER).body


@pytest.mark.parametrize("host", ["files.example.com", "FILES.example.com:8080", "a.example.org"])
def test_the_site_s_own_names(named, host):
    assert named.get("/files", Host=host).status == 200
    body = form(part("a.png", PNG))
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    assert named.request("POST", "/files", body, Host=host, Origin=f"http://{host}", Content_Type=kind).status == 201


@pytest.mark.parametrize("host", ["evil.test", "10.0.0.1", "example.org", "files.example.com.evil.test"])
def test_no_other_name(named, host):
    check(named.get("/files", Host=host), 421, "by that name")
    body = form(part("a.png", PNG))
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    answer = named.request("POST", "/files", body, Host=host, Origin=f"http://{host}", Content_Type=kind)
    check(answer, 421, "by that name")


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_balancer_asks_for_the_health_by_address(named, path):
    assert named.get(path, Host="10.0.0.1").status == 200
    with named.connected() as plain:
        plain.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        assert plain.recv(200).startswith(b"HTTP/1.1 200 ")
