"""Previews: what the grid shows of a picture, and that nothing about them fails, bares or outlives a file."""

from __future__ import annotations

import asyncio
import errno
import os

import pytest
from gallery import app, keys, previews, settings, worker_threads
from gallery.storage import efs

from tests.support.gallery_nginx import needs_nginx
from tests.support.gallery_server import check, form, part
from tests.support.gallery_storage import listed, put, refused
from tests.support.pictures import small

PNG = small()
LARGE = PNG + bytes(600_000)
JPEG, WEBP = b"\xff\xd8\xff\xe0 a small one", b"RIFF\x10\0\0\0WEBPVP8 a small one"
SAFE = ("Cache-Control", "Content-Security-Policy", "Cross-Origin-Resource-Policy", "X-Content-Type-Options")
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'


@pytest.fixture(scope="module", params=["gallery", pytest.param("front", marks=needs_nginx)])
def server(start, request):
    """A gallery, alone and behind the role's nginx."""
    return start(role={} if request.param == "front" else None, MAX_BYTES="2000000")


def preview(data: bytes) -> bytes:
    return part("preview", data, "preview")


def upload(server, *pieces: bytes) -> list[dict]:
    answer = server.post(form(*pieces))
    assert answer.status == 201, answer.body
    return answer.json


def thumb(server, entry: dict, **headers: str):
    return server.get(f"/thumbs/{entry['key']}", **headers)


def of_previews(server) -> list:
    return [path for path in (server.files / ".previews").glob("**/*") if path.is_file()]


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (JPEG, "image/jpeg"),
        (WEBP, "image/webp"),
        (PNG, "image/png"),
        (JPEG + bytes(64 * 1024 - len(JPEG)), "image/jpeg"),
    ],
)
def test_the_grid_gets_the_preview(server, data, media_type):
    (entry,) = upload(server, part("a.png", LARGE), preview(data))
    answer = thumb(server, entry)
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, data, media_type)
    original = server.get(entry["url"])
    assert original.body == LARGE
    for name in SAFE:
        assert answer.headers[name]
        assert answer.headers[name] == original.headers[name]
    assert answer.headers["X-Served-By"] == "web-01"
    assert thumb(server, entry, If_None_Match=answer.headers["ETag"]).status == 304
    assert server.request("HEAD", f"/thumbs/{entry['key']}").headers["Content-Length"] == str(len(data))
    assert f'src="/thumbs/{entry["key"]}"'.encode() in server.get("/").body
    assert f'src="/thumbs/{entry["key"]}"'.encode() in server.get(f"/view/{entry['key']}/delete").body


def test_previews_of_many_files_in_one_form(server):
    pieces = [part("a.png", LARGE), preview(JPEG), part("b.png", LARGE), part("c.png", LARGE), preview(WEBP)]
    first, second, third = upload(server, *pieces)
    assert (thumb(server, first).body, thumb(server, third).body) == (JPEG, WEBP)
    assert thumb(server, second).headers["Content-Type"] == "image/svg+xml"


@pytest.mark.parametrize(
    "pieces",
    [
        [part("a.png", LARGE)],
        [part("a.png", LARGE), preview(b"")],
        [part("a.png", LARGE), preview(SVG)],
        [part("a.png", LARGE), preview(b"GIF89a")],
        [part("a.png", LARGE), preview(JPEG + bytes(64 * 1024))],
        [part("a.png", LARGE), preview(JPEG + bytes(1_000_000))],
        [preview(JPEG), part("a.png", LARGE)],
    ],
)
def test_without_a_preview_a_large_picture_is_shown_in_words(server, pieces):
    before = len(of_previews(server))
    (entry,) = upload(server, *pieces)
    assert len(of_previews(server)) == before
    answer = thumb(server, entry)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "image/svg+xml")
    assert b">PNG<" in answer.body
    assert b">600 kB<" in answer.body
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert answer.headers["Cache-Control"] == "private, max-age=300"  # a preview may come a moment later
    assert server.temporary() == []


@pytest.mark.parametrize(("size", "status"), [(512 * 1024, 302), (512 * 1024 + 1, 200)])
def test_without_a_preview_a_small_picture_is_shown_itself(server, size, status):
    (entry,) = upload(server, part("a.png", PNG + bytes(size - len(PNG))))
    answer = thumb(server, entry)
    assert answer.status == status
    assert answer.headers["Location"] == (entry["url"] if status == 302 else None)
    assert answer.headers["Cache-Control"] == "private, max-age=300"


def test_only_the_first_preview_of_a_picture_counts(server):
    (entry,) = upload(server, part("a.png", LARGE), preview(JPEG), preview(WEBP))
    assert thumb(server, entry).body == JPEG
    (entry,) = upload(server, part("a.txt", b"text"), preview(JPEG))
    assert thumb(server, entry).headers["Content-Type"] == "image/svg+xml"


def test_a_preview_without_an_end_is_refused_as_a_file_is(server):
    before = len(server.get("/files").json["files"])
    check(server.post(form(part("a.png", LARGE), preview(JPEG + bytes(2_000_000)))), 413, "larger than 2000000 bytes")
    assert len(server.get("/files").json["files"]) == before
    assert server.temporary() == []


def test_previews_without_an_end_are_refused(start):
    server = start(MAX_FILES="3")
    (entry,) = upload(server, part("a.png", LARGE), *[preview(JPEG)] * 3)
    assert thumb(server, entry).body == JPEG
    check(server.post(form(part("a.png", LARGE), *[preview(JPEG)] * 4)), 413, "at most 3 previews")
    assert server.temporary() == []


def test_a_preview_alone_is_no_upload(server):
    check(server.post(form(preview(JPEG))), 400, "no file")


def test_a_file_that_is_refused_leaves_no_preview(server):
    before = of_previews(server)
    check(server.post(form(part("a.png", LARGE), preview(JPEG), part("b.svg", SVG))), 415, "not accepted")
    assert of_previews(server) == before


@pytest.mark.parametrize("by", ["script", "form"])
def test_a_preview_goes_with_its_file(server, by):
    (entry,) = upload(server, part("a.png", LARGE), preview(JPEG))
    kept = of_previews(server)
    if by == "script":
        assert server.request("DELETE", entry["url"]).status == 204
    else:
        assert server.request("POST", f"/view/{entry['key']}/delete").status == 303
    check(thumb(server, entry), 404, "deleted")
    assert [path.name for path in kept if path not in of_previews(server)] == [entry["key"]]
    assert server.request("DELETE", entry["url"]).status == 404


@pytest.mark.parametrize("key", [keys.new_key("gone.png"), "x", ".previews"])
def test_no_file_no_preview(server, key):
    answer = server.get(f"/thumbs/{key}")
    check(answer, 404, "")


def test_no_list_shows_previews(server):
    (entry,) = upload(server, part("a.png", LARGE), preview(JPEG))
    names = [item["key"] for item in server.get("/files?limit=200").json["files"]]
    assert names.count(entry["key"]) == 1
    assert server.get(f"/files/.previews/{entry['key']}").status == 404


def test_previews_that_cannot_be_stored_fail_no_file(start):
    server = start()
    server.files.mkdir()
    (server.files / ".previews").write_text("in the way")
    (entry,) = upload(server, part("a.png", LARGE), preview(JPEG))
    assert server.get(entry["url"]).body == LARGE
    assert server.temporary() == []
    assert b"the preview of a.png" in server.log.read_bytes()
    assert thumb(server, entry).headers["Content-Type"] == "image/svg+xml"
    assert server.request("DELETE", entry["url"]).status == 204


def test_a_preview_that_cannot_be_published_fails_no_file(start):
    server = start()
    beside = server.files / ".previews"
    upload(server, part("a.png", LARGE), preview(JPEG))
    for path in beside.iterdir():
        if path.name != ".tmp":
            os.rename(path, path.with_name("away"))
            path.write_text("in the way")
    (entry,) = upload(server, part("b.png", LARGE), preview(JPEG))
    assert server.get(entry["url"]).body == LARGE
    assert os.listdir(beside / ".tmp") == []


def test_a_file_that_was_deleted_meanwhile_gets_no_preview(tmp_path):
    storage = efs.Efs(str(tmp_path / "files"))
    entry = put(storage)
    writer = previews.begin(storage.previews(), "a.png", JPEG)
    storage.delete(entry.key)
    previews.publish(storage, entry.key, writer)
    assert listed(storage.previews()) == []


def test_what_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    storage = efs.Efs(str(tmp_path / "files"))
    put(storage)

    def full(*_arguments):
        raise OSError(errno.EDQUOT, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        assert refused(previews.begin, storage.previews(), "a.png", JPEG).status == 507
    assert os.listdir(tmp_path / "files" / ".previews" / ".tmp") == []


def test_a_preview_that_cannot_be_deleted_keeps_its_file(server):
    """Otherwise it could still be seen, and nobody could delete it any more."""
    (entry,) = upload(server, part("a.png", LARGE), preview(JPEG))
    (path,) = (server.files / ".previews").glob(f"*/*/{entry['key']}")
    path.unlink()
    path.mkdir()
    assert server.request("DELETE", entry["url"]).status == 503
    assert server.get(entry["url"]).status == 200
    path.rmdir()
    assert server.request("DELETE", entry["url"]).status == 204


def test_a_preview_that_comes_while_its_file_is_deleted_goes_too(tmp_path, monkeypatch):
    """Its uploader saw the file just before the delete, and publishes after the delete has looked for a preview."""
    storage = efs.Efs(str(tmp_path / "files"))
    entry = put(storage)
    writer = previews.begin(storage.previews(), "a.png", JPEG)
    delete = storage.delete

    def late(key: str) -> None:
        previews.publish(storage, key, writer)
        delete(key)

    monkeypatch.setattr(storage, "delete", late)
    parsed = settings.from_environment(
        {"GALLERY_NAME": "a", "GALLERY_DIRECTORY": "/f", "GALLERY_PUBLIC_UPLOADS": "true"}
    )
    gallery = app.Gallery(parsed, storage, lambda: "")
    gallery._calls = worker_threads.Calls(2, 5.0)
    asyncio.run(gallery._remove(entry.key))
    assert listed(storage.previews()) == []


def test_missed_keys_are_few_and_soon_forgotten():
    now = [100.0]
    missed = previews.Missed(3, 60.0, lambda: now[0])
    for key in "abcd":
        missed.add(key)
        now[0] += 1
    assert [key in missed for key in "abcdx"] == [False, True, True, True, False]
    missed.forget("c")
    missed.forget("x")
    assert [key in missed for key in "bcd"] == [True, False, True]
    now[0] = 161.5  # b was missed at 101, d at 103
    assert [key in missed for key in "bd"] == [False, True]
    missed.add("b")  # which makes it the last to go
    for key in "ef":
        missed.add(key)
    assert [key in missed for key in "bdef"] == [True, False, True, True]
