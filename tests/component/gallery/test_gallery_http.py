"""What scripts and browsers may rely on: design of the addresses, over real sockets."""

from __future__ import annotations

import calendar
import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from gallery import keys, pages

from tests.support.gallery_server import form, part
from tests.support.pictures import small

BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"
PNG = small()
NO_KEY = keys.new_key("gone.txt")


@pytest.fixture(scope="module")
def picture(server):
    """A stored picture."""
    return server.upload("a picture.png", PNG).json[0]


@pytest.fixture(scope="module")
def text(server):
    """A stored file of 10 bytes that is no picture."""
    return server.upload("ten.txt", b"0123456789").json[0]


@pytest.fixture(scope="module")
def lenient(start):
    """A gallery that takes what browsers could run."""
    return start(ALLOWED_EXTENSIONS="svg html xml pdf js txt")


def test_upload_answers_with_what_it_stored(server):
    answer = server.post(form(part("one.png", PNG), part("two.txt", b"two")))
    assert (answer.status, answer.headers["Content-Type"]) == (201, "application/json")
    first, second = answer.json
    assert list(first) == ["key", "name", "size", "time", "sha256", "type", "url"]
    assert first == {
        "key": first["key"],
        "name": "one.png",
        "size": len(PNG),
        "time": first["time"],
        "sha256": hashlib.sha256(PNG).hexdigest(),
        "type": "image/png",
        "url": f"/files/{first['key']}",
    }
    stored = calendar.timegm(time.strptime(first["time"], "%Y-%m-%dT%H:%M:%SZ"))
    assert stored == int(keys.made_at(first["key"]))
    assert (second["name"], second["type"]) == ("two.txt", "application/octet-stream")
    assert [entry["key"] for entry in server.get("/files?limit=2").json["files"]] == [second["key"], first["key"]]


@pytest.mark.parametrize(
    ("accept", "status"), [(BROWSER, 303), ("application/json", 201), ("*/*", 201), ("text/html;q=0.9", 303)]
)
def test_a_form_goes_back_to_the_page_and_a_program_gets_json(server, accept, status):
    answer = server.upload("a.png", PNG, Accept=accept)
    assert answer.status == status
    assert answer.headers.get("Location") == ("/" if status == 303 else None)


def test_the_list_page_by_page(server):
    made = [server.upload(f"n{number}.txt", b"x").json[0]["key"] for number in range(5)][::-1]
    first = server.get("/files?limit=2").json
    assert [entry["key"] for entry in first["files"]] == made[:2]
    assert first["next"] == made[1]
    second = server.get(f"/files?limit=2&after={first['next']}").json
    assert [entry["key"] for entry in second["files"]] == made[2:4]
    assert list(first["files"][0]) == ["key", "name", "size", "time", "type", "url"]
    last = server.get(f"/files?after={keys.new_key('a.txt', 0)}&limit=").json
    assert last == {"files": []}
    assert server.get("/files?after=&limit=").json == server.get("/files").json


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=-1",
        "limit=x",
        "limit=%C2%B2",
        "after=x",
        "after=../..",
        "limit=" + "9" * 99,
    ],
)
def test_a_bad_list_request(server, query):
    answer = server.get(f"/files?{query}")
    assert answer.status == 400
    assert answer.error


def test_a_picture_is_shown_and_everything_else_downloaded(server, picture, text):
    shown, loaded = server.get(picture["url"]), server.get(text["url"])
    assert (shown.body, loaded.body) == (PNG, b"0123456789")
    assert (shown.headers["Content-Type"], loaded.headers["Content-Type"]) == ("image/png", "application/octet-stream")
    assert shown.headers["Content-Disposition"] is None
    assert loaded.headers["Content-Disposition"] == 'attachment; filename="ten.txt"'
    for answer in (shown, loaded):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert "immutable" in answer.headers["Cache-Control"]


@pytest.mark.parametrize("name", ["x.svg", "x.html", "x.xml", "x.pdf", "x.js", "x.txt"])
def test_what_a_browser_could_run_is_never_shown(lenient, name):
    server = lenient
    entry = server.upload(name, b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>").json[0]
    answer = server.get(entry["url"])
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    page = server.get(f"/view/{entry['key']}").body
    assert f'src="{entry["url"]}"'.encode() not in page


def test_the_etag_is_the_one_of_nginx(server, picture):
    key = picture["key"]
    file_stat = os.stat(server.files / key[:3] / key[3:5] / key)
    assert server.get(picture["url"]).headers["ETag"] == f'"{int(file_stat.st_mtime):x}-{file_stat.st_size:x}"'


@pytest.mark.parametrize(
    ("asked", "status", "got", "content_range"),
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=4-", 206, b"456789", "bytes 4-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=9-9", 206, b"9", "bytes 9-9/10"),
        ("bytes=10-", 416, None, "bytes */10"),
        ("bytes=99-100", 416, None, "bytes */10"),
        ("bytes=-0", 416, None, "bytes */10"),
        ("bytes=5-3", 200, b"0123456789", None),
        ("bytes=0-1,3-4", 200, b"0123456789", None),
        ("bytes=-", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
        ("bytes=" + "9" * 40 + "-", 200, b"0123456789", None),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_ranges(server, text, method, asked, status, got, content_range):
    answer = server.request(method, text["url"], Range=asked)
    assert answer.status == status
    assert answer.headers["Content-Range"] == content_range
    if got is not None:
        assert answer.headers["Content-Length"] == str(len(got))
        assert answer.body == (got if method == "GET" else b"")


def test_conditions(server, text):
    tag = server.get(text["url"]).headers["ETag"]
    assert server.get(text["url"], If_None_Match=tag).status == 304
    assert server.get(text["url"], If_None_Match=f'"x", W/{tag}').status == 304
    assert server.get(text["url"], If_None_Match='"x"').status == 200
    assert server.get(text["url"], Range="bytes=0-3", If_Range=tag).status == 206
    assert server.get(text["url"], Range="bytes=0-3", If_Range='"old"').status == 200


def test_deleted_is_gone(server):
    entry = server.upload("a.png", PNG).json[0]
    answer = server.request("DELETE", entry["url"])
    assert (answer.status, answer.body) == (204, b"")
    for path in (entry["url"], f"/view/{entry['key']}", f"/view/{entry['key']}/delete"):
        assert server.get(path).status == 404
    assert server.request("DELETE", entry["url"]).status == 404


def test_deleting_without_a_script_asks_first(server):
    entry = server.upload("a picture.png", PNG).json[0]
    asked = server.get(f"/view/{entry['key']}/delete", Accept=BROWSER)
    assert b"Delete a-picture.png?" in asked.body
    assert f'action="/view/{entry["key"]}/delete"'.encode() in asked.body
    assert server.get(entry["url"]).status == 200
    done = server.request("POST", f"/view/{entry['key']}/delete", Accept=BROWSER)
    assert (done.status, done.headers["Location"]) == (303, "/")
    assert server.get(entry["url"]).status == 404


ADDRESSES = [
    ("GET", "/", 200),
    ("HEAD", "/", 200),
    ("GET", "/files", 200),
    ("GET", "/healthz", 200),
    ("GET", "/readyz", 200),
    ("GET", "/static/gallery.css", 200),
    ("GET", "/login", 303),
    ("GET", "/nothing", 404),
    ("GET", "/static/nothing", 404),
    ("GET", f"/files/{NO_KEY}", 404),
    ("GET", f"/view/{NO_KEY}", 404),
    ("POST", "/", 405),
    ("PUT", "/files", 405),
    ("DELETE", f"/files/{NO_KEY}", 404),
    ("POST", "/files", 415),
]


@pytest.mark.parametrize("accept", ["*/*", BROWSER])
@pytest.mark.parametrize(("method", "path", "status"), ADDRESSES)
def test_every_answer_is_marked_and_safe(server, method, path, status, accept):
    answer = server.request(method, path, Accept=accept)
    assert answer.status == status
    assert answer.headers["X-Served-By"] == "web-01"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    if status >= 400:
        if accept == BROWSER:
            assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
            assert b"<h1>That did not work</h1>" in answer.body
        else:
            assert list(answer.json) == ["error"]


def test_the_page_takes_nothing_from_elsewhere(server, picture):
    for path in (
        "/",
        f"/view/{picture['key']}",
        f"/view/{picture['key']}/delete",
        "/static/gallery.css",
        "/static/gallery.js",
    ):
        body = server.get(path).body.replace(b'xmlns="http://www.w3.org/2000/svg"', b"")
        assert b"//" not in body.replace(b"// ", b""), path
        assert b"style=" not in body
        assert b" onclick=" not in body


def test_a_file_of_another_release_is_not_kept(server):
    page = server.get("/").body.decode()
    address = page.split('rel="stylesheet" href="')[1].split('"')[0]
    assert "immutable" in server.get(address).headers["Cache-Control"]
    assert server.get(address + "0").headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (9960, "10 kB"),
        (999_600, "1.0 MB"),
        (2 * 1024**3, "2.1 GB"),
    ],
)
def test_sizes_for_people(size, said):
    assert pages.size_text(size) == said


def test_crowds_of_one_name_lose_nothing(server):
    with ThreadPoolExecutor(24) as crowd:
        responses = list(crowd.map(lambda number: server.upload("same.txt", b"%d" % number), range(24)))
    assert [answer.status for answer in responses] == [201] * 24
    for number, answer in enumerate(responses):
        assert server.get(answer.json[0]["url"]).body == b"%d" % number
