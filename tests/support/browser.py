"""Headless Chromium, driven over its DevTools protocol."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator

from websockets.sync.client import ClientConnection, connect

from tests.support.needs import needs

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = needs(CHROMIUM is not None, "Chromium (Debian: apt-get install chromium)")
TILES = "[...document.querySelectorAll('#grid .tile')]"
NAMES = f"{TILES}.map(tile => tile.querySelector('.name').textContent)"
SHOWN = f"{TILES}.map(tile => tile.querySelector('img')).every(image => image && image.complete && image.naturalWidth)"
_FLAGS = "--headless=new --no-sandbox --disable-gpu --hide-scrollbars --remote-debugging-port=0 --disable-dev-shm-usage"
_KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32}


@contextlib.contextmanager
def launch() -> Iterator[Browser]:
    """A browser of its own, with an empty profile."""
    with tempfile.TemporaryDirectory(prefix="gallery-browser-", ignore_cleanup_errors=True) as profile:
        argv = [CHROMIUM, *_FLAGS.split(), f"--user-data-dir={profile}", "about:blank"]
        with subprocess.Popen(argv, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
            try:
                # it says where it listens; what it prints after that is not read
                line = next(line for line in process.stderr if "DevTools listening on" in line)
                with connect(line.split()[-1], max_size=None) as devtools:
                    yield Browser(devtools)
            finally:
                process.kill()


class Browser:
    """One tab of a browser, by its DevTools socket; launch() makes one."""

    def __init__(self, devtools: ClientConnection) -> None:
        self._socket = devtools
        self._number = 0
        self._session = None
        self.events: list[dict] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "DOM", "Network", "Log"):
            self.call(f"{domain}.enable")

    def refresh(self) -> None:
        """Leave the page, and forget what tests have set and seen."""
        self.call("Page.navigate", url="about:blank")
        self.wait("location.href === 'about:blank'")
        self.size(1280, 860)
        self.slow(-1)
        self.prefer()
        self.call("Emulation.setScriptExecutionDisabled", value=False)
        self.events.clear()

    def complaints(self, *but: str) -> list[tuple]:
        """The browser's complaints about the page, except those with one of these texts."""
        self.run("1")  # collects what is still to come
        log = [event["params"]["entry"] for event in self.events if event["method"] == "Log.entryAdded"]
        # the dialog has autofocus for when it opens; a click while the page still loads gets this message
        but += ("Autofocus processing was blocked",)
        return [(entry["text"], entry.get("url")) for entry in log if not any(text in entry["text"] for text in but)]

    def requested(self, method: str = "") -> list[str]:
        """The addresses that the page has asked for."""
        sent = [event["params"]["request"] for event in self.events if event["method"] == "Network.requestWillBeSent"]
        return [request["url"] for request in sent if method in ("", request["method"])]

    def call(self, method: str, **parameters):
        """One command of the protocol; events that come meanwhile are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(timeout=30))
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer)
                return answer["result"]
            self.events.append(answer)

    def open(self, address: str) -> None:
        """Go to a page and wait until it is loaded."""
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str):
        """The value of an expression in the page; a promise is waited for."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, script: str, seconds: float = 15) -> None:
        """Wait until an expression is true."""
        until = time.monotonic() + seconds
        while True:
            with contextlib.suppress(AssertionError):  # the page is just being changed
                if self.run(f"Promise.resolve({script}).then(Boolean)"):
                    return
            assert time.monotonic() < until, f"{script} did not come true; the page says: {self.text()}"
            time.sleep(0.03)

    def text(self) -> str:
        """What can be read on the page."""
        return self.run("document.body.innerText")

    def choose(self, paths: list[str], selector: str = "#pick") -> None:
        """Choose files in a file field."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", files=paths, nodeId=node)

    def press(self, key: str) -> None:
        """Press and release a key."""
        keys = {"key": key, "code": key, "windowsVirtualKeyCode": _KEYS[key]}
        text = {"Enter": "\r", " ": " "}.get(key)
        self.call("Input.dispatchKeyEvent", type="keyDown", **keys, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **keys)

    def click(self, selector: str) -> None:
        """Click in the middle of an element, as a mouse does."""
        self.wait("document.readyState === 'complete'")
        self.run(f"document.querySelector({selector!r}).scrollIntoView()")
        box = self.run(f"document.querySelector({selector!r}).getBoundingClientRect().toJSON()")
        place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2, "button": "left", "clickCount": 1}
        for event_type in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=event_type, **place)

    def focus(self) -> str:
        """What has the focus: its id, or its class, or its value."""
        return self.run("(e => e.id || e.className || e.value)(document.activeElement)")

    def tab_to(self, wanted: str) -> None:
        """Press Tab until an element has the focus; each one on the way must show that it has it."""
        for _ in range(40):
            self.press("Tab")
            focused = "(e => e.id === 'pick' ? e.nextElementSibling : e)(document.activeElement)"
            assert self.run(f"getComputedStyle({focused}).outlineStyle") != "none", self.focus()
            if self.focus() == wanted:
                return
        raise AssertionError(f"Tab never came to {wanted}")

    def size(self, width: int, height: int, phone: bool = False) -> None:
        """Set the size of the window in CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)

    def prefer(self, **features: str) -> None:
        """Set media features, written with underscores: prefer(prefers_color_scheme="dark")."""
        media_features = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=media_features)

    def slow(self, upload: int) -> None:
        """Limit uploads to so many bytes per second; -1 takes the limit away."""
        self.call(
            "Network.emulateNetworkConditions", offline=False, latency=0, downloadThroughput=-1, uploadThroughput=upload
        )

    def screenshot(self, path: str) -> None:
        """Write a picture of the window."""
        data = self.call("Page.captureScreenshot", format="png")["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))


def upload(page: Browser, paths: list[str]) -> None:
    """Choose files on the page, and wait until all of them are stored."""
    before = page.run(f"{TILES}.length")
    page.choose(paths)
    page.wait(f"{TILES}.length === {before + len(paths)} && !document.querySelector('.busy') && {SHOWN}")


def asked(page: Browser, method: str = "GET") -> list[str]:
    """The paths that the page has asked for."""
    return [address.split("/", 3)[3] for address in page.requested(method)]
