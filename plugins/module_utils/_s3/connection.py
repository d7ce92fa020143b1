# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP/1.1 to one host over connections that are kept: a writer and a reader for what S3 needs, and no more.

Written by hand because an object costs a quarter of the processor time that http.client takes (make bench-s3).
"""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import threading
import time
from typing import Protocol

from .endpoint import Endpoint
from .errors import Untrusted

_HEAD_LIMIT = 256 * 1024  # bytes of an answer's headers; S3's are below 16 KiB
_BODY_LIMIT = 1 << 28  # bytes of an answer's body; nothing is asked for in larger pieces than a part
_BLOCK = 256 * 1024
_RECORD = 16 * 1024  # bytes: TLS gives no more at a time, and Python makes room for all that is asked for
_TOGETHER = 65536  # bytes of a body that are worth copying behind the headers: one packet less, one TLS record less
_SLOWEST = 20_000.0  # bytes a second below which a transfer counts as stuck
_IDLE = 15.0  # seconds after which a kept connection is not trusted; Amazon closes after about 20


class Broken(Exception):
    """The connection failed, or what came over it is not HTTP. sent: whether the request may have been carried out."""

    def __init__(self, text: str, sent: bool = True):
        super().__init__(text)
        self.sent = sent


class Receiver(Protocol):
    """What takes a body of a known size block by block, as it comes. came: bytes since begin()."""

    size: int
    came: int

    def begin(self) -> None:
        """Start at the beginning of the body: it may come a second time."""

    def take(self, block: memoryview) -> None:
        """Take the next bytes."""


class Answer:
    """An answer with its whole body."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: dict[str, str], body: bytes | bytearray):
        self.status, self.headers, self.body = status, headers, body


def context(endpoint: Endpoint) -> ssl.SSLContext | None:
    """How the server is verified: by the system's certificates, or by those of ca_file."""
    if not endpoint.secure:
        return None
    try:
        made = ssl.create_default_context(cafile=endpoint.ca_file)
    except (OSError, ssl.SSLError) as fault:
        raise Untrusted(
            f"aws_ca_bundle {endpoint.ca_file!r} cannot be read ({fault}): give a file in PEM format"
        ) from fault
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if not endpoint.verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


def basic(credentials: str) -> str:
    """USER:PASSWORD as the value of the header."""
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"


def _tunnel(plain: socket.socket, endpoint: Endpoint, proxy: tuple[str, int, str | None]) -> None:
    """Make the proxy connect to the host."""
    target = f"[{endpoint.name}]:{endpoint.port}" if ":" in endpoint.name else f"{endpoint.name}:{endpoint.port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy[2]:
        lines.append(f"Proxy-Authorization: {basic(proxy[2])}")
    plain.sendall("\r\n".join([*lines, "", ""]).encode())
    said = b""
    while b"\r\n\r\n" not in said:
        block = plain.recv(4096)
        if not block or len(said) > _HEAD_LIMIT:
            raise Broken("the proxy closed the connection", sent=False)
        said += block
    status = said.split(b"\r\n", 1)[0].decode("latin-1")
    if " 200" not in status[:13]:
        raise Broken(f"the proxy {proxy[0]}:{proxy[1]} refused: {status}", sent=False)


def _set_options(plain: socket.socket) -> None:
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


class Connection:
    """One connection; opened when it is first needed, and again after it broke. seconds: for each wait on the network."""

    def __init__(self, endpoint: Endpoint, secure: ssl.SSLContext | None, seconds: float):
        self._endpoint, self._secure, self._seconds = endpoint, secure, seconds
        self._socket: socket.socket = None  # type: ignore[assignment]  # None while closed: no check in each send and receive
        self._opening: socket.socket | None = None  # the one that is being opened
        self._rest = b""
        self._used = self._until = 0.0
        self._ahead: bytes | None = None  # the request that is sent, and its answer not read yet
        self._into: Receiver | None = None  # what takes the body as it comes
        self._block = bytearray()
        self._kept = False  # whether that went over a connection that had been used before

    def close(self) -> None:
        """Close it; the next request opens it anew."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None  # type: ignore[assignment]  # None while closed: no check in each send and receive
            self._rest, self._ahead = b"", None

    def cut(self, seconds: float) -> None:
        """Make what waits on it fail, in any thread; what comes later may wait this long."""
        self._seconds = seconds
        for open_socket in filter(None, (self._opening, self._socket)):
            with contextlib.suppress(OSError):
                # not TLS's own, after which another thread would read on in clear
                socket.socket.shutdown(open_socket, socket.SHUT_RDWR)

    def _open(self) -> None:
        endpoint = self._endpoint
        place = endpoint.proxy[:2] if endpoint.proxy else (endpoint.name, endpoint.port)
        plain = None
        try:
            plain = self._opening = socket.create_connection(place, self._seconds)
            _set_options(plain)
            if endpoint.proxy and endpoint.secure:
                _tunnel(plain, endpoint, endpoint.proxy)
            if self._secure:
                wrap = self._secure.wrap_socket
                plain = self._opening = wrap(plain, server_hostname=endpoint.name, do_handshake_on_connect=False)
                plain.do_handshake()
        except ssl.SSLCertVerificationError as fault:
            if plain is not None:
                plain.close()
            raise Untrusted(
                f"the certificate of {endpoint.name} does not hold ({fault.verify_message}): give its CA as aws_ca_bundle"
            ) from fault
        except (OSError, Broken) as fault:
            if plain is not None:
                plain.close()
            if isinstance(fault, Broken):
                raise
            raise Broken(f"{place[0]}:{place[1]}: {_words(fault)}", sent=False) from fault
        self._socket = plain
        self._opening = None

    def _ready(self) -> None:
        """Ensure an open connection on which no answer is awaited."""
        if self._socket is not None and (self._ahead is not None or time.monotonic() - self._used > _IDLE):
            self.close()
        self._kept = self._socket is not None
        if not self._kept:
            self._open()

    def send(self, head: bytes) -> None:
        """Send a request without a body ahead: ask() for the very same one only reads the answer. ask() repeats what fails here."""
        try:
            self._ready()
            count = self._socket.send(head)
            if count < len(head):
                self._socket.sendall(head[count:])
            self._ahead = head
        except (OSError, Broken, Untrusted):
            self.close()

    def _read_ahead(self, bare: bool) -> Answer:
        self._ahead, self._until = None, time.monotonic() + self._seconds
        return self._read(bare)

    def ask(self, head: bytes, body: bytes | memoryview | None, bare: bool, into: Receiver | None = None) -> Answer:
        """Send a request and read its answer; bare: the answer has no body whatever its headers say (HEAD).

        into: takes a body of into.size bytes as it comes, instead of the answer: into.begin(), then into.take(block) for each.
        """
        ahead, self._into = head is self._ahead, into
        if not ahead:
            self._ready()
        try:
            answer = self._read_ahead(bare) if ahead else self._exchange(head, body, bare)
        except (OSError, Broken, ValueError) as fault:
            self.close()
            first = isinstance(fault, Broken) and not fault.sent
            if self._kept and first:  # the server had closed it while it was idle: nothing was carried out
                return self.ask(head, body, bare, into)
            raise Broken(_words(fault)) from fault
        self._used = time.monotonic()
        if answer.headers.get("connection", "").lower() == "close":
            self.close()
        return answer

    def _exchange(self, head: bytes, body: bytes | memoryview | None, bare: bool) -> Answer:
        data = b"" if body is None else body
        size = len(data)
        self._until = time.monotonic() + self._seconds + size / _SLOWEST
        try:
            if size <= _TOGETHER:
                self._socket.sendall(head + bytes(data) if size else head)
            else:
                self._socket.sendall(head)
                view = memoryview(data)
                for start in range(
                    0, size, _BLOCK
                ):  # each block has its own timeout: that of sendall is for all its bytes
                    self._socket.sendall(view[start : start + _BLOCK])
                    self._in_time()
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError) as fault:
            # a server that refuses a large body answers before it has read it, and closes
            try:
                return self._read(bare)
            except (OSError, Broken, ValueError):
                raise Broken(_words(fault), sent=False) from fault
            finally:
                self.close()
        return self._read(bare)

    def _in_time(self) -> None:
        if time.monotonic() > self._until:
            raise Broken("the request took too long")

    def _receive(self) -> bytes:
        self._in_time()
        return self._socket.recv(_RECORD)

    def _read(self, bare: bool) -> Answer:
        while True:
            status, headers = self._head()
            if status >= 200:
                break
        if bare or status in (204, 304):
            return Answer(status, headers, b"")
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return Answer(status, headers, self._chunks())
        length = headers.get("content-length")
        if length is None:
            headers["connection"] = "close"
            return Answer(status, headers, self._all())
        if self._into and status < 300 and int(length) == self._into.size:
            self._pour(self._into, int(length))
            return Answer(status, headers, b"")
        return Answer(status, headers, self._exactly(int(length)))

    def _head(self) -> tuple[int, dict[str, str]]:
        data = self._rest
        while (end := data.find(b"\r\n\r\n")) < 0:
            block = self._receive()
            if not block:
                raise Broken("the server closed the connection", sent=bool(data))
            data += block
            if len(data) > _HEAD_LIMIT:
                raise Broken("the server's answer has no end of its headers")
        self._rest = data[end + 4 :]
        # what others wrote as metadata may be any bytes, and is sent back to them as it came
        lines = data[:end].decode("utf-8", "surrogateescape").split("\r\n")
        if not lines[0].startswith("HTTP/1."):
            raise Broken(f"the server does not speak HTTP/1.1: {lines[0][:80]!r}")
        headers = {}
        for line in lines[1:]:
            name, _colon, value = line.partition(":")
            headers[name.lower()] = value.strip(" \t")
        if lines[0].startswith("HTTP/1.0"):
            headers.setdefault("connection", "close")
        return int(lines[0][9:12]), headers

    def _exactly(self, length: int) -> bytes | bytearray:
        if not 0 <= length <= _BODY_LIMIT:
            raise Broken(f"the server announces an answer of {length} bytes")
        received = len(self._rest)
        body: bytes | bytearray
        if received == length:
            body, self._rest = self._rest, b""
            return body
        if received > length:
            body, self._rest = self._rest[:length], self._rest[length:]
            return body
        self._until += length / _SLOWEST
        body = bytearray(length)
        with memoryview(body) as view:
            self._fill(view)
        return body

    def _fill(self, view: memoryview) -> None:
        length, filled = len(view), min(len(self._rest), len(view))
        view[:filled] = self._rest[:filled]
        self._rest = self._rest[filled:]
        while filled < length:
            self._in_time()
            count = self._socket.recv_into(view[filled:], min(length - filled, 1 << 20))
            if not count:
                raise Broken(f"the answer ended after {filled} of its {length} bytes")
            filled += count

    def _pour(self, into: Receiver, length: int) -> None:
        """Pass a body on block by block: hashing and writing cost less while the processor's cache holds it (make bench-s3)."""
        self._until += length / _SLOWEST
        if not self._block:
            self._block = bytearray(_BLOCK)
        into.begin()
        with memoryview(self._block) as view:
            for start in range(0, length, _BLOCK):
                with view[: length - start] as block:
                    self._fill(block)
                    into.take(block)

    def _line(self) -> bytes:
        while (end := self._rest.find(b"\r\n")) < 0:
            block = self._receive()
            if not block or len(self._rest) > _HEAD_LIMIT:
                raise Broken("the answer ended within a chunk")
            self._rest += block
        line, self._rest = self._rest[:end], self._rest[end + 2 :]
        return line

    def _chunks(self) -> bytes:
        blocks = []
        while size := int(self._line().split(b";")[0], 16):
            blocks.append(self._exactly(size))
            self._line()
        while self._line():
            pass
        return b"".join(blocks)

    def _all(self) -> bytes:
        blocks = [self._rest]
        self._rest = b""
        while block := self._receive():
            blocks.append(block)
        return b"".join(blocks)


def _words(fault: Exception) -> str:
    if isinstance(fault, (TimeoutError, socket.timeout)):
        return "no answer in time"
    return getattr(fault, "strerror", None) or str(fault) or type(fault).__name__


class Pool:
    """Connections, each for one thread; one that sends ahead has several, by number."""

    def __init__(self, endpoint: Endpoint, seconds: float):
        self._endpoint, self._seconds = endpoint, seconds
        self._secure = context(endpoint)
        self._local = threading.local()
        self._all: list[Connection] = []

    def connection(self, number: int = 0) -> Connection:
        """A connection of this thread."""
        try:
            return self._local.own[number]
        except (AttributeError, KeyError):
            made = Connection(self._endpoint, self._secure, self._seconds)
            self._local.__dict__.setdefault("own", {})[number] = made
            self._all.append(made)
            return made

    def cut(self, seconds: float) -> None:
        """Make what waits on any of them fail; what comes later may wait this long."""
        self._seconds = seconds
        for connection in list(self._all):
            connection.cut(seconds)

    def close(self) -> None:
        """Close all of them."""
        for connection in self._all:
            connection.close()
