"""gallery as a real process on a unix socket, and requests to it over real sockets."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

from tests.support import ROOT

FILES = ROOT / "roles" / "webapp" / "files"
BOUNDARY = "limit-of-parts"


class _Connection(http.client.HTTPConnection):
    def __init__(self, plain: socket.socket) -> None:
        super().__init__("gallery.test")
        self.sock = plain


class Answer:
    """What came back: status, headers and body."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self):
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The sentence of a refusal."""
        return self.json["error"]


def part(filename: str | bytes, data: bytes, field: str = "file") -> bytes:
    """One part of a form."""
    name = filename if isinstance(filename, bytes) else filename.encode()
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="'.encode() + name
    return head + b'"\r\nContent-Type: application/x-sent-by-the-client\r\n\r\n' + data + b"\r\n"


def form(*pieces: bytes) -> bytes:
    """A whole form."""
    return b"".join(pieces) + f"--{BOUNDARY}--\r\n".encode()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as plain:
        plain.bind(("127.0.0.1", 0))
        return plain.getsockname()[1]


class Server:
    """One gallery, on a unix socket unless a PORT is given; `files` is its directory of files, where it has one.

    aws: further environment variables, the credentials.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        python: tuple[str, ...] = ("-m", "gallery"),
        aws: dict | None = None,
        **settings: str,
    ) -> None:
        self.files = directory / "files"
        self.socket = str(directory / "s")
        self.log = directory / "log"
        self.port = int(settings.get("PORT", "0"))
        variables = {"NAME": "web-01", "PUBLIC_UPLOADS": "true", **settings}
        if variables.get("STORAGE") != "s3":
            variables.setdefault("DIRECTORY", str(self.files))
        if not self.port:
            variables["SOCKET"] = self.socket
        path = os.pathsep.join(str(place) for place in (FILES, ROOT, ROOT / ".ansible" / "collections"))
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        environment.update(aws or {})
        environment.update({f"GALLERY_{name}": value for name, value in variables.items()})
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([sys.executable, *python], env=environment, stderr=log, cwd=directory)
        self._wait()

    def _wait(self) -> None:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            assert self.process.poll() is None, self.log.read_text()
            with contextlib.suppress(OSError):
                if self.get("/healthz").status == 200:
                    return
            time.sleep(0.05)
        raise AssertionError(f"gallery does not answer: {self.log.read_text()}")

    def request(self, method: str, path: str, body=None, timeout: float = 30, **headers: str) -> Answer:
        """One request; headers are written with underscores."""
        with self.connected(timeout) as plain:
            connection = _Connection(plain)
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            return Answer(connection.getresponse())

    def get(self, path: str, **keywords) -> Answer:
        """GET."""
        return self.request("GET", path, **keywords)

    def upload(self, filename: str | bytes, data: bytes, **keywords) -> Answer:
        """POST of one file."""
        return self.post(form(part(filename, data)), **keywords)

    def post(self, body, path: str = "/files", **keywords) -> Answer:
        """POST of a form."""
        keywords.setdefault("Content_Type", f"multipart/form-data; boundary={BOUNDARY}")
        return self.request("POST", path, body, **keywords)

    @contextlib.contextmanager
    def connected(self, timeout: float = 30):
        """A bare socket."""
        place = self._place()
        with socket.socket(socket.AF_UNIX if isinstance(place, str) else socket.AF_INET) as plain:
            plain.settimeout(timeout)
            plain.connect(place)
            yield plain

    def _place(self):
        return ("127.0.0.1", self.port) if self.port else self.socket

    def temporary(self) -> list[str]:
        """The temporary files, once the server has had a moment to clean up."""
        until = time.monotonic() + 20
        directory = self.files / ".tmp"
        while directory.exists() and os.listdir(directory) and time.monotonic() < until:
            time.sleep(0.02)
        return os.listdir(directory) if directory.exists() else []

    def peak(self) -> int:
        """The most memory that the process has had, in bytes (resident)."""
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))

    def threads(self) -> int:
        """How many threads the process has."""
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def descriptors(self) -> int:
        """How many files and sockets the process has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it by a signal; returns how it ended."""
        self.process.send_signal(number)
        return self.process.wait(20)

    def end(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()


def head_of(plain: socket.socket) -> bytes:
    """What a server answers on a bare socket until it falls silent or closes."""
    answer = b""
    while b"\r\n\r\n" not in answer or not answer.endswith(b"}"):
        more = plain.recv(65536)
        if not more:
            break
        answer += more
    return answer


def check(answer: Answer, status: int, said: str) -> None:
    """A refusal for a program: one sentence, marked with the server's name."""
    assert answer.status == status, answer.body
    assert said in answer.error, answer.error
    assert answer.error[-1] == "."
    assert "\n" not in answer.error
    assert answer.headers["X-Served-By"] == "web-01"
    assert answer.headers["Content-Type"] == "application/json"


class InTurn:
    """A balancer of the plainest kind: each connection goes to the next of some servers."""

    def __init__(self, *servers: Server) -> None:
        self._next = itertools.cycle(servers)
        self._open = [socket.create_server(("127.0.0.1", 0))]
        self.address = f"http://127.0.0.1:{self._open[0].getsockname()[1]}/"
        self._threads = [threading.Thread(target=self._serve)]
        self._threads[0].start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                ends = [self._open[0].accept()[0], socket.create_connection(("127.0.0.1", next(self._next).port))]
                self._open.extend(ends)
                for pair in (ends, ends[::-1]):
                    self._threads.append(threading.Thread(target=self._carry, args=pair))
                    self._threads[-1].start()

    @staticmethod
    def _carry(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(1 << 16):
                sink.sendall(block)
            sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End all connections, and take no more."""
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for end in self._open:
            end.close()
