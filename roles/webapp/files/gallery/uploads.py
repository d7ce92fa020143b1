# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Uploads: the bytes of a form flow from the network into the storage, a megabyte at a time, and are kept nowhere else."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator

from python_multipart.exceptions import ParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from gallery import keys, kinds, previews
from gallery.calls import Calls
from gallery.problems import Problem, shown
from gallery.settings import Settings
from gallery.storage import Entry, Storage, Writer

_LOG = logging.getLogger("gallery")
FIELD = "file"
_CALLBACKS = ("on_part_begin", "on_header_field", "on_header_value", "on_header_end", "on_headers_finished")
_CALLBACKS += ("on_part_data", "on_part_end", "on_end")
_BLOCK = 1024 * 1024  # bytes that are written at a time
_HEADERS = 8192  # bytes that the headers of a part may have
# bytes a second: a third of what the slowest phone network in use (EDGE) sends, so only who means to is slower
_LEAST = 4096
_BROKEN = "The upload is no well-formed multipart/form-data: send the files as a form does."
_EARLY = "The upload ended before it was complete: send it again."


class Parts:
    """Turns the bytes of a form into events: ("begin", filename) or ("preview", None), ("data", bytes), ("end", None)."""

    def __init__(self, content_type: str) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind.lower() != b"multipart/form-data" or not boundary:
            raise Problem(415, "Uploads are sent as multipart/form-data with a boundary, as a form sends them.")
        self.complete = False
        self._events: list[tuple] = []
        self._header = self._value = b""
        self._disposition = b""
        self._header_bytes = 0
        calls = {name: getattr(self, f"_{name}") for name in _CALLBACKS}
        self._parser = MultipartParser(boundary, calls)

    def feed(self, chunk: bytes) -> list[tuple]:
        """The events that these bytes complete."""
        try:
            self._parser.write(chunk)
        except ParseError:
            raise Problem(400, _BROKEN) from None
        events, self._events = self._events, []
        return events

    def _on_part_begin(self) -> None:
        self._disposition = b""
        self._header_bytes = 0

    def _grow(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > _HEADERS:
            raise Problem(400, f"The headers of a part are longer than {_HEADERS} bytes: shorten the file name.")

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._grow(end - start)
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._grow(end - start)
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _on_headers_finished(self) -> None:
        try:
            _kind, options = parse_options_header(self._disposition)
            field, filename = (options.get(name, b"").decode("utf-8") for name in (b"name", b"filename"))
        except (UnicodeError, ValueError):
            raise Problem(400, "A file name is not UTF-8: rename the file.") from None
        if field not in (FIELD, previews.FIELD):
            raise Problem(400, f"The form has a field {shown(field)}; the files belong into the field {FIELD}.")
        self._events.append(("begin", filename) if field == FIELD else ("preview", None))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(("data", data[start:end]))

    def _on_part_end(self) -> None:
        self._events.append(("end", None))

    def _on_end(self) -> None:
        self.complete = True


class _Intake:
    """The files of one request: all of them are kept, or none. A preview stands behind its file, and may be missing."""

    def __init__(self, settings: Settings, calls: Calls, storage: Storage) -> None:
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

    async def handle(self, what: str, value) -> None:
        """Take one event of Parts."""
        if what == "begin":
            self._begin(value)
        elif what == "preview":
            self._begin_preview()
        elif what == "data":
            await self._data(value)
        else:
            await self._end()

    def _begin(self, filename: str) -> None:
        self._files += 1
        if self._files > self._settings.max_files:
            raise Problem(413, f"One request takes at most {self._settings.max_files} files: send the others after it.")
        self._name = keys.safe_name(filename, self._settings.types)
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
            # one byte too many tells that it is too large
            self._preview += data[: previews.LARGEST + 1 - len(self._preview)]
            return
        self._buffer += data
        if len(self._buffer) >= _BLOCK:
            await self._flush(self._size == len(self._buffer))

    async def _end(self) -> None:
        if self._preview is not None:
            await self._keep(bytes(self._preview))
            return
        if not self._size:
            raise Problem(400, f"{shown(self._name)} is empty: there is nothing to keep.")
        await self._flush(self._size == len(self._buffer))

    async def _flush(self, first: bool) -> None:
        block, self._buffer = self._buffer, bytearray()
        if first:
            extension = keys.extension_of(self._name)
            if not kinds.fits(extension, block[: kinds.HEAD]):
                raise Problem(415, f"{shown(self._name)} is no {extension} picture inside: its first bytes differ.")
            put = self._storage.put
            self._writers.append(await self._calls.run(put, self._name, undo=lambda late: late.abort()))
        if block:
            await self._calls.run(self._writers[-1].write, block)

    async def _keep(self, data: bytes) -> None:
        """Write the preview of the picture before it. What is none, or cannot be written, is left out: the file counts."""
        number = len(self._writers) - 1
        if number < 0 or number in self._previews or not kinds.is_image(keys.extension_of(self._name)):
            return
        if len(data) > previews.LARGEST or not previews.kind_of(data):
            return
        place = self._storage.previews()
        try:
            self._previews[number] = await self._calls.run(previews.begin, place, self._name, data, undo=Writer.abort)
        except Problem as problem:
            _LOG.warning("the preview of %s: %s", self._name, problem.sentence)

    async def publish(self) -> list[Entry]:
        """Make all files visible."""
        if not self._files:
            raise Problem(400, "The form holds no file: choose one.")
        entries = []
        for number, writer in enumerate(self._writers):
            entries.append(await self._calls.run(writer.publish))
            if number in self._previews:
                await self._publish_preview(entries[-1].key, self._previews[number])
        return entries

    async def _publish_preview(self, key: str, writer: Writer) -> None:
        try:
            await self._calls.run(previews.publish, self._storage, key, writer)
        except Problem as problem:
            _LOG.warning("the preview of %s: %s", key, problem.sentence)
            await self._calls.finish(writer.abort)

    async def abort(self) -> None:
        """Leave nothing behind. All at once: while the storage hangs, each would wait its second behind the others."""
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


async def receive(request: Request, settings: Settings, calls: Calls, storage: Storage) -> list[Entry]:
    """Store all files of a form; returns their entries in the form's order."""
    parts = Parts(request.headers.get("content-type", ""))
    intake = _Intake(settings, calls, storage)
    try:
        async for chunk in _chunks(request, settings.body_timeout):
            for what, value in parts.feed(chunk):
                await intake.handle(what, value)
            if parts.complete:
                break  # what comes behind the form is of no interest
        if not parts.complete:
            raise Problem(400, _EARLY)
        return await intake.publish()
    except BaseException:
        await intake.abort()
        raise
