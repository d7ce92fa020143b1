# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The storage `efs`: files in one directory of a shared file system (NFSv4.1), or of any local one.

A file is published by link() and unlink() of its temporary name. link() is the one call of NFSv4.1 that is atomic and
refuses to replace an existing name; a rename would replace it, and renameat2(RENAME_NOREPLACE) does not exist there.
When an answer is lost and the call is repeated, "exists already" may mean our own link: the inode number decides.

What is decided here is decided by opening a file, never by stat() or exists(): those answer from the client's cache.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import heapq
import os
import re
import secrets
import stat
import threading
import time
from collections.abc import Iterator

from gallery import keys, mounts
from gallery.errors import Problem, missing, shown, unavailable
from gallery.storage.base import Entry, Page, Reader, Storage, Writer

_TEMPORARY = re.compile("[0-9a-f]{32}[.]part")
_SYNC = 8 * 1024 * 1024  # bytes that wait to be sent at most: the last fsync of a large file would outlast its timeout
_TRIES = 8  # a directory may be removed by a delete between being made or seen and being used, but not again and again
# O_NONBLOCK: opening a pipe that somebody put there must not wait
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)  # ENXIO: a socket


def _sync_directory(path: str) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # somebody removed it meanwhile, which only works when it is empty
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_directory(path: str) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(path)
        _sync_directory(os.path.dirname(path))


def _open_file(path: str) -> tuple[int, os.stat_result] | None:
    """A descriptor of a regular file, and its fstat; None when there is none."""
    try:
        descriptor = os.open(path, _READ)
    except OSError as fault:
        if fault.errno in _NO_FILE:
            return None
        raise
    try:
        status = os.fstat(descriptor)
    except OSError:
        os.close(descriptor)
        raise
    if stat.S_ISREG(status.st_mode):
        return descriptor, status
    os.close(descriptor)
    return None


def _listed(path: str) -> os.stat_result | None:
    """Size and time of a file that its directory names; None when opening it says that it is no file, or gone since."""
    with contextlib.suppress(OSError):
        status = os.lstat(path)
        if stat.S_ISREG(status.st_mode):
            return status
    try:
        opened = _open_file(path)
    except OSError as fault:
        if fault.errno == errno.ESTALE:
            return None  # its directory was removed by another server, so it was as well
        raise
    if opened is None:
        return None
    os.close(opened[0])
    return opened[1]


def _names(directory: str, lasting: bool = False) -> list[str]:
    """The names in a directory; none when there is no such directory, or no more.

    A directory that another server removes while it is read is a stale handle; the next try looks for one of the same name that
    was made since. Only a lasting directory is never removed: that it is stale for good is a fault of the mount.
    """
    for attempt in range(_TRIES):
        try:
            return os.listdir(directory)
        except (FileNotFoundError, NotADirectoryError):
            break
        except OSError as fault:
            if fault.errno != errno.ESTALE or (lasting and attempt == _TRIES - 1):
                raise
    return []


class _Writer(Writer):
    def __init__(self, storage: Efs, name: str, temporary: str, descriptor: int) -> None:
        self._storage = storage
        self._name = name
        self._temporary = temporary
        self._descriptor = descriptor
        self._key = ""  # once it is published
        self._size = self._synced = 0
        self._hash = hashlib.sha256()
        # a descriptor that abort() closed under a hanging write could be another file's by the next one
        self._lock = threading.Lock()

    def write(self, block: bytes) -> None:
        with self._lock, self._storage.explained("Writing"):
            rest = memoryview(block)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            self._size += len(block)
            self._hash.update(block)
            if self._size - self._synced >= _SYNC:
                os.fsync(self._descriptor)
                self._synced = self._size

    def publish(self, key: str = "") -> Entry:
        with self._lock, self._storage.explained("Publishing"):
            os.fsync(self._descriptor)
            status = os.fstat(self._descriptor)
            self._close()
            self._key = self._storage.link(self._temporary, self._name, status.st_ino, key)
            _sync_directory(os.path.dirname(self._storage.path(self._key)))
            os.unlink(self._temporary)
            return Entry(self._key, self._size, status.st_mtime, self._hash.hexdigest())

    def abort(self) -> None:
        with self._lock:
            with contextlib.suppress(OSError):
                self._close()  # NFS reports here what it could not write
            with contextlib.suppress(OSError):
                os.unlink(self._temporary)
            with contextlib.suppress(Problem):
                self._storage.delete(self._key)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class _Reader(Reader):
    def __init__(self, storage: Efs, entry: Entry, descriptor: int) -> None:
        self.entry = entry
        self._storage = storage
        self._descriptor = descriptor

    def read(self, offset: int, size: int) -> bytes:
        with self._storage.explained("Reading"):
            return os.pread(self._descriptor, size, offset)

    def close(self) -> None:
        os.close(self._descriptor)


class Efs(Storage):
    """Files below a directory, which must lie on the NFS mount when one is named."""

    def __init__(self, directory: str, mount: str = "") -> None:
        self._directory = directory
        self._mount = mount

    @contextlib.contextmanager
    def explained(self, doing: str) -> Iterator[None]:
        """Refuse to work without the mount, and turn the system's errors into a sentence."""
        mounts.require(self._mount)
        try:
            yield
        except OSError as fault:
            if fault.errno in (errno.ENOSPC, errno.EDQUOT):
                raise Problem(507, f"{doing} failed: the storage is full; delete some files.") from fault
            why = fault.strerror or str(fault)
            raise unavailable(f"{doing} failed in {self._directory}: {why}; see the server's log and mount.") from fault

    def path(self, key: str) -> str:
        """Where a key's file lies."""
        return os.path.join(self._directory, *keys.directories(key), key)

    def put(self, name: str) -> Writer:
        """Begin a new file in the directory .tmp."""
        directory = os.path.join(self._directory, ".tmp")
        temporary = os.path.join(directory, f"{secrets.token_hex(16)}.part")
        with self.explained("Writing"):
            try:
                descriptor = os.open(temporary, _CREATE, 0o644)
            except FileNotFoundError:
                _make_directory(self._directory)
                _make_directory(directory)
                descriptor = os.open(temporary, _CREATE, 0o644)
            return _Writer(self, name, temporary, descriptor)

    def link(self, temporary: str, name: str, inode: int, given: str = "") -> str:
        """Give a finished temporary file, which has this inode number, a key of its own or the given one; returns the key."""
        for _attempt in range(_TRIES):
            key = given or keys.new_key(name)
            path = self.path(key)
            try:
                os.link(temporary, path)
                return key
            except FileNotFoundError:
                self._make_directories(key)
            except FileExistsError:
                if self._is_ours(path, inode):
                    return key
                if given:
                    raise Problem(409, f"There is a file {shown(key)} already: it is never replaced.") from None
        raise unavailable(
            f"Publishing failed: the temporary file {os.path.basename(temporary)} is gone; upload it again."
        )

    def _is_ours(self, path: str, inode: int) -> bool:
        opened = _open_file(path)
        if opened is None:
            return False
        os.close(opened[0])
        return opened[1].st_ino == inode

    def _make_directories(self, key: str) -> None:
        outer, inner = keys.directories(key)
        with contextlib.suppress(FileNotFoundError):  # a delete removed the outer one again: the next try makes it
            _make_directory(os.path.join(self._directory, outer))
            _make_directory(os.path.join(self._directory, outer, inner))

    def open(self, key: str) -> Reader:
        """Open a file."""
        with self.explained("Reading"):
            opened = _open_file(self.path(key)) if keys.is_key(key) else None
        if opened is None:
            raise missing(key)
        descriptor, status = opened
        return _Reader(self, Entry(key, status.st_size, status.st_mtime), descriptor)

    def list(self, after: str, limit: int) -> Page:
        """Part of the listing; opens only the directories that it needs.

        Whether a file is shown is decided by its directory, which is opened and read. Attributes give size and time only, which
        never change: NFS delivers them with the names, and 60 opens would be dear (a page took seconds under load). Where
        attributes deny what the directory said they are not believed: opening the file decides.
        """
        entries: list[Entry] = []
        with self.explained("Listing"):
            for key in self._keys(after):
                status = _listed(self.path(key))
                if status is None:
                    continue
                if len(entries) == limit:
                    return Page(entries, entries[-1].key)
                entries.append(Entry(key, status.st_size, status.st_mtime))
        return Page(entries)

    def _keys(self, after: str) -> Iterator[str]:
        """All keys after one, in order."""
        first, second = keys.directories(after)
        for outer in sorted(
            name for name in _names(self._directory, True) if name >= first and keys.OUTER.fullmatch(name)
        ):
            low = second if outer == first else ""
            directory = os.path.join(self._directory, outer)
            for inner in sorted(name for name in _names(directory) if name >= low and keys.INNER.fullmatch(name)):
                here = [name for name in _names(os.path.join(directory, inner)) if name > after]
                heapq.heapify(here)  # a page needs few of many: cheaper than sorting them all
                while here:
                    key = heapq.heappop(here)
                    if keys.is_key(key) and keys.directories(key) == (outer, inner):
                        yield key

    def delete(self, key: str) -> None:
        """Remove a file, and its directories when they are empty."""
        if not keys.is_key(key):
            raise missing(key)
        path = self.path(key)
        inner = os.path.dirname(path)
        with self.explained("Deleting"):
            try:
                os.unlink(path)
            except (FileNotFoundError, NotADirectoryError):
                raise missing(key) from None
            _sync_directory(inner)
            with contextlib.suppress(OSError):  # it is not empty: the server decides that, at once
                os.rmdir(inner)
                os.rmdir(os.path.dirname(inner))

    def previews(self) -> Efs:
        """Files in the directory .previews of this one's: no key begins with a dot."""
        return type(self)(os.path.join(self._directory, ".previews"), self._mount)

    def tidy(self, age: float) -> None:
        """Remove temporary files that nobody has written to for age seconds."""
        with self.explained("Cleaning up"):
            directory = os.path.join(self._directory, ".tmp")
            for name in _names(directory):
                path = os.path.join(directory, name)
                opened = _open_file(path) if _TEMPORARY.fullmatch(name) else None
                if opened is None:
                    continue
                os.close(opened[0])
                if opened[1].st_mtime < time.time() - age:
                    with contextlib.suppress(FileNotFoundError):  # another server was quicker
                        os.unlink(path)
