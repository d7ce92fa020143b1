"""Memory is bounded at any size of a file: large uploads, eight at a time, and the download of one."""

from __future__ import annotations

import hashlib
import threading

from serving import BOUNDARY

MEGABYTE = bytes(range(256)) * 4096
LIMIT = 150_000_000  # bytes resident


def body(megabytes):
    yield f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'.encode()
    for _ in range(megabytes):
        yield MEGABYTE
    yield f"\r\n--{BOUNDARY}--\r\n".encode()


def upload(server, megabytes, answers):
    length = sum(len(piece) for piece in body(0)) + megabytes * len(MEGABYTE)
    answers.append(server.post(body(megabytes), Content_Length=str(length), timeout=120))


def test_memory(start, capsys):
    server = start()
    answers, before = [], server.peak()
    upload(server, 300, answers)
    one = server.peak()
    threads = [threading.Thread(target=upload, args=(server, 25, answers)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    eight = server.peak()
    assert [answer.status for answer in answers] == [201] * 9
    entry = answers[0].json[0]
    digest = hashlib.sha256()
    for _ in range(300):
        digest.update(MEGABYTE)
    assert (entry["size"], entry["sha256"]) == (300 * len(MEGABYTE), digest.hexdigest())
    assert hashlib.sha256(server.get(entry["url"]).body).hexdigest() == entry["sha256"]
    with capsys.disabled():
        peaks = ", ".join(f"{peak / 1e6:.0f} MB" for peak in (before, one, eight, server.peak()))
        print(f"\n  resident at most: idle, a 300 MB upload, 8 at a time, a 300 MB download: {peaks}")
    assert server.peak() < LIMIT
