# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Previews: small pictures of the pictures, so that a page of the grid is no download of gigabytes.

The uploader's browser makes them: parsing strangers' pictures here would need much memory and a library that gets it right
for ever. A preview lies in a storage of its own under its file's key. It is never more than a help: a file without one is
whole, and nothing that goes wrong with one fails the file.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from gallery import media_types
from gallery.errors import Problem
from gallery.storage.base import Entry, Storage, Writer

FIELD = "preview"
LARGEST = 64 * 1024  # bytes of a preview; 480 pixels take half of it
SMALL = 512 * 1024  # bytes of a picture that is shown in the grid itself when it has no preview

# grey that can be read on light and dark pages; browsers that apply no style in a picture use the first
_PLACEHOLDER = """\
<svg xmlns="http://www.w3.org/2000/svg" width="320" height="240" viewBox="0 0 320 240" fill="#7d7a72" \
font-family="system-ui, sans-serif" text-anchor="middle">
<style>svg {{ fill: #66635c }} @media (prefers-color-scheme: dark) {{ svg {{ fill: #a09d96 }} }}</style>
<text x="160" y="124" font-size="36" font-weight="700" letter-spacing="2">{label}</text>
<text x="160" y="160" font-size="24">{size}</text>
</svg>
"""


class Missed:
    """The last so many keys under which no preview was found, each for so many seconds. Several threads may use it."""

    def __init__(self, most: int = 10_000, life: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._life, self._clock = most, life, clock
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}  # the oldest first

    def __contains__(self, key: str) -> bool:
        return self._until.get(key, 0.0) > self._clock()

    def add(self, key: str) -> None:
        """Remember one, and forget the oldest."""
        with self._lock:
            self._until.pop(key, None)
            self._until[key] = self._clock() + self._life
            if len(self._until) > self._most:
                del self._until[next(iter(self._until))]

    def forget(self, key: str) -> None:
        """There is one now."""
        with self._lock:
            self._until.pop(key, None)


def media_type_of(data: bytes) -> str:
    """The media type of a preview by its first bytes; "" for what is no preview."""
    candidates = ("webp", "jpeg", "png")
    return next((media_types.IMAGES[format_] for format_ in candidates if media_types.fits(format_, data)), "")


def begin(storage: Storage, name: str, data: bytes) -> Writer:
    """Write a preview that is published when its file is; name is the file's."""
    writer = storage.put(name)
    try:
        writer.write(data)
    except Problem:
        writer.abort()
        raise
    return writer


def publish(files: Storage, key: str, writer: Writer) -> None:
    """Make a preview visible, unless its file was deleted meanwhile: nobody would ever delete the preview."""
    writer.publish(key)
    try:
        files.stat(key)
    except Problem as problem:
        if problem.status == 404:
            writer.abort()


def read(storage: Storage, key: str) -> tuple[Entry, bytes] | None:
    """A file's preview; None when it has none."""
    try:
        reader = storage.open(key)
    except Problem as problem:
        if problem.status == 404:
            return None
        raise
    try:
        return reader.entry, reader.read(0, LARGEST)
    finally:
        reader.close()


def delete(storage: Storage, key: str) -> None:
    """Remove a file's preview, if it has one."""
    try:
        storage.delete(key)
    except Problem as problem:
        if problem.status != 404:
            raise


def placeholder(entry: Entry, size: str) -> str:
    """A picture in words, for a large one without a preview; it fits light and dark pages. size is for people."""
    return _PLACEHOLDER.format(label=entry.extension.upper(), size=size)
