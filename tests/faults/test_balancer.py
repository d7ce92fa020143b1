"""The balancer under load: targets come, go, end and become unhealthy; its program, moto and HAProxy are restarted."""

from __future__ import annotations

import concurrent.futures
import time

import pytest

from lab import aws, balancer, engine, images
from lab.targets import Group, configuration
from tests.support.balanced_site import Load, Site, request
from tests.support.fleet import wait

# the programs are meant to outlive the command that starts them
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")


@pytest.fixture(scope="module")
def made():
    """The balancer and its targets, made once."""
    created = Site()
    try:
        created.make()
        yield created
    finally:
        created.remove()


@pytest.fixture
def site(made):
    """The same, with both targets in service and healthy."""
    made.wait_for("healthy", "healthy")
    return made


def uploads(site, seconds):
    """An upload to each target: while there is no other traffic they take turns."""
    pool = concurrent.futures.ThreadPoolExecutor()
    started = []
    for _ in site.servers:
        started.append(pool.submit(site.upload, seconds))
        time.sleep(0.3)
    pool.shutdown(wait=False)
    return started


def test_any_configuration_is_accepted():
    text = configuration(Group('/it\'s "#1"\n?a=b&c=$HOME', "8081", 300, 120, 10, 10, "200-299,404"))
    engine.docker(
        "run", "--rm", "--interactive", "--name", "samefiles-balancertest-check", "--env", "SITE_PORT=80",
        "--entrypoint", "haproxy", images.ensure("efs", "half a minute"), "-c", "-f", "/dev/stdin", input=text,
    )  # fmt: skip


def test_request_shows_where_it_came_from(site):
    headers = request(site.lab.site_port, headers={"X-Forwarded-For": "192.0.2.1"}).answer["headers"]
    assert headers["x-forwarded-for"] == f"192.0.2.1, {site.lab.gateway}"
    assert (headers["x-forwarded-proto"], headers["x-forwarded-port"]) == ("http", str(site.lab.site_port))
    assert request(site.lab.site_port).answer["headers"]["x-forwarded-for"] == site.lab.gateway


def test_drain_and_return(site, figure):
    short, long = uploads(site, 6), uploads(site, 18)
    with Load(site.lab.site_port) as load:
        site.deregister(1)
        begin = time.monotonic()
        assert site.states() == ["healthy", "draining"]
        unused = site.wait_for("healthy", "unused")
        last = max(item.begin for item in load.done if item.answer and item.answer["name"] == "web-02") - begin
        assert last < 2, f"a new request {last:.1f} s after the target was taken out"
        aws.Record(site.lab).balancer(site.ids)  # another `make lab` leaves it out
        time.sleep(2)
        assert site.states() == ["healthy", "unused"]

        checks = len(site.checks(1))
        site.register(1)
        again = time.monotonic()
        back = site.wait_for("healthy", "healthy")
        time.sleep(1)
    assert {item.result().answer["name"] for item in short} == {"web-01", "web-02"}
    cut = [item.result() for item in long]
    assert sorted(bool(item.answer) for item in cut) == [False, True], "what outlasts the delay is cut"
    assert not load.failed()
    first = next(item for item in load.done if item.answer and item.answer["name"] == "web-02" and item.begin > again)
    assert len(first.answer["checks"]) >= checks + 2, "used before two checks"
    figure(
        f"{len(load.done)} requests, none failed; last new one {last:.1f} s after deregistration, unused after "
        f"{unused:.1f} s, healthy {back:.1f} s after registration"
    )


def kill(server):
    engine.docker("kill", server.container)


def start(server):
    engine.docker("start", server.container)


def cut_off(server):
    engine.docker("network", "disconnect", "--force", "samefiles-balancertest", server.container)


def connect(server):
    engine.docker("network", "connect", "--ip", server.address, "samefiles-balancertest", server.container)


@pytest.mark.parametrize(("harm", "repair"), [(kill, start), (cut_off, connect)], ids=["killed", "cut_off"])
def test_dead_target_costs_the_requests_in_flight(site, harm, repair, figure):
    """A killed process closes its connections, a server without power does not: for that case its network is removed."""
    running = uploads(site, 8)
    with Load(site.lab.site_port) as load:
        time.sleep(3)
        harm(site.servers[1])
        harmed = time.monotonic()
        seen = site.wait_for("healthy", "unhealthy")
        time.sleep(3)
        slowest = max(item.end - item.begin for item in load.done if item.answer)
        repair(site.servers[1])
        repaired = time.monotonic()
        back = site.wait_for("healthy", "healthy")
        wait(lambda: load.served(repaired)["web-02"], 10, "requests to the target that came back")
    assert "web-01" in {item.result().answer["name"] for item in running if item.result().answer}
    failed = load.failed()
    assert all(item.begin < harmed for item in failed), failed
    assert len(failed) <= len(load.threads)
    figure(
        f"{len(load.done)} requests, {len(failed)} in flight failed, the slowest other one took {slowest:.1f} s; "
        f"unhealthy after {seen:.1f} s, healthy again {back:.1f} s after its return"
    )


def test_all_unhealthy_fails_open(site):
    with Load(site.lab.site_port) as load:
        try:
            site.sick("touch")
            site.wait_for("unhealthy", "unhealthy")
            assert site.health(0)["Reason"] == "Target.ResponseCodeMismatch"
            since = time.monotonic()
            time.sleep(3)
            assert set(load.served(since)) == {"web-01", "web-02"}
        finally:
            site.sick("rm", "-f")
        site.wait_for("healthy", "healthy")
    assert not load.failed()


def test_new_health_check_by_reload(site, figure):
    running = uploads(site, 8)
    with Load(site.lab.site_port) as load:
        time.sleep(1)
        site.elb.modify_target_group(TargetGroupArn=site.group, HealthCheckPath="/other")
        seen = wait(lambda: site.checks(0)[-1] == "/other", 15, "a check of the new path")
        assert site.states() == ["healthy", "healthy"]
        time.sleep(6)
    assert all(item.result().answer for item in running)
    assert not load.failed()
    figure(f"{len(load.done)} requests and {len(running)} uploads, none failed; new path checked after {seen:.1f} s")


def test_moto_and_program_restarted(site):
    before = site.lab.health.read_text()
    with Load(site.lab.site_port) as load:
        aws.moto(site.lab).stop()
        time.sleep(3)
        site.record()
        time.sleep(3)
        balancer.program(site.lab).stop()
        balancer.program(site.lab).start()
        time.sleep(3)
    assert not load.failed()
    assert site.states() == ["healthy", "healthy"]
    assert site.lab.health.read_text() == before, "a target changed its state"


def test_haproxy_restarted(site, figure):
    name = f"{site.lab.prefix}-alb"
    engine.docker("kill", name)
    engine.docker("start", name)
    took = wait(lambda: request(site.lab.site_port).answer, 10, "an answer", every=0.1)
    site.wait_for("healthy", "healthy")
    figure(f"first answer {took:.1f} s after HAProxy was started again")


def test_no_target(site):
    for number in (0, 1):
        site.deregister(number)
    try:
        site.wait_for("unused", "unused")
        assert request(site.lab.site_port).problem == "503 No server is in service behind this balancer.\n"
    finally:
        for number in (0, 1):
            site.register(number)
