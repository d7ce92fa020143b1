# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a host: plain data that collect reads, and identify and plan judge."""

from __future__ import annotations

import dataclasses

from .fstab import Fstab
from .tables import Mount


@dataclasses.dataclass(frozen=True)
class Listener:
    """The process that listens on a local port, and where its other connections go."""

    pid: int
    command: str
    unit: str
    peers: tuple[str, ...]  # addresses of established connections to port 2049


@dataclasses.dataclass(frozen=True)
class State:
    """One state file of mount.efs: what it says is mounted, and whether its proxy lives."""

    file_system: str
    access_point: str | None
    path: str
    port: int
    alive: bool
    peers: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Mountpoint:
    """The directory at a path on the server's own disk, below whatever is mounted there."""

    file_type: str  # directory, missing, other (a file, say), symlink, shared (on a network file system), unknown (cannot be read)
    names: tuple[str, ...] = ()  # what lies in it: some names, the last may be "and N more"; of a symlink its real path
    guarded: bool = True  # root-owned, mode 0, immutable where the file system can
    how: str = "unknown"  # immutable, mode (the file system has no such flag), shared, unknown


@dataclasses.dataclass(frozen=True)
class Root:
    """The directory that a mount shows: its owner, or why it cannot be asked."""

    uid: int = 0
    gid: int = 0
    mode: int = 0
    fault: str = ""  # "" when it answered; "hung" when it did not within the timeout; else the error


@dataclasses.dataclass
class Facts:
    """Everything that the plan depends on."""

    fstab: Fstab = dataclasses.field(default_factory=Fstab)
    mounts: list[Mount] = dataclasses.field(default_factory=list)
    files: dict[str, str] = dataclasses.field(default_factory=dict)  # those of ours that exist: text by path
    enabled: set[str] = dataclasses.field(default_factory=set)  # units of ours that start at boot
    listeners: dict[int, Listener] = dataclasses.field(default_factory=dict)  # on 127.0.0.1, by port
    states: list[State] = dataclasses.field(default_factory=list)
    mountpoints: dict[str, Mountpoint] = dataclasses.field(default_factory=dict)  # by path
    roots: dict[str, Root] = dataclasses.field(default_factory=dict)  # by path, of what is mounted
    read_ahead: dict[str, int] = dataclasses.field(default_factory=dict)  # KiB, by path
    addresses: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)  # by host; none: does not resolve
    ids: dict[str, int] = dataclasses.field(default_factory=dict)  # by "user:NAME" and "group:NAME"
    ca_file: str = ""  # the system's own bundle
    missing: dict[str, str] = dataclasses.field(default_factory=dict)  # programs that are not installed, by transport

    def at(self, path: str) -> Mount | None:
        """What is mounted at a path, on top."""
        return next((mount for mount in reversed(self.mounts) if mount.path == path), None)

    def below(self, path: str) -> list[str]:
        """The paths of other mounts inside a path."""
        return sorted({mount.path for mount in self.mounts if mount.path.startswith(path.rstrip("/") + "/")})
