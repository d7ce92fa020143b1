"""The storage `s3` where an answer is lost, a key is taken, or something is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import hashlib
import re
import time
from urllib.parse import parse_qs, urlsplit

import pytest
from gallery import keys, previews
from gallery.direct import redirects
from gallery.direct.pending import Incoming
from gallery.errors import Problem
from gallery.s3 import objects
from gallery.s3.bucket import Place
from gallery.settings import from_environment
from gallery.storage.s3 import S3
from gallery.worker_threads import Calls

from tests.support import s3_server
from tests.support.gallery_storage import listed, new_s3, put, read, refused
from tests.support.seaweedfs import BUCKET, forget_aws

LARGE = bytes(range(256)) * 30_000  # in two parts


@pytest.fixture
def s3(weed, monkeypatch):
    """An empty storage on SeaweedFS, and its prefix."""
    prefix = weed.prefix()
    with new_s3(weed, monkeypatch, KEY_PREFIX=prefix) as storage:
        yield storage, prefix


def test_a_large_file(s3, weed):
    storage, prefix = s3
    writer = storage.put("a.bin")
    writer.write(LARGE[:5_500_000])
    writer.write(LARGE[5_500_000:])
    assert listed(storage) == weed.keys(prefix) == []
    entry = writer.publish()
    assert (entry.size, entry.sha256) == (len(LARGE), hashlib.sha256(LARGE).hexdigest())
    head = weed.client.head_object(Bucket=BUCKET, Key=f"{prefix}/files/{entry.key}")
    assert head["ETag"].endswith('-2"')
    assert (head["ContentType"], head["CacheControl"]) == (
        "application/octet-stream",
        "private, max-age=31536000, immutable",
    )
    assert head["ContentDisposition"] == 'attachment; filename="a.bin"'
    assert read(storage, entry.key) == LARGE


def test_a_large_file_that_is_given_up_leaves_nothing(s3, weed):
    storage, prefix = s3
    writer = storage.put("a.bin")
    writer.write(LARGE)
    assert len(weed.unfinished(prefix)) == 1
    writer.abort()
    writer.abort()
    assert (weed.unfinished(prefix), weed.keys(prefix)) == ([], [])


def test_what_is_held_until_it_is_published(s3, weed):
    storage, prefix = s3
    writer = storage.put("a.txt")
    writer.write(b"small")
    writer.end()
    assert (len(weed.unfinished(prefix)), listed(storage)) == (1, [])
    assert read(storage, writer.publish().key) == b"small"


def test_a_large_file_replaces_none(s3, weed):
    storage, prefix = s3
    entry = put(storage, b"first")
    writer = storage.put("a.txt", entry.key)
    writer.write(LARGE)
    assert refused(writer.publish, entry.key).status == 409
    writer.abort()
    assert (read(storage, entry.key), weed.unfinished(prefix)) == (b"first", [])


def test_a_large_file_gets_the_key_that_it_was_given_at_once(s3):
    storage, key = s3[0], keys.new_key("a.bin", 1_700_000_000)
    writer = storage.put("a.bin", key)
    writer.write(LARGE)
    assert writer.publish(key).key == key
    assert read(storage, key) == LARGE


def test_a_reader_of_a_large_file_that_is_deleted(s3):
    storage, _prefix = s3
    entry = put(storage, LARGE)
    reader = storage.open(entry.key)
    assert reader.read(70_000, 5) == LARGE[70_000:70_005]
    storage.delete(entry.key)
    assert reader.read(0, 5) == LARGE[:5]
    with pytest.raises(Problem) as caught:
        reader.read(70_000, 5)
    assert caught.value.status == 503


# answers that are lost, by the double


@pytest.fixture
def on_double(monkeypatch):
    """A function that makes a storage on the double, with some settings; it, the double, its faults, and what is incoming."""
    forget_aws(monkeypatch)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.SECRET)
    with s3_server.Server() as server:
        base = {"NAME": "n", "PUBLIC_UPLOADS": "true", "STORAGE": "s3", "BUCKET": "bkt", "ENDPOINT_URL": server.url}
        base["REGION"] = s3_server.REGION
        with contextlib.ExitStack() as after:

            def make(**more: str):
                settings = from_environment({f"GALLERY_{name}": text for name, text in {**base, **more}.items()})
                place = Place(settings)
                after.callback(place.close)
                storage = S3(place, settings)
                return storage, server, s3_server.Fault, Incoming(storage, settings)

            yield make


@pytest.fixture
def broken(on_double):
    """A storage on the double with the usual settings."""
    return on_double()


@pytest.mark.parametrize("what", ["drop-before", "drop-after", "500", "503"])
@pytest.mark.parametrize(("operation", "data"), [("PUT", b"small"), ("BEGIN|PART|FINISH", LARGE)])
def test_an_upload_goes_through_in_spite_of_a_fault(broken, what, operation, data):
    storage, server, fault, _incoming = broken
    server.faults.append(fault(what, operation))
    writer = storage.put("a.bin")
    writer.write(data)
    entry = writer.publish()
    assert [server.things[key].data for key in server.things] == [data]
    assert listed(storage) == [entry.key]


@pytest.mark.parametrize("data", [b"small", LARGE])
def test_an_upload_that_fails_for_good_leaves_nothing(broken, data):
    storage, server, fault, _incoming = broken
    writer = storage.put("a.bin")
    writer.write(data)
    server.faults.append(fault("drop-after", "PUT|FINISH", count=3))
    server.faults.append(fault("500", "HEAD", count=9))
    # it was stored, and nobody can know
    assert refused(writer.publish).status == 503
    server.faults.clear()
    writer.abort()
    assert (server.things, server.unfinished()) == ({}, 0)


@pytest.mark.parametrize(
    ("operation", "what"),
    [(operation, what) for operation in ("HEAD", "COPY", "PUT") for what in ("drop-before", "drop-after", "500", "503")]
    + [("COPY", "error-in-200")],
)
def test_a_confirmation_goes_through_in_spite_of_a_fault(broken, operation, what):
    storage, server, fault, incoming = broken
    key = keys.new_key("a.txt")
    server.seed(storage.incoming(key), b"bytes")
    server.faults.append(fault(what, operation))
    done = incoming.confirm(key)
    # a copy that was made but not reported may as well be somebody else's
    unreported = operation == "COPY" and what in ("drop-after", "error-in-200")
    assert (done.entry.key, done.new) == (key, not unreported)
    assert server.things[storage.object(key)].data == b"bytes"
    assert listed(storage) == [key]
    assert server.things[storage.incoming(key)].data == b""


def test_a_confirmation_that_fails_is_asked_for_again(broken):
    storage, server, fault, incoming = broken
    key = keys.new_key("a.txt")
    server.seed(storage.incoming(key), b"bytes")
    server.faults.append(fault("503", "COPY", count=3))
    assert refused(incoming.confirm, key).status == 503
    assert listed(storage) == []
    assert incoming.confirm(key).new


def test_a_copy_that_is_not_answered_is_no_second_time_waited_for(on_double, monkeypatch):
    monkeypatch.setattr("gallery.s3.bucket.PATIENCE", 1.0)
    storage, server, fault, incoming = on_double()
    key = keys.new_key("a.txt")
    server.seed(storage.incoming(key), b"bytes")
    server.faults.append(fault("hang", "COPY", count=9, value=4))
    began = time.monotonic()
    problem = refused(incoming.confirm, key)
    assert (problem.status, "no answer in time" in problem.sentence) == (503, True)
    assert 1 <= time.monotonic() - began < 4
    assert server.counts["COPY"] == 1


@pytest.mark.parametrize("last_check", ["works", "fails"])
def test_a_copy_that_fails_after_its_file_was_deleted_is_withdrawn(broken, last_check):
    """S3 saw a free key, and was done after somebody had deleted the file; the server sees only a failure."""
    storage, server, fault, incoming = broken
    key = keys.new_key("a.txt")
    server.seed(storage.incoming(key), b"bytes")

    def meanwhile(request) -> None:
        if request.operation == "COPY":
            server.seed(storage.incoming(key), b"", x_amz_meta_closed="deleted")
            server.seed(storage.object(key), b"bytes")
            if last_check == "fails":
                server.faults.append(fault("500", "HEAD", count=9))

    server.hook = meanwhile
    server.faults.append(fault("403", "COPY", value="AccessDenied"))
    problem = refused(incoming.confirm, key)
    assert (problem.status, "COPY" in problem.sentence) == (503, True)  # so that the client asks again
    server.hook = None
    server.faults.clear()
    assert (storage.object(key) in server.things) == (last_check == "fails")
    assert refused(incoming.confirm, key).status == 404
    assert listed(storage) == []


def test_a_ticket_that_cannot_be_closed_does_no_harm(broken, caplog):
    storage, server, fault, incoming = broken
    key = keys.new_key("a.txt")
    server.seed(storage.incoming(key), b"bytes")
    server.faults.append(fault("403", "PUT", value="AccessDenied"))
    assert incoming.confirm(key).new
    assert "cleaning up" in caplog.text
    assert not incoming.confirm(key).new  # which closes it
    assert server.things[storage.incoming(key)].data == b""
    assert listed(storage) == [key]


def test_what_is_no_entry_is_said_so(broken):
    storage, server, fault, _incoming = broken
    server.faults.append(fault("cut", "LIST", count=9))
    problem = refused(storage.list, "", 9)
    assert (problem.status, "cut short" in problem.sentence) == (503, True)


# what S3 says of itself


def region_of(url: str) -> str:
    return parse_qs(urlsplit(url).query)["X-Amz-Credential"][0].split("/")[2]


def test_what_the_look_at_s3_learns_is_known_to_all(broken):
    storage, server, _fault, incoming = broken
    server.seed("gallery/files/" + keys.new_key("a.txt"), b"there")
    server.regions["bkt"] = "us-west-2"
    storage.check()  # by the bucket `watch`
    server.skew = 3600 * 5
    storage.check()
    before = len(server.log)
    assert len(listed(storage)) == 1
    with storage.place.explained("Reading"):
        for patience in ("quick", "steady", "patient"):
            assert objects.head(storage.place.bucket(patience), "gallery/files/none") is None
    assert [status for _operation, _key, status in server.log[before:]] == [200, 404, 404, 404]
    for url in (storage.link("GET", keys.new_key("a.txt")).url, incoming.ticket("a.txt", 5, "")["url"]):
        assert region_of(url) == "us-west-2"
        stamp = datetime.datetime.strptime(parse_qs(urlsplit(url).query)["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ")
        # a link is the same for half of its life
        assert 0 <= server.now() - stamp.replace(tzinfo=datetime.timezone.utc).timestamp() < 1805


DAY = 86400


@pytest.fixture
def no_multipart(monkeypatch):
    """No uploads in parts, of which the double makes no list."""
    monkeypatch.setattr(objects, "uploads", lambda *_arguments: [])


@pytest.mark.parametrize("skew", [0, 2 * DAY, -2 * DAY])
def test_what_was_left_behind_is_cleared_away_by_the_clock_of_s3(broken, no_multipart, skew):
    """Whether this server is right, two days slow or two days fast."""
    storage, server, _fault, _incoming = broken
    server.skew = skew

    def left(name: str, made: float, stored: float, data: bytes = b"bytes") -> str:
        """What lies below incoming/, by a key that was made and an object that was stored so many seconds ago."""
        place = storage.incoming(keys.new_key(name, server.now() - made))
        server.seed(place, data).modified = server.now() - stored
        return place

    kept = [
        left("upload.png", 5, 5),
        left("mark.png", 5, 5, b""),
        left("of-a-slow-server.png", 3 * DAY, 5),
        left("mark-of-a-slow-server.png", 3 * DAY, 5, b""),
        left("closed-much-later.png", 2 * DAY, DAY - 60, b""),
    ]
    for name, data in (("upload.png", b"bytes"), ("mark.png", b"")):
        left(name, DAY + 60, DAY + 30, data)
    storage.tidy(DAY)  # it may learn S3's time only now
    assert set(kept) <= set(server.things)
    storage.tidy(DAY)
    assert sorted(server.things) == sorted(kept)


def test_what_s3_gives_no_time_of_is_not_cleared_away(broken, no_multipart):
    storage, server, fault, _incoming = broken
    place = storage.incoming(keys.new_key("a.png", server.now() - 2 * DAY))
    server.seed(place, b"bytes")
    server.faults.append(fault("body", "LIST", value=lambda body: re.sub(b"(<LastModified>)[^<]*", rb"\1soon", body)))
    storage.tidy(DAY)
    assert list(server.things) == [place]


@pytest.mark.parametrize("skew", [0, 2 * DAY, -2 * DAY])
def test_keys_are_made_by_the_clock_of_s3(broken, skew):
    storage, server, _fault, incoming = broken
    server.skew = skew
    storage.check()
    made = [incoming.ticket("a.txt", 5, "")["key"], put(storage, b"small").key, put(storage, LARGE, "a.bin").key]
    assert [abs(keys.made_at(key) - server.now()) < 60 for key in made] == [True] * 3


def test_links_have_the_browsers_address_and_the_region_that_s3_reports(on_double):
    storage, server, _fault, incoming = on_double(BROWSER_ENDPOINT_URL="https://files.example.com")
    server.regions["bkt"] = "us-west-2"
    place = storage.place
    assert (place.outside().name, place.outside().region) == ("bkt.files.example.com", "eu-central-1")
    storage.check()
    assert (place.outside().name, place.outside().region) == ("bkt.files.example.com", "us-west-2")
    for url in (storage.link("GET", keys.new_key("a.txt")).url, incoming.ticket("a.txt", 5, "")["url"]):
        assert url.startswith("https://bkt.files.example.com/gallery/")
        assert region_of(url) == "us-west-2"
    assert place.bucket().endpoint.name == "127.0.0.1"  # this server itself uses another endpoint
    assert storage.origin() == "https://bkt.files.example.com"


# previews that are missing

PREVIEW = b"\xff\xd8\xff a small one"


def ask_for_thumbs(storage, *asked: str) -> list[int]:
    """The statuses for the previews of some keys, 0 for none; one request after the other."""

    async def main() -> list[int]:
        direct = redirects.Direct(storage, Calls(4, 5))
        responses = [await direct.thumb("GET", key) for key in asked]
        return [answer.status_code if answer else 0 for answer in responses]

    return asyncio.run(main())


def test_a_missing_preview_is_asked_for_once(broken):
    storage, server, _fault, _incoming = broken
    kept = [keys.new_key("a.png") for _file in range(100)]
    assert ask_for_thumbs(storage, *kept, *kept) == [0] * 200
    assert server.counts["HEAD"] == 100


@pytest.mark.parametrize("by_another", [False, True])
def test_a_preview_that_is_stored_here_is_shown_at_once(broken, on_double, by_another):
    storage = broken[0]
    entry = put(storage, b"bytes", "a.png")
    assert ask_for_thumbs(storage, entry.key) == [0]
    if by_another:  # which this server learns when it would store one as well
        other = on_double()[0]
        previews.publish(other, entry.key, previews.begin(other.previews(), "a.png", PREVIEW))
        writer = previews.begin(storage.previews(), "a.png", PREVIEW + b"2")
        assert refused(previews.publish, storage, entry.key, writer).status == 409
    else:
        previews.publish(storage, entry.key, previews.begin(storage.previews(), "a.png", PREVIEW))
    assert ask_for_thumbs(storage, entry.key) == [302]


def test_a_preview_that_another_server_stored_is_deleted_though_it_was_missed(broken, on_double):
    storage, server, _fault, _incoming = broken
    entry = put(storage, b"bytes", "a.png")
    assert ask_for_thumbs(storage, entry.key) == [0]
    other = on_double()[0]
    previews.publish(other, entry.key, previews.begin(other.previews(), "a.png", PREVIEW))
    previews.delete(storage.previews(), entry.key)
    assert list(server.things) == [storage.object(entry.key)]


EMPTY = b"""<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>
<NextContinuationToken>%s</NextContinuationToken></ListBucketResult>"""


def test_empty_pages_of_a_listing_are_passed_over(broken):
    storage, server, fault, _incoming = broken
    entry = put(storage, b"there")
    token = storage.object("0").encode().hex().encode()
    server.faults.append(fault("body", "LIST", count=3, value=lambda _body: EMPTY % token))
    assert listed(storage) == [entry.key]
    assert server.counts["LIST"] == 4


def test_a_listing_of_empty_pages_alone_comes_to_an_end(broken):
    storage, server, fault, _incoming = broken
    put(storage, b"there")
    token = storage.object("0").encode().hex().encode()
    server.faults.append(fault("body", "LIST", count=999, value=lambda _body: EMPTY % token))
    problem = refused(storage.list, "", 9)
    assert (problem.status, "page after page" in problem.sentence, server.counts["LIST"]) == (503, True, 100)
