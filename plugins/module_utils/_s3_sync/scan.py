# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the files of a directory tree, and reports all that cannot be synced."""

from __future__ import annotations

import contextlib
import os
import stat
import sys

from .cache import Identity, identity
from .rules import Chooser


class ScanResult:
    """A scan: identities of the files by path, links by path, and a sentence for all that cannot be synced."""

    def __init__(self) -> None:
        self.files: dict[str, Identity] = {}
        self.problems: list[str] = []
        self.skipped: list[str] = []
        self.others: set[str] = set()  # paths that are there, but are no file that can be synced
        self.links: set[str] = set()  # those of them that are links to be left alone
        self.directories: set[str] = set()
        self.went: set[str] = set()  # paths that were listed, and could not be looked at a moment later


def _utf8(path: str) -> bool:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def shown(path: str) -> str:
    """A path in a sentence, whatever its bytes are."""
    return ascii(path) if not _utf8(path) else repr(path)


def inside(path: str, directory: str) -> bool:
    """Whether a real path is a real directory, or lies below it."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


class Scan:
    """One pass over a tree; symlinks is follow, skip or error."""

    def __init__(self, root: str, symlinks: str, choose: Chooser):
        self._root, self._symlinks, self._choose = root, symlinks, choose
        self._real, self._result = os.path.realpath(root), ScanResult()
        self._todo: list[tuple[str, str, tuple[str, ...]]] = [("", root, ())]

    def run(self) -> ScanResult:
        """All files that take part. What cannot be synced is named; the rest is found all the same."""
        while self._todo:
            directory, full, above = self._todo.pop()
            try:
                with os.scandir(full) as entries:
                    for entry in entries:
                        # one string for all that know this path: a large tree has a hundred thousand
                        path = sys.intern(f"{directory}/{entry.name}" if directory else entry.name)
                        self._entry(entry, path, above)
            except OSError as fault:
                self._result.problems.append(f"{shown(directory or '.')} cannot be read ({fault.strerror})")
        return self._result

    def _entry(self, entry: os.DirEntry, path: str, above: tuple) -> None:
        try:
            if entry.is_symlink():
                self._link(entry, path, above)
            elif entry.is_dir(follow_symlinks=False):
                self._result.directories.add(path)
                if self._choose.enters(path):
                    self._todo.append((path, entry.path, above))
            elif self._choose.takes(path):
                if not entry.is_file(follow_symlinks=False):
                    self._result.others.add(path)
                    self._result.problems.append(f"{shown(path)} is neither file nor directory nor link")
                elif not _utf8(path):
                    self._result.problems.append(f"the name {shown(path)} is not UTF-8, as keys must be")
                else:
                    self._result.files[path] = identity(entry.stat(follow_symlinks=False))
        except FileNotFoundError:
            self._recheck(entry, path)
        except OSError as fault:
            self._result.problems.append(f"{shown(path)} cannot be looked at ({fault.strerror})")

    def _recheck(self, entry: os.DirEntry, path: str) -> None:
        """Editors replace a file by removing it first: what is away for a moment is not missing."""
        with contextlib.suppress(OSError):
            info = os.lstat(entry.path)
            if stat.S_ISREG(info.st_mode):
                self._result.files[path] = identity(info)
                return
        self._result.went.add(path)

    def _link(self, entry: os.DirEntry, path: str, above: tuple) -> None:
        """A link; above: the real directories of the links on the way."""
        takes = self._choose.takes(path)  # the patterns may mean what is below it, though not itself
        if not takes and not self._choose.enters(path):
            return
        # until the link is resolved, nothing below it counts as missing
        self._result.others.add(path)
        directory = os.path.isdir(entry.path)
        if not takes and not directory:
            if self._symlinks == "skip" and not os.path.exists(entry.path):
                self._result.links.add(path)  # to a directory that is still to come, perhaps
            return
        if self._symlinks == "skip":
            self._result.links.add(path)
            self._result.skipped.append(f"{shown(path)} is a link")
            return
        if self._symlinks == "error":
            self._result.problems.append(f"{shown(path)} is a link: remove it, or set symlinks to follow or skip")
            return
        why = self._follow(entry, path, above) if directory else self._file_of(entry, path)
        if why:
            self._result.problems.append(why)
        else:
            self._result.others.discard(path)

    def _follow(self, entry: os.DirEntry, path: str, above: tuple) -> str:
        """Scan the directory that a link points to as well; a sentence when that cannot be."""
        target, here = os.path.realpath(entry.path), os.path.realpath(os.path.dirname(entry.path))
        if not inside(target, self._real):
            return f"the link {shown(path)} points out of the tree, to {shown(target)}"
        if any(inside(place, target) for place in (*above, here)):
            return f"the link {shown(path)} points to a directory above it"
        self._result.directories.add(path)
        if self._choose.enters(path):
            self._todo.append((path, entry.path, (*above, here)))
        return ""

    def _file_of(self, entry: os.DirEntry, path: str) -> str:
        """Take the file that a link points to; a sentence when that cannot be."""
        target = os.path.realpath(entry.path)
        if not inside(target, self._real):
            return f"the link {shown(path)} points out of the tree, to {shown(target)}"
        try:
            info = os.stat(entry.path)
        except OSError as fault:
            return f"the link {shown(path)} points to nothing ({fault.strerror})"
        if not stat.S_ISREG(info.st_mode):
            return f"the link {shown(path)} points to what is no file"
        if not _utf8(path):
            return f"the name {shown(path)} is not UTF-8, as keys must be"
        self._result.files[path] = identity(info)
        return ""
