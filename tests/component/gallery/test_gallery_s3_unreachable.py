"""S3 slow, refusing, silent and unreachable: the page says so, the server stays healthy, nothing is lost."""

from __future__ import annotations

import time

import pytest

from tests.support.gallery_server import check, form, part
from tests.support.gallery_tickets import DATA, ask, confirm, followed, listed, put, question, ticket, upload
from tests.support.s3_proxy import Proxy
from tests.support.seaweedfs import KEY, SECRET, environment

BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"
TIMES = {"STORAGE_TIMEOUT": "2", "PROBE_INTERVAL": "0.3", "PROBE_TIMEOUT": "1"}


@pytest.fixture(scope="module")
def site(start, weed):
    """A gallery that reaches S3 through a proxy, the proxy, and its key prefix."""
    proxy = Proxy(weed.port)
    # its browsers reach S3 directly
    settings = weed.settings(ENDPOINT_URL=proxy.url, BROWSER_ENDPOINT_URL=weed.url, **TIMES)
    yield start(aws=environment(weed.role()), **settings), proxy, settings["KEY_PREFIX"]
    proxy.stop()


def wait_for(server, path: str, status: int, seconds: float = 10) -> float:
    """The seconds until an address answers so. The server is healthy all the time."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        asked = time.monotonic()
        assert server.get("/healthz").status == 200
        assert time.monotonic() - asked < 1
        if server.get(path).status == status:
            return time.monotonic() - began
        time.sleep(0.05)
    raise AssertionError(f"{path} does not answer {status}: {server.get(path).body!r}")


def disturb(proxy: Proxy, how: str) -> None:
    if how == "away":
        proxy.stop()
    else:
        proxy.mode = how
        proxy.cut()  # open connections would not notice


LAB = environment({"AccessKeyId": KEY, "SecretAccessKey": SECRET})
SAID = {
    "503": "503 SlowDown.",
    "403": "S3 refuses this server: LIST",
    "silent": "The storage does not answer",
    "away": "Connection refused",
}


@pytest.mark.parametrize("how", SAID)
def test_s3_that_cannot_be_used(site, weed, how):
    server, proxy, prefix = site
    wait_for(server, "/readyz", 200)
    kept, waiting = upload(server), ticket(server)
    assert put(waiting).status == 200
    disturb(proxy, how)
    try:
        assert wait_for(server, "/readyz", 503) < 5
        check(server.get("/readyz"), 503, SAID[how])
        began = time.monotonic()
        page = server.get("/", Accept=BROWSER)
        assert time.monotonic() - began < 0.5  # no wait for a known outage
        assert page.status == 503
        assert SAID[how] in page.body.decode()
        assert b"Nothing is lost: the files are in S3. This page tries again automatically." in page.body
        check(server.get("/files"), 503, "")
        check(server.upload("a.png", DATA), 503, "")
        check(server.upload("a.bin", bytes(6_000_000)), 503, "")
        check(confirm(server, waiting["key"]), 503, "")
        check(server.request("DELETE", kept["url"]), 503, "")
        # what needs no S3 goes on: browsers that reach S3 read and upload
        assert followed(server, kept["url"]).body == DATA
        other = ticket(server)
        assert put(other).status == 200
    finally:
        proxy.restore()
    wait_for(server, "/readyz", 200)
    assert server.get("/", Accept=BROWSER).status == 200
    assert {confirm(server, issued["key"]).status for issued in (waiting, other)} == {201}
    again = server.upload("a.bin", bytes(6_000_000)).json[0]
    assert followed(server, again["url"]).body == bytes(6_000_000)
    assert {kept["key"], waiting["key"], other["key"], again["key"]} <= set(listed(server))
    assert all(weed.client.head_object(Bucket="bkt", Key=key)["ContentLength"] == 0
               for key in weed.keys(f"{prefix}/incoming/"))  # fmt: skip


def test_a_slow_s3_is_slow_and_no_more(site):
    server, proxy, _prefix = site
    disturb(proxy, "slow")
    try:
        wait_for(server, "/readyz", 200)
        assert listed(server) is not None
        issued = ticket(server)
        assert put(issued).status == 200
        assert confirm(server, issued["key"]).status == 201
        assert issued["key"] in listed(server)
        assert server.get("/readyz").status == 200
    finally:
        proxy.restore()


def test_s3_that_goes_away_within_an_upload(site, weed):
    server, proxy, prefix = site
    wait_for(server, "/readyz", 200)
    before = listed(server)
    body = form(part("a.bin", bytes(12_000_000)))

    def blocks():
        for start in range(0, len(body), 1_000_000):
            if start == 7_000_000:
                proxy.stop()
            yield body[start : start + 1_000_000]

    try:
        check(server.post(blocks(), Content_Length=str(len(body))), 503, "Writing failed")
    finally:
        proxy.restore()
    wait_for(server, "/readyz", 200)
    assert listed(server) == before
    entry = server.post(body).json[0]
    assert followed(server, entry["url"]).body == bytes(12_000_000)
    # the lifecycle rule removes what could not be aborted
    assert len(weed.unfinished(f"{prefix}/")) <= 1


def test_it_starts_while_s3_is_away(start, weed):
    proxy = Proxy(weed.port)
    proxy.stop()
    server = start(aws=environment(weed.role()), **weed.settings(ENDPOINT_URL=proxy.url, **TIMES))
    wait_for(server, "/readyz", 503)
    assert ask(server, question()).status == 201
    proxy.restore()
    wait_for(server, "/readyz", 200)
    assert server.upload("a.png", DATA).status == 201
    proxy.stop()


@pytest.mark.parametrize(
    ("aws", "changes", "said"),
    [
        ({"AWS_EC2_METADATA_DISABLED": "true"}, {}, "there are no credentials: give the host an instance role"),
        (LAB, {"BUCKET": "nobodys"}, "NoSuchBucket"),
        (None, {"KEY_PREFIX": "elsewhere"}, "S3 refuses this server"),
        (None, {"CA_BUNDLE": "/nowhere.pem", "ENDPOINT_URL": "https://127.0.0.1:1"}, "/nowhere.pem"),
        ({**LAB, "AWS_SECRET_ACCESS_KEY": "wrong"}, {}, "SignatureDoesNotMatch"),
    ],
)
def test_what_is_set_wrong_is_said_by_the_page(start, weed, aws, changes, said):
    server = start(aws=aws or environment(weed.role()), **weed.settings(**{**TIMES, **changes}))
    wait_for(server, "/readyz", 503)
    until = time.monotonic() + 20
    while said not in server.get("/readyz").error and time.monotonic() < until:
        time.sleep(0.1)
    check(server.get("/readyz"), 503, said)
    page = server.get("/", Accept=BROWSER)
    assert page.status == 503
    assert "Traceback" not in server.log.read_text()
    assert server.get("/healthz").status == 200
