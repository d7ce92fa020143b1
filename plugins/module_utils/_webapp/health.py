# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks a release of the web app, or the site on this host, whether it works."""

from __future__ import annotations

import http.client
import socket


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, seconds: float):
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def check(place: str | int, path: str, seconds: float = 5.0) -> str:
    """Ask a unix socket (a path) or a port of this host for a path; "" when it says 200, else what it said."""
    connection: http.client.HTTPConnection
    if isinstance(place, int):  # noqa: SIM108 - two types
        connection = http.client.HTTPConnection("127.0.0.1", place, timeout=seconds)
    else:
        connection = _UnixConnection(place, seconds)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read(300).decode("utf-8", "replace").strip()
        return "" if answer.status == 200 else f"{answer.status} {' '.join(text.split())}"
    except (OSError, http.client.HTTPException) as fault:
        return str(fault) or type(fault).__name__
    finally:
        connection.close()
