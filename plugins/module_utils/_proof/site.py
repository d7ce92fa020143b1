# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site's part of the proof: talks to gallery, and to S3, as a browser does. Every request has a timeout."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import ssl
import time
import urllib.parse
from typing import Any, Optional

from .._s3 import endpoint
from .._s3.connection import basic
from .._s3.errors import EndpointError

_POLL = 0.05  # seconds between two attempts to read
_PAGES = 10  # of the list, each of 200 files: newer ones than the proof's may come while it runs
_REDIRECTS = (301, 302, 303, 307, 308)
_Proxy = Optional[tuple[str, int, Optional[str]]]  # as endpoint.proxy_of gives it

# what pictures begin with, which gallery checks, so that a site that takes nothing else takes the proof's files
_BEGINS = {
    "avif": b"\0\0\0 ftypavif", "gif": b"GIF89a", "jpeg": b"\xff\xd8\xff", "jpg": b"\xff\xd8\xff",
    "png": b"\x89PNG\r\n\x1a\n", "webp": b"RIFF\0\0\0\0WEBP",
}  # fmt: skip


class Refused(OSError):
    """The site refused a request."""


def file_name(site: dict[str, Any], stem: str) -> str:
    """A name that the site takes: a text's if it takes texts, a picture's only where it takes nothing else."""
    types = sorted(
        map(str.lower, site.get("types") or ["txt"]),
        key=lambda extension: (extension != "txt", extension in _BEGINS, extension),
    )
    return f"{stem}.{types[0]}"


def content(name: str, token: bytes) -> bytes:
    """What a file of this name or key holds: a token, which makes it unique."""
    return _BEGINS.get(name.rpartition(".")[2], b"") + token


def in_s3(site: dict[str, Any]) -> bool:
    """Whether the site keeps its files in S3, where browsers send and read them."""
    return site.get("storage") == "s3"


def _connection(
    address: urllib.parse.SplitResult, ca_file: str, seconds: float, proxy: _Proxy
) -> http.client.HTTPConnection:
    name = address.hostname or ""
    host, port = (proxy[0], proxy[1]) if proxy else (name, address.port)
    if address.scheme != "https":
        return http.client.HTTPConnection(host, port, timeout=seconds)
    context = ssl.create_default_context(cafile=ca_file or None)
    connection = http.client.HTTPSConnection(host, port, timeout=seconds, context=context)
    if proxy:
        head = {"Proxy-Authorization": basic(proxy[2])} if proxy[2] else {}
        connection.set_tunnel(name, address.port or 443, head)
    return connection


def _send(
    url: str, method: str, body: bytes, head: dict[str, str], ca_file: str = "", seconds: float = 10.0,
    header: str = "Location", proxy: _Proxy = None,
) -> tuple[int, bytes, str]:  # fmt: skip
    """One request to one address; returns status, body, and a header of the answer. A certificate is always checked."""
    address = urllib.parse.urlsplit(url)
    connection = _connection(address, ca_file, seconds, proxy)
    try:
        target = address.path + (f"?{address.query}" if address.query else "")
        if proxy and address.scheme == "http":
            target = f"http://{address.netloc}{target}"
            head = {**head, "Proxy-Authorization": basic(proxy[2])} if proxy[2] else head
        connection.request(method, target, body or None, head)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.getheader(header) or ""
    except http.client.HTTPException as fault:
        raise Refused(f"{type(fault).__name__}: {fault}") from fault
    finally:
        connection.close()


def _send_to_s3(
    site: dict[str, Any], url: str, method: str, body: bytes, head: dict[str, str], seconds: float = 10.0,
    header: str = "Location",
) -> tuple[int, bytes, str]:  # fmt: skip
    """One request to S3, by the proxy of the environment as the site's own go, with the CA certificates of the site."""
    address = urllib.parse.urlsplit(url)
    try:
        proxy = endpoint.proxy_of(address.scheme == "https", address.hostname or "", dict(os.environ))
    except EndpointError as fault:
        raise Refused(str(fault)) from fault
    return _send(url, method, body, head, site.get("ca_file") or "", seconds, header, proxy)


def _ask(
    site: dict[str, Any], method: str, path: str, body: bytes = b"", media_type: str = ""
) -> tuple[int, bytes, str]:
    """One request to the site, with its password; returns status, body, and the target of a redirect."""
    head = {"Accept": "application/json"}
    if site.get("host"):
        head["Host"] = site["host"]
    if media_type:
        head["Content-Type"] = media_type
    if site.get("password"):
        head["Authorization"] = basic(f"proof:{site['password']}")
    return _send(site["url"].rstrip("/") + path, method, body, head, site.get("ca_file") or "")


def _refusal(status: int, body: bytes) -> Refused:
    try:
        said = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        said = ""
    return Refused(f"HTTP {status}" + (f": {said}" if said else ""))


def upload(site: dict[str, Any], name: str, data: bytes, page: str = "") -> str:
    """Upload a file; returns its key. Raises OSError when the site does not take it, or reports another hash of it.

    page is the site as its users reach it: with it S3 is asked, too, whether that site's pages may upload there.
    """
    if in_s3(site):
        return _upload_to_s3(site, name, data, page)
    border = hashlib.sha256(data).hexdigest()[:32]
    head = f'--{border}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
    body = head.encode() + b"Content-Type: application/octet-stream\r\n\r\n" + data + f"\r\n--{border}--\r\n".encode()
    status, answer, _to = _ask(site, "POST", "/files", body, f"multipart/form-data; boundary={border}")
    if status != 201:
        raise _refusal(status, answer)
    uploaded = json.loads(answer)[0]
    if uploaded["sha256"] != hashlib.sha256(data).hexdigest():
        raise Refused("it took other bytes than it was sent")
    return uploaded["key"]


def _s3_refusal(what: str, status: int, body: bytes) -> Refused:
    """What S3 said, without the address, which may open a file."""
    code = re.search(rb"<Code>(\w+)</Code>", body)
    return Refused(f"{what}: HTTP {status}" + (f" {code.group(1).decode()}" if code else ""))


def _origin(page: str) -> str:
    """What a browser calls the site of a page: scheme and host, and the port where it is not the scheme's own."""
    address = urllib.parse.urlsplit(page)
    usual = {"http": ":80", "https": ":443"}.get(address.scheme, "")
    return f"{address.scheme}://{address.netloc.lower().removesuffix(usual)}"


def _preflight(site: dict[str, Any], ticket: dict[str, Any], page: str) -> None:
    """Ask S3 what a browser asks before it uploads by a ticket. Raises Refused when it would not go on."""
    origin = _origin(page)
    head = {
        "Origin": origin,
        "Access-Control-Request-Method": ticket["method"],
        "Access-Control-Request-Headers": ",".join(sorted(name.lower() for name in ticket["headers"])),
    }
    _status, _body, allowed = _send_to_s3(
        site, ticket["url"], "OPTIONS", b"", head, header="Access-Control-Allow-Origin"
    )
    if allowed not in (origin, "*"):
        raise Refused(
            f"browsers cannot upload, for the CORS rules of the bucket do not name {origin}: run playbooks/bucket.yml"
        )


def _upload_to_s3(site: dict[str, Any], name: str, data: bytes, page: str) -> str:
    """As a browser does: a ticket from the site, the bytes to S3, and the site's confirmation that it has checked them."""
    digest = hashlib.sha256(data).hexdigest()
    asked = {"name": name, "size": len(data), "sha256": digest}
    status, answer, _to = _ask(site, "POST", "/tickets", json.dumps(asked).encode(), "application/json")
    if status != 201:
        raise _refusal(status, answer)
    ticket = json.loads(answer)
    if page:
        _preflight(site, ticket, page)
    # S3 does not get the site's password
    status, answer, _to = _send_to_s3(site, ticket["url"], ticket["method"], data, ticket["headers"], seconds=30.0)
    if status != 200:
        raise _s3_refusal("S3 refuses the upload", status, answer)
    status, answer, _to = _ask(site, "POST", f"/tickets/{ticket['key']}")
    if status != 201:
        raise _refusal(status, answer)
    if json.loads(answer).get("sha256", digest) != digest:
        raise Refused("other bytes are in S3 than were sent")
    return ticket["key"]


def _follow(site: dict[str, Any], url: str) -> tuple[int, bytes]:
    """Read where the site sends a reader of a file to; without the password."""
    if site["url"].startswith("https:") and not url.startswith("https:"):
        raise Refused("the link to the file is not https")
    status, body, _to = _send_to_s3(site, url, "GET", b"", {})
    return status, body


def _right(site: dict[str, Any], key: str, wanted: bytes) -> str:
    """What is wrong with a file as the site serves it, "" when nothing is."""
    status, body, to = _ask(site, "GET", f"/files/{key}")
    if in_s3(site):
        if status not in _REDIRECTS:
            return "the server sent it itself, not S3" if status == 200 else str(_refusal(status, body))
        status, body = _follow(site, to)
        if status != 200:
            return str(_s3_refusal("S3 does not serve it", status, body))
    elif status != 200:
        return str(_refusal(status, body))
    return "" if body == wanted else "other bytes"


def fetch(site: dict[str, Any], key: str, token: bytes, until: float) -> dict[str, Any]:
    """Fetch the file of a token until it has the right bytes or the time (of the monotonic clock) has come; a reading of the proof."""
    begin = time.monotonic()
    while True:
        try:
            fault = _right(site, key, content(key, token))
        except OSError as error:
            fault = error.strerror or str(error)
        if not fault:
            return {"same": True, "lag_ms": round((time.monotonic() - begin) * 1000, 1)}
        if time.monotonic() >= until:
            return {"same": False, "lag_ms": None, "fault": f"{fault} after {time.monotonic() - begin:.0f} s"}
        time.sleep(_POLL)


def delete(site: dict[str, Any], key: str) -> None:
    """Delete a file; one that is gone already is no error."""
    status, answer, _to = _ask(site, "DELETE", f"/files/{key}")
    if status not in (204, 404):
        raise _refusal(status, answer)


def _is_gone(site: dict[str, Any], key: str) -> bool:
    status, body, to = _ask(site, "GET", f"/files/{key}")
    if in_s3(site) and status in _REDIRECTS:  # the server signs without asking S3
        status, body = _follow(site, to)
        # S3 may not say what exists to those who list nothing, or only below a prefix
        return status == 404 or (status == 403 and b"<Code>AccessDenied</Code>" in body)
    return status == 404


def gone(site: dict[str, Any], key: str, until: float) -> bool:
    """Whether a deleted file is no longer served, at the latest when the time has come."""
    while True:
        is_gone = _is_gone(site, key)
        if is_gone or time.monotonic() >= until:
            return is_gone
        time.sleep(_POLL)


def _listed(site: dict[str, Any], keys: set[str]) -> set[str]:
    """Those of the keys that the list of files has among its newest."""
    listed: set[str] = set()
    after = ""
    for _number in range(_PAGES):
        status, body, _to = _ask(site, "GET", f"/files?limit=200{after}")
        if status != 200:
            raise _refusal(status, body)
        page = json.loads(body)
        listed |= keys & {entry["key"] for entry in page["files"]}
        if listed == keys or not page.get("next"):
            break
        after = f"&after={page['next']}"
    return listed


def unlisted(site: dict[str, Any], keys: list[str], until: float) -> list[str]:
    """The keys that the list of files does not have, at the latest when the time has come."""
    while True:
        left = set(keys) - _listed(site, set(keys))
        if not left or time.monotonic() >= until:
            return sorted(left)
        time.sleep(_POLL)


def still_listed(site: dict[str, Any], keys: list[str], until: float) -> list[str]:
    """The deleted keys that the list of files still has, at the latest when the time has come."""
    while True:
        left = _listed(site, set(keys))
        if not left or time.monotonic() >= until:
            return sorted(left)
        time.sleep(_POLL)
