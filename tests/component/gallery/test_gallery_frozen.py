"""gallery over a storage that hangs, then thaws: as a whole, over real sockets."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.gallery_server import BOUNDARY, form, part
from tests.support.pictures import small

TIMEOUT = 1.0


@pytest.fixture
def server(start):
    """A gallery whose storage can be frozen."""
    return start("-m", "tests.support.gallery_frozen", STORAGE_TIMEOUT=str(TIMEOUT), BODY_TIMEOUT="5")


@pytest.fixture
def freeze(server):
    """The function that freezes the storage, and the one that thaws it."""
    flag = server.files.parent / "frozen"
    yield flag.touch, lambda: flag.unlink(missing_ok=True)
    flag.unlink(missing_ok=True)


def timed(call, *arguments, **keywords):
    began = time.monotonic()
    answer = call(*arguments, **keywords)
    return answer, time.monotonic() - began


def works(server) -> bool:
    return server.get("/files").status == 200 and server.upload("a.png", small()).status == 201


def until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_frozen_and_thawed(server, freeze):
    entry = server.upload("a.png", small()).json[0]
    for _ in range(20):
        server.get("/files")
    threads, descriptors = server.threads(), server.descriptors()
    freeze[0]()
    page, spent = timed(server.get, "/", Accept="text/html")
    assert page.status == 503
    assert b"does not answer" in page.body
    assert b"web-01" in page.body
    assert spent < TIMEOUT + 1
    refused = [server.get("/files"), server.get(entry["url"]), server.upload("a.png", small())]
    refused += [server.request("DELETE", entry["url"]), server.get(f"/view/{entry['key']}")]
    refused.append(server.get(f"/thumbs/{entry['key']}"))
    assert [answer.status for answer in refused] == [503] * 6
    assert {answer.error for answer in refused} == {"The storage does not answer; gallery works again when it does."}
    assert all(answer.headers["Retry-After"] for answer in refused)
    with ThreadPoolExecutor(40) as crowd:
        list(crowd.map(server.get, ["/"] * 40))
    for path in ("/", "/files", entry["url"]):
        answer, spent = timed(server.get, path)
        assert answer.status == 503
        assert spent < TIMEOUT  # at once
    health, spent = timed(server.get, "/healthz")
    assert health.status == 200
    assert spent < TIMEOUT
    assert server.threads() <= threads + 16
    freeze[1]()
    until(lambda: works(server))
    until(lambda: server.descriptors() <= descriptors)
    assert server.temporary() == []


def test_an_upload_that_is_under_way_when_the_storage_freezes(server, freeze):
    body = form(part("big.bin", bytes(4_000_000)))
    head = f"POST /files HTTP/1.1\r\nHost: g\r\nContent-Length: {len(body)}\r\n"
    head += f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    before = len(server.get("/files").json["files"])
    with server.connected() as plain:
        plain.sendall(head.encode() + body[:1_500_000])
        until(lambda: any((server.files / ".tmp").glob("*")))
        freeze[0]()
        plain.sendall(body[1_500_000:])
        assert plain.recv(100).startswith(b"HTTP/1.1 503")
    freeze[1]()
    until(lambda: works(server))
    assert server.temporary() == []
    assert len(server.get("/files").json["files"]) == before + 1


def test_a_download_that_is_under_way_when_the_storage_freezes(server, freeze):
    entry = server.upload("big.bin", bytes(20_000_000)).json[0]
    descriptors = server.descriptors()
    with server.connected() as plain:
        plain.sendall(f"GET {entry['url']} HTTP/1.1\r\nHost: g\r\n\r\n".encode())
        taken = len(plain.recv(100_000))
        freeze[0]()
        while True:
            more = len(plain.recv(1_000_000))
            if not more:
                break
            taken += more
        assert taken < 20_000_000  # cut, not padded: the client notices
    freeze[1]()
    until(lambda: works(server))
    until(lambda: server.descriptors() <= descriptors)
    assert len(server.get(entry["url"]).body) == 20_000_000


def test_it_can_be_stopped_while_the_storage_hangs(start):
    server = start("-m", "tests.support.gallery_frozen", STORAGE_TIMEOUT=str(TIMEOUT))
    (server.files.parent / "frozen").touch()
    server.get("/files")
    _ended, spent = timed(server.stop, signal.SIGTERM)
    assert spent < 5
