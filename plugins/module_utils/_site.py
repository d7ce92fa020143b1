# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site's part of the proof: talks to gallery as a browser does. Every request has a deadline."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import ssl
import time
import urllib.parse

_POLL = 0.05  # seconds between two attempts to read


class Refused(OSError):
    """The site did not do what it was asked to."""


def _ask(site: dict, method: str, path: str, body: bytes = b"", kind: str = "", seconds: float = 10.0):
    """One request; returns status and body."""
    url = urllib.parse.urlsplit(site["url"])
    place = (url.hostname, url.port)
    if url.scheme == "https":
        connection = http.client.HTTPSConnection(*place, timeout=seconds, context=ssl.create_default_context())
    else:
        connection = http.client.HTTPConnection(*place, timeout=seconds)
    head = {"Accept": "application/json"}
    if site.get("host"):
        head["Host"] = site["host"]
    if kind:
        head["Content-Type"] = kind
    if site.get("password"):
        head["Authorization"] = "Basic " + base64.b64encode(f"proof:{site['password']}".encode()).decode()
    try:
        connection.request(method, url.path.rstrip("/") + path, body or None, head)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as fault:
        raise Refused(f"{type(fault).__name__}: {fault}") from fault
    finally:
        connection.close()


def _refusal(status: int, body: bytes) -> Refused:
    try:
        said = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        said = ""
    return Refused(f"HTTP {status}" + (f": {said}" if said else ""))


def upload(site: dict, name: str, data: bytes) -> str:
    """Upload a file; returns its key. Raises OSError when the site does not take it, or tells another hash of it."""
    border = hashlib.sha256(data).hexdigest()[:32]
    head = f'--{border}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
    body = head.encode() + b"Content-Type: text/plain\r\n\r\n" + data + f"\r\n--{border}--\r\n".encode()
    status, answer = _ask(site, "POST", "/files", body, f"multipart/form-data; boundary={border}")
    if status != 201:
        raise _refusal(status, answer)
    told = json.loads(answer)[0]
    if told["sha256"] != hashlib.sha256(data).hexdigest():
        raise Refused("it took other bytes than it was sent")
    return told["key"]


def _right(status: int, body: bytes, wanted: bytes) -> str:
    if status != 200:
        return str(_refusal(status, body))
    return "" if body == wanted else "other bytes"


def fetch(site: dict, key: str, wanted: bytes, until: float) -> dict:
    """Fetch a file until it has the right bytes or the time (of the monotonic clock) has come; a reading of the proof."""
    begin = time.monotonic()
    while True:
        try:
            fault = _right(*_ask(site, "GET", f"/files/{key}"), wanted)
        except OSError as error:
            fault = error.strerror or str(error)
        if not fault:
            return {"same": True, "lag_ms": round((time.monotonic() - begin) * 1000, 1)}
        if time.monotonic() >= until:
            return {"same": False, "lag_ms": None, "fault": f"{fault} after {time.monotonic() - begin:.0f} s"}
        time.sleep(_POLL)


def delete(site: dict, key: str) -> None:
    """Delete a file; one that is gone already is no error."""
    status, answer = _ask(site, "DELETE", f"/files/{key}")
    if status not in (204, 404):
        raise _refusal(status, answer)


def gone(site: dict, key: str, until: float) -> bool:
    """Whether a deleted file is no longer served, at the latest when the time has come."""
    while True:
        status = _ask(site, "GET", f"/files/{key}")[0]
        if status == 404 or time.monotonic() >= until:
            return status == 404
        time.sleep(_POLL)
