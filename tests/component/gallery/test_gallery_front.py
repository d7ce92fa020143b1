"""The role's two nginx: what they answer themselves, what they serve of an app's own files, and by which names."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from gallery import keys

from tests.support.gallery_nginx import needs_nginx
from tests.support.gallery_server import BOUNDARY, FILES, check, form, head_of, part
from tests.support.pictures import small

pytestmark = needs_nginx
PNG = small()
BROWSER = {"Accept": "text/html,*/*"}
SECURE = ("X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy", "Content-Security-Policy", "Cache-Control")


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """What users of some other app have uploaded."""
    directory = tmp_path_factory.mktemp("media")
    os.chmod(directory, 0o755)
    (directory / "shop").mkdir()
    (directory / "secret").write_text("secret")
    for name in ("page.html", "drawing.SVG", "run.js", "page.xhtml", "notes.txt", "blob"):
        (directory / "shop" / name).write_text("<script>alert(1)</script>")
    (directory / "shop" / "photo.PNG").write_bytes(PNG)
    (directory / "shop" / "sub").mkdir()
    (directory / "shop" / "link.txt").symlink_to(directory / "secret")
    (directory / "shop" / "directory").symlink_to(directory)
    return directory / "shop"


@pytest.fixture(scope="module")
def site(start, media):
    """A gallery that has one media directory of another app, and one that is not there."""
    role = {"webapp_media": {"/media/": str(media), "away": f"{media}/no/such/"}, "webapp_files_timeout": 1}
    return start(role=role, MAX_BYTES="2000000")


@pytest.fixture(scope="module")
def named(start):
    """A gallery that has names."""
    return start(role={"webapp_server_names": ["files.example.com", "*.example.org"]})


def plain_answer(server, request: bytes) -> tuple[bytes, dict]:
    """Head and JSON of the response to a request that no client would send."""
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
    head, refusal = plain_answer(site, request_)
    assert head.split()[1] == status
    assert b"application/json" in head
    assert b"X-Served-By: web-01" in head
    assert all(f"\r\n{name}: ".encode() in head for name in SECURE)
    assert said in refusal["error"]


def test_a_client_cannot_choose_its_own_address(site):
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


@pytest.mark.parametrize(("name", "media_type"), [("photo.PNG", "image/png"), ("notes.txt", "text/plain")])
def test_pictures_and_texts_are_shown(site, name, media_type):
    answer = site.get(f"/media/{name}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, media_type)
    assert answer.headers["Content-Disposition"] is None
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "link.txt",
        "directory/secret",
        "directory",
        "directory/",
        "sub/",
        "",
        "../secret",
        "..%2fsecret",
        "gone.txt",
        "gone.svg",
    ],
)
def test_no_link_no_directory_and_nothing_outside_is_served(site, path):
    answer = site.get(f"/media/{path}")
    check(answer, 404, "")


def test_a_directory_without_its_slash_is_redirected_to_a_relative_address(site):
    answer = site.get("/media/sub")
    assert (answer.status, answer.headers["Location"]) == (301, "/media/sub/")


def test_media_without_a_slash_is_no_way_out(site):
    assert site.get("/away../page.html").status == 404


def test_a_directory_that_is_not_there_is_said_to_be_away(site):
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
    form_type = f"multipart/form-data; boundary={BOUNDARY}"
    assert (
        named.request("POST", "/files", body, Host=host, Origin=f"http://{host}", Content_Type=form_type).status == 201
    )


@pytest.mark.parametrize("host", ["evil.test", "10.0.0.1", "example.org", "files.example.com.evil.test"])
def test_no_other_name(named, host):
    check(named.get("/files", Host=host), 421, "by that name")
    body = form(part("a.png", PNG))
    form_type = f"multipart/form-data; boundary={BOUNDARY}"
    answer = named.request("POST", "/files", body, Host=host, Origin=f"http://{host}", Content_Type=form_type)
    check(answer, 421, "by that name")


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_balancer_asks_for_the_health_by_address(named, path):
    assert named.get(path, Host="10.0.0.1").status == 200
    with named.connected() as plain:
        plain.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        assert plain.recv(200).startswith(b"HTTP/1.1 200 ")


def until(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_workers_that_hang_on_the_mount_cost_a_504_and_nothing_else(site):
    url = site.upload("a.png", PNG).json[0]["url"]
    hung = [*site.workers("files"), site.nginx[0].pid]
    for pid in hung:
        os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(3):
            begin = time.monotonic()
            check(site.get(url), 504, "does not answer within 1 s")
            assert 0.9 < time.monotonic() - begin < 3
            begin = time.monotonic()
            assert site.get("/healthz").status == 200
            assert time.monotonic() - begin < 1
    finally:
        for pid in hung:
            os.kill(pid, signal.SIGCONT)
    assert site.get(url).body == PNG


# the balancer's headers


@pytest.fixture(scope="module")
def behind(start_own):
    """An app behind a balancer at this machine's address, and beside another one."""
    return start_own(webapp_trusted_proxies=["127.0.0.1/32", "10.0.0.0/8"])


@pytest.fixture(scope="module")
def alone(start_own):
    """An app whose balancer is somewhere else."""
    return start_own(webapp_trusted_proxies=["10.0.0.0/8"])


@pytest.mark.parametrize(
    ("said", "client"),
    [
        ("203.0.113.9", "203.0.113.9"),
        # the last address that is not one of our balancers: the client itself may have sent those before it
        ("6.6.6.6, 203.0.113.9", "203.0.113.9"),
        ("6.6.6.6, 203.0.113.9, 10.1.2.3", "203.0.113.9"),
        ("nonsense", "127.0.0.1"),
    ],
)
def test_a_balancer_s_word_on_its_client_is_taken(behind, said, client):
    for scheme in ("http", "https"):
        reported = behind.get("/", X_Forwarded_For=said, X_Forwarded_Proto=scheme).json
        assert (reported["from"], reported["scheme"]) == (client, scheme)
    assert behind.get("/", X_Forwarded_Proto="gopher").json["scheme"] == "http"


def test_nobody_else_s_word_is_taken(alone, behind):
    reported = alone.get("/", X_Forwarded_For="203.0.113.9", X_Forwarded_Proto="https").json
    assert (reported["from"], reported["scheme"]) == ("127.0.0.1", "http")
    reported = behind.get("/").json
    assert (reported["from"], reported["scheme"]) == ("127.0.0.1", "http")


def test_the_log_has_the_client_s_address(start_own):
    server = start_own(webapp_trusted_proxies=["127.0.0.1"])
    server.get("/for-the-log", X_Forwarded_For="203.0.113.9")
    log = server.files.parent / "webapp-front/front.log"
    until(lambda: "/for-the-log" in log.read_text())  # it is written every 5 s
    assert log.read_text().startswith("203.0.113.9 - ")


# an app of the user's own


@pytest.fixture(scope="module", params=[["_"], ["files.example.com"]], ids=["any name", "named"])
def own(request, start_own):
    """An app with files on the mount that knows no probe."""
    return start_own(webapp_server_names=request.param)


@contextlib.contextmanager
def probing(server, directory):
    """The real probe, which looks at a directory five times a second."""
    status, textfile = server.probe / "status.json", server.probe / "webapp.prom"
    command = [sys.executable, FILES / "probe.py", "", directory, "web-01", "0.2", "0.5", status, textfile]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_an_app_that_answers_everything_is_not_ready_while_its_mount_is_away(own):
    named = {"Host": "files.example.com"}
    assert own.get("/anything", **named).status == 200
    for path in own.probe.iterdir():
        path.unlink()
    for headers in (named, {"Host": "10.0.0.1"}):
        # without a report of the probe the server is not ready
        check(own.get("/readyz", **headers), 503, "webapp-probe")
    with probing(own, own.files):
        until(lambda: own.get("/readyz", **named).status == 200)
        answer = own.get("/readyz", Host="10.0.0.1")
        assert (answer.json, answer.headers["X-Served-By"]) == ({"ok": True}, "web-01")
        assert answer.headers["Cache-Control"] == "no-store"
        own.files.rename(own.files.with_name("away"))
        own.files.write_text("no directory")
        until(lambda: own.get("/readyz", **named).status == 503)
        check(own.get("/readyz", **named), 503, "webapp-probe")
        assert b"<p>The file system does not answer on this server" in own.get("/readyz", **BROWSER, **named).body
        for path in ("/", "/healthz"):
            assert own.get(path, **named).status == 200
        own.files.unlink()
        own.files.with_name("away").rename(own.files)
        until(lambda: own.get("/readyz", **named).status == 200)


@pytest.mark.parametrize("role", [{"webapp_mount": ""}, {"webapp_health_path": "/readyz"}])
def test_an_app_without_a_mount_or_with_a_readyz_of_its_own_is_asked_itself(start_own, role):
    server = start_own(**role)
    assert "greeting" in server.get("/readyz").json


def test_an_app_gets_the_headers_that_it_does_not_set(own):
    answer = own.get("/", Host="files.example.com")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert answer.headers["Referrer-Policy"] == "strict-origin-when-cross-origin"
    answer = own.get("/strict", Host="files.example.com")
    assert answer.headers.get_all("X-Frame-Options") == ["DENY"]
    assert answer.headers.get_all("Referrer-Policy") == ["no-referrer"]
    assert answer.headers.get_all("X-Content-Type-Options") == ["nosniff"]


def test_a_link_with_a_long_session_token_comes_through(own):
    answer = own.get("/long", Host="files.example.com")
    assert answer.status == 200
    assert len(answer.headers["Location"]) > 12_000


# reloads


@contextlib.contextmanager
def slow_upload(server, size: int = 4_000_000):
    """An upload of which a part is sent; yields the function that sends the rest and returns the status."""
    body = form(part("slow.txt", bytes(size)))
    head = f"POST /files HTTP/1.1\r\nHost: g\r\nContent-Length: {len(body)}\r\n"
    head += f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    with server.connected() as plain:
        plain.sendall(head.encode() + body[: size // 2])

        def finish() -> bytes:
            plain.sendall(body[size // 2 :])
            return plain.recv(12)

        yield finish


def reload(server) -> None:
    """As systemd does it; returns when new workers are there."""
    before = set(server.workers())
    server.nginx[1].send_signal(signal.SIGHUP)
    until(lambda: len(set(server.workers()) - before) == 4)


def test_reloads_while_uploads_are_under_way(start):
    server = start(role={})
    assert len(server.workers()) == len(server.workers("files")) == 4
    with contextlib.ExitStack() as uploads:
        unfinished = []
        for number in range(6):
            unfinished.append(uploads.enter_context(slow_upload(server)))
            until(lambda: len(list((server.files / ".tmp").glob("*"))) > number)  # noqa: B023
            reload(server)
            # of each former four only the worker with an upload stays
            until(lambda: len(server.workers()) == 4 + number + 1)  # noqa: B023
            assert server.get("/healthz").status == 200
        assert [finish() for finish in unfinished] == [b"HTTP/1.1 201"] * 6
    until(lambda: len(server.workers()) == 4)


def test_a_reload_of_the_files_unit_breaks_no_request(start):
    server = start(role={})
    url = server.upload("a.png", PNG).json[0]["url"]
    ended = threading.Event()

    def ask() -> list[int]:
        statuses = []
        while not ended.is_set():
            statuses.append(server.get(url).status)
        return statuses

    with ThreadPoolExecutor(4) as clients:
        asking = [clients.submit(ask) for _ in range(4)]
        for _ in range(15):
            time.sleep(0.1)
            server.nginx[0].send_signal(signal.SIGHUP)
        ended.set()
    statuses = [status for job in asking for status in job.result()]
    assert len(statuses) > 50
    assert set(statuses) == {200}


def test_former_workers_do_not_stay_for_ever(start):
    server = start(role={"webapp_drain_timeout": 2})
    with slow_upload(server) as finish:
        until(lambda: list((server.files / ".tmp").glob("*")))
        reload(server)
        until(lambda: len(server.workers()) == 5)
        until(lambda: len(server.workers()) == 4)
        with contextlib.suppress(OSError):
            assert finish() == b""
    assert server.temporary() == []
