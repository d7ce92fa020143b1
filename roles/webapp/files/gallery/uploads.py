# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Uploads by a form: its bytes flow from the network into the storage, a block at a time, and are kept nowhere else."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request

from gallery import keys, media_types, previews
from gallery.errors import Problem, shown, unavailable
from gallery.forms import Event, FormParser
from gallery.settings import Settings
from gallery.storage.base import Entry, Storage, Writer
from gallery.worker_threads import Calls

_LOG = logging.getLogger("gallery")
_SMALL = 256 * 1024  # bytes that each upload may hold in memory; for more it needs a room
_ROOMS = 6  # blocks of a storage that are in memory at once
_PATIENCE = 50.0  # seconds that an upload waits for a room; nginx waits for us a minute
# bytes a second: a third of what the slowest phone network in use (EDGE) sends, so only an attacker is slower
_LEAST = 4096
_EARLY = "The upload ended before it was complete: send it again."


class Rooms:
    """Memory for blocks. S3 takes parts of 5 MiB at least: uploads take turns with them, each for one part."""

    def __init__(self, most: int = _ROOMS, patience: float = _PATIENCE) -> None:
        self._free, self._patience = asyncio.Semaphore(most), patience

    async def take(self) -> None:
        """Wait for one; status 503 when none becomes free."""
        # not wait_for(): before Python 3.12 that may swallow a cancellation, and lose what it waited for
        taking = asyncio.ensure_future(self._free.acquire())
        try:
            await asyncio.wait({taking}, timeout=self._patience)
        finally:
            if not taking.done():
                taking.cancel()
        if taking.cancelled() or not taking.done():
            raise unavailable("Many uploads are under way on this server: try again in a moment.")

    def give(self) -> None:
        """Give one back."""
        self._free.release()


class _Intake:
    """The files of one request: all of them are kept, or none. A preview stands behind its file, and may be missing."""

    def __init__(self, settings: Settings, calls: Calls, storage: Storage, rooms: Rooms) -> None:
        self._rooms = rooms
        self._room = False  # whether this has one
        self._settings = settings
        self._calls = calls
        self._storage = storage
        self._writers: list[Writer] = []
        self._previews: dict[int, Writer] = {}  # by the number of their file
        self._files = self._small = 0  # files and previews that the form has begun
        self._name = ""
        self._size = 0
        self._buffer = bytearray()
        self._preview: bytearray | None = None  # while a preview comes

    async def handle(self, event: Event) -> None:
        """Take one event of FormParser."""
        if event.what == "begin":
            await self._begin(event.filename)
        elif event.what == "preview":
            self._begin_preview()
        elif event.what == "data":
            await self._data(event.data)
        else:
            await self._end()

    async def _begin(self, filename: str) -> None:
        self._files += 1
        if self._writers:  # what it may hold of the last file is held for each of them
            await self._calls.run(self._writers[-1].end, timeout=self._storage.patience)
        if self._files > self._settings.max_files:
            raise Problem(413, f"One request takes at most {self._settings.max_files} files: send the others after it.")
        self._name = keys.safe_name(filename, self._settings.allowed_extensions)
        self._preview, self._size = None, 0

    def _begin_preview(self) -> None:
        self._small += 1
        if self._small > self._settings.max_files:
            raise Problem(413, f"One request takes at most {self._settings.max_files} previews, one for each file.")
        self._preview, self._size = bytearray(), 0

    async def _data(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._settings.max_bytes:
            raise Problem(413, f"{shown(self._name)} is larger than {self._settings.max_bytes} bytes, the limit here.")
        if self._preview is not None:
            # one byte too many shows that it is too large
            self._preview += data[: previews.LARGEST + 1 - len(self._preview)]
            return
        self._buffer += data
        if len(self._buffer) >= self._storage.block:
            await self._flush()
            self._leave()
        elif len(self._buffer) > _SMALL and not self._room and self._storage.block > Storage.block:
            await self._rooms.take()
            self._room = True

    async def _end(self) -> None:
        if self._preview is not None:
            await self._keep(bytes(self._preview))
            return
        if not self._size:
            raise Problem(400, f"{shown(self._name)} is empty: there is nothing to keep.")
        large = len(self._buffer) > _SMALL
        await self._flush()
        if large:
            await self._calls.run(self._writers[-1].end, timeout=self._storage.patience)
        self._leave()

    async def _flush(self) -> None:
        block, self._buffer = bytes(self._buffer), bytearray()
        if self._size == len(block):  # the first of its file
            extension = keys.extension_of(self._name)
            if not media_types.fits(extension, block[: media_types.HEAD]):
                raise Problem(415, f"{shown(self._name)} is no {extension} picture inside: its first bytes differ.")
            put = self._storage.put
            self._writers.append(await self._calls.run(put, self._name, undo=lambda late: late.abort()))
        if block:
            await self._calls.run(self._writers[-1].write, block, timeout=self._storage.patience)

    def _leave(self) -> None:
        if self._room:
            self._room = False
            self._rooms.give()

    async def _keep(self, data: bytes) -> None:
        """Write the preview of the picture before it. What is none, or cannot be written, is left out: the file counts."""
        number = len(self._writers) - 1
        if number < 0 or number in self._previews or not media_types.is_image(keys.extension_of(self._name)):
            return
        if len(data) > previews.LARGEST or not previews.media_type_of(data):
            return
        place = self._storage.previews()
        try:
            self._previews[number] = await self._calls.run(previews.begin, place, self._name, data, undo=Writer.abort)
        except Problem as problem:
            _LOG.warning("the preview of %s: %s", self._name, problem)

    async def publish(self) -> list[Entry]:
        """Make all files visible."""
        if not self._files:
            raise Problem(400, "The form holds no file: choose one.")
        entries = []
        for number, writer in enumerate(self._writers):
            entries.append(await self._calls.run(writer.publish, timeout=self._storage.patience))
            if number in self._previews:
                await self._publish_preview(entries[-1].key, self._previews[number])
        return entries

    async def _publish_preview(self, key: str, writer: Writer) -> None:
        try:
            await self._calls.run(previews.publish, self._storage, key, writer)
        except Problem as problem:
            _LOG.warning("the preview of %s: %s", key, problem)
            await self._calls.finish(writer.abort)

    async def abort(self) -> None:
        """Leave nothing behind. All at once: while the storage hangs, each would wait its second after the others."""
        self._buffer = bytearray()
        self._leave()
        writers = (*self._previews.values(), *self._writers)
        await asyncio.gather(*(self._calls.finish(writer.abort) for writer in writers))


class _Pace:
    """Whether a body comes fast enough: in each window of so many seconds spent waiting for it, _LEAST bytes a second.

    An average from the start would let a client send much at once and trickle for hours on that account. The seconds that
    the storage takes are not the client's.
    """

    def __init__(self, window: float) -> None:
        self._window = window
        self._waited = 0.0
        self._came = 0

    def add(self, waited: float, came: int) -> None:
        """Count the bytes that came after some seconds of waiting."""
        self._waited += waited
        self._came += came

    def check(self) -> None:
        """Refuse to wait any longer for a body that trickles."""
        if self._waited < self._window:
            return
        if self._came < _LEAST * self._waited:
            speed = f"{self._came / self._waited / 1024:.1f} KiB/s where at least {_LEAST // 1024} KiB/s are needed"
            sentence = f"The upload came at {speed}: send it again over a faster connection."
            raise Problem(408, sentence, {"Connection": "close"})
        self._waited, self._came = 0.0, 0


async def _chunks(request: Request, timeout: float) -> AsyncIterator[bytes]:
    """The body as it comes; timeout is the longest silence, and the window in which it must keep its pace, in seconds."""
    stream, pace = request.stream(), _Pace(timeout)
    while True:
        # before the next wait, not after the last: a form that is complete is never too slow
        pace.check()
        began = time.monotonic()
        try:
            chunk = await asyncio.wait_for(stream.__anext__(), timeout)
            pace.add(time.monotonic() - began, len(chunk))
            yield chunk
        except StopAsyncIteration:
            return
        except asyncio.TimeoutError:
            sentence = f"No byte of the upload came for {timeout:g} s: send it again."
            raise Problem(408, sentence, {"Connection": "close"}) from None
        except ClientDisconnect:
            raise Problem(400, _EARLY) from None


async def read(request: Request, most: int, timeout: float) -> bytes:
    """A small body, or its first bytes, one more than the most."""
    body = bytearray()
    async for chunk in _chunks(request, timeout):
        body += chunk
        if len(body) > most:
            break
    return bytes(body[: most + 1])


async def receive(request: Request, settings: Settings, calls: Calls, storage: Storage, rooms: Rooms) -> list[Entry]:
    """Store all files of a form; returns their entries in the form's order."""
    form = FormParser(request.headers.get("content-type", ""))
    intake = _Intake(settings, calls, storage, rooms)
    try:
        async for chunk in _chunks(request, settings.body_timeout):
            for event in form.feed(chunk):
                await intake.handle(event)
            if form.complete:
                break  # what follows the form is of no interest
        if not form.complete:
            raise Problem(400, _EARLY)
        return await intake.publish()
    except BaseException:
        await intake.abort()
        raise
