# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Upload tickets: a browser asks for the right to upload one file straight to S3, uploads it, and has it confirmed.

S3 enforces what a ticket allows: it refuses another size, type or key, and a second upload. gallery checks the uploaded
object itself, and only then publishes it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gallery import checksums, keys, media_types, previews, uploads
from gallery.direct.pending import Confirmed, Incoming
from gallery.errors import Problem, missing, shown, unavailable
from gallery.responses import client_of
from gallery.s3.bucket import PATIENCE
from gallery.settings import Settings
from gallery.storage.base import Entry
from gallery.worker_threads import Calls

_LOG = logging.getLogger("gallery")
_QUESTION = 16 * 1024  # bytes of a question for a ticket
_TOGETHER = 8  # confirmations at once: half of the threads, for S3 may copy a large file for a minute
_LONGEST = 3 * PATIENCE  # seconds: by then S3 has been asked for all of a confirmation, one way or another
_PER_CLIENT = 2000  # tickets of one client within their life; people behind one address are one client


class Allowance:
    """How many tickets each client has had lately. A ticket costs nothing here; what it uploads costs money for a day."""

    def __init__(self, most: int, life: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._life, self._clock = most, life, clock
        self._began = clock()
        self._had: dict[str, int] = {}

    def take(self, client: str) -> None:
        """Count one more; status 429 when there were too many."""
        now = self._clock()
        if now - self._began >= self._life:
            self._began, self._had = now, {}
        if client and self._had.get(client, 0) >= self._most:
            wait = int(self._life - (now - self._began)) + 1
            sentence = f"Your address has had {self._most} tickets for uploads within a short time: try again later."
            raise Problem(429, sentence, {"Retry-After": str(wait)})
        self._had[client] = self._had.get(client, 0) + 1


def parse(text: bytes, settings: Settings) -> tuple[str, int, str]:
    """The safe name, the size and the SHA-256 ("" for none) in a question for a ticket."""
    try:
        question = json.loads(text)
        name, size, media_type, sha256 = (
            question["name"],
            question["size"],
            question.get("type") or "",
            question.get("sha256") or "",
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Problem(400, 'A ticket is asked for in JSON, {"name": text, "size": bytes}.') from None
    if (
        not all(isinstance(text, str) for text in (name, media_type, sha256))
        or not isinstance(size, int)
        or isinstance(size, bool)
    ):
        raise Problem(400, 'A ticket is asked for with texts as "name", "type", "sha256" and a whole number as "size".')
    if sha256 and not checksums.is_sha256(sha256):
        raise Problem(400, f"sha256 is {shown(sha256)}: 64 hexadecimal digits are needed.")
    safe = keys.safe_name(name, settings.allowed_extensions)
    if size < 1:
        raise Problem(400, f"{shown(safe)} is empty: there is nothing to keep.")
    if size > settings.max_bytes:
        raise Problem(413, f"{shown(safe)} is larger than {settings.max_bytes} bytes, the limit here.")
    if media_type in media_types.IMAGES.values() and media_type != media_types.media_type(keys.extension_of(safe)):
        raise Problem(415, f"{shown(safe)} is {media_type} by its content: give it the extension of that type.")
    return safe, size, sha256.lower()


class Tickets:
    """The addresses for uploads that go straight to S3."""

    def __init__(self, settings: Settings, incoming: Incoming, calls: Calls) -> None:
        self._settings, self._incoming, self._calls = settings, incoming, calls
        self._allowance = Allowance(_PER_CLIENT, settings.upload_url_ttl)
        self._slots = uploads.Rooms(_TOGETHER, PATIENCE / 2)
        self._works: dict[str, asyncio.Future[Confirmed]] = {}  # the confirmations under way, by key

    async def ask(self, request: Request) -> Response:
        """POST /tickets"""
        text = await uploads.read(request, _QUESTION, self._settings.body_timeout)
        if len(text) > _QUESTION:
            raise Problem(413, f"A question for a ticket has at most {_QUESTION} bytes.")
        name, size, sha256 = parse(text, self._settings)
        self._allowance.take(client_of(request))
        return JSONResponse(await self._calls.run(self._incoming.ticket, name, size, sha256), 201)

    async def confirm(self, request: Request) -> Response:
        """POST /tickets/KEY, with the file's preview or nothing as its body."""
        key = request.path_params["key"]
        if not keys.is_key(key):
            raise missing(key)
        preview = await uploads.read(request, previews.LARGEST, self._settings.body_timeout)
        done = await self._confirmed(key)
        if done.new:  # anybody may ask for a file that is listed already, and would give it another face
            await self._keep(done.entry, preview)
        return JSONResponse(done.entry.as_json(), 201)

    async def _confirmed(self, key: str) -> Confirmed:
        """A file that is confirmed by now. All who ask for one at the same time wait for the same work, in one slot."""
        work = self._works.get(key)
        if work is None:
            until = time.monotonic() + PATIENCE
            work = self._works[key] = asyncio.ensure_future(self._work(key))
            work.add_done_callback(lambda ended: self._ended(key, ended, time.monotonic() > until))
        # neither the end of this wait nor that of the client ends the work: its thread cannot be stopped
        done, _late = await asyncio.wait({work}, timeout=PATIENCE)
        if not done:
            raise unavailable(f"S3 is still storing {shown(keys.name_of(key))}: ask again in a moment.")
        return work.result()

    async def _work(self, key: str) -> Confirmed:
        """Confirm in one of the slots."""
        await self._slots.take()
        try:
            return await self._calls.run(self._incoming.confirm, key, timeout=_LONGEST)
        finally:
            self._slots.give()

    def _ended(self, key: str, work: asyncio.Future[Confirmed], late: bool) -> None:
        del self._works[key]
        fault = None if work.cancelled() else work.exception()
        if fault and late:  # perhaps no client was answered
            trace = None if isinstance(fault, Problem) else fault
            _LOG.warning("confirming %s, too late for who asked first: %s", key, fault, exc_info=trace)

    async def _keep(self, entry: Entry, data: bytes) -> None:
        """Store the preview, if it is one. What goes wrong with it does not fail the file."""
        if not entry.is_image or len(data) > previews.LARGEST or not previews.media_type_of(data):
            return
        try:
            await self._calls.run(self._store, entry, data)
        except Problem as problem:
            if problem.status != 409:  # who asked at the same time was quicker
                _LOG.warning("the preview of %s: %s", entry.key, problem)

    def _store(self, entry: Entry, data: bytes) -> None:
        writer = previews.begin(self._incoming.files.previews(), entry.name, data)
        previews.publish(self._incoming.files, entry.key, writer)
