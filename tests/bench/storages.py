"""make bench-web, second part: the same fleet with its files on EFS and in S3, in one run; prints the table of docs/efs_or_s3.md.

Each storage is measured twice, in turn, through the balancer; the figures are medians over both rounds. The lab has
stand-ins for EFS and S3: the ratios say what the servers save, not how fast Amazon is.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import statistics
import sys
import time
import urllib.parse

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
from tests.support.fleet import Fleet
from tests.support.visitors import ask, connect, direct, download, noise, redirect, upload

ROUNDS, VIEWS, FILES = 2, 300, 60
SMALL, LARGE = 100 * 1024, 256 * 1024**2
ROWS = {
    "list": "list page with the newest 60 files, ms",
    "first": "first byte of a file of 100 KiB, ms",
    "down": "one file of 256 MiB down, MB/s",
    "up": "the same file up, MB/s",
    "cpu": "CPU of the servers for 1,000 views, s",
    "net": "network of the servers for 1,000 views, MB",
}
"""A view is the page and one file of 100 KiB."""


def busy(server) -> float:
    """CPU seconds that a server has used, its kernel's included."""
    fields = [int(field) for field in server.run("head -1 /proc/stat").split()[1:]]
    return (sum(fields) - fields[3] - fields[4]) / 100


class EfsSite:
    """The bytes come through the servers."""

    put = staticmethod(upload)

    @staticmethod
    def link(site: str, key: str) -> str:
        """The address of the bytes of a file."""
        return f"{site}/files/{key}"


class S3Site:
    """The bytes come from S3."""

    put = staticmethod(direct)

    @staticmethod
    def link(site: str, key: str) -> str:
        """The address of the bytes of a file, to which the site redirects."""
        return redirect(site, f"/files/{key}")


def path_of(link: str) -> str:
    """Path and query of a link."""
    split = urllib.parse.urlsplit(link)
    return f"{split.path}?{split.query}" if split.query else split.path


class Visitor:
    """A browser that keeps its connections open, one to each host."""

    def __init__(self) -> None:
        self._open: dict[str, http.client.HTTPConnection] = {}

    def first_byte(self, link: str) -> float:
        """Seconds until the first byte of an answer of 200; follows one redirect."""
        begin = time.monotonic()
        for _ in range(2):
            answer, connection = self._get(link)
            if answer.status != 302:
                break
            answer.read()
            link = answer.headers["Location"]
        assert answer.status == 200, (link, answer.status)
        answer.read(1)
        took = time.monotonic() - begin
        answer.read()
        if answer.will_close:
            connection.close()
        return took

    def _get(self, link: str):
        host = urllib.parse.urlsplit(link).netloc
        connection = self._open.setdefault(host, connect(link, 60))
        connection.request("GET", path_of(link))
        return connection.getresponse(), connection

    def close(self) -> None:
        """Close all of them."""
        for connection in self._open.values():
            connection.close()


def speed(begin: float) -> float:
    """MB/s of the large file since a moment."""
    return LARGE / 1e6 / (time.monotonic() - begin)


def measure(fleet: Fleet, site: str, way) -> dict[str, list[float]]:
    """One round."""
    figures: dict[str, list[float]] = {row: [] for row in ROWS}
    keys = [way.put(site, f"bench-{n}.txt", noise(n, SMALL), SMALL)["key"] for n in range(FILES)]
    begin = time.monotonic()
    keys.append(way.put(site, "bench-large.txt", noise(99, LARGE), LARGE)["key"])
    figures["up"].append(speed(begin))
    link = way.link(site, keys[-1])
    begin = time.monotonic()
    assert sum(map(len, download(link, path_of(link)))) == LARGE
    figures["down"].append(speed(begin))
    for _ in range(20):
        status, body, took = ask(site, "/files?limit=60")
        assert status == 200
        assert len(json.loads(body)["files"]) == 60
        figures["list"].append(took * 1000)
    with contextlib.closing(Visitor()) as visitor:
        before = [(busy(server), server.moved()) for server in fleet.servers]
        for number in range(VIEWS):
            visitor.first_byte(f"{site}/")
            figures["first"].append(visitor.first_byte(f"{site}/files/{keys[number % FILES]}") * 1000)
        after = [(busy(server), server.moved()) for server in fleet.servers]
    figures["cpu"].append(sum(b[0] - a[0] for a, b in zip(before, after)) * 1000 / VIEWS)
    figures["net"].append(sum(b[1] - a[1] for a, b in zip(before, after)) / 1e6 * 1000 / VIEWS)
    for key in keys:
        assert ask(site, f"/files/{key}", "DELETE")[0] == 204
    return figures


def main() -> int:
    """Measure on the lab that LAB names; the exit code."""
    fleet = Fleet(os.environ.get("LAB", "lab"))
    site = fleet.status["site_url"]
    ways = {"efs": EfsSite, "s3": S3Site}
    figures: dict[str, dict[str, list[float]]] = {name: {row: [] for row in ROWS} for name in ways}
    fleet.play("playbooks/bucket.yml")
    try:
        for number in range(ROUNDS):
            for name, way in ways.items():
                print(f"round {number + 1} of {ROUNDS}: {name}", flush=True)
                fleet.play("site.yml", "--skip-tags", "proof", "-e", f"webapp_storage={name}")
                for row, values in measure(fleet, site, way).items():
                    figures[name][row] += values
    finally:
        fleet.play("site.yml", "--skip-tags", "proof")
    print("\n| measurement | EFS | S3 | S3 / EFS |\n|---|---|---|---|")
    for row, what in ROWS.items():
        efs, s3 = (statistics.median(figures[name][row]) for name in ways)
        print(f"| {what} | {efs:.1f} | {s3:.1f} | {s3 / efs:.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
