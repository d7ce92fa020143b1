"""Memory is bounded at any size of a file: large uploads, eight at a time, and the download of one."""

from __future__ import annotations

import hashlib
import threading

from tests.support.gallery_server import BOUNDARY
from tests.support.seaweedfs import BUCKET, Provider

MEGABYTE = bytes(range(256)) * 4096
LIMIT = 150_000_000  # bytes resident


def body(megabytes):
    yield f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'.encode()
    for _ in range(megabytes):
        yield MEGABYTE
    yield f"\r\n--{BOUNDARY}--\r\n".encode()


def upload(server, megabytes, responses):
    length = sum(len(piece) for piece in body(0)) + megabytes * len(MEGABYTE)
    responses.append(server.post(body(megabytes), Content_Length=str(length), timeout=120))


def test_memory(start, capsys):
    server = start()
    responses, before = [], server.peak()
    upload(server, 300, responses)
    first = server.peak()
    threads = [threading.Thread(target=upload, args=(server, 25, responses)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    eight = server.peak()
    assert [answer.status for answer in responses] == [201] * 9
    entry = responses[0].json[0]
    digest = hashlib.sha256()
    for _ in range(300):
        digest.update(MEGABYTE)
    assert (entry["size"], entry["sha256"]) == (300 * len(MEGABYTE), digest.hexdigest())
    assert hashlib.sha256(server.get(entry["url"]).body).hexdigest() == entry["sha256"]
    with capsys.disabled():
        peaks = ", ".join(f"{peak / 1e6:.0f} MB" for peak in (before, first, eight, server.peak()))
        print(f"\n  resident at most: idle, a 300 MB upload, 8 at a time, a 300 MB download: {peaks}")
    assert server.peak() < LIMIT


def test_memory_of_forms_to_s3(start, weed, capsys):
    """Parts of 5 MiB for 32 uploads would be more than all: they take turns."""
    provider = Provider(weed, 900)  # with botocore in memory, as on an instance
    server = start(aws=provider.environment(), **weed.settings(STORAGE_TIMEOUT="30"))
    responses, before = [], server.peak()
    upload(server, 300, responses)
    first = server.peak()
    threads = [threading.Thread(target=upload, args=(server, 12, responses)) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status for answer in responses] == [201] * 33, [answer.body for answer in responses]
    with capsys.disabled():
        peaks = ", ".join(f"{peak / 1e6:.0f} MB" for peak in (before, first, server.peak()))
        print(f"\n  resident at most, storage s3: idle, a 300 MB upload, 32 at a time: {peaks}")
    assert server.peak() < LIMIT
    entry = responses[0].json[0]
    head = weed.client.head_object(Bucket=BUCKET, Key=weed.keys("gallery/")[-1])
    assert {entry["size"], head["ContentLength"]} >= {300 * len(MEGABYTE)}
    assert weed.unfinished("gallery/") == []
    provider.end()
