# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The side of a sync that is a directory tree: scanned, read and written without leaving the tree or storing torn files."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator

from .cache import Identity, identity
from .rules import PART, Chooser
from .scan import Scan, ScanResult, inside, shown

BLOCK = 1 << 20
_MANY = 16  # files from which on one sync of the whole file system costs less than one of each
_OURS = re.compile(rf"{re.escape(PART)}[0-9a-f]{{8}}-[0-9]+-[0-9a-f]{{16}}")
REST = 0.2  # seconds without a change after which no write is taken to be under way
_FORGOTTEN = 86400.0  # seconds after which another host's part is abandoned
_FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK  # a pipe must not hang us


class SourceError(Exception):
    """The tree cannot be read as a whole, as one sentence: nothing may follow from what seems to be missing."""


class Unsteady(Exception):
    """A file that was not the same before and after it was read, or is gone."""


class Tree:
    """A directory tree; symlinks is follow, skip or error."""

    def __init__(self, root: str, symlinks: str, choose: Chooser):
        self.root, self._symlinks, self._choose = root, symlinks, choose
        self._real = ""
        self._part = f"{PART}{_host()}-{os.getpid()}-"
        self._last = threading.local()
        self.single = ""  # the name of the one file, where the root is a file

    # finding

    def check(self) -> None:
        """Raise SourceError unless the root is a readable directory or file."""
        label = f"file_root {shown(self.root)}"
        try:
            info = os.stat(self.root)
            if stat.S_ISREG(info.st_mode):
                self.root, self.single = os.path.split(os.path.abspath(self.root))
            elif not stat.S_ISDIR(info.st_mode):
                raise SourceError(f"{label} is neither a directory nor a file: give one")
            else:
                os.listdir(self.root)
        except FileNotFoundError:
            raise SourceError(
                f"{label} is not there: nothing was changed; fix the path, or mount what belongs there"
            ) from None
        except OSError as fault:
            raise SourceError(f"{label} cannot be read ({fault.strerror}): nothing was changed") from fault

    def scan(self) -> ScanResult:
        """All files that take part. What cannot be synced is named; the rest is found all the same."""
        if self.single:
            result = ScanResult()
            result.files[self.single] = identity(os.stat(os.path.join(self.root, self.single)))
            return result
        return Scan(self.root, self._symlinks, self._choose).run()

    def has(self, path: str) -> bool:
        """Whether something is at a path now that is no directory. Raises OSError when that cannot be seen."""
        at = f"{self.root}/{path}"
        try:
            if stat.S_ISDIR(os.lstat(at).st_mode) or os.path.isdir(at):
                return False
            at = self.root
            for name in path.split("/"):
                if name not in os.listdir(at):
                    return False  # it has another name: this file system takes a for A
                at = f"{at}/{name}"
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def link_target(self, path: str) -> str | None:
        """The path within the tree that a link points to, whether it exists or not; None for a target outside of it, or a loop."""
        real, target = os.path.realpath(self.root), os.path.realpath(f"{self.root}/{path}")
        if not inside(target, real) or os.path.islink(target):
            return None
        return os.path.relpath(target, real)

    def walls(self, directories: set[str]) -> set[str]:
        """Those of some paths that exist and are no directory, also outside of the patterns: no file can be created below them."""
        blocking = set()
        for path in directories:
            with contextlib.suppress(OSError):
                if not stat.S_ISDIR(os.lstat(f"{self.root}/{path}").st_mode):
                    blocking.add(path)
        return blocking

    # reading

    @contextlib.contextmanager
    def reading(self, path: str) -> Iterator[tuple[int, Identity]]:
        """An open file and its identity; Unsteady is raised at the end unless it still is what it was."""
        full = os.path.join(self.root, path)
        # the user named the single file: a link is followed
        flags = _FILE if self._symlinks == "follow" or self.single else _FILE | os.O_NOFOLLOW
        try:
            descriptor = os.open(full, flags)
        except FileNotFoundError as fault:
            raise Unsteady(f"{shown(path)} went while it was read") from fault
        try:
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode):
                raise Unsteady(f"{shown(path)} is no file any more")
            if not self.single:
                self._inside(descriptor, path)
            before = _at_rest(descriptor, identity(info), path)
            yield descriptor, before
            steady(descriptor, before, path)
        finally:
            os.close(descriptor)

    def _inside(self, descriptor: int, path: str) -> None:
        """A directory above may have become a link since the scan."""
        if not self._real:
            self._real = os.path.realpath(self.root).rstrip("/") + "/"
        try:
            current = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            return
        if current.startswith("/") and not current.startswith(self._real) and not current.endswith(" (deleted)"):
            raise Unsteady(f"{shown(path)} points out of the tree now")

    # writing

    def directory(self, path: str, make: bool) -> int:
        """A descriptor of the directory of a path; each step is one name, and no link is followed. Raises OSError."""
        at = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in path.split("/")[:-1]:
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(name, dir_fd=at)
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=at)
                os.close(at)
                at = below
        except OSError:
            os.close(at)
            raise
        return at

    def _directory_of(self, path: str, make: bool) -> int:
        """As directory(), but this thread's last one is kept open: files come directory by directory."""
        above = path.rpartition("/")[0]
        kept = getattr(self._last, "directory", None)
        if kept and kept[0] == above:
            return kept[1]
        at = self.directory(path, make)
        if kept:
            os.close(kept[1])
        self._last.directory = (above, at)
        return at

    def leave(self) -> None:
        """Close what this thread keeps open."""
        kept = getattr(self._last, "directory", None)
        if kept:
            os.close(kept[1])
            self._last.directory = None

    def stage(self, path: str, mode: int | None, replaces: bool, fill: Callable[[int], None]) -> str:
        """Write a file under another name beside its own, which it replaces or not: fill gets its descriptor. The name, for settle()."""
        at, name = self._directory_of(path, make=True), path.rpartition("/")[2]
        part = self._part + hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
        before = _before(name, at) if replaces else None
        if before and mode is None:
            # what let the former bytes run as somebody else was not given to these
            mode = before.st_mode & 0o777
        made = 0o666 if mode is None else 0o600  # else who may not read the file could read it while it is written
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, made, dir_fd=at)
        try:
            fill(descriptor)
            if before and os.geteuid() == 0:
                os.fchown(descriptor, before.st_uid, before.st_gid)
            if mode is not None:
                os.fchmod(descriptor, mode)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part, dir_fd=at)
            raise
        finally:
            os.close(descriptor)
        return part

    def settle(
        self, staged: list[tuple[str, str]], expected: dict[str, Identity]
    ) -> dict[str, Identity | OSError | Unsteady]:
        """Give staged files, as (path, part), their names, once their bytes are on the disk; what became of each.

        expected: what was there when the plan was made. What is another file now was written by somebody meanwhile, and stays.
        """
        failed = self._to_disk(staged, directories=False)
        outcomes: dict[str, Identity | OSError | Unsteady] = {}
        for path, part in staged:
            name = path.rpartition("/")[2]
            try:
                at = self._directory_of(path, make=False)
                if path in failed:
                    raise failed[path]
                _unchanged(path, at, expected.get(path))
                os.replace(part, name, src_dir_fd=at, dst_dir_fd=at)
                outcomes[path] = identity(os.stat(name, dir_fd=at, follow_symlinks=False))
            except (OSError, Unsteady) as fault:
                with contextlib.suppress(OSError):
                    os.unlink(part, dir_fd=self._directory_of(path, make=False))
                outcomes[path] = fault
        named = [(path, part) for path, part in staged if isinstance(outcomes[path], Identity)]
        return {**outcomes, **self._to_disk(named, directories=True)}

    def _to_disk(self, staged: list[tuple[str, str]], directories: bool) -> dict[str, OSError]:
        """Have files, or else their directories, written; what failed. Many cost less by one sync of each file system."""
        failed: dict[str, OSError] = {}
        done: dict[int | str, OSError | None] = {}
        what: int | str  # a device, or a directory
        work: Callable[[int], None]
        for path, part in staged:
            try:
                at = self._directory_of(path, make=False)
                if len(staged) > _MANY:
                    what, work = os.fstat(at).st_dev, _sync_all
                elif directories:
                    what, work = path.rpartition("/")[0], os.fsync
                else:
                    _sync_file(part, at)
                    continue
                if what not in done:
                    done[what] = _fault_of(work, at)
                wrong = done[what]
                if wrong:
                    raise wrong
            except OSError as fault:
                failed[path] = fault
        return failed

    def remove(self, path: str, expected: Identity | None) -> None:
        """Remove a file that still is what is expected, and the directories that it leaves empty. Raises OSError, or Unsteady."""
        at = self.directory(path, make=False)
        try:
            _unchanged(path, at, expected)
            os.unlink(path.rpartition("/")[2], dir_fd=at)
        finally:
            os.close(at)
        above = path.rpartition("/")[0]
        while above:
            try:
                at = self.directory(above, make=False)
                try:
                    os.rmdir(above.rpartition("/")[2], dir_fd=at)
                finally:
                    os.close(at)
            except OSError:
                return
            above = above.rpartition("/")[0]

    def sweep(self) -> None:
        """Remove the parts that a killed run left; parts that are being written stay."""
        for directory, _directories, names in os.walk(self.root):
            for name in names:
                path = os.path.join(directory, name)
                if _OURS.fullmatch(name):
                    with contextlib.suppress(OSError):
                        if _abandoned(name, os.lstat(path).st_mtime):
                            os.unlink(path)


def _before(name: str, at: int) -> os.stat_result | None:
    """The file that a new one is to replace; what becomes of it later is seen before it is replaced."""
    try:
        info = os.stat(name, dir_fd=at, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return info if stat.S_ISREG(info.st_mode) else None


def _unchanged(path: str, at: int, expected: Identity | None) -> None:
    """Raise Unsteady when there is a file now that was not expected, or another one."""
    try:
        now = identity(os.stat(path.rpartition("/")[2], dir_fd=at, follow_symlinks=False))
    except FileNotFoundError:
        return
    if now != expected:
        raise Unsteady(f"{shown(path)} was changed here by somebody else while this ran: run it again")


@functools.lru_cache(maxsize=1)
def _host() -> str:
    """An ID of this host: on a network file system, process IDs of another host are meaningless here."""
    return hashlib.sha256(os.uname().nodename.encode()).hexdigest()[:8]


def _abandoned(name: str, modified: float) -> bool:
    """Whether nobody writes a part any more: its process is gone, or it is another host's and a day old."""
    host, pid, _name = name[len(PART) :].split("-")
    if host != _host():
        return time.time() - modified > _FORGOTTEN
    return int(pid) == os.getpid() or not _runs(int(pid))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _sync_file(name: str, at: int) -> None:
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=at)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fault_of(work: Callable[[int], None], descriptor: int) -> OSError | None:
    try:
        work(descriptor)
    except OSError as fault:
        return fault
    return None


def _sync_all(descriptor: int) -> None:
    """Have all of a file system written; os.sync(), all of all of them, where there is no syncfs. Raises OSError."""
    import ctypes

    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) == 0:
            return
    except (OSError, AttributeError):
        pass
    else:
        code = ctypes.get_errno()
        if code != errno.ENOSYS:
            raise OSError(code, os.strerror(code))
    os.sync()


def _at_rest(descriptor: int, before: Identity, path: str) -> Identity:
    """What an open file is once its last change is a moment old.

    A write sets the time when it begins, and what it has not written yet comes without a trace (ext4, seen up to 20 ms later). Who
    appends without a pause changes nothing of what is there. Raises Unsteady for who writes over it without one.
    """
    age = (time.time_ns() - before.ctime) / 1e9
    if not -REST < age < REST:  # by another host's clock, where the file system is one's
        return before
    time.sleep(REST - age)
    after = identity(os.fstat(descriptor))
    if after != before and after.size <= before.size:
        raise Unsteady(f"{shown(path)} is being written to without a pause")
    return after


def steady(descriptor: int, before: Identity, path: str) -> None:
    """Raise Unsteady unless an open file still is what it was, and is still there."""
    info = os.fstat(descriptor)
    if identity(info) != before or not info.st_nlink:
        raise Unsteady(f"{shown(path)} changed while it was read")


def md5_of(descriptor: int, size: int) -> str:
    """The MD5 of an open file."""
    digest = hashlib.md5(usedforsecurity=False)
    for block in blocks(descriptor, 0, size):
        digest.update(block)
    return digest.hexdigest()


def blocks(descriptor: int, start: int, size: int) -> Iterator[bytes]:
    """The bytes of a span, a block at a time. Raises Unsteady when the file ends before."""
    while size > 0:
        block = os.pread(descriptor, min(size, BLOCK), start)
        if not block:
            raise Unsteady("the file became shorter while it was read")
        yield block
        start, size = start + len(block), size - len(block)


def read_at(descriptor: int, start: int, size: int) -> bytes:
    """The bytes of a span at once."""
    data = os.pread(descriptor, size, start)
    if len(data) < size:
        data = b"".join([data, *blocks(descriptor, start + len(data), size - len(data))])
    return data
