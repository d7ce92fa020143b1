"""A tiny web app, for tests of the role webapp: anything but gallery. It takes its socket from systemd, ends softly."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import signal
import socket
import threading


class App(http.server.BaseHTTPRequestHandler):
    """Any path answers the greeting, /strict with headers of its own, /long with a long one; POST reads the body, at
    whatever pace it comes, and answers its hash."""

    def address_string(self):
        return "unix"

    def answer(self, content: dict) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if self.path == "/strict":
            self.send_header("X-Frame-Options", "DENY")
            self.send_header("Referrer-Policy", "no-referrer")
        if self.path == "/long":
            self.send_header("Location", f"https://s3.example.com/?X-Amz-Security-Token={'a' * 12_000}")
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        forwarded = {"from": self.headers.get("X-Forwarded-For"), "scheme": self.headers.get("X-Forwarded-Proto")}
        self.answer({"greeting": os.environ.get("GREETING"), **forwarded})

    def do_POST(self):
        total = hashlib.sha256()
        left = int(self.headers["Content-Length"])
        while left and (data := self.rfile.read1(min(left, 65536))):
            total.update(data)
            left -= len(data)
        self.answer({"greeting": os.environ.get("GREETING"), "sha256": total.hexdigest(), "left": left})


class Server(http.server.ThreadingHTTPServer):
    """On the socket that systemd passes; it ends when the requests in flight have ended."""

    daemon_threads = False
    address_family = socket.AF_UNIX

    def get_request(self):
        return self.socket.accept()[0], ("unix", 0)


def main() -> None:
    """Serve until SIGTERM."""
    if os.environ.get("BROKEN"):
        raise SystemExit("this release is broken")
    server = Server(("", 0), App, bind_and_activate=False)
    server.socket = socket.socket(fileno=3)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()
    server.server_close()


main()
