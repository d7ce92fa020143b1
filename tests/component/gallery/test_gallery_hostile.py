"""What OWASP lists for uploads, one case each: refused with one sentence or harmless, and no temporary file left."""

from __future__ import annotations

import select
import socket
import threading
import time

import pytest
from gallery import keys

from tests.support.gallery_nginx import needs_nginx
from tests.support.gallery_server import BOUNDARY, check, form, head_of, part
from tests.support.pictures import small

PNG = small()
TYPE = f"multipart/form-data; boundary={BOUNDARY}"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'
HTML = b"<!doctype html><script>alert(1)</script>"


@pytest.fixture(scope="module", params=["gallery", pytest.param("front", marks=needs_nginx)])
def server(start, request):
    """A gallery with small limits, alone and behind the role's nginx."""
    role = {"webapp_max_upload_mib": 2, "webapp_max_files": 3} if request.param == "front" else None
    return start(
        role=role, MAX_BYTES="2000000", MAX_FILES="3", BODY_TIMEOUT="0.5", ALLOWED_EXTENSIONS="png jpg pdf txt"
    )


@pytest.fixture(autouse=True)
def nothing_left(server):
    """No temporary file is left, and everything that was kept is a harmless key."""
    yield
    assert server.temporary() == []
    stored = [path.name for path in server.files.glob("*/*/*")]
    assert all(keys.is_key(name) for name in stored)


@pytest.mark.parametrize(
    ("filename", "data", "name"),
    [
        ("../../../etc/cron.d/x.png", PNG, "x.png"),
        ("..\\..\\x.png", PNG, "x.png"),
        ("/etc/passwd.png", PNG, "passwd.png"),
        ("C:\\autoexec.png", PNG, "autoexec.png"),
        ("n" * 300 + ".png", PNG, "n" * 64 + ".png"),
        ("Ünïcödé 写真.png", PNG, "Unicode.png"),
        ("shell.php.png", PNG, "shell-php.png"),
        ("a.png%00.png", PNG, "a-png-00.png"),
        ("new%0D%0Aline.png", PNG, "new-0D-0Aline.png"),
        ("con.txt", HTML, "con.txt"),
        ("$(reboot);`id`.txt", b"x", "reboot-id.txt"),
    ],
)
def test_harmless(server, filename, data, name):
    answer = server.upload(filename, data)
    assert answer.status == 201, answer.body
    (entry,) = answer.json
    assert entry["name"] == name
    assert server.get(entry["url"]).body == data


@pytest.mark.parametrize(
    ("filename", "data", "status", "said"),
    [
        ("", PNG, 400, "is empty"),
        ("../", PNG, 400, "is empty"),
        ("a\0.png", PNG, 400, "control character"),
        (b"a\r\n b.png", PNG, 400, "multipart"),
        (b"a\nb.png", PNG, 400, "control character"),
        (b"\xff\xfe.png", PNG, 400, "UTF-8"),
        ("x" * 9000 + ".png", PNG, 400, "longer than"),
        ("..", PNG, 415, "not accepted"),
        ("x", PNG, 415, "not accepted"),
        ("x.png.php", PNG, 415, "not accepted"),
        ("x.png/", PNG, 400, "is empty"),
        ("x.svg", SVG, 415, "not accepted"),
        ("x.html", HTML, 415, "not accepted"),
        ("x.png", SVG, 415, "no png picture inside"),
        ("x.png", HTML, 415, "no png picture inside"),
        ("x.png", b"\xff\xd8\xff\xe0 a JPEG", 415, "no png picture inside"),
        ("x.jpg", PNG, 415, "no jpg picture inside"),
        ("x.png", b"", 400, "is empty"),
        ("x.png", PNG + bytes(2_000_000), 413, "larger than 2000000 bytes"),
    ],
)
def test_refused(server, filename, data, status, said):
    check(server.upload(filename, data), status, said)


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (form(*(part(f"{number}.png", PNG) for number in range(4))), 413, "at most 3 files"),
        (form(part("a.png", PNG), part("b.svg", SVG)), 415, "not accepted"),
        (form(part("a.png", PNG, "other")), 400, 'field "other"'),
        (form(), 400, "no file"),
        (b"", 400, "before it was complete"),
        (b"garbage", 400, "multipart"),
        (part("a.png", PNG), 400, "before it was complete"),
        (form(part("a.png", PNG))[:-30], 400, "before it was complete"),
        (f"--{BOUNDARY}\r\n\r\nno headers\r\n--{BOUNDARY}--\r\n".encode(), 400, "field"),
        (f"--{BOUNDARY}\r\n: x\r\n\r\n".encode(), 400, "multipart"),
    ],
)
def test_refused_forms_keep_no_file_of_theirs(server, body, status, said):
    before = len(server.get("/files").json["files"])
    check(server.post(body), status, said)
    assert len(server.get("/files").json["files"]) == before


@pytest.mark.parametrize(
    "content_type",
    ["", "image/png", "application/x-www-form-urlencoded", "multipart/form-data", "multipart/form-data; boundary="],
)
def test_not_a_form(server, content_type):
    check(server.post(PNG, Content_Type=content_type), 415, "multipart/form-data")


def start_upload(plain: socket.socket, body: bytes, length: str) -> None:
    plain.sendall(f"POST /files HTTP/1.1\r\nHost: g\r\n{length}\r\nContent-Type: {TYPE}\r\n\r\n".encode() + body)


@pytest.mark.parametrize("sent", [0, 100, 1_200_000])
def test_half_a_body_and_then_nothing(server, sent):
    body = form(part("a.txt", bytes(1_900_000)))
    with server.connected() as plain:
        start_upload(plain, body[:sent], f"Content-Length: {len(body)}")
        answer = head_of(plain)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"No byte of the upload came for 0.5 s" in answer


@pytest.mark.parametrize("sent", [100, 1_200_000])
def test_half_a_body_and_then_hung_up(server, sent):
    body = form(part("a.txt", bytes(1_900_000)))
    with server.connected() as plain:
        start_upload(plain, body[:sent], f"Content-Length: {len(body)}")
    assert server.get("/healthz").status == 200


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("multipart/form-data; boundary*=utf-8''%E2%82%AC", 400),
        (TYPE + "; boundary=other", 400),
        (TYPE.title(), 400),
        (TYPE.replace("form", "Form"), 201),
    ],
)
def test_an_odd_content_type(server, content_type, status):
    assert server.post(form(part("a.png", PNG)), Content_Type=content_type).status == status


def test_an_encoded_file_name_is_read_as_older_clients_mean_it(server):
    body = form(part("x.png", PNG)).replace(b'filename="x.png"', b"filename*=utf-8''Z%C3%BCrich%2F..%2F%E2%82%AC.png")
    (entry,) = server.post(body).json
    assert entry["name"] == "file.png"


def test_no_length_at_all_is_no_body(server):
    with server.connected() as plain:
        start_upload(plain, b"", "X-No: length")
        answer = head_of(plain)
    assert answer.startswith(b"HTTP/1.1 400 ")


def chunked(data: bytes) -> bytes:
    pieces = (data[start : start + 50_000] for start in range(0, len(data), 50_000))
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


@pytest.mark.parametrize(("size", "status"), [(1_000_000, b"201"), (2_000_001, b"413")])
def test_chunks_without_a_length_count_too(server, size, status):
    with server.connected() as plain:
        body = chunked(form(part("a.txt", bytes(size)))) + b"0\r\n\r\n"
        sender = threading.Thread(target=start_upload, args=(plain, body, "Transfer-Encoding: chunked"))
        sender.start()
        answer = plain.recv(20)
        sender.join()
    assert answer.startswith(b"HTTP/1.1 " + status)


def test_a_body_that_goes_on_behind_the_form_is_not_waited_for(server):
    with server.connected() as plain:
        start_upload(plain, chunked(form(part("a.txt", b"x"))), "Transfer-Encoding: chunked")
        assert plain.recv(12) == b"HTTP/1.1 201"
        for _ in range(100):
            plain.sendall(chunked(bytes(50_000)))


def dribble(plain: socket.socket, data: bytes, size: int, pause: float) -> None:
    """Send so many bytes at each pause until all are sent or an answer comes."""
    for start in range(0, len(data), size):
        plain.sendall(data[start : start + size])
        if select.select([plain], [], [], pause)[0]:
            return


def test_a_slow_but_honest_body_is_taken(server):
    body = form(part("a.txt", bytes(100_000)))
    with server.connected() as plain:
        start_upload(plain, b"", f"Content-Length: {len(body)}")
        began = time.monotonic()
        dribble(plain, body, 10_000, 0.2)  # 50 kB/s
        assert plain.recv(12) == b"HTTP/1.1 201"
    assert time.monotonic() - began > 1.5  # three times as long as a silence may last


@pytest.mark.parametrize("before", [0, 1_200_000])  # fast bytes at the beginning earn no credit
def test_a_body_that_trickles_is_refused(server, before):
    body = form(part("a.txt", bytes(1_900_000)))
    with server.connected() as plain:
        start_upload(plain, body[:before], f"Content-Length: {len(body)}")
        began = time.monotonic()
        dribble(plain, body[before : before + 1000], 10, 0.2)
        answer = head_of(plain)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"where at least 4 KiB/s are needed: send it again" in answer
    assert time.monotonic() - began < 5


def test_a_small_form_that_takes_its_time_is_taken(server):
    body = form(part("a.txt", b"slowly"))
    with server.connected() as plain:
        start_upload(plain, b"", f"Content-Length: {len(body)}")
        dribble(plain, body, len(body) // 2 + 1, 0.35)
        assert plain.recv(12) == b"HTTP/1.1 201"


@pytest.mark.parametrize(
    "path", ["/files/../../etc/passwd", "/files/..%2f..%2fetc%2fpasswd", "/files/%00", "/static/..%2fapp.py"]
)
def test_addresses_that_climb(server, path):
    answer = server.get(path)
    check(answer, answer.status, "")
    assert answer.status in (400, 404)


def test_no_request_ends_the_server(server):
    for line in (b"GARBAGE\r\n\r\n", b"POST /files HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"\0" * 70_000):
        with server.connected() as plain:
            plain.sendall(line)
            assert plain.recv(12) == b"HTTP/1.1 400"
    assert server.get("/healthz").status == 200
