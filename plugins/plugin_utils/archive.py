# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packs a directory into one archive that depends on nothing but the directory's files. Runs on the controller."""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import tarfile

_SKIPPED = ("__pycache__", ".git")


def files_of(directory: str) -> list[str]:
    """The paths below a directory, relative to it, in byte order; what a tool left beside the sources is not among them."""
    paths = []
    for root, directories, names in os.walk(directory):
        directories[:] = sorted(name for name in directories if name not in _SKIPPED)
        links = [name for name in directories if os.path.islink(os.path.join(root, name))]
        paths += [os.path.relpath(os.path.join(root, name), directory) for name in names + links]
    return sorted(paths)


def digest(directory: str) -> str:
    """A hash of every file below a directory: name, whether it is executable, content."""
    total = hashlib.sha256()
    for name in files_of(directory):
        path = os.path.join(directory, name)
        executable = bool(os.lstat(path).st_mode & stat.S_IXUSR)
        total.update(f"{name}\0{executable}\0".encode("utf-8", "surrogateescape"))
        if os.path.islink(path):
            total.update(os.readlink(path).encode("utf-8", "surrogateescape"))
        else:
            with open(path, "rb") as file:
                total.update(hashlib.sha256(file.read()).digest())
    return total.hexdigest()


def pack(directory: str, archive: str) -> None:
    """Write a .tar.gz of a directory: the same files give the same bytes, whoever packs them and when."""
    part = f"{archive}.{os.getpid()}"
    with (
        open(part, "wb") as raw,
        gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name in files_of(directory):
            tar.add(os.path.join(directory, name), name, recursive=False, filter=_plain)
    os.replace(part, archive)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """A member without its owner and its time."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    member.mode = 0o755 if member.mode & stat.S_IXUSR else 0o644
    member.pax_headers = {}
    return member
