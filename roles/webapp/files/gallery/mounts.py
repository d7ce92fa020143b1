# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks that NFS is mounted at a path, by the kernel's table: reading it never hangs."""

from __future__ import annotations

from gallery.errors import unavailable

_TABLE = "/proc/self/mountinfo"
_BLANKS = {" ": r"\040", "\t": r"\011", "\n": r"\012", "\\": r"\134"}


def mounted_type(path: str, table: str) -> str:
    """The file system type of what is mounted at a path, by the text of a mountinfo table; "" for nothing."""
    wanted = "".join(_BLANKS.get(char, char) for char in path)
    mounted = ""
    for line in table.split("\n"):
        head, _dash, tail = line.partition(" - ")
        fields = head.split(" ")
        if len(fields) > 4 and fields[4] == wanted:
            mounted = tail.split(" ")[0]  # of two at one path the last is on top
    return mounted


def require(path: str) -> None:
    """Refuse to go on unless NFS is mounted at a path; "" requires nothing."""
    if not path:
        return
    with open(_TABLE, encoding="utf-8", errors="surrogateescape") as table:
        mounted = mounted_type(path, table.read())
    if mounted != "nfs4":
        what = f"a file system of type {mounted} is mounted" if mounted else "nothing is mounted"
        raise unavailable(f"The shared storage is not there: {what} at {path}; gallery works again when it is mounted.")
