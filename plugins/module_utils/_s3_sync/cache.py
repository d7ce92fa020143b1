# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cache of a sync between runs: hashes of files, headers of objects. It saves work, and never decides wrongly.

A hash is remembered with what the kernel reports of its file (device, inode, size, mtime, ctime, in nanoseconds). That alone is not
enough: a file may be written again within the same tick of the clock after it was read, and looks the same afterwards. As git
does with its index, such an entry is not trusted ("racily clean"). A hash is trusted when

- it was made two seconds or more after the file's last change, by one clock: that of a local file system is the host's; or
- it was made two seconds or more after the same identity was first seen: then any change since has another time, whatever clock
  wrote it. This is for NFS, whose server's clock may be behind the host's, and for times in the future.

Both need a change time that nobody can set. Where it is not known to be kept (sshfs and others of FUSE, vfat, exfat, 9p, cifs), a file
that is written anew and given its former mtime looks the same: there nothing is trusted, and each run reads.

Headers of an object are trusted while the listing shows the same ETag and LastModified, if they were read two seconds or more after
that time, by the server's own clock: LastModified has whole seconds, so a later change of them shows.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import tempfile
import threading
from collections.abc import Collection
from typing import Any, NamedTuple

from .._s3.responses import Head

RACE = 2.0  # seconds; the coarsest clock of a common file system (FAT) ticks every two
_VERSION = 4
_DEVICES: dict[int, int] = {}
# file systems whose times are the host's own clock's, and that keep a change time; of any other neither is known
_LOCAL = (
    "ext2",
    "ext3",
    "ext4",
    "xfs",
    "btrfs",
    "zfs",
    "f2fs",
    "bcachefs",
    "tmpfs",
    "overlay",
    "ramfs",
    "rootfs",
    "aufs",
)
_KEEPS = ("nfs", "nfs4")  # a change time, by another clock


class Identity(NamedTuple):
    """What distinguishes one state of a file from another; times in nanoseconds."""

    device: int
    inode: int
    size: int
    mtime: int
    ctime: int


class Known(NamedTuple):
    """What is remembered of a file; md5 or tag may be ''. tag: the ETag of an object that held the same bytes."""

    identity: Identity
    seen: int  # when this identity was first seen, in nanoseconds of the host's clock
    hashed: int
    md5: str
    tag: str


def identity(info: os.stat_result) -> Identity:
    """The identity of a file, by its stat."""
    mtime, ctime, device = info.st_mtime_ns, info.st_ctime_ns, info.st_dev
    # equal numbers are one object in memory
    return Identity(
        _DEVICES.setdefault(device, device), info.st_ino, info.st_size, mtime, mtime if ctime == mtime else ctime
    )


def trusted(known: Known, now: Identity, local: bool) -> bool:
    """Whether what is remembered of a file still holds; local: its file system's clock is the host's. It must keep a change time."""
    if known.identity != now:
        return False
    race = int(RACE * 1e9)
    return (local and known.hashed - max(now.mtime, now.ctime) >= race) or known.hashed - known.seen >= race


def remote_devices(mountinfo: str) -> dict[str, bool]:
    """The devices (MAJOR:MINOR) whose file system may have another clock than the host, from /proc/self/mountinfo.

    Each with whether it is known to keep a change time.
    """
    remote = {}
    for line in mountinfo.splitlines():
        fields, _dash, rest = line.partition(" - ")
        fstype = rest.split(" ")[0]
        if fstype not in _LOCAL:
            remote[fields.split(" ")[2]] = fstype in _KEEPS
    return remote


def _entry(line: str) -> tuple[str, str]:
    """Path and entry of a line: the path as JSON, a blank, the entry. Raises ValueError for one that is cut short."""
    end = line.rindex('" ') + 1
    if line[-1] != "\n":
        raise ValueError(line)
    path = line[1 : end - 1] if "\\" not in line else json.loads(line[:end])
    return sys.intern(path), line[end + 1 : -1]


class Cache:
    """The cache of one sync: of a bucket, a key prefix and a root. With directory None it saves nothing.

    Entries stay as the texts of their lines, which take a third of the memory; one is parsed when it is asked for.
    """

    def __init__(self, directory: str | None, scope: tuple[str, ...]):
        self._scope = list(scope)
        name = hashlib.sha256("\0".join(scope).encode("utf-8", "surrogateescape")).hexdigest()[:32]
        self._path = os.path.join(directory, f"{name}.cache") if directory else None
        self._files: dict[str, str] = {}
        self._objects: dict[str, str] = {}
        self._sets: list[list] = []
        self._numbers: dict[str, int] = {}
        self._heads: list[Head] = []
        self._changed = False
        self._lock = threading.Lock()
        self._load()

    def _load(self) -> None:
        if not self._path:
            return
        try:
            with open(self._path, encoding="utf-8", errors="surrogateescape") as file:
                if os.fstat(file.fileno()).st_uid != os.geteuid():
                    return  # a file of another user is not trusted
                header = json.loads(file.readline())
                if header["version"] != _VERSION or header["scope"] != self._scope:
                    return
                heads = [Head(0, "", 0, 0.0, *entry) for entry in header["sets"]]
                files = dict(_entry(file.readline()) for _number in range(header["files"]))
                objects = dict(_entry(file.readline()) for _number in range(header["objects"]))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return  # none, broken, or of another version: it costs work, nothing else
        self._files, self._objects, self._sets, self._heads = files, objects, header["sets"], heads
        self._numbers = {json.dumps(entry, sort_keys=True): number for number, entry in enumerate(self._sets)}

    # files

    def file(self, path: str) -> Known | None:
        """What is remembered of a file."""
        entry = self._files.get(path)
        if not entry:
            return None
        try:
            device, inode, size, mtime, ctime, seen, hashed, md5, tag = entry.split(" ")
            now = Identity(int(device), int(inode), int(size), int(mtime), int(ctime))
            return Known(now, int(seen), int(hashed), md5, tag)
        except ValueError:
            return None

    def remember_file(self, path: str, now: Identity, hashed: int, md5: str = "", tag: str = "") -> None:
        """Keep what was found out about a file by reading it at a time.

        What was known of this very state is kept only if it was found by the same reading: an older hash under a younger time would
        be trusted though it may be racily clean.
        """
        before = self.file(path)
        seen = hashed
        if before and before.identity == now:
            seen = before.seen
            if before.hashed == hashed:
                md5, tag = md5 or before.md5, tag or before.tag
        if " " in tag:
            tag = ""  # no server's ETag has a blank; one that had would cost work
        self._files[path] = f"{now.device} {now.inode} {now.size} {now.mtime} {now.ctime} {seen} {hashed} {md5} {tag}"
        self._changed = True

    def forget_file(self, path: str) -> None:
        """Drop a file that is gone."""
        self._changed |= self._files.pop(path, None) is not None

    # objects

    def head(self, path: str, etag: str, modified: str) -> Head | None:
        """The headers of an object that a listing shows so, None when they must be asked for."""
        entry = self._objects.get(path)
        if not entry or not entry.startswith(f"{etag} {modified} "):
            return None
        try:
            return self._heads[int(entry[len(etag) + len(modified) + 2 :])]
        except (IndexError, ValueError):
            return None

    def remember_head(self, path: str, head: Head, modified: str) -> None:
        """Keep the headers of an object, unless they were read too soon after it was written."""
        if not head.date or head.date - head.modified < RACE:
            self._changed |= self._objects.pop(path, None) is not None
            return
        # without checksums: each object has its own, so they would make as many sets as there are objects
        entry: list[Any] = [head.headers, head.metadata, head.storage_class, head.encryption, head.kms_key, {}, None]
        key = json.dumps(entry, sort_keys=True)
        with self._lock:  # two threads must not give one number to two sets
            number = self._numbers.get(key)
            if number is None:
                number = self._numbers[key] = len(self._sets)
                self._sets.append(entry)
                self._heads.append(Head(0, "", 0, 0.0, *entry))
        self._objects[path] = f"{head.etag} {modified} {number}"
        self._changed = True

    def keep_only(self, files: Collection[str], objects: Collection[str]) -> None:
        """Drop what is on neither side any more; each is a collection of paths."""
        for entries, now in ((self._files, files), (self._objects, objects)):
            if len(entries) > len(now):
                for path in [path for path in entries if path not in now]:
                    del entries[path]
                    self._changed = True

    def save(self) -> str:
        """Write it, whole or not at all; a sentence when that fails, which is harmless."""
        if not self._path or not self._changed:
            return ""
        header = {
            "version": _VERSION,
            "scope": self._scope,
            "sets": self._sets,
            "files": len(self._files),
            "objects": len(self._objects),
        }
        directory, part = os.path.dirname(self._path), None
        try:
            os.makedirs(directory, mode=0o700, exist_ok=True)
            descriptor, part = tempfile.mkstemp(dir=directory, prefix=".part-")
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(json.dumps(header) + "\n")
                for entries in (self._files, self._objects):
                    file.writelines(f"{json.dumps(path)} {entry}\n" for path, entry in entries.items())
            os.replace(part, self._path)
        except OSError as fault:
            if part:
                with contextlib.suppress(OSError):
                    os.unlink(part)
            return f"the cache {self._path} cannot be written ({fault.strerror}): the next run reads all files again"
        self._changed = False
        return ""
