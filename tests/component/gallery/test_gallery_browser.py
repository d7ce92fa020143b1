"""The page in headless Chromium: what people do with it, and what they see when something is wrong."""

from __future__ import annotations

import contextlib
import json
import time

import pytest

from tests.support.browser import NAMES, SHOWN, TILES, asked, needs_chromium, upload
from tests.support.gallery_server import InTurn, free_port
from tests.support.pictures import dozen, png

pytestmark = [
    needs_chromium,
]


@pytest.fixture(scope="module")
def pair(start):
    """Two servers over the same files, as (address, server)."""
    first = start(
        "-m", "tests.support.gallery_frozen", PORT=str(free_port()), STORAGE_TIMEOUT="0.5", TITLE="Shared pictures"
    )
    second = start(
        "-m", "tests.support.gallery_frozen", PORT=str(free_port()), DIRECTORY=str(first.files), NAME="web-02"
    )
    return [(f"http://127.0.0.1:{server.port}/", server) for server in (first, second)]


@pytest.fixture
def page(chromium, pair):
    """The first server's page, empty, in a window of a common size; nothing may have gone wrong in it."""
    address, server = pair[0]
    chromium.refresh()
    for entry in server.get("/files?limit=200").json["files"]:
        assert server.request("DELETE", entry["url"]).status == 204
    chromium.open(address)
    yield chromium
    assert chromium.complaints("503") == []
    own = (*(address for address, _server in pair), f"blob:{pair[0][0]}")
    assert [url for url in chromium.requested() if not url.startswith(own)] == []


def test_upload_three_files_and_watch(page, pair, three):
    assert "Nothing here yet" in page.text()
    page.slow(40_000)
    page.choose(three)
    page.wait("[...document.querySelectorAll('progress')].some(bar => bar.value > 0 && bar.value < 100)")
    assert page.run(f"{TILES}.length") == 3
    assert "% of" in page.text()
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    bars = {node["name"]["value"] for node in tree if node["role"]["value"] == "progressbar"}
    assert bars == {"Upload of Balloons.png", "Upload of Evening over the ridge.png", "Upload of Tide.png"}
    assert "Nothing here yet" not in page.text()
    page.slow(-1)
    page.wait(f"!document.querySelector('.busy') && {SHOWN}")
    assert "is stored, by web-01" in page.text()
    names = page.run(NAMES)
    assert sorted(names) == ["Balloons.png", "Evening-over-the-ridge.png", "Tide.png"]
    for address, server in pair:
        page.open(address)
        assert page.run("document.querySelector('#server').textContent") == ("web-01", "web-02")[server is pair[1][1]]
        page.wait(SHOWN)
        assert sorted(page.run(NAMES)) == sorted(names)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A picture that is too large for the grid itself."""
    path = tmp_path_factory.mktemp("large") / "Large one.png"
    path.write_bytes(next(dozen(800, 600))[1] + bytes(700_000))
    return str(path)


def test_the_grid_loads_previews_that_the_page_has_made(page, pair, large):
    upload(page, [large])
    key = page.run(f"{TILES}[0].dataset.key")
    for address, _server in pair:
        page.events.clear()
        page.open(address)
        page.wait(SHOWN)
        assert page.run("(i => [i.naturalWidth, i.naturalHeight])(document.querySelector('.frame img'))") == [480, 360]
        assert f"thumbs/{key}" in asked(page)
        assert f"files/{key}" not in asked(page)
    answer = pair[1][1].get(f"/thumbs/{key}")
    assert answer.headers["Content-Type"] == "image/webp"
    assert 1000 < len(answer.body) <= 64 * 1024


def test_a_large_picture_without_a_preview_is_shown_in_words(page, pair, large):
    address, server = pair[0]
    with open(large, "rb") as file:
        (entry,) = server.upload("large.png", file.read()).json
    page.events.clear()
    page.open(address)
    page.wait(SHOWN)
    assert f"files/{entry['key']}" not in asked(page)


def test_drop_files_anywhere(page, three):
    dropped = {"items": [], "files": three, "dragOperationsMask": 1}
    for event in ("dragEnter", "dragOver"):
        page.call("Input.dispatchDragEvent", type=event, x=640, y=700, data=dropped)
    assert page.run("document.body.className") == "dropping"
    page.call("Input.dispatchDragEvent", type="drop", x=640, y=700, data=dropped)
    page.wait(f"{TILES}.length === 3 && !document.querySelector('.busy') && {SHOWN}")
    assert page.run("document.body.className") == ""


def test_compare_the_servers(chromium, pair, start, three):
    strange = start("-m", "tests.support.gallery_frozen", PORT=str(free_port()), NAME="web-03")  # with files of its own
    first, second = (server for _address, server in pair)
    for servers, said in (
        ((first, second), r"web-01 and web-02 show the same \d files\."),
        ((first, first), r"Only web-01 answered 12 questions"),
        ((first, second, strange), r"web-03 does not show .*\.png and 2 more\."),
    ):
        with contextlib.closing(InTurn(*servers)) as balancer:
            chromium.open(balancer.address)
            if not chromium.run(f"{TILES}.length"):
                upload(chromium, three)
            chromium.click("#compare")
            chromium.wait(f"/{said}/.test(document.querySelector('#said').textContent)")
            agree = servers[-1] is not strange
            chromium.wait(f"document.querySelector('.badge').classList.contains('warns') !== {str(agree).lower()}")
    mark = first.files.parent / "frozen"
    with contextlib.closing(InTurn(first, second)) as balancer:
        chromium.open(balancer.address)
        mark.touch()
        chromium.click("#compare")
        chromium.wait("/^web-0[12]: .*does not answer/.test(document.querySelector('#said').textContent)")
        mark.unlink()


@pytest.mark.parametrize(
    ("broken", "said"), [(1, "show the same|Only web-0"), (99, "^The connection broke while the servers")]
)
def test_a_question_that_breaks_is_asked_again_once(chromium, pair, broken, said):
    """As Chromium's own do that wait for a connection while the machine's network changes."""
    with contextlib.closing(InTurn(*(server for _address, server in pair))) as balancer:
        chromium.open(balancer.address)
        chromium.run(f"(() => {{ const real = fetch; let left = {broken};"
                     "window.fetch = (...about) => left-- > 0 ? Promise.reject(new TypeError('no')) : real(...about); })()")  # fmt: skip
        chromium.click("#compare")
        chromium.wait(f"/{said}/.test(document.querySelector('#said').textContent)")


def test_delete_one(page, pair, three):
    upload(page, three)
    gone = page.run(NAMES)[1]
    page.run(f"{TILES}[1].querySelector('.remove').click()")
    assert f"Delete {gone}?" in page.text()
    page.run("[...document.querySelectorAll('dialog button')].find(button => button.value === 'keep').click()")
    assert page.run(f"{TILES}.length") == 3
    page.run(f"{TILES}[1].querySelector('.remove').click()")
    page.run("[...document.querySelectorAll('dialog button')].find(button => button.value === 'delete').click()")
    page.wait(f"{TILES}.length === 2")
    assert f"{gone} is deleted" in page.text()
    for address, _server in pair:
        page.open(address)
        assert gone not in page.run(NAMES)
        assert page.run(f"{TILES}.length") == 2


def test_with_the_keyboard_alone(page, three):
    page.call("Page.setInterceptFileChooserDialog", enabled=True)
    page.tab_to("pick")
    page.press("Enter")
    page.wait("true")
    (opened,) = [event["params"] for event in page.events if event["method"] == "Page.fileChooserOpened"]
    assert opened["mode"] == "selectMultiple"
    page.call("Page.setInterceptFileChooserDialog", enabled=False)
    page.call("DOM.setFileInputFiles", files=three, backendNodeId=opened["backendNodeId"])
    page.wait(f"{TILES}.length === 3 && !document.querySelector('.busy')")
    first = page.run(NAMES)[0]
    page.tab_to("remove")
    page.press("Enter")
    page.wait("document.querySelector('dialog').open")
    assert page.run("document.activeElement.value") == "keep"
    page.press("Escape")
    page.wait("!document.querySelector('dialog').open")
    assert page.run(f"{TILES}.length") == 3
    assert page.focus() == "remove"
    page.press("Enter")
    page.press("Tab")
    assert page.run("document.activeElement.value") == "delete"
    page.press("Enter")
    page.wait(f"{TILES}.length === 2")
    assert first not in page.run(NAMES)
    page.wait("document.activeElement.className === 'frame'")
    page.press("Enter")
    page.wait("location.pathname.startsWith('/view/') && document.readyState === 'complete'")
    assert "Download" in page.text()


@pytest.mark.parametrize("width", [320, 390])
def test_on_a_phone(page, three, width):
    page.size(width, 800, phone=True)
    upload(page, three)
    key = page.run(f"{TILES}[0].dataset.key")
    for path in ("", f"view/{key}", f"view/{key}/delete", "view/none"):
        page.open(page.run("location.origin") + "/" + path)
        assert page.run("document.documentElement.scrollWidth") == width
    page.events.clear()  # the last page is a 404
    page.open(page.run("location.origin") + "/")
    sizes = page.run(
        "[...document.querySelectorAll('main a, main label')].map(e => e.getBoundingClientRect().toJSON())"
    )
    assert all(box["width"] >= 32 and box["height"] >= 32 for box in sizes)


def test_in_the_dark_and_without_motion(page, three):
    upload(page, three[:1])
    light = page.run("getComputedStyle(document.body).backgroundColor")
    page.prefer(prefers_color_scheme="dark", prefers_reduced_motion="reduce")
    assert page.run("getComputedStyle(document.body).backgroundColor") != light
    assert page.run("getComputedStyle(document.querySelector('.frame img')).transitionDuration") == "0s"


def test_without_scripts(page, pair, three):
    address, server = pair[0]
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    page.open(address)
    page.choose(three)
    page.click("#upload button")
    page.wait(f"{TILES}.length === 3 && {SHOWN}")
    assert page.run("location.pathname") == "/"
    page.click(".tile .remove")
    page.wait("location.pathname.endsWith('/delete')")
    page.click("form.choices button")
    page.wait(f"location.pathname === '/' && {TILES}.length === 2")
    assert len(server.get("/files").json["files"]) == 2
    page.click(".tile .frame")
    page.wait("location.pathname.startsWith('/view/')")


def test_more_than_a_page(page, pair):
    address, server = pair[0]
    for number in range(63):
        server.upload(f"n{number}.txt", b"x")
    page.open(address)
    assert page.run(NAMES) == [f"n{number}.txt" for number in range(62, 2, -1)]
    page.events.clear()
    page.run("(more => { more.click(); more.click(); })(document.querySelector('#more'))")  # a quick hand
    page.wait(f"{TILES}.length > 60")
    time.sleep(0.3)
    assert len([path for path in asked(page) if path.startswith("files?")]) == 1
    assert page.run(f"{TILES}.length") == 63
    assert page.run(NAMES)[-1] == "n0.txt"
    # the older ones look as the others do
    facts = page.run(f"{TILES}.map(tile => tile.querySelector('.facts').innerText.replace(/\\d+:\\d+/, 'TIME'))")
    assert len(set(facts)) == 1, set(facts)
    last = server.get("/files?limit=200").json["files"][-1]
    assert page.run(f"{TILES}.at(-1).querySelector('time').dateTime") == last["time"]
    assert page.run("document.querySelector('#more')") is None


def test_older_files_that_are_shown_already(page, pair):
    address, server = pair[0]
    for number in range(63):
        server.upload(f"n{number}.txt", b"x")
    page.open(address)
    first = page.run(f"{TILES}[0].dataset.key")
    page.run(f"document.querySelector('#more').href = '/?after={first}'")
    page.run("document.querySelector('#more').click()")
    page.wait(f"{TILES}.length > 60")
    assert page.run(NAMES) == [f"n{number}.txt" for number in range(62, 1, -1)]
    page.run("document.querySelector('#more').click()")
    page.wait(f"{TILES}.length === 63")


def test_older_files_that_cannot_be_fetched(page, pair):
    address, server = pair[0]
    for number in range(61):
        server.upload(f"n{number}.txt", b"x")
    page.open(address)
    offline = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.call("Network.emulateNetworkConditions", offline=True, **offline)
    page.run("document.querySelector('#more').click()")
    page.wait("document.querySelector('#said').textContent.startsWith('The connection broke while older files')")
    page.call("Network.emulateNetworkConditions", offline=False, **offline)
    page.run("document.querySelector('#more').click()")
    page.wait(f"{TILES}.length === 61")
    page.events.clear()  # the failure


def test_a_file_that_is_refused(page, tmp_path):
    (tmp_path / "page.html").write_text("<p>")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "false.png").write_text("<svg>")
    page.choose([str(tmp_path / name) for name in ("page.html", "empty.txt")])
    page.wait("document.querySelectorAll('.failed').length === 2")
    assert "This type of file is not accepted here." in page.text()
    assert "It is empty." in page.text()
    assert not [
        event for event in page.events if event["method"] == "Network.requestWillBeSent" and "POST" in json.dumps(event)
    ]
    page.choose([str(tmp_path / "false.png")])
    page.wait("document.querySelectorAll('.failed').length === 3")
    assert "is no png picture inside" in page.text()
    page.run("document.querySelector('.failed .remove').click()")
    assert page.run(f"{TILES}.length") == 2
    page.events[:] = [event for event in page.events if event["method"] != "Log.entryAdded"]  # the 415


def test_an_upload_tried_again(page, pair, three):
    frozen = pair[0][1].files.parent / "frozen"
    frozen.touch()
    try:
        page.choose(three[:1])
        page.wait("document.querySelector('.failed')")
        assert "does not answer" in page.text()
    finally:
        frozen.unlink()
    page.wait("fetch('/files').then(answer => answer.ok)")
    page.run("document.querySelector('.again').click()")
    page.wait(f"!document.querySelector('.busy') && {SHOWN} && {TILES}.length === 1")


def test_an_upload_given_up(page, pair, tmp_path):
    (tmp_path / "large.png").write_bytes(png(4, 4, lambda x, y: (x, y, 0)) + bytes(3_000_000))
    page.slow(100_000)
    page.choose([str(tmp_path / "large.png")])
    page.wait("document.querySelector('progress').value > 0")
    page.run("document.querySelector('.busy .remove').click()")
    assert "Nothing here yet" in page.text()
    assert pair[0][1].temporary() == []
    assert pair[0][1].get("/files").json["files"] == []


@pytest.mark.parametrize("allowed", ["true", "false"])
def test_an_upload_given_up_while_the_password_is_asked_for(page, pair, three, allowed):
    page.run("void (ready = () => new Promise((done) => { window.answer = done; }))")
    page.choose(three[:1])
    page.wait("window.answer")
    page.run("document.querySelector('.busy .remove').click()")
    page.run(f"answer({allowed})")
    page.wait("running === 0")
    assert "was not stored" not in page.text()
    assert asked(page, "POST") == []
    assert pair[0][1].get("/files").json["files"] == []


def test_the_password_is_asked_for_before_anything_is_sent(page, start, three, tmp_path):
    (tmp_path / "password").write_text("sesame")
    locked = start(PORT=str(free_port()), PUBLIC_UPLOADS="no", PASSWORD_FILE=str(tmp_path / "password"))
    page.open(f"http://127.0.0.1:{locked.port}/")
    page.choose(three[:1])
    page.wait("document.querySelector('.busy')")
    asked = "Network.requestWillBeSent"
    while not any(
        event["params"]["request"]["url"].endswith("/login") for event in page.events if event["method"] == asked
    ):
        page.run("1")
    assert "POST" not in {event["params"].get("request", {}).get("method") for event in page.events}
    # with a query: Chromium lets the same address wait 20 s for the question that is still open
    page.open(f"http://me:sesame@127.0.0.1:{locked.port}/login?again")
    assert page.run("location.pathname") == "/"
    upload(page, three)
    page.run("document.querySelector('.remove').click()")
    page.run("document.querySelector('dialog .danger').click()")
    page.wait(f"{TILES}.length === 2")
    page.events.clear()  # another address, and the 401


def test_storage_away_and_back(page, pair, three):
    upload(page, three[:1])
    address, server = pair[0]
    frozen = server.files.parent / "frozen"
    frozen.touch()
    try:
        began = time.monotonic()
        page.open(address)
        assert time.monotonic() - began < 3
        assert "The files cannot be shown just now" in page.text()
        assert "The storage does not answer" in page.text()
        assert "web-01" in page.text()
    finally:
        frozen.unlink()
    page.wait(f"{TILES}.length === 1 && {SHOWN}", 20)
