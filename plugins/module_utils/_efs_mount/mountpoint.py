# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The directory below a mount: inspects it, guards it and frees it, also while something is mounted on it.

Nothing must be written under an absent mount. The guard is the directory's own: root-owned, mode 0, and immutable where the
file system has the flag, which stops root too.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import stat
import struct

from .facts import Mountpoint
from .tables import Mount

_GET_FLAGS, _SET_FLAGS, _IMMUTABLE = 0x80086601, 0x40086602, 0x10
_WITH_FLAG = ("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs")
_CAP_LINUX_IMMUTABLE = 9
_OPEN_TREE, _CLONE = 428, 1  # the number is the same on all 64-bit architectures
_AT_FDCWD = -100
_MOST_NAMES = 10
REMOTE = ("nfs", "nfs4", "fuse", "cifs", "smb3", "9p", "ceph", "lustre")


def home(path: str, mounts: list[Mount]) -> Mount | None:
    """The mount on which the directory at a path lies (not what is mounted at the path itself)."""
    best = None
    for mount in mounts:
        inside = mount.path == "/" or path.startswith(mount.path + "/")
        if inside and (best is None or len(mount.path) >= len(best.path)):
            best = mount
    return best


def is_remote(mount: Mount | None) -> bool:
    """True when a directory on this mount belongs to a network file system, whose server may hang. The root never does."""
    return mount is not None and mount.path != "/" and mount.fstype.split(".")[0] in REMOTE


def _may_set_flag(mount: Mount | None) -> bool:
    if mount is None or mount.fstype not in _WITH_FLAG:
        return False
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) & (1 << _CAP_LINUX_IMMUTABLE))
    return False


def _open_below(path: str, mounted: bool) -> int:
    """Open the directory at a path, below whatever is mounted there."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    if not mounted:
        return os.open(path, flags)
    libc = ctypes.CDLL(None, use_errno=True)
    # a copy of the parent's mount, without the mounts inside it
    tree = libc.syscall(_OPEN_TREE, _AT_FDCWD, os.fsencode(os.path.dirname(path)), _CLONE | os.O_CLOEXEC)
    if tree < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    try:
        return os.open(os.path.basename(path), flags, dir_fd=tree)
    finally:
        os.close(tree)


def _flags(descriptor: int) -> int:
    buffer = fcntl.ioctl(descriptor, _GET_FLAGS, struct.pack("l", 0))
    return struct.unpack("l", buffer)[0]


def _set_immutable(descriptor: int, on: bool) -> None:
    flags = _flags(descriptor)
    wanted = flags | _IMMUTABLE if on else flags & ~_IMMUTABLE
    if wanted != flags:
        fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("l", wanted))


def _names(descriptor: int) -> tuple[str, ...]:
    names = sorted(os.listdir(descriptor))
    more = len(names) - _MOST_NAMES
    return tuple(names[:_MOST_NAMES] + ([f"and {more} more"] if more > 0 else []))


def inspect(path: str, mounts: list[Mount]) -> Mountpoint:
    """The directory at a path; it must lie on the server's own disk."""
    real = os.path.realpath(os.path.dirname(path)).rstrip("/") + "/" + os.path.basename(path)
    if real != path:
        return Mountpoint("symlink", (real,))
    on = home(path, mounts)
    how = "immutable" if _may_set_flag(on) else "mode"
    try:
        descriptor = _open_below(path, any(mount.path == path for mount in mounts))
    except FileNotFoundError:
        return Mountpoint("missing", guarded=False, how=how)
    except OSError:
        if os.path.islink(path):
            return Mountpoint("symlink", (os.path.realpath(path),))
        return Mountpoint("other" if os.path.lexists(path) and not os.path.isdir(path) else "unknown")
    try:
        status = os.fstat(descriptor)
        guarded = status.st_uid == 0 and status.st_gid == 0 and stat.S_IMODE(status.st_mode) == 0
        if how == "immutable":
            guarded = guarded and bool(_flags(descriptor) & _IMMUTABLE)
        return Mountpoint("directory", _names(descriptor), guarded, how)
    finally:
        os.close(descriptor)


def guard(path: str, mounts: list[Mount], how: str) -> bool:
    """Make the mountpoint where it is missing and guard it; returns whether it had to be made. It must be empty."""
    made = False
    mounted = any(mount.path == path for mount in mounts)
    if not mounted and not os.path.isdir(path):
        os.makedirs(path, mode=0o755)
        made = True
    descriptor = _open_below(path, mounted)
    try:
        names = _names(descriptor)
        if names:
            raise OSError(None, f"it holds files: {', '.join(names)}")
        if how == "immutable":
            _set_immutable(descriptor, False)
        os.fchown(descriptor, 0, 0)
        os.fchmod(descriptor, 0)
        if how == "immutable":
            _set_immutable(descriptor, True)
    finally:
        os.close(descriptor)
    return made


def unguard(path: str, how: str) -> None:
    """Make a guarded directory an ordinary one again, with mode 0755."""
    descriptor = _open_below(path, False)
    try:
        if how == "immutable":
            _set_immutable(descriptor, False)
        os.fchmod(descriptor, 0o755)
    finally:
        os.close(descriptor)


def free(path: str, how: str) -> None:
    """Remove the guard and the directory, which must be empty."""
    unguard(path, how)
    os.rmdir(path)
