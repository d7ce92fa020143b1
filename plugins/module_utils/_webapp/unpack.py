# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unpacks the archive of an app: nothing outside its own directory, nothing that is not root's."""

from __future__ import annotations

import os
import tarfile

from .._host.executor import Failed


def _member(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """A member of the archive as it may be unpacked: inside its directory, owned by root, written by root alone."""
    names = member.name.split("/")
    if member.name.startswith("/") or ".." in names:
        raise Failed(f"the archive holds {member.name!r}, which lies outside it: pack it from inside its directory")
    inside = os.path.normpath(os.path.join(os.path.dirname(member.name), member.linkname or "."))
    if member.issym() and (member.linkname.startswith("/") or inside.startswith("..")):
        raise Failed(f"the archive holds the link {member.name!r} to {member.linkname!r}, outside it: remove the link")
    if not (member.isfile() or member.isdir() or member.issym()):
        raise Failed(f"the archive holds {member.name!r}, which is neither file nor directory nor link: remove it")
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    return member


def unpack(archive: str, directory: str) -> None:
    """Unpack a tar archive into a new directory."""
    try:
        with tarfile.open(archive) as tar:
            members = [_member(member) for member in tar.getmembers() if member.name not in (".", "")]
            os.makedirs(directory, mode=0o755)
            for member in members:
                tar.extract(member, directory, set_attrs=True, numeric_owner=True)
    except (tarfile.TarError, EOFError) as fault:
        raise Failed(f"the archive cannot be read ({fault}): make it anew with tar") from fault
