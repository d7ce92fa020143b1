"""The listing of a bucket with 100,000 files: one request to S3 for a page, and little work of our own."""

from __future__ import annotations

import os
import time

import pytest
from gallery import keys

from tests.support import s3_server
from tests.support.seaweedfs import environment

COUNT, PAGES = 100_000, 30
BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"
LIMIT = 0.05  # seconds of the processor for a page


@pytest.fixture(scope="module")
def s3():
    """S3 with many files, and their keys, newest first."""
    with s3_server.Server() as server:
        made = sorted(keys.new_key(f"n{number}.png", 1_700_000_000 + 60 * number) for number in range(COUNT))
        thing = server.seed("gallery/files/x", b"12345")
        server.things.clear()
        server.things.update({f"gallery/files/{key}": thing for key in made})
        server.things.update({f"{place}/{key}": thing for key in made[:99] for place in ("gallery/a", "gallery/z")})
        yield server, made, {"AccessKeyId": s3_server.KEY, "SecretAccessKey": s3_server.SECRET}


def used(server) -> float:
    """The seconds of the processor that a process has had."""
    with open(f"/proc/{server.process.pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_page_of_many(start, s3, capsys):
    double, made, credentials = s3
    settings = {"STORAGE": "s3", "BUCKET": "bkt", "ENDPOINT_URL": double.url, "PROBE_INTERVAL": "600"}
    server = start(aws=environment(credentials), **settings)
    seen, after = [], ""
    time.sleep(1)  # at its start it checks the bucket and clears up
    before = double.counts.copy()
    began = used(server)
    for _page in range(PAGES):
        answer = server.get(f"/files?limit=60&after={after}").json
        seen += [entry["key"] for entry in answer["files"]]
        after = answer["next"]
    listing = (used(server) - began) / PAGES
    assert seen == made[: 60 * PAGES]
    assert double.counts - before == {"LIST": PAGES}
    began = used(server)
    for number in range(PAGES):
        assert server.get(f"/?after={made[3000 * number]}", Accept=BROWSER).status == 200
    page = (used(server) - began) / PAGES
    assert double.counts - before == {"LIST": 2 * PAGES}
    last = server.get(f"/files?after={made[-6]}").json
    assert ([entry["key"] for entry in last["files"]], "next" in last) == (made[-5:], False)
    began = used(server)
    for number in range(200):
        assert server.get(f"/files/{made[number]}").status == 302
    link = (used(server) - began) / 200
    assert double.counts - before == {"LIST": 2 * PAGES + 1}
    with capsys.disabled():
        figures = f"list {1000 * listing:.1f} ms, page {1000 * page:.1f} ms, link {1000 * link:.2f} ms"
        print(f"\n  of the processor, {COUNT:,} files: {figures}")
    assert max(listing, page) < LIMIT


def test_objects_of_strangers_among_the_files(start, s3):
    double, made, credentials = s3
    for name in ("readme.txt", "zzz/deep", "0", made[0] + ".bak", *(f"0-{number}" for number in range(70))):
        double.things[f"strange/files/{name}"] = double.things[f"gallery/files/{made[0]}"]
    double.things.update({f"strange/files/{key}": double.things[f"gallery/files/{key}"] for key in made[:5]})
    settings = {"STORAGE": "s3", "BUCKET": "bkt", "ENDPOINT_URL": double.url, "KEY_PREFIX": "strange"}
    server = start(aws=environment(credentials), **settings)
    seen, after = [], ""
    while True:
        answer = server.get(f"/files?limit=2&after={after}").json
        seen += [entry["key"] for entry in answer["files"]]
        after = answer.get("next")
        if not after:
            break
    assert seen == made[:5]
