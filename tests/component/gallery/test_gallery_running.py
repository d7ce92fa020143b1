"""gallery as a process: its health, its probe's report, its start and its end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from tests.support.gallery_server import BOUNDARY, FILES, check, form, part
from tests.support.pictures import small

BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"
PNG = small()


@pytest.fixture(scope="module")
def watched(start, tmp_path_factory):
    """A gallery with a probe, and the file into which the probe writes."""
    path = tmp_path_factory.mktemp("probe") / "status"
    return start(STATUS=str(path)), path


@pytest.fixture
def probed(watched):
    """The same, before the probe's first report."""
    watched[1].unlink(missing_ok=True)
    return watched


CASES = [
    ({}, 200, None),
    ({"ok": False, "problem": "The mount fs-1 does not answer."}, 503, "The mount fs-1 does not answer."),
    ({"ok": False}, 503, "did not say why"),
    ({"at": time.time() - 100}, 503, "last reported"),
    ({"at": time.time() + 1000}, 503, "last reported"),
    ({"ok": "yes"}, 503, "did not say why"),
    ({"at": "yesterday"}, 503, "cannot be understood"),
]


@pytest.mark.parametrize(("changes", "status", "said"), CASES)
def test_readiness_is_the_probes_word(probed, changes, status, said):
    server, path = probed
    assert server.get("/readyz").status == 503  # no report yet
    path.write_text(json.dumps({"ok": True, "at": time.time(), "every": 2, "problem": "", **changes}))
    answer = server.get("/readyz")
    assert answer.status == status
    assert answer.json["ok"] is (status == 200)
    if said:
        assert said in answer.error
    assert server.get("/healthz").status == 200


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null"])
def test_an_unreadable_word_is_no_word(probed, text):
    server, path = probed
    path.write_text(text)
    assert "cannot be understood" in server.get("/readyz").error
    assert server.get("/", Accept=BROWSER).status == 200  # the storage itself works


def test_the_page_explains_what_the_probe_found(probed):
    server, path = probed
    problem = "The mount <fs-1> does not answer."
    path.write_text(json.dumps({"ok": False, "at": time.time(), "every": 2, "problem": problem}))
    page = server.get("/", Accept=BROWSER)
    assert page.status == 503
    assert b"The mount &lt;fs-1&gt; does not answer." in page.body


def test_health_is_quick_and_needs_no_storage(server):
    spent = []
    for _ in range(50):
        began = time.monotonic()
        assert server.get("/healthz").status == 200
        spent.append(time.monotonic() - began)
    assert min(spent) < 0.01  # the machine may be busy, but not all the time


def test_it_starts_without_its_mount_and_says_so(start):
    server = start(MOUNT="/nowhere", DIRECTORY="/nowhere/files")
    assert server.get("/healthz").status == 200
    page = server.get("/", Accept=BROWSER)
    assert page.status == 503
    assert b"nothing is mounted at /nowhere" in page.body
    assert server.upload("a.png", PNG).status == 503


def test_what_is_under_way_is_finished_before_it_ends(start):
    server = start()
    body = form(part("a.bin", bytes(3_000_000)))
    head = f"POST /files HTTP/1.1\r\nHost: g\r\nContent-Length: {len(body)}\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    with server.connected() as plain:
        plain.sendall(head.encode() + body[:2_000_000])
        while not list((server.files / ".tmp").glob("*")):
            time.sleep(0.02)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert server.process.poll() is None
        with pytest.raises(OSError), server.connected():
            pass
        plain.sendall(body[2_000_000:])
        assert plain.recv(12) == b"HTTP/1.1 201"
    assert server.process.wait(10) in (0, -signal.SIGTERM)
    assert len(list(server.files.glob("*/*/*"))) == 1


def test_many_uploads_at_once_are_bounded(start):
    server = start()
    body = form(part("a.txt", b"x"))
    head = f"POST /files HTTP/1.1\r\nHost: g\r\nContent-Length: {len(body)}\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    waiting = [socket.socket(socket.AF_UNIX) for _ in range(32)]
    for plain in waiting:
        plain.connect(server.socket)
        plain.sendall(head.encode())
    time.sleep(0.5)
    answer = server.upload("b.txt", b"x")
    assert answer.status == 503
    assert "32 uploads are under way" in answer.error
    for plain in waiting:
        plain.sendall(body)
        assert plain.recv(12) == b"HTTP/1.1 201"
        plain.close()
    assert server.upload("b.txt", b"x").status == 201


@pytest.mark.parametrize(
    ("first", "same", "other"),
    [
        ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("2001:db8::1", "2001:db8::2:3", "2001:db8:0:1::1"),  # whoever has one address of a /64 has them all
    ],
)
def test_one_client_cannot_take_all_uploads(start, first, same, other):
    """The front reports the client's address."""
    server = start()
    body = form(part("a.txt", b"x"))
    head = f"POST /files HTTP/1.1\r\nHost: g\r\nX-Forwarded-For: {first}\r\nContent-Length: {len(body)}\r\n"
    head += f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    with contextlib.ExitStack() as after:
        waiting = [after.enter_context(server.connected()) for _ in range(16)]
        for plain in waiting:
            plain.sendall(head.encode())
        time.sleep(0.5)
        answer = server.upload("b.txt", b"x", X_Forwarded_For=same)
        check(answer, 429, "16 uploads from your address are under way")
        assert answer.headers["Retry-After"] == "5"
        assert server.upload("b.txt", b"x", X_Forwarded_For=other).status == 201
        for plain in waiting:
            plain.sendall(body)
            assert plain.recv(12) == b"HTTP/1.1 201"
        assert server.upload("b.txt", b"x", X_Forwarded_For=same).status == 201


def test_a_socket_passed_by_systemd(tmp_path):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        environment = {"PYTHONPATH": str(FILES), "PATH": os.environ["PATH"], "GALLERY_PUBLIC_UPLOADS": "true"}
        environment.update(GALLERY_NAME="web-02", GALLERY_DIRECTORY=str(tmp_path / "files"))
        command = f"LISTEN_FDS=1 LISTEN_PID=$$ exec {sys.executable} -B -m gallery 3<&{listening.fileno()}"
        process = subprocess.Popen(["bash", "-c", command], env=environment, pass_fds=[listening.fileno()])
        try:
            with socket.create_connection(listening.getsockname(), 20) as plain:
                plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: g\r\n\r\n")
                assert b"x-served-by: web-02" in plain.recv(4096)
        finally:
            process.terminate()
            process.wait(10)
