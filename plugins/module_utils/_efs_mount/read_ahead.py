# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The read-ahead of a mount: how large it should be, how large it is, and how it is set."""

from __future__ import annotations

from .._host.files import read_text
from .tables import Mount

# The file size that mount.efs asks the kernel to read ahead: 15 times rsize, in KiB.
DEFAULT_KIB = 15 * 1048576 // 1024


def path_of(device: str) -> str:
    """The kernel's file with the read-ahead of a device (MAJOR:MINOR), in KiB."""
    return f"/sys/class/bdi/{device}/read_ahead_kb"


def current(mount: Mount) -> int:
    """The read-ahead of a mount in KiB, -1 when the kernel does not say."""
    text = read_text(path_of(mount.device)).strip()
    return int(text) if text.isdigit() else -1


def write(mount: Mount, kib: int) -> None:
    """Set the read-ahead of a mount. Raises OSError."""
    with open(path_of(mount.device), "w", encoding="ascii") as file:
        file.write(str(kib))
