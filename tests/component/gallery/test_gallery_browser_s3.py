"""The page with storage s3 in headless Chromium: files go straight to S3 and come from it."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import time
import urllib.request

import pytest

from tests.support.browser import NAMES, SHOWN, TILES, needs_chromium, upload
from tests.support.browser_proxy import Proxy, Trouble
from tests.support.gallery_s3_site import FACTS, IDLE, SAID, admit, digest, file, server, show
from tests.support.gallery_server import InTurn
from tests.support.needs import needs
from tests.support.pictures import dozen
from tests.support.seaweedfs import BUCKET, WEED

pytestmark = [needs_chromium, needs(WEED.exists(), "SeaweedFS (`make` installs it)")]


@pytest.fixture(scope="module")
def brief(site):
    """A server whose tickets expire soon; it takes small files only."""
    settings = {"UPLOAD_URL_TTL": "2", "MAX_BYTES": "200000", "ALLOWED_EXTENSIONS": "png txt"}
    with (
        server(site.store, site.prefix, site.s3, site.inner, **settings) as started,
        contextlib.closing(Proxy(started.port)) as proxy,
    ):
        admit(site.store, site.front.address, proxy.address)
        yield proxy


def test_a_file_goes_straight_to_s3_with_progress(page, site, tmp_path):
    path = file(tmp_path, "Large one.png", 4_000_000)
    page.slow(2_000_000)
    page.run("window.seen = []; setInterval(() => seen.push(document.querySelector('progress')?.value ?? 0), 20); 0")
    page.choose([path])
    page.wait("document.querySelector('progress')?.value > 20")
    assert "% of 4.0 MB" in page.text()
    page.wait(f"{IDLE} && {SHOWN}")
    seen = [value for value in dict.fromkeys(page.run("seen")) if 0 < value < 100]
    assert len(seen) > 4
    assert seen == sorted(seen)
    assert "Large-one.png is stored in S3" in page.run(SAID)
    assert site.sent() == [(200, 4_000_000)]
    # the servers have seen only questions and previews
    assert sum(passed.size for passed in site.front.passed) < 64 * 1024
    assert [passed.size for passed in site.inner.passed if passed.size > 64 * 1024] == []
    (entry,) = site.servers[1].get("/files").json["files"]
    with urllib.request.urlopen(f"{site.front.address}{entry['url']}") as answer:
        assert digest(answer.read()) == digest(pathlib.Path(path).read_bytes())
        assert answer.url.startswith(site.s3.address)
    assert site.names == ["Large-one.png"]


def test_what_the_page_sends_for_a_ticket(page, site, tmp_path):
    """S3 itself compares the SHA-256 that the browser has computed."""
    path = file(tmp_path, "a.txt", 100_000)
    page.run(
        "const sha = []; const kept = fetch; window.fetch = (...a) => { sha.push(a[1]?.body); return kept(...a); }; 0"
    )
    page.choose([path])
    page.wait(IDLE)
    sent = json.loads(page.run("sha.find(body => body)"))
    wanted = digest(pathlib.Path(path).read_bytes())
    assert sent == {"name": "a.txt", "size": 100_000, "type": "text/plain", "sha256": wanted}


def test_read_and_download(page, site, three, tmp_path):
    paper = file(tmp_path, "paper.txt")
    large = tmp_path / "Valley.png"
    large.write_bytes(next(dozen(800, 600))[1] + bytes(700_000))
    upload(page, [str(large)])
    page.choose([paper])
    page.wait(f"{IDLE} && {TILES}.length === 2")
    page.wait("document.querySelector('#grid img')?.naturalWidth === 480")
    loaded = [url for url in page.requested("GET") if url.startswith(site.s3.address)]
    assert ["/previews/" in url for url in loaded] == [True]
    directory = tmp_path / "downloads"
    page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(directory))
    for name, source in (("paper.txt", paper), ("Valley.png", large)):
        page.run(f"[...document.querySelectorAll('.frame')].find(e => e.ariaLabel === '{name}').click()")
        page.wait("location.pathname.startsWith('/view/') && document.readyState === 'complete'")
        if name.endswith(".png"):
            assert page.run("(i => i.complete && i.naturalWidth)(document.querySelector('.stage img'))") == 800
        page.click("a[download], a.button")
        until = time.monotonic() + 10
        while not (directory / name).exists():
            assert time.monotonic() < until, (name, page.run("location.href"), list(directory.glob("*")))
            time.sleep(0.05)
        assert (directory / name).read_bytes() == pathlib.Path(source).read_bytes()
        show(page, site.front.address)
    assert site.front.of("PUT") == []


def test_a_browser_keeps_what_it_has_read(page, site, three):
    """The link to a file stays the same for a while."""
    upload(page, three[:1])
    show(page, site.front.address)
    page.wait(SHOWN)
    before = len(site.s3.of("GET"))
    show(page, site.front.address)
    page.wait(SHOWN)
    assert len(site.s3.of("GET")) == before


def test_delete_one(page, site, three):
    upload(page, three)
    gone = page.run(NAMES)[1]
    page.run(f"{TILES}[1].querySelector('.remove').click()")
    page.run("[...document.querySelectorAll('dialog button')].find(button => button.value === 'delete').click()")
    page.wait(f"{TILES}.length === 2")
    assert f"{gone} is deleted" in page.text()
    assert len(site.names) == 2
    assert gone not in site.names
    kept = ("files", "previews")
    assert [key for part in kept for key in site.store.keys(f"{site.prefix}/{part}") if gone in key] == []


def test_pages_of_another_origin_get_nothing(page, site, three):
    upload(page, three[:1])
    key = page.run(f"{TILES}[0].dataset.key")
    link = urllib.request.Request(f"{site.front.address}/files/{key}")
    with urllib.request.urlopen(link) as answer:
        address = answer.url
    reading = f"fetch({address!r}).then(answer => answer.arrayBuffer()).then(data => data.byteLength, () => 0)"
    assert page.run(reading) == os.path.getsize(three[0])
    with contextlib.closing(Proxy(site.servers[0].port)) as other:
        site.s3.calm()
        show(page, other.address)
        assert page.run(reading) == 0
        page.choose(three[1:2])
        page.wait("document.querySelector('.failed')")
        said = "S3 answers, but not to this page: it is too busy, or its CORS rules do not name "
        assert f"{said}{other.address}." in page.text()
        assert site.sent() == []
    assert len(site.names) == 1


def test_a_ticket_that_is_too_old(page, site, brief, three):
    show(page, brief.address)
    site.s3.turn("PUT", Trouble("hold", 3.2))
    page.choose(three[:1])
    page.wait(f"{FACTS}?.startsWith('S3 refuses the upload (403). Trying again')")
    page.wait(f"{IDLE} && {SHOWN}")
    assert [status for status, _size in site.sent()] == [403, 200]
    assert len(site.names) == 1
    # for good, until somebody says so
    site.s3.turn("PUT", Trouble("hold", 3.2), Trouble("hold", 3.2))
    page.choose(three[1:2])
    page.wait("document.querySelector('.failed')")
    assert "S3 refuses the upload (403)." in page.text()
    page.run("document.querySelector('.again').click()")
    page.wait(f"{IDLE} && {SHOWN}")
    assert len(site.names) == 2


def test_a_ticket_that_s3_refuses(page, site, three):
    """The credentials that signed it may have expired: with a new ticket the page sends the whole file again."""
    site.s3.turn("PUT", Trouble("refuse"))
    page.choose(three[:1])
    page.wait(f"{IDLE} && {SHOWN}")
    refused, taken = site.s3.of("PUT")
    assert (refused.status, taken.status) == (403, 200)
    assert refused.path.partition("?")[0] != taken.path.partition("?")[0]
    assert len(site.names) == 1


def test_what_is_refused(page, site, brief, tmp_path):
    show(page, brief.address)
    paths = [file(tmp_path, name) for name in ("page.html", "song.mp3")] + [file(tmp_path, "large.png", 200_001)]
    brief.calm()
    page.choose(paths)
    page.wait("document.querySelectorAll('.failed').length === 3")
    facts = page.run("[...document.querySelectorAll('.facts')].map(e => e.textContent)")
    assert sorted(facts) == ["It is larger than 200 kB.", *["This type of file is not accepted here."] * 2]
    assert brief.of("POST") == []
    # the server does not rely on the page
    show(page, brief.address)
    page.run("form.dataset.types += ' mp3'; form.dataset.most = 10 ** 9; 0")
    page.choose(paths[1:])
    page.wait("document.querySelectorAll('.failed').length === 2")
    assert "larger than 200000 bytes, the limit here." in page.text()
    assert "are not accepted: allowed are png, txt." in page.text()
    assert page.run("[...document.querySelectorAll('.again')].every(button => button.hidden)")
    assert site.sent() == []


def test_a_picture_that_is_none_inside(page, site, tmp_path):
    (tmp_path / "false.png").write_text("text, really")
    page.choose([str(tmp_path / "false.png")])
    page.wait("document.querySelector('.failed')")
    assert "is no png picture inside: its first bytes differ." in page.text()
    assert "was not stored" in page.run(SAID)
    assert page.run("document.querySelector('.again').hidden")
    assert site.names == []
    objects = site.store.client.list_objects_v2(Bucket=BUCKET, Prefix=site.prefix)["Contents"]
    assert {entry["Size"] for entry in objects if "false.png" in entry["Key"]} == {0}
    page.run("document.querySelector('.failed .remove').click()")
    assert "Nothing here yet" in page.text()


def test_leaving_the_page_while_an_upload_is_under_way(page, site, three):
    site.s3.turn("PUT", Trouble("hold", 1))
    page.choose(three[:1])
    page.wait("running === 1")
    asks = "(() => { const e = new Event('beforeunload', { cancelable: true }); return !window.dispatchEvent(e); })()"
    assert page.run(asks)
    page.wait(f"{IDLE} && {SHOWN}")
    assert not page.run(asks)


def test_without_scripts(page, site, three):
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    page.open(f"{site.front.address}/")
    page.choose(three)
    page.click("#upload button")
    page.wait(f"{TILES}.length === 3 && {SHOWN}")
    assert site.sent() == []  # through the server
    page.click(".tile .remove")
    page.wait("location.pathname.endsWith('/delete')")
    page.click("form.choices button")
    page.wait(f"location.pathname === '/' && {TILES}.length === 2")
    assert len(site.names) == 2


def test_the_words_for_screen_readers(page, site, three):
    page.slow(40_000)
    page.choose(three)
    page.wait("[...document.querySelectorAll('progress')].some(bar => bar.value > 0 && bar.value < 100)")
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    bars = {node["name"]["value"] for node in tree if node["role"]["value"] == "progressbar"}
    assert bars == {"Upload of Balloons.png", "Upload of Evening over the ridge.png", "Upload of Tide.png"}
    page.slow(-1)
    assert "status" in {node["role"]["value"] for node in tree}
    page.wait(f"{IDLE} && {SHOWN}")


def test_compare_the_servers(page, site, three):
    upload(page, three)
    with contextlib.closing(InTurn(*site.servers)) as balancer:
        show(page, balancer.address.rstrip("/"))
        page.click("#compare")
        page.wait(f"{SAID} === 'web-01 and web-02 show the same 3 files.'")
