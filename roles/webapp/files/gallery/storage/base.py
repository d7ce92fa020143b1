# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract of every storage, and an entry of its listing. Calls may block, and raise a Problem when they fail."""

from __future__ import annotations

import abc
import dataclasses
import time
from collections.abc import Sequence

from gallery import keys, media_types


@dataclasses.dataclass(frozen=True)
class Entry:
    """One stored file, which never changes: the same key always has the same bytes."""

    key: str
    size: int  # bytes
    modified: float  # seconds since 1970
    sha256: str = ""  # hexadecimal; known only to the one who has just stored it

    @property
    def name(self) -> str:
        """The safe form of the name that the file was uploaded with."""
        return keys.name_of(self.key)

    @property
    def extension(self) -> str:
        """The extension, without the dot."""
        return keys.extension_of(self.key)

    @property
    def is_image(self) -> bool:
        """True when browsers show it."""
        return media_types.is_image(self.extension)

    @property
    def made_at(self) -> float:
        """When it was stored, in seconds since 1970."""
        return keys.made_at(self.key)

    def as_json(self) -> dict[str, str | int]:
        """The entry as clients get it."""
        stored = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.made_at))
        answer: dict[str, str | int] = {"key": self.key, "name": self.name, "size": self.size, "time": stored}
        if self.sha256:
            answer["sha256"] = self.sha256
        return {**answer, "type": media_types.media_type(self.extension), "url": f"/files/{self.key}"}


@dataclasses.dataclass(frozen=True)
class Page:
    """A part of the listing, newest first; after is the key to go on from, "" when there is no more."""

    entries: Sequence[Entry] = ()
    after: str = ""


class Writer(abc.ABC):
    """A file on its way into the storage. Nobody sees it before publish() returned, and nothing is left by abort()."""

    @abc.abstractmethod
    def write(self, block: bytes) -> None:
        """Append bytes; best as many at a time as the storage's block."""

    def end(self) -> None:  # noqa: B027 - who holds none has nothing to do
        """No more bytes come: hold none of them in memory until publish()."""

    @abc.abstractmethod
    def publish(self, key: str = "") -> Entry:
        """Make the file visible, whole and durable, under a new key; or under one that another storage made (409: taken)."""

    @abc.abstractmethod
    def abort(self) -> None:
        """Remove everything, also what was published. Never fails; may be called while another call hangs."""


class Reader(abc.ABC):
    """An open file: its bytes can be read to the end, even if it is deleted meanwhile (s3: the first 64 KiB)."""

    entry: Entry

    @abc.abstractmethod
    def read(self, offset: int, size: int) -> bytes:
        """Up to size bytes from an offset; no bytes at the end."""

    @abc.abstractmethod
    def close(self) -> None:
        """Give the file back."""


class Storage(abc.ABC):
    """Files by key."""

    block = 1024 * 1024
    """Bytes that write() is best given at a time."""
    patience = 0.0
    """Seconds that write() and publish() may take, where they may take longer than other calls."""

    @abc.abstractmethod
    def put(self, name: str) -> Writer:
        """Begin a new file; name is a safe name (keys.safe_name)."""

    @abc.abstractmethod
    def open(self, key: str) -> Reader:
        """Open a file; status 404 when there is none."""

    @abc.abstractmethod
    def list(self, after: str, limit: int) -> Page:
        """Up to limit entries, newest first, that come after a key ("": from the newest)."""

    @abc.abstractmethod
    def delete(self, key: str) -> None:
        """Remove a file; status 404 when there is none."""

    @abc.abstractmethod
    def tidy(self, age: float) -> None:
        """Remove what uploads that died left behind longer than age seconds ago, and nothing else."""

    @abc.abstractmethod
    def previews(self) -> Storage:
        """A storage for the previews of this one's files, under the same keys. No listing of this one shows them."""

    def origin(self) -> str:
        """Where files lie that browsers fetch themselves, as a browser calls it; "" when they get them from here."""
        return ""

    def stat(self, key: str) -> Entry:
        """The entry of a file; status 404 when there is none."""
        reader = self.open(key)
        try:
            return reader.entry
        finally:
            reader.close()
