"""Tickets: what S3 refuses of a forged one, what gallery refuses to confirm, and where links point."""

from __future__ import annotations

import base64
import concurrent.futures
import hashlib
import time

import pytest
from gallery import keys

from tests.support.gallery_server import check
from tests.support.gallery_tickets import (
    DATA,
    JPEG,
    PNG,
    ask,
    confirm,
    followed,
    listed,
    put,
    question,
    send,
    sha256,
    ticket,
    upload,
)
from tests.support.seaweedfs import BUCKET, environment


@pytest.fixture(scope="module")
def server(start, weed):
    """A gallery with the role's temporary credentials."""
    return start(aws=environment(weed.role()), **weed.settings(KEY_PREFIX="gallery/tickets", MAX_BYTES="2000000"))


@pytest.fixture(scope="module")
def second(start, weed, server):
    """Another server of the same site, with credentials of its own."""
    return start(aws=environment(weed.role()), **weed.settings(KEY_PREFIX="gallery/tickets", MAX_BYTES="2000000"))


# the right way


@pytest.mark.parametrize("optional", [{}, {"sha256": sha256(DATA), "type": "image/png"}])
def test_the_right_way(server, second, optional):
    got = ticket(server, **optional)
    assert (got["method"], got["expires"]) == ("PUT", 900)
    assert keys.is_key(got["key"])
    assert put(got).status == 200
    assert got["key"] not in listed(server)
    entry = confirm(second, got["key"]).json
    assert (entry["key"], entry["name"], entry["size"], entry["type"]) == (got["key"], "a.png", len(DATA), "image/png")
    assert entry.get("sha256") == optional.get("sha256")
    assert got["key"] in listed(server)
    assert got["key"] in listed(second)
    answer = followed(second, entry["url"])
    assert (answer.status, answer.body) == (200, DATA)
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    # asked again, because the answer was lost
    for other in (server, second):
        again = confirm(other, got["key"])
        assert (again.status, again.json) == (201, entry)


def test_what_is_no_picture_is_an_attachment(server):
    answer = followed(server, upload(server, b"<script>", "ü x.TXT")["url"])
    assert answer.headers["Content-Disposition"] == 'attachment; filename="u-x.txt"'
    assert answer.headers["Content-Type"] == "application/octet-stream"


# forged tickets


def test_a_larger_body_is_refused(server, weed):
    issued = ticket(server)
    assert put(issued, DATA + b"x").status == 403
    assert weed.keys(f"gallery/tickets/incoming/{issued['key']}") == []


def test_a_smaller_body_is_refused(server):
    assert put(ticket(server), DATA[:-1]).status == 403


def test_a_body_of_unknown_length_is_refused(server):
    issued = ticket(server)
    assert send(issued["url"], "PUT", iter([DATA]), issued["headers"]).status == 403  # in chunks


def test_another_type_is_refused(server):
    assert put(ticket(server), content_type="text/html").status == 403


@pytest.mark.parametrize("name", ["content-type", "cache-control", "if-none-match"])
def test_a_header_that_is_left_out_is_missed(server, name):
    issued = ticket(server)
    del issued["headers"][name]
    assert put(issued).status == 403


def test_bytes_that_do_not_match_the_checksum_are_refused(server, weed):
    issued, other = ticket(server, sha256=sha256(DATA)), DATA[:-1] + b"x"
    assert put(issued, other).status == 400
    right = base64.b64encode(hashlib.sha256(other).digest()).decode()
    assert put(issued, other, x_amz_checksum_sha256=right).status == 403
    assert weed.keys(f"gallery/tickets/incoming/{issued['key']}") == []
    assert put(issued).status == 200


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("-a.png?", "-b.png?"),
        ("/incoming/", "/files/"),
        ("/gallery/tickets/incoming/", "/hosts/"),
        ("/incoming/", "/../files/"),
        (f"/{BUCKET}/", "/other/"),
        ("X-Amz-Expires=900", "X-Amz-Expires=9000"),
        ("%3Bif-none-match", ""),
        ("%3Bcontent-length", ""),
    ],
    ids=["key", "files", "prefix", "path", "bucket", "life", "no condition", "no length"],
)
def test_an_address_that_was_altered_is_refused(server, weed, old, new):
    issued = ticket(server)
    assert old in issued["url"]
    before = weed.keys("")
    assert put({**issued, "url": issued["url"].replace(old, new)}).status in (400, 403)
    assert weed.keys("") == before
    assert put(issued).status == 200  # the original address works


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "POST"])
def test_another_method_is_refused(server, method):
    issued = ticket(server)
    assert put(issued).status == 200
    assert send(issued["url"], method, None, issued["headers"]).status in (403, 405)


def test_a_ticket_is_used_once(server):
    issued, other = ticket(server), PNG + bytes(len(DATA) - len(PNG))
    assert put(issued).status == 200
    assert put(issued, other).status == 412
    entry = confirm(server, issued["key"]).json
    assert put(issued, other).status == 412
    assert confirm(server, issued["key"]).json == entry
    assert followed(server, entry["url"]).body == DATA
    assert server.request("DELETE", entry["url"]).status == 204
    # a ticket does not bring back a deleted file
    assert put(issued).status == 412
    check(confirm(server, issued["key"]), 404, "it was deleted")
    assert issued["key"] not in listed(server)


def test_what_was_deleted_does_not_come_back_by_an_upload_that_still_lies_there(server, weed):
    issued = ticket(server)
    assert put(issued).status == 200
    # what a server leaves that dies between the copy and the closing of the ticket
    weed.client.copy_object(
        Bucket=BUCKET,
        Key=f"gallery/tickets/files/{issued['key']}",
        CopySource={"Bucket": BUCKET, "Key": f"gallery/tickets/incoming/{issued['key']}"},
    )
    assert server.request("DELETE", f"/files/{issued['key']}").status == 204
    assert confirm(server, issued["key"]).status == 404
    assert issued["key"] not in [entry["key"] for entry in server.get("/files").json["files"]]


def test_an_expired_ticket_is_refused(start, weed):
    server = start(aws=environment(weed.role()), **weed.settings(UPLOAD_URL_TTL="1"))
    issued = ticket(server)
    assert issued["expires"] == 1
    time.sleep(2.5)
    assert put(issued).status == 403


# what is not confirmed


def test_what_was_never_uploaded(server):
    check(confirm(server, ticket(server)["key"]), 404, "Nothing was uploaded")
    check(confirm(server, "x"), 404, "There is no file")
    check(confirm(server, keys.new_key("a.png")), 404, "Nothing was uploaded")


def test_a_picture_that_is_none_is_refused_for_good(server, weed):
    data = b"<html>" + bytes(100)
    issued = ticket(server, data)
    assert put(issued, data).status == 200
    check(confirm(server, issued["key"]), 415, "no png picture inside")
    assert issued["key"] not in listed(server)
    # the bytes are not kept, and the ticket cannot be used again
    place = f"gallery/tickets/incoming/{issued['key']}"
    assert weed.client.head_object(Bucket=BUCKET, Key=place)["ContentLength"] == 0
    assert put(issued, data).status == 412
    check(confirm(server, issued["key"]), 404, "or it was refused")


def by_hand(weed, data: bytes, name: str, **more) -> str:
    key = keys.new_key(name)
    weed.client.put_object(Bucket=BUCKET, Key=f"gallery/tickets/incoming/{key}", Body=data, **more)
    return key


def test_what_is_too_large_is_refused(server, weed):
    key = by_hand(weed, bytes(2_000_001), "a.bin")
    check(confirm(server, key), 413, "larger than 2000000 bytes")
    assert key not in listed(server)


def test_a_kind_that_is_not_taken_is_refused(server, weed):
    check(confirm(server, by_hand(weed, b"MZ", "a.exe")), 415, "not accepted")


def test_headers_of_the_upload_are_not_believed(server, weed):
    key = by_hand(weed, b"<script>", "a.txt", ContentType="text/html", Metadata={"a": "b"})
    assert confirm(server, key).status == 201
    answer = followed(server, f"/files/{key}")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="a.txt"'
    assert "x-amz-meta-a" not in answer.headers


def test_confirmed_by_many_at_once(server, second, weed):
    for _round in range(5):
        issued = ticket(server, sha256=sha256(DATA))
        assert put(issued).status == 200
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            jobs = [pool.submit(confirm, (server, second)[number % 2], issued["key"], JPEG) for number in range(8)]
            responses = [job.result() for job in jobs]
        assert {answer.status for answer in responses} == {201}, [a.body for a in responses] + [server.log.read_text()]
        assert len({answer.body for answer in responses}) == 1
        assert listed(server).count(issued["key"]) == 1
        place = f"gallery/tickets/files/{issued['key']}"
        assert len(weed.client.list_object_versions(Bucket=BUCKET, Prefix=place)["Versions"]) == 1
        assert followed(second, f"/thumbs/{issued['key']}").body == JPEG


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (question(name="a.exe"), 415, "not accepted"),
        (question(name="a.txt", type="image/png"), 415, "by its content"),
        (question(b""), 400, "nothing to keep"),
        ({"name": "a.png", "size": 2_000_001}, 413, "larger than 2000000 bytes"),
        ({"name": "a.png"}, 400, "asked for in JSON"),
        ({"name": "a.png", "size": 1, "x": "y" * 20_000}, 413, "at most 16384 bytes"),
    ],
)
def test_a_question_that_is_refused(server, body, status, said):
    check(ask(server, body), status, said)


def test_tickets_are_for_those_who_may_write(start, weed, server, tmp_path):
    (tmp_path / "password").write_text("sesame\n")
    settings = weed.settings(PUBLIC_UPLOADS="false", PASSWORD_FILE=str(tmp_path / "password"))
    closed = start(aws=environment(weed.role()), **settings)
    code = base64.b64encode(b"x:sesame").decode()
    for path in ("/tickets", f"/tickets/{keys.new_key('a.png')}"):
        check(closed.request("POST", path, b"{}"), 401, "need the password")
        check(server.request("POST", path, b"{}", Origin="https://other.test"), 403, "another site's page")
        assert closed.request("POST", path, b"{}", Authorization=f"Basic {code}").status in (400, 404)


def test_without_s3_there_are_no_tickets(start):
    server = start()
    check(ask(server, question()), 404, "POST /files")
    check(confirm(server, keys.new_key("a.png")), 404, "POST /files")
    assert b"data-tickets" not in server.get("/").body


def test_uploads_that_were_never_confirmed_are_cleared_away(start, weed):
    settings = weed.settings(UPLOAD_URL_TTL="1", CLEANUP_AFTER="4")  # S3 knows whole seconds only
    prefix = settings["KEY_PREFIX"]
    module = ("-m", "tests.support.gallery_without_an_hour")
    server = start(*module, aws=environment(weed.role()), **settings)
    kept = upload(server)
    old = ticket(server)
    put(old)
    time.sleep(5.5)
    new = keys.new_key("a.png")
    weed.client.put_object(Bucket=BUCKET, Key=f"{prefix}/incoming/{new}", Body=b"x")
    again = start(*module, aws=environment(weed.role()), **settings)  # which clears up at its start
    until = time.monotonic() + 10
    while len(weed.keys(f"{prefix}/incoming/")) > 1 and time.monotonic() < until:
        time.sleep(0.1)
    assert weed.keys(f"{prefix}/incoming/") == [f"{prefix}/incoming/{new}"]
    assert listed(again) == [kept["key"]]
    # the minimal role may not list multipart uploads: one sentence in the log, and no failure
    assert again.log.read_text().count("left to the bucket's lifecycle rule") == 1
