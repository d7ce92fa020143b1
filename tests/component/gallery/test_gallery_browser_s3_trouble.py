"""The page with storage s3 in headless Chromium: what it says and does when S3 or a server fails."""

from __future__ import annotations

import functools
import os
import time

import pytest

from tests.support.browser import SHOWN, TILES, needs_chromium, upload
from tests.support.browser_proxy import Trouble
from tests.support.gallery_s3_site import FACTS, IDLE, SAID, file
from tests.support.needs import needs
from tests.support.seaweedfs import WEED

pytestmark = [needs_chromium, needs(WEED.exists(), "SeaweedFS (`make` installs it)")]
PASS, BUSY, MUTE, LOSE = Trouble(), Trouble("busy"), Trouble("mute"), Trouble("lose")
LATER = Trouble("later", 1)


@pytest.mark.parametrize(
    ("troubles", "sent"),
    [
        ([BUSY], 2),  # 503 SlowDown
        ([MUTE, BUSY], 3),  # one that no page may read
        ([Trouble("cut", 30_000)], 2),  # in the middle of the file
        ([Trouble("cut", 0), Trouble("cut", 50_000), BUSY], 4),
        ([LOSE], 1),  # S3 has it, and its answer is lost
        ([Trouble("slow", 100_000)], 1),
    ],
)
def test_s3_has_its_troubles_for_a_while(page, site, three, troubles, sent):
    site.s3.turn("PUT", *troubles)
    page.choose(three[:1])
    page.wait(f"{IDLE} && {SHOWN}")
    assert "is stored in S3" in page.run(SAID)
    assert len(site.sent()) == sent
    assert len(site.names) == 1


def test_s3_falls_silent(page, site, three):
    page.run("stall = 400")
    site.s3.turn("PUT", Trouble("hold", 1.2))
    page.choose(three[:1])
    page.wait(f"{FACTS}?.endsWith('Trying again…')")
    page.wait(f"{IDLE} && {SHOWN}")
    assert len(site.names) == 1


def test_an_answer_is_lost_before_the_page_has_sent_all(page, site, three):
    """S3 has the file, the page does not know, and sends it once more: S3 answers 412."""
    page.run(
        "const real = put; put = async (upload) => { const s = await real(upload); upload.sent = false; return s; }; 0"
    )
    site.s3.turn("PUT", LOSE)
    page.choose(three[:1])
    page.wait(f"{IDLE} && {SHOWN}")
    assert [status for status, _size in site.sent()] == [0, 412]
    assert len(site.names) == 1


def test_s3_refuses_for_good(page, site, three):
    site.s3.always("PUT", BUSY)
    page.choose(three[:1])
    page.wait(f"{FACTS} === 'S3 is too busy, or fails (503). Trying again…'")
    page.wait("document.querySelector('.failed')")
    assert f"{page.run(FACTS)}" == "S3 is too busy, or fails (503)."
    assert "was not stored. S3 is too busy" in page.run(SAID)
    assert len(site.sent()) == 4
    assert [server.get("/healthz").status for server in site.servers] == [200, 200]
    site.s3.always("PUT", None)
    page.tab_to("again button quiet")
    page.press("Enter")
    page.wait(f"{IDLE} && {SHOWN}")
    assert len(site.names) == 1


def test_s3_goes_away_in_the_middle_of_an_upload(page, site, tmp_path):
    path = file(tmp_path, "a.png", 3_000_000)
    page.slow(1_500_000)
    page.choose([path])
    page.wait("document.querySelector('progress')?.value > 10")
    site.s3.close()
    site.s3.sever()
    try:
        page.wait(f"{FACTS}?.endsWith('Trying again…')")
        page.wait("document.querySelector('.failed')")
        assert page.run(FACTS) == "S3 cannot be reached."
        assert page.run("document.querySelector('.failed progress').hidden")
    finally:
        site.s3.open()
    page.run("document.querySelector('.again').click()")
    page.wait(f"{IDLE} && {SHOWN}", 20)
    assert site.names == ["a.png"]
    (entry,) = site.servers[1].get("/files").json["files"]
    assert entry["size"] == 3_000_000


def test_the_browser_is_offline_for_a_while(page, site, three):
    page.run("WAITS.splice(0, 9, 50, 50, 50)")
    offline = functools.partial(
        page.call, "Network.emulateNetworkConditions", latency=0, downloadThroughput=-1, uploadThroughput=-1
    )
    offline(offline=True)
    page.choose(three[:1])
    page.wait(f"{FACTS}?.endsWith('Trying again…')")
    time.sleep(0.5)  # it does not use up its tries meanwhile
    assert page.run("document.querySelector('.failed')") is None
    offline(offline=False)
    page.wait(f"{IDLE} && {SHOWN}")
    assert len(site.names) == 1


@pytest.mark.parametrize("trouble", [LOSE, BUSY, Trouble("cut", 0)])
def test_the_server_does_not_answer_for_a_while(page, site, three, trouble):
    site.front.turn("POST", trouble, PASS, trouble, trouble)  # ticket, ticket, confirmation, …
    page.choose(three[:1])
    page.wait(f"{IDLE} && {SHOWN}")
    assert len(site.sent()) == 1
    assert len(site.names) == 1


@pytest.mark.parametrize("trouble", [LOSE, BUSY, Trouble("cut", 0)])
def test_the_server_goes_away_before_it_has_listed_the_file(page, site, three, trouble):
    """Or just after: the page cannot know, whether its question got lost or the answer."""
    site.front.turn("POST", PASS, *[trouble] * 4)
    page.choose(three[:1])
    page.wait("document.querySelector('.failed')")
    why = "The server answered 503." if trouble is BUSY else "The connection to the server broke."
    assert page.run(FACTS) == f"S3 has it, and it may be listed already. {why}"
    assert page.run(SAID) == f"{os.path.basename(three[0])}: {page.run(FACTS)}"
    assert page.run("document.querySelector('.again').textContent") == "Try again"
    page.run("document.querySelector('.again').click()")
    page.wait(f"{IDLE} && {SHOWN}")
    assert len(site.sent()) == 1  # neither sent nor listed twice
    assert len(site.names) == 1


@pytest.mark.parametrize("automatic", [True, False])
def test_a_file_that_somebody_deletes_before_the_page_knows_that_it_is_listed(page, site, three, automatic):
    """It does not come back unless a person says so."""
    if automatic:
        page.run("WAITS.splice(0, 9, 2000)")
    site.front.turn("POST", PASS, *[LOSE] * (1 if automatic else 4))
    page.choose(three[:1])
    page.wait(f"{FACTS}?.endsWith('Trying again…')" if automatic else "document.querySelector('.failed')")
    (entry,) = site.servers[1].get("/files").json["files"]
    assert site.servers[1].request("DELETE", entry["url"]).status == 204
    if not automatic:
        page.run("document.querySelector('.again').click()")
    page.wait("document.querySelector('.failed .again')?.textContent === 'Upload again'")
    assert page.run(FACTS) == "It is not listed: it was deleted or refused meanwhile."
    assert page.run(SAID) == f"{os.path.basename(three[0])}: {page.run(FACTS)}"
    assert (len(site.sent()), site.names) == (1, [])
    page.run("document.querySelector('.again').click()")
    page.wait(f"{IDLE} && {SHOWN}")
    assert [status for status, _size in site.sent()] == [200, 200]
    assert len(site.names) == 1


def test_a_file_that_may_never_have_come_to_s3_and_whose_confirmation_is_lost(page, site, three):
    page.run("WAITS.splice(0, 9, 50)")
    site.s3.turn("PUT", Trouble("cut", 1 << 30))  # all is sent, and S3 gets none of it
    site.front.turn("POST", PASS, LOSE)
    page.choose(three[:1])
    page.wait("document.querySelector('.failed')")
    assert page.run(FACTS) == "It is not listed: it did not reach S3, or was deleted or refused meanwhile."
    assert site.names == []
    page.run("document.querySelector('.again').click()")
    page.wait(f"{IDLE} && {SHOWN}")
    assert len(site.names) == 1


def test_many_at_a_time(page, site, tmp_path):
    site.s3.always("PUT", Trouble("slow", 200_000))
    site.s3.turn("PUT", PASS, PASS, BUSY, PASS, MUTE, LOSE)
    page.choose([file(tmp_path, f"n{number}.png", 40_000) for number in range(9)])
    page.wait(f"{IDLE} && {SHOWN}", 30)
    assert site.names == [f"n{number}.png" for number in range(9)]
    assert page.run(f"{TILES}.length") == 9
    assert site.s3.most["PUT"] == 3


@pytest.mark.parametrize("moment", ["ticket", "S3", "waiting", "confirming", "failed"])
def test_an_upload_given_up(page, site, tmp_path, moment):
    """Whatever it was doing: nothing is listed in the end."""
    path = file(tmp_path, "a.png", 60_000)
    proxy, troubles, when = {
        "ticket": (site.front, {"POST": [Trouble("hold", 0.6)]}, f"{FACTS}?.includes('getting ready')"),
        "S3": (site.s3, {"PUT": [Trouble("slow", 60_000)]}, "document.querySelector('progress')?.value > 0"),
        "waiting": (site.s3, {"PUT": [BUSY]}, f"{FACTS}?.endsWith('Trying again…')"),
        "confirming": (site.front, {"POST": [PASS, Trouble("hold", 0.6)]}, f"{FACTS} === 'being stored'"),
        "failed": (site.front, {"POST": [PASS, *[LOSE] * 4]}, "document.querySelector('.failed')"),
    }[moment]
    page.run("WAITS.splice(0, 9, 400, 100, 100)")
    for method, turns in troubles.items():
        proxy.turn(method, *turns)
    page.choose([path])
    page.wait(when)
    page.wait("document.querySelector('.busy .remove')")
    page.run("document.querySelector('.busy .remove').click()")
    assert "Nothing here yet" in page.text()
    page.wait("running === 0")
    time.sleep(0.7)
    assert site.names == []
    assert "was not stored" not in page.run(SAID)


def given_up(page, site, path: str) -> None:
    """Choose a file and cancel it while a server publishes it, which takes two seconds and is answered "ask again"."""
    site.front.turn("POST", PASS, LATER)
    site.inner.turn("PUT", Trouble("hold", 2), Trouble("hold", 2))
    page.choose([path])
    page.wait(f"{FACTS}?.includes('It is still being stored')")
    page.run("document.querySelector('.busy .remove').click()")


def gone(site) -> bool:
    """Whether no file is listed once every request in flight has ended."""
    until = time.monotonic() + 20
    while any(site.inner.now.values()) and time.monotonic() < until:
        time.sleep(0.02)
    return site.names == []


def test_given_up_while_a_server_is_late_with_storing_it(page, site, three):
    given_up(page, site, three[0])
    page.wait("running === 0")
    assert gone(site)
    assert {passed.status for passed in site.front.of("DELETE")} <= {204, 404}  # there may be nothing to delete yet
    assert "may be listed" not in page.run(SAID)


@pytest.mark.parametrize("trouble", [BUSY, LOSE, Trouble("cut", 0)])
def test_given_up_and_the_server_does_not_answer_for_a_while(page, site, three, trouble):
    site.front.turn("DELETE", trouble, trouble)
    given_up(page, site, three[0])
    page.wait("running === 0")
    assert gone(site)
    assert "may be listed" not in page.run(SAID)


def test_given_up_and_the_browser_dies_after_its_first_request(page, site, three):
    page.run("WAITS.splice(0, 9)")
    site.front.turn("POST", PASS, Trouble("cut", 0))
    page.choose(three[:1])
    page.wait("document.querySelector('.failed')")
    (cut,) = site.front.of("POST", "/tickets/")
    page.run(
        "{ const real = fetch; let left = 1; fetch = (...args) => left-- > 0 ? real(...args) : new Promise(Boolean) }"
    )
    page.run("document.querySelector('.busy .remove').click()")
    page.wait("running === 1")
    until = time.monotonic() + 10
    while len(site.front.of("POST", "/tickets/") + site.front.of("DELETE")) < 2:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert gone(site)
    # a server that gets the request later does not list it either
    assert site.servers[1].request("POST", cut.path).status == 404
    assert gone(site)


def test_given_up_and_nobody_knows_what_became_of_it(page, site, three):
    site.front.always("DELETE", BUSY)
    given_up(page, site, three[0])
    asks = "(() => { const e = new Event('beforeunload', { cancelable: true }); return !window.dispatchEvent(e); })()"
    assert page.run(asks)  # whoever leaves now does not see the result
    page.wait("running === 0")
    said = f"{os.path.basename(three[0])} was cancelled, but may be listed all the same. The server answered 503. "
    assert page.run(SAID) == f"{said}Load the page again, and delete the file if it is there."
    assert not page.run(asks)


def test_given_up_when_all_is_sent_but_no_server_was_asked(page, site, tmp_path):
    """Nothing can be listed then, so the page asks no server."""
    site.s3.turn("PUT", Trouble("hold", 1))
    page.choose([file(tmp_path, "a.txt", 1000)])
    page.wait(f"{FACTS} === 'being stored'")
    page.run("document.querySelector('.busy .remove').click()")
    page.wait("running === 0")
    time.sleep(1.2)
    assert [passed.path for passed in site.front.of("POST")] == ["/tickets"]
    assert site.names == []


def test_a_server_that_needs_longer_is_asked_again(page, site, three):
    """Retry-After says when; the page's own pauses are shorter."""
    site.front.turn("POST", PASS, LATER, LATER)
    site.inner.turn("PUT", Trouble("hold", 1.5), Trouble("hold", 1.5))
    page.choose(three[:1])
    page.wait(f"{FACTS} === 'S3 has it, but it is not listed yet. It is still being stored: ask again. Trying again…'")
    began = time.monotonic()
    page.wait(f"{IDLE} && {SHOWN}")
    assert time.monotonic() - began > 1.8
    assert len(site.front.of("POST", "/tickets/")) == 3
    assert len(site.sent()) == 1
    assert len(site.names) == 1


def test_a_server_that_asks_for_too_much_patience(page, site, three):
    site.front.turn("POST", Trouble("later", 900))
    page.choose(three[:1])
    page.wait("document.querySelector('.failed')")
    assert page.run(FACTS) == "It is still being stored: ask again."
    assert not page.run("document.querySelector('.again').hidden")
    assert len(site.front.of("POST")) == 1


def test_a_file_that_is_moved_away_meanwhile(page, site, tmp_path):
    path = file(tmp_path, "a.png", 60_000)
    site.s3.always("PUT", BUSY)
    page.choose([path])
    page.wait("document.querySelector('.failed')")
    site.s3.always("PUT", None)
    os.unlink(path)
    page.run("document.querySelector('.again').click()")
    page.wait(f"{FACTS} === 'The file cannot be read any more: choose it again.'")
    assert site.names == []


def test_s3_away_from_the_servers(page, site, three):
    upload(page, three[:1])
    site.inner.close()
    site.inner.sever()
    try:
        page.wait("fetch('/readyz').then(answer => !answer.ok)")
        began = time.monotonic()
        page.open(f"{site.front.address}/")
        assert time.monotonic() - began < 3
        assert "The files cannot be shown just now" in page.text()
        assert "S3" in page.text()
        assert "mount" not in page.text()
        assert site.servers[0].get("/healthz").status == 200
    finally:
        site.inner.open()
    page.wait(f"{TILES}.length === 1 && {SHOWN}", 20)
