"""Visitors of a site: uploads, downloads and a steady load, counted."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import math
import os
import random
import threading
import time
import urllib.parse


def connect(url: str, seconds: float = 30.0) -> http.client.HTTPConnection:
    """A connection to the host of a URL."""
    split = urllib.parse.urlsplit(url)
    return http.client.HTTPConnection(split.hostname, split.port or 80, timeout=seconds)


def ask(url: str, path: str, method: str = "GET", seconds: float = 30.0) -> tuple[int, bytes, float]:
    """One request on a connection of its own: status, body, seconds."""
    begin = time.monotonic()
    connection = connect(url, seconds)
    with contextlib.closing(connection):
        connection.request(method, path, headers={"Accept": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read(), time.monotonic() - begin


def upload(url: str, name: str, blocks, size: int, pause: float = 0.0) -> dict:
    """Upload one file, given as blocks of bytes that make SIZE; returns the site's record of it. An answer but 201 raises."""
    border = "visitors"
    head = f'--{border}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
    tail = f"\r\n--{border}--\r\n".encode()
    connection = connect(url, 120)
    with contextlib.closing(connection):
        connection.putrequest("POST", "/files")
        connection.putheader("Content-Type", f"multipart/form-data; boundary={border}")
        connection.putheader("Content-Length", str(len(head) + size + len(tail)))
        connection.putheader("Accept", "application/json")
        connection.endheaders()
        connection.send(head)
        for block in blocks:
            connection.send(block)
            time.sleep(pause)
        connection.send(tail)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 201:
            raise AssertionError(f"upload of {name} to {url}: {answer.status} {body[:300]!r}")
        return json.loads(body)[0]


def _json(url: str, path: str, body: bytes, seconds: float = 60.0) -> dict:
    """POST; returns the body of a 201. Any other answer raises."""
    connection = connect(url, seconds)
    with contextlib.closing(connection):
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 201:
            raise AssertionError(f"POST {path} of {url}: {answer.status} {content[:300]!r}")
        return json.loads(content)


def put(ticket: dict, blocks, seconds: float = 120.0) -> tuple[int, bytes]:
    """Send blocks of bytes to S3 with a ticket; Content-Length, which the ticket is for, must be among its headers."""
    split = urllib.parse.urlsplit(ticket["url"])
    connection = connect(ticket["url"], seconds)
    with contextlib.closing(connection):
        connection.request("PUT", f"{split.path}?{split.query}", blocks, ticket["headers"])
        answer = connection.getresponse()
        return answer.status, answer.read()


def direct(url: str, name: str, blocks, size: int, sha256: str = "", seconds: float = 120.0) -> dict:
    """Upload one file as the page does with S3: a ticket of the site, the bytes to S3, the site's confirmation."""
    wanted = {"name": name, "size": size, **({"sha256": sha256} if sha256 else {})}
    ticket = _json(url, "/tickets", json.dumps(wanted).encode())
    status, said = put({**ticket, "headers": {**ticket["headers"], "Content-Length": str(size)}}, blocks, seconds)
    if status != 200:
        raise AssertionError(f"PUT of {name}: {status} {said[:300]!r}")
    return _json(url, f"/tickets/{ticket['key']}", b"")


def redirect(url: str, path: str) -> str:
    """Where a site redirects a request for a file; an answer but 302 raises."""
    connection = connect(url, 30)
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 302:
            raise AssertionError(f"{path} from {url}: {answer.status}")
        return answer.headers["Location"]


def by_url(url: str, path: str):
    """The blocks of a file in S3, by the link that a site gives."""
    link = redirect(url, path)
    split = urllib.parse.urlsplit(link)
    return download(link, f"{split.path}?{split.query}")


def download(url: str, path: str):
    """The blocks of a file; an answer but 200 raises."""
    connection = connect(url, 120)
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        if answer.status != 200:
            raise AssertionError(f"{path} from {url}: {answer.status}")
        while block := answer.read(1 << 20):
            yield block


def noise(seed: int, size: int):
    """Incompressible blocks of bytes, the same for the same seed."""
    block = hashlib.shake_256(str(seed).encode()).digest(1 << 20)
    while size > 0:
        yield block[: min(size, len(block))]
        size -= len(block)


def sizes(count: int, least: int, most: int, total: int) -> list[int]:
    """Log-uniform sizes that make the wanted total."""
    chance = random.Random(1)
    scaled = [round(math.exp(chance.uniform(math.log(least), math.log(most)))) for _ in range(count)]
    scaled[0], scaled[1] = least, most
    factor = (total - most) / (sum(scaled) - most)
    return [most if size == most else min(most, max(least, round(size * factor))) for size in scaled]


def digest(blocks) -> str:
    """SHA-256 of blocks."""
    total = hashlib.sha256()
    for block in blocks:
        total.update(block)
    return total.hexdigest()


class Load:
    """Visitors that keep coming until the block ends; every request that fails is kept."""

    def __init__(self, url: str, paths: list[str], slow_uploads: int = 0, upload_seconds: float = 20.0):
        self.url, self.paths, self.seconds = url, paths, upload_seconds
        self.done, self.failed, self.uploads = 0, [], 0
        self._stop = threading.Event()
        visitors = [self._keep_alive] * 3 + [self._new] * 2 + [self._slow] * slow_uploads
        self._threads = [threading.Thread(target=visitor, daemon=True) for visitor in visitors]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(120)

    def _get(self, connection) -> None:
        path = random.choice(self.paths)
        connection.request("GET", path, headers={"Accept": "application/json"})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise AssertionError(f"{path}: {answer.status} {body[:150]!r}")
        self.done += 1

    def _fail(self, who: str, fault: Exception) -> None:
        self.failed.append(f"{time.strftime('%H:%M:%S')} {who}: {type(fault).__name__}: {fault}")

    def _keep_alive(self) -> None:
        connection = connect(self.url, 20)
        while not self._stop.wait(0.05):
            try:
                self._get(connection)
            except (OSError, http.client.HTTPException, AssertionError) as fault:
                self._fail("keep-alive", fault)
                connection.close()
        connection.close()

    def _new(self) -> None:
        while not self._stop.wait(0.1):
            try:
                with contextlib.closing(connect(self.url, 20)) as connection:
                    self._get(connection)
            except (OSError, http.client.HTTPException, AssertionError) as fault:
                self._fail("new", fault)

    def _slow(self) -> None:
        while not self._stop.is_set():
            size = 200_000
            try:
                blocks = [os.urandom(size // 20) for _ in range(20)]
                stored = upload(self.url, "slow.txt", blocks, size, self.seconds / 20)
                if stored["sha256"] != digest(blocks):
                    raise AssertionError("other bytes were stored than were sent")
                self.uploads += 1
            except (OSError, http.client.HTTPException, AssertionError) as fault:
                self._fail("upload", fault)
