# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Responses: a stored file or a part of it, a preview, an error as JSON."""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import AsyncIterator
from email.utils import formatdate

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from gallery import file_headers, media_types, previews
from gallery.errors import Problem, unavailable
from gallery.storage.base import Entry, Reader, Storage
from gallery.worker_threads import Calls

_LOG = logging.getLogger("gallery")
_BLOCK = 256 * 1024  # bytes that are read at a time


def wants_page(request: Request) -> bool:
    """True for a browser that shows the answer to a person."""
    return "text/html" in request.headers.get("accept", "")


def client_of(request: Request) -> str:
    """Who asks, by the address that the front reports: an IPv4 address or the /64 of an IPv6 one; "" when unknown."""
    host = request.client.host if request.client else ""
    try:
        # a home or a phone has a whole /64, and could come from another address of it each time
        return str(ipaddress.ip_network((host, 64), strict=False)) if ":" in host and "." not in host else host
    except ValueError:
        return host


def parse_range(header: str, size: int) -> tuple[int, int] | None:
    """The (start, end) that a Range header asks for, end excluded; None for the whole file. Status 416 if it is outside.

    Several ranges at once, and what cannot be understood, get the whole file, as RFC 9110 allows.
    """
    match = re.fullmatch(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", header)
    if not match or not (match[1] or match[2]):
        return None
    if match[1]:
        start, end = int(match[1]), min(int(match[2]) + 1 if match[2] else size, size)
        if match[2] and int(match[2]) < start:
            return None
    else:
        start, end = max(size - int(match[2]), 0), size
    if start >= end:
        sentence = f"The file has {size} bytes; the range lies behind them."
        raise Problem(416, sentence, {"Content-Range": f"bytes */{size}"})
    return start, end


class _FileAnswer(StreamingResponse):
    """Part of an open file, which is closed at the end, however that comes."""

    def __init__(
        self, calls: Calls, reader: Reader, span: tuple[int, int], status: int, headers: dict[str, str]
    ) -> None:
        super().__init__(self._blocks(*span), status, headers)
        self._calls = calls
        self._reader = reader

    async def _blocks(self, start: int, end: int) -> AsyncIterator[bytes]:
        while start < end:
            block = await self._calls.run(self._reader.read, start, min(_BLOCK, end - start))
            if not block:
                raise unavailable(f"{self._reader.entry.key} ends before its {end} bytes.")
            start += len(block)
            yield block

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except Problem as problem:  # too late for another answer: the server cuts the connection
            _LOG.warning("reading %s: %s", self._reader.entry.key, problem)
        finally:
            await self._calls.finish(self._reader.close)


def _etag(entry: Entry) -> str:
    """The ETag, made as nginx makes it, so that both agree."""
    return f'"{int(entry.modified):x}-{entry.size:x}"'


def _headers(entry: Entry) -> dict[str, str]:
    """The headers with which gallery itself serves a file."""
    headers = {
        "Content-Type": media_types.media_type(entry.extension),
        "ETag": _etag(entry),
        "Last-Modified": formatdate(entry.modified, usegmt=True),
        "Accept-Ranges": "bytes",
        "Cache-Control": f"private, {file_headers.IMMUTABLE}",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    if not entry.is_image:
        headers["Content-Disposition"] = f'attachment; filename="{entry.name}"'
    return headers


def _wanted(request: Request, entry: Entry) -> tuple[int, tuple[int, int], dict[str, str]]:
    """Status, (start, end) of the bytes, and headers of the answer to a request for a file."""
    headers, whole = _headers(entry), (0, entry.size)
    if _etag(entry) in request.headers.get("if-none-match", ""):
        return 304, (0, 0), headers
    part = None
    if request.headers.get("if-range", _etag(entry)) == _etag(entry):
        part = parse_range(request.headers.get("range", ""), entry.size)
    start, end = part or whole
    headers["Content-Length"] = str(end - start)
    if part:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{entry.size}"
    return (206 if part else 200), ((0, 0) if request.method == "HEAD" else (start, end)), headers


async def file_answer(request: Request, calls: Calls, storage: Storage, key: str) -> Response:
    """The bytes of a file, or the part of them that was asked for."""
    reader = await calls.run(storage.open, key, undo=lambda late: late.close())
    try:
        status, span, headers = _wanted(request, reader.entry)
    except Problem:
        await calls.finish(reader.close)
        raise
    return _FileAnswer(calls, reader, span, status, headers)


def preview_answer(request: Request, entry: Entry, data: bytes) -> Response:
    """A preview, whose media type is not that of its file."""
    headers = {**_headers(entry), "Content-Type": previews.media_type_of(data) or media_types.OTHER}
    del headers["Accept-Ranges"]
    if _etag(entry) in request.headers.get("if-none-match", ""):
        return Response(None, 304, headers)
    return Response(data, 200, headers)


def problem_json(problem: Problem) -> Response:
    """An error for a program."""
    return JSONResponse({"error": problem.sentence}, problem.status, problem.headers)
