"""What the site must bear, through the balancer and server by server."""

from __future__ import annotations

import concurrent.futures
import json
import statistics
import time

import pytest

from tests.support import ROOT
from tests.support.fleet import memory, sh, wait
from tests.support.visitors import Load, ask, digest, download, noise, sizes, upload

URLS = ["/", "/files", "/healthz"]


@pytest.fixture
def site(fleet) -> str:
    """The site through the balancer."""
    return fleet.status["site_url"]


@pytest.fixture
def fronts(fleet) -> list[str]:
    """The site on each server."""
    return [host["http"] for host in fleet.status["hosts"]]


def test_200_uploads_are_everywhere_within_a_second(fleet, site, fronts, figure):
    keys, lags = [], []

    def visit(number: int, size: int) -> None:
        wanted = digest(noise(number, size))
        stored = upload(site, f"file-{number}.txt", noise(number, size), size)
        made = time.monotonic()

        def opened(front: str) -> float:
            assert ask(front, f"/files/{stored['key']}", "HEAD")[0] == 200
            return time.monotonic() - made

        with concurrent.futures.ThreadPoolExecutor(len(fronts)) as readers:
            lags.extend(readers.map(opened, fronts))
        assert stored["sha256"] == wanted
        keys.append(stored["key"])
        for front in fronts:
            assert digest([ask(front, f"/files/{stored['key']}")[1]]) == wanted

    begin = time.monotonic()
    wanted = sizes(200, 1, 50_000_000, 500_000_000)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(visit, range(200), wanted))
    took = time.monotonic() - begin
    used = [memory(server) for server in fleet.servers]
    for key in keys:
        assert ask(site, f"/files/{key}", "DELETE")[0] == 204
    figure(
        f"200 files, {sum(wanted) / 1e6:.0f} MB in {took:.0f} s, each opened on every server at most {max(lags):.2f} s after its 201 (bar: 1 s)"
    )
    figure(f"memory of the app at most {max(used)} MiB (bar: 150 MB)")
    assert max(lags) < 1
    assert max(used) * 1.048576 < 150


def test_2_gigabytes(fleet, site, fronts, figure):
    size = 2 * 1024**3
    begin = time.monotonic()
    stored = upload(site, "large.txt", noise(7, size), size)
    took = time.monotonic() - begin
    assert stored["size"] == size
    assert stored["sha256"] == digest(noise(7, size))
    wanted = digest(noise(7, size))
    for front in (site, *fronts):
        assert digest(download(front, f"/files/{stored['key']}")) == wanted
    used = [memory(server) for server in fleet.servers]
    assert ask(site, f"/files/{stored['key']}", "DELETE")[0] == 204
    figure(f"2 GiB uploaded in {took:.0f} s, memory of the app at most {max(used)} MiB")
    assert max(used) * 1.048576 < 150


def test_a_new_release_under_load(fleet, fronts, figure):
    figures = []
    for number, front in enumerate(fronts):
        limit = fleet.servers[number].name
        with Load(front, URLS, slow_uploads=4) as load:
            time.sleep(5)
            fleet.play(
                "site.yml",
                "--limit",
                f"{limit},localhost",
                "--skip-tags",
                "proof",
                "-e",
                f"webapp_title=Title{number}{time.time():.0f}",
            )
            time.sleep(25)
        figures.append(f"{load.done} requests and {load.uploads} uploads, {len(load.failed)} failed")
        assert load.failed == []
        assert load.uploads > 0
    figure("; ".join(figures))
    fleet.play("site.yml")


def test_a_release_that_does_not_start_stops_the_play(fleet, fronts):
    before = [server.run("readlink /opt/webapp/current") for server in fleet.servers]
    loads = [Load(front, URLS) for front in fronts]
    with loads[0], loads[1]:
        play = fleet.play("site.yml", "-e", "webapp_command=/usr/bin/false", check=False)
    assert play.code != 0
    assert [server.run("readlink /opt/webapp/current") for server in fleet.servers] == before
    failed = [host for host in play.report["stats"] if play.report["stats"][host]["failures"]]
    assert len(failed) == 1, play.said()  # the next one was not touched
    assert [load.failed for load in loads] == [[], []]
    assert min(load.done for load in loads) > 0
    fleet.play("site.yml")


def test_a_server_that_stops_dead_under_load(fleet, site, figure):
    victim = fleet.servers[1]
    with Load(site, URLS) as load:
        time.sleep(5)
        sh(["docker", "kill", victim.container])
        time.sleep(15)
        failed = len(load.failed)
        before = load.done
        time.sleep(5)
        assert load.done > before
        assert len(load.failed) == failed, "requests go on failing"
        sh(["docker", "start", victim.container])
        back = wait(lambda: served_by(site, victim.name), 240, f"{victim.name} in use again")
    # at most what was in flight there: five visitors, one request each
    assert len(load.failed) <= 5, load.failed
    figure(
        f"{len(load.failed)} of {load.done} requests failed (5 visitors), the server was in use again {back:.0f} s after its start"
    )


def served_by(site: str, name: str) -> bool:
    import contextlib

    from tests.support.visitors import connect

    for _ in range(8):
        with contextlib.closing(connect(site, 10)) as connection:
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            answer.read()
            if answer.status == 200 and answer.headers["X-Served-By"] == name:
                return True
    return False


# seconds until /readyz knows: the probe of the lab looks every five, and waits five for an answer
PROBE = 5 + 5 + 2
# seconds that a request for a file may take: webapp_files_timeout, and what a busy guest adds
FILES = 3 + 2


def test_a_frozen_file_system(fleet, fronts, figure):
    kept = upload(fronts[0], "kept.txt", [b"kept"], 4)["key"]
    processes = [count(server) for server in fleet.servers]
    sh(["docker", "pause", fleet.storage])
    visitors, refused = concurrent.futures.ThreadPoolExecutor(24), []
    try:
        begin = time.monotonic()
        wait(lambda: all(ask(front, "/readyz")[0] == 503 for front in fronts), 30, "/readyz 503")
        noticed = time.monotonic() - begin
        for number in range(48):
            front = fronts[number % len(fronts)]
            refused.append(visitors.submit(ask, front, f"/files/{kept}"))
            refused.append(visitors.submit(in_vain, front))
        slowest = 0.0
        for _ in range(10):
            for front in fronts:
                status, _, took = ask(front, "/healthz")
                slowest = max(slowest, took)
                assert status == 200
                status, body, took = ask(front, "/")
                assert took < 10
                assert b"does not answer" in body
        results = [item.result(120) for item in refused]
        assert {status for status, *_ in results[::2]} == {504}
        assert set(results[1::2]) <= {503, 504}
        late = statistics.median(took for _status, _body, took in results[::2])
        grown = [count(server) - before for server, before in zip(fleet.servers, processes)]
    finally:
        sh(["docker", "unpause", fleet.storage])
        visitors.shutdown()
    green = wait(lambda: all(ask(front, "/readyz")[0] == 200 for front in fronts), 60, "/readyz 200")
    figure(
        f"/readyz 503 after {noticed:.1f} s, /healthz at most {slowest:.2f} s (bar: 1 s), processes grown by {grown}"
    )
    figure(f"a file is a 504 after {late:.1f} s, 48 of them and 48 uploads at a time")
    figure(f"green {green:.1f} s after the thaw (bar: 30 s)")
    assert noticed < PROBE
    assert late < FILES
    for front in fronts:
        assert ask(front, f"/files/{kept}")[:2] == (200, b"kept")
    assert ask(fronts[0], f"/files/{kept}", "DELETE")[0] == 204
    assert slowest < 1
    assert green < 30
    assert max(grown) <= 3
    assert fleet.play("playbooks/verify.yml").code == 0


def in_vain(front: str) -> int:
    """The status of an upload that cannot succeed."""
    try:
        upload(front, "vain.txt", [b"in vain"], 7)
    except AssertionError as fault:
        return int(str(fault).partition(": ")[2].split()[0])
    return 201


def count(server) -> int:
    return int(server.run("ps -u webapp -o pid= | wc -l"))


def test_a_server_that_boots_without_storage(fleet, fronts, figure):
    server, front = fleet.servers[0], fronts[0]
    sh(["docker", "stop", "-t", "2", fleet.storage])
    try:
        sh(["docker", "kill", server.container])
        sh(["docker", "start", server.container])
        wait(lambda: page_says(front, b"no "), 180, "a page that explains")
        assert json.loads(ask(front, "/readyz")[1])["ok"] is False
        assert ask(front, "/healthz")[0] == 200
    finally:
        sh(["docker", "start", fleet.storage])
    green = wait(lambda: ask(front, "/readyz")[0] == 200, 300, "/readyz 200")
    stored = upload(front, "back.txt", [b"here again"], 10)
    assert ask(fronts[1], f"/files/{stored['key']}")[1] == b"here again"
    assert ask(front, f"/files/{stored['key']}")[1] == b"here again"
    assert ask(front, f"/files/{stored['key']}", "DELETE")[0] == 204
    figure(f"green {green:.0f} s after the file system came back")


def page_says(front: str, words: bytes) -> bool:
    try:
        status, body, _ = ask(front, "/", seconds=5)
    except OSError:
        return False
    return status in (200, 503) and words in body


def test_an_own_app_with_its_files_on_the_mount(fleet, fronts):
    own = {
        "webapp_source": str(ROOT / "tests/support/apps/tiny"),
        "webapp_environment": {"GREETING": "from the mount"},
        "webapp_media": {"/media/": "/srv/files/shop"},
    }
    server, front = fleet.servers[1], fronts[1]
    try:
        fleet.play("site.yml", "-e", json.dumps(own))
        assert json.loads(ask(front, "/")[1])["greeting"] == "from the mount"
        fleet.servers[0].run(
            "mkdir -p /srv/files/shop && echo hello >/srv/files/shop/a.txt && chown -R 5000 /srv/files/shop"
        )
        assert ask(front, "/media/a.txt")[:2] == (200, b"hello\n")
        assert ask(front, "/media/b.txt")[0] == 404
        assert fleet.play("site.yml", "-e", json.dumps(own)).changes() == []
        # a file is never looked for on the server's own disk, and the app never runs without its mount
        unit = server.run("systemctl list-units --plain --no-legend --state=active webapp@*.service").split()[0]
        assert "/srv/files" in server.run(f"systemctl show --property RequiresMountsFor --value {unit}").split()
        sockets = unit.replace(".service", ".socket")
        server.run(f"systemctl stop {sockets} && systemctl stop srv-files.mount")
        assert server.code(f"systemctl is-active {unit}") != 0
        status, said, _ = ask(front, "/media/a.txt")
        assert (status, b"not mounted" in said) == (503, True)
        # the first request brings back the app, and the app its mount
        server.run(f"systemctl start {sockets}")
        assert json.loads(ask(front, "/", seconds=60)[1])["greeting"] == "from the mount"
        assert " nfs4 " in server.mount()
        assert ask(front, "/media/a.txt")[:2] == (200, b"hello\n")
    finally:
        fleet.servers[0].run("rm -rf /srv/files/shop")
        fleet.play("site.yml")
    assert json.loads(ask(front, "/files")[1])["files"]


def test_a_second_run_changes_nothing_and_is_short(fleet, figure):
    before = [server.modules_run() for server in fleet.servers]
    assert fleet.play("site.yml").changes() == []
    ran = [server.modules_run() - earlier for server, earlier in zip(fleet.servers, before)]
    figure(f"modules run per host, the proof included: {ran} (bar: 14)")
    assert max(ran) <= 14
