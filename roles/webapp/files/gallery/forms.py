# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parses a multipart form with files as its bytes come."""

from __future__ import annotations

from typing import NamedTuple

from python_multipart.exceptions import ParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from gallery import previews
from gallery.errors import Problem, shown

FIELD = "file"
_HEADERS = 8192  # bytes that the headers of a part may have
_BROKEN = "The upload is no well-formed multipart/form-data: send the files as a form does."


class Event(NamedTuple):
    """One step of a form: "begin" of a file with its name, or "preview", which begins one; then "data", then "end"."""

    what: str
    filename: str = ""
    data: bytes = b""


class FormParser:
    """Turns the bytes of a form into events."""

    def __init__(self, content_type: str) -> None:
        media_type, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if media_type.lower() != b"multipart/form-data" or not boundary:
            raise Problem(415, "Uploads are sent as multipart/form-data with a boundary, as a form sends them.")
        self.complete = False
        self._events: list[Event] = []
        self._header = self._value = b""
        self._disposition = b""
        self._header_bytes = 0
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )

    def feed(self, chunk: bytes) -> list[Event]:
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
            _value, options = parse_options_header(self._disposition)
            field, filename = (options.get(name, b"").decode("utf-8") for name in (b"name", b"filename"))
        except (UnicodeError, ValueError):
            raise Problem(400, "A file name is not UTF-8: rename the file.") from None
        if field not in (FIELD, previews.FIELD):
            raise Problem(400, f"The form has a field {shown(field)}; the files belong into the field {FIELD}.")
        self._events.append(Event("begin", filename) if field == FIELD else Event("preview"))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(Event("data", data=data[start:end]))

    def _on_part_end(self) -> None:
        self._events.append(Event("end"))

    def _on_end(self) -> None:
        self.complete = True
