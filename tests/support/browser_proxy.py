"""A proxy between a browser and a server: it passes requests on, or makes trouble with those that a test names."""

from __future__ import annotations

import collections
import contextlib
import http.client
import http.server
import socket
import threading
import time
from typing import NamedTuple

_BLOCK = 1 << 16


class Trouble(NamedTuple):
    """What happens to one request."""

    action: str = "pass"
    """busy: 503, as S3 says it; mute: 503 that no page may read; refuse: 403; cut: the connection ends after so many bytes
    of the body; lose: it is done, but the answer does not come; hold: it waits so many seconds; slow: so many bytes a second;
    later: it is being done, and 503 says to ask again in so many seconds, as a server says it."""
    amount: float = 0


class Passed(NamedTuple):
    """A request that came by; status 0: it got no answer."""

    method: str
    path: str
    status: int
    size: int  # bytes of its body that were read


class _Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_words) -> None:
        """The proxy keeps its own list."""

    def _take(self) -> None:
        proxy, self.close_connection = self.server.proxy, True
        with proxy.lock:
            trouble = proxy.take(self.command)
            proxy.now[self.command] += 1
            proxy.ends.add(self.connection)
            proxy.most[self.command] = max(proxy.most[self.command], proxy.now[self.command])
        self._left, self._size, status = int(self.headers.get("Content-Length") or 0), 0, 0
        with contextlib.suppress(OSError, http.client.HTTPException):  # one of both ends has gone
            status = getattr(self, f"_{trouble.action}")(trouble.amount)
        with proxy.lock:
            proxy.now[self.command] -= 1
            proxy.ends.discard(self.connection)
            proxy.passed.append(Passed(self.command, self.path, status, self._size))

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_OPTIONS = _take

    def _body(self):
        while self._left:
            block = self.rfile.read1(min(_BLOCK, self._left))
            if not block:
                raise ConnectionError("the browser has gone")
            self._left -= len(block)
            self._size += len(block)
            yield block

    def _busy(self, _amount: float, status: int = 503, readable: bool = True) -> int:
        for _block in self._body():
            pass
        self.send_response(status)
        if readable:
            self.send_header("Access-Control-Allow-Origin", self.headers.get("Origin", "*"))
        self.end_headers()
        self.wfile.write(b"<Error><Code>SlowDown</Code></Error>" if status == 503 else b"<Error/>")
        return status

    def _mute(self, amount: float) -> int:
        return self._busy(amount, readable=False)

    def _refuse(self, amount: float) -> int:
        return self._busy(amount, 403)

    def _cut(self, amount: float) -> int:
        for _block in self._body():
            if self._size >= amount:
                break
        return 0

    def _pass(self, _amount: float) -> int:
        return self._forward()

    def _later(self, amount: float) -> int:
        body = b"".join(self._body())
        threading.Thread(target=self._alone, args=(body,)).start()
        content = b'{"error": "It is still being stored: ask again."}'
        self.send_response_only(503)
        self.send_header("Retry-After", str(int(amount)))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        return 503

    def _alone(self, body: bytes) -> None:
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.server.proxy.port, timeout=60)
        ) as upstream:
            upstream.request(self.command, self.path, body, {"Host": self.headers["Host"]})
            upstream.getresponse().read()

    def _hold(self, amount: float) -> int:
        time.sleep(amount)
        return self._forward()

    def _slow(self, amount: float) -> int:
        return self._forward(rate=amount)

    def _lose(self, _amount: float) -> int:
        return self._forward(replies=False)

    def _forward(self, rate: float = 0, replies: bool = True) -> int:
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.proxy.port, timeout=60)
        with contextlib.closing(upstream):
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() != "connection":
                    upstream.putheader(name, value)
            upstream.putheader("Connection", "close")
            upstream.endheaders()
            for block in self._body():
                upstream.send(block)
                if rate:
                    time.sleep(len(block) / rate)
            return self._answer(upstream.getresponse(), replies)

    def _answer(self, answer: http.client.HTTPResponse, replies: bool) -> int:
        if not replies:
            answer.read()
            return 0
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding"):
                self.send_header(name, value)
        self.end_headers()
        while block := answer.read(_BLOCK):
            self.wfile.write(block)
        return answer.status


class _Listener(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


class Proxy:
    """A proxy of a port of this machine. It can be closed and opened again under its address."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.lock = threading.Lock()
        self.passed: list[Passed] = []
        self.now: collections.Counter[str] = collections.Counter()  # requests under way, by method
        self.most: collections.Counter[str] = collections.Counter()  # the most at a time
        self.ends: set[socket.socket] = set()  # of the requests under way
        self._turns: dict[str, collections.deque[Trouble]] = {}
        self._always: dict[str, Trouble] = {}
        self._place = ("127.0.0.1", 0)
        self.open()

    @property
    def address(self) -> str:
        """The proxy's address, as an origin."""
        return f"http://127.0.0.1:{self._place[1]}"

    def open(self) -> None:
        """Take connections."""
        self._listener = _Listener(self._place, _Handler)
        self._listener.proxy = self
        self._place = self._listener.server_address
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        """Refuse connections."""
        self._listener.shutdown()
        self._thread.join()
        self._listener.server_close()

    def sever(self) -> None:
        """Cut all connections."""
        with self.lock:
            for end in self.ends:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def turn(self, method: str, *troubles: Trouble) -> None:
        """What happens to the next requests of a method; those after them pass."""
        self._turns.setdefault(method, collections.deque()).extend(troubles)

    def always(self, method: str, trouble: Trouble | None) -> None:
        """What happens to all requests of a method; None: they pass."""
        self._always[method] = trouble or Trouble()

    def take(self, method: str) -> Trouble:
        """What happens to a request."""
        turns = self._turns.get(method)
        return turns.popleft() if turns else self._always.get(method, Trouble())

    def calm(self) -> None:
        """Forget all trouble and all requests, once those in flight have ended."""
        until = time.monotonic() + 10
        while any(self.now.values()) and time.monotonic() < until:
            time.sleep(0.02)
        with self.lock:
            self._turns.clear()
            self._always.clear()
            self.passed.clear()
            self.most.clear()

    def of(self, method: str, part: str = "") -> list[Passed]:
        """The requests of a method that came by, with some text in their path."""
        with self.lock:
            return [passed for passed in self.passed if passed.method == method and part in passed.path]
