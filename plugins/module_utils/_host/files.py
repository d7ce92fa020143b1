# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads and writes text files whole: a reader of one that is being written sees the former text or the new one."""

from __future__ import annotations

import contextlib
import os


def header(module: str) -> str:
    """The first line of every file that a module of ours writes, without the sign of a comment."""
    return f"Written by samefiles.aws.{module}: edit the inventory, not this file."


def read_text(path: str) -> str:
    """A file's text, with bytes that are no UTF-8 kept as they are; "" when it does not exist. Raises OSError."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _keep_label(path: str, descriptor: int) -> None:
    """Give a new file the SELinux label of the one that it replaces; where there is none the directory's rule holds."""
    with contextlib.suppress(OSError):
        os.setxattr(descriptor, "security.selinux", os.getxattr(path, "security.selinux"))


def write_text(path: str, text: str, mode: int | None = None, group: int = 0) -> None:
    """Write a file whole: a temporary file beside it, fsync, rename. Raises OSError.

    The file belongs to root and the group; without a mode it keeps the owner and mode that it had, and is 0644 if it is new.
    """
    owner, directory = 0, os.path.dirname(path)
    if mode is None and os.path.isfile(path) and not os.path.islink(path):
        status = os.stat(path)
        owner, group, mode = status.st_uid, status.st_gid, status.st_mode & 0o7777
    part = os.path.join(directory, f".samefiles.{os.getpid()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        os.fchown(file.fileno(), owner, group)
        os.fchmod(file.fileno(), 0o644 if mode is None else mode)
        _keep_label(path, file.fileno())
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.replace(part, path)  # a link (a masked unit) goes, not its target
    except OSError:
        os.unlink(part)
        raise
