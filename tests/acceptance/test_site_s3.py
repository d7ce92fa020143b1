"""The site with its files in S3: the bytes go between browsers and S3, the servers sign and list."""

from __future__ import annotations

import concurrent.futures
import functools
import json
import multiprocessing
import statistics
import subprocess
import time

import pytest

from lab import s3, state
from lab.settings import Lab
from tests.support import ROOT
from tests.support.fleet import DISK, Fleet, granted, memory, sh, wait
from tests.support.visitors import Load, ask, by_url, digest, direct, noise, sizes


@pytest.fixture(scope="module")
def s3_fleet(lab) -> Fleet:
    """The lab with its files in S3; where it had them before at the end."""
    lab.play("playbooks/bucket.yml")
    lab.play("site.yml", "-e", "webapp_storage=s3")
    yield lab
    lab.play("site.yml")


@pytest.fixture
def fronts(s3_fleet) -> list[str]:
    """The site on each server."""
    return [host["http"] for host in s3_fleet.status["hosts"]]


@pytest.fixture
def site(s3_fleet) -> str:
    """The site through the balancer."""
    return s3_fleet.status["site_url"]


def answered(server, status: int) -> int:
    """How many requests for a file nginx has answered with a status, by its log, which it writes every five seconds."""
    return int(server.run(f'grep -cE "GET /files/[^ ?]+ HTTP/1.1. {status} " /var/log/webapp/front.log || true'))


def listed(front: str, key: str) -> bool:
    """Whether a server lists a file among its newest."""
    return any(entry["key"] == key for entry in json.loads(ask(front, "/files?limit=200")[1])["files"])


def visit(site: str, fronts: list[str], number: int, size: int) -> tuple[str, list[float]]:
    """Upload a file and see every server list it; its key, and each server's delay in seconds."""
    stored = direct(site, f"file-{number}.txt", noise(number, size), size)
    made = time.monotonic()

    def shows(front: str) -> float:
        while not listed(front, stored["key"]):
            assert time.monotonic() - made < 10, f"{front} does not list {stored['key']}"
            time.sleep(0.05)  # sixteen who ask without a breath would be a load of their own
        return time.monotonic() - made

    with concurrent.futures.ThreadPoolExecutor(len(fronts)) as readers:
        lags = list(readers.map(shows, fronts))
    assert stored["size"] == size
    return stored["key"], lags


def same(fronts: list[str], key: str, number: int, size: int) -> bool:
    """Whether the links of all servers give the bytes that were uploaded."""
    wanted = digest(noise(number, size))
    return all(digest(by_url(front, f"/files/{key}")) == wanted for front in fronts)


def test_200_uploads_are_listed_everywhere_within_a_second(s3_fleet, site, fronts, figure):
    before = [server.moved() for server in s3_fleet.servers]
    served, redirected = (sum(answered(server, status) for server in s3_fleet.servers) for status in (200, 302))
    begin = time.monotonic()
    wanted = sizes(200, 1, 100_000_000, 1_000_000_000)
    # each visitor has a process of its own: threads would wait for each other, and that is not the site's delay
    with concurrent.futures.ProcessPoolExecutor(8, multiprocessing.get_context("spawn")) as pool:
        visits = list(pool.map(functools.partial(visit, site, fronts), range(200), wanted))
        took = time.monotonic() - begin
        keys, lags = [key for key, _lags in visits], [lag for _key, lags in visits for lag in lags]
        assert all(pool.map(functools.partial(same, fronts), keys, range(200), wanted))
    through = sum(server.moved() for server in s3_fleet.servers) - sum(before)
    used = [memory(server) for server in s3_fleet.servers]
    time.sleep(6)
    served = sum(answered(server, 200) for server in s3_fleet.servers) - served
    redirected = sum(answered(server, 302) for server in s3_fleet.servers) - redirected
    for key in keys:
        assert ask(site, f"/files/{key}", "DELETE")[0] == 204
        assert not listed(fronts[0], key)
    bytes_moved = sum(wanted) * (1 + len(fronts))
    figure(
        f"200 files, {sum(wanted) / 1e6:.0f} MB up in {took:.0f} s, each listed by every server at most {max(lags):.2f} s "
        f"after its 201 (bar: 1 s), half of them {statistics.median(lags):.2f} s"
    )
    figure(
        f"of {bytes_moved / 1e6:.0f} MB the servers' networks carried {through / 1e6:.1f} MB; memory of the app {max(used)} MiB"
    )
    assert max(lags) < 1
    assert through < bytes_moved * 0.02
    assert (served, redirected) == (0, 200 * len(fronts)), "files that nginx served, and links that it passed on"
    assert max(used) * 1.048576 < 150


def test_s3_that_does_not_answer(s3_fleet, site, fronts, figure):
    kept = direct(site, "kept.txt", [b"kept"], 4)["key"]
    container = f"samefiles-{s3_fleet.name}-s3"
    sh(["docker", "pause", container])
    try:
        begin = time.monotonic()
        wait(lambda: all(ask(front, "/readyz")[0] == 503 for front in fronts), 40, "/readyz 503")
        noticed = time.monotonic() - begin
        slowest = 0.0
        for _ in range(10):
            for front in fronts:
                status, _, seconds = ask(front, "/healthz")
                slowest = max(slowest, seconds)
                assert status == 200
                status, body, _ = ask(front, "/")
                assert status == 503
                assert b"S3" in body
        # a ticket costs no request to S3; its upload waits for S3 as a browser would
        with pytest.raises((AssertionError, OSError)):
            direct(fronts[0], "vain.txt", [b"vain"], 4, seconds=10)
    finally:
        sh(["docker", "unpause", container])
    green = wait(lambda: all(ask(front, "/readyz")[0] == 200 for front in fronts), 60, "/readyz 200")
    for front in fronts:
        assert b"".join(by_url(front, f"/files/{kept}")) == b"kept"
    assert ask(fronts[0], f"/files/{kept}", "DELETE")[0] == 204
    figure(
        f"/readyz 503 after {noticed:.1f} s, /healthz at most {slowest:.2f} s (bar: 1 s), green {green:.1f} s after the thaw"
    )
    assert slowest < 1
    assert s3_fleet.play("playbooks/verify.yml", "-e", "webapp_storage=s3").code == 0


def test_efs_and_s3_in_turn_under_load(s3_fleet, fronts, figure):
    with Load(fronts[0], ["/", "/files", "/healthz"], slow_uploads=2) as load:
        for storage in ("efs", "s3"):
            play = s3_fleet.play("site.yml", "--skip-tags", "proof", "-e", f"webapp_storage={storage}")
            assert any(play.changed().values()), f"nothing was pending for {storage}"
        time.sleep(25)
    # nginx is reloaded, and closes connections that are kept: who uses one at that moment gets no answer (README of webapp)
    closed = [
        line
        for line in load.failed
        if "keep-alive: RemoteDisconnected" in line or "keep-alive: ConnectionReset" in line
    ]
    figure(
        f"to EFS and back: {load.done} requests and {load.uploads} uploads, {len(load.failed)} failed, "
        f"{len(closed)} of them on a kept connection that a reload of nginx had closed"
    )
    assert load.failed == closed
    assert len(closed) <= 6  # three such connections, two reloads
    assert load.uploads > 0
    assert s3_fleet.play("site.yml", "-e", "webapp_storage=s3").changes() == []


def test_the_public_prefix_is_a_second_switch(s3_fleet, site, fronts):
    opened = ["-e", "webapp_storage=s3", "-e", "webapp_public_prefix=public"]
    confirmed = [*opened, "-e", json.dumps({"webapp_public_access_confirmed": True})]
    try:
        s3_fleet.play("playbooks/bucket.yml", *confirmed)
        s3_fleet.play("site.yml", *confirmed)
        key = direct(site, "open.txt", [b"for all"], 7)["key"]
        plain = f"{s3_fleet.status['s3_endpoint'].replace('https', 'http')}:8080/{s3_fleet.status['bucket']}"
        assert ask(plain, f"/{s3_fleet.status['bucket']}/public/{key}")[:2] == (200, b"for all")
        for method, path in (
            ("GET", "?list-type=2&prefix=public/"),
            ("PUT", f"public/{key}"),
            ("DELETE", f"public/{key}"),
            ("GET", f"gallery/incoming/{key}"),
            ("GET", "www/gallery.png"),
        ):
            assert ask(plain, f"/{s3_fleet.status['bucket']}/{path}", method)[0] == 403, path
        # the second switch is turned off again
        s3_fleet.play("site.yml", *opened)
        s3_fleet.play("playbooks/bucket.yml", *opened)
        assert ask(plain, f"/{s3_fleet.status['bucket']}/public/{key}")[0] == 403
        assert b"".join(by_url(fronts[0], f"/files/{key}")) == b"for all"
        assert ask(site, f"/files/{key}", "DELETE")[0] == 204
    finally:
        s3_fleet.play("playbooks/bucket.yml")
        s3_fleet.play("site.yml", "-e", "webapp_storage=s3")


def test_no_key_on_any_disk_page_or_in_facts(s3_fleet, fronts):
    place = Lab(s3_fleet.name, state.load(s3_fleet.name).index)
    secrets = [s3.SECRET_KEY, json.loads((place.state / "s3/store.json").read_text())["signing_key"]]
    secrets += [granted(server)["SecretAccessKey"] for server in s3_fleet.servers]
    planted = f"planted-{time.time():.0f}"  # that the search finds what is there
    pages = [ask(front, path)[1].decode() for front in fronts for path in ("/", "/files", "/readyz", "/healthz")]
    newest = json.loads(ask(fronts[0], "/files")[1])["files"][0]["key"]
    pages.append(ask(fronts[0], f"/view/{newest}")[1].decode())
    facts = sh(["ansible", "-i", s3_fleet.inventory, "web", "-m", "ansible.builtin.setup"], cwd=ROOT).stdout
    play = sh(["ansible-playbook", "-i", s3_fleet.inventory, "site.yml", "-vvv", "-e", "webapp_storage=s3"], cwd=ROOT)
    assert [word for word in secrets if word in "\n".join([*pages, facts, play.stdout, play.stderr])] == []
    for server in s3_fleet.servers:
        server.run(f"echo {planted} >/var/tmp/planted")
        # the words come by standard input: sudo writes each command into the journal
        argv = [*server.ssh, "sudo", "grep", "-rlF", "--exclude-dir=journal", "--devices=skip", "-f", "-", *DISK]
        words = "\n".join([*secrets, planted])
        search = subprocess.run(argv, input=words, capture_output=True, text=True, timeout=300, check=False)
        assert search.stdout == "/var/tmp/planted\n"
        argv = [*server.ssh, "sudo", "journalctl", "--no-pager", "-o", "cat"]
        journal = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True).stdout
        assert [word for word in secrets if word in journal] == []
