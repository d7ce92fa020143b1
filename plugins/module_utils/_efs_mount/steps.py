# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of efs_mount's plan beside those that all modules use: one class each."""

from __future__ import annotations

import dataclasses

from .._host.steps import Step
from .spec import Wanted


@dataclasses.dataclass(frozen=True)
class Unmount(Step):
    """Unmount whatever is at a path."""

    path: str


@dataclasses.dataclass(frozen=True)
class Mount(Step):
    """Mount what the line of fstab for a path says."""

    path: str
    item: Wanted


@dataclasses.dataclass(frozen=True)
class StartTunnel(Step):
    """Start a tunnel and wait until it listens on its port."""

    unit: str
    port: int


@dataclasses.dataclass(frozen=True)
class RestartTunnel(Step):
    """Restart a tunnel and wait until it listens on its port."""

    unit: str
    port: int


@dataclasses.dataclass(frozen=True)
class GuardMountpoint(Step):
    """Make a mountpoint on the server's own disk, where it is missing, and guard it; how: immutable, or mode alone."""

    path: str
    how: str


@dataclasses.dataclass(frozen=True)
class MakeNestedMountpoint(Step):
    """Make a mountpoint inside another mount, where it is missing."""

    path: str


@dataclasses.dataclass(frozen=True)
class OpenMountpoint(Step):
    """Make a guarded mountpoint an ordinary directory again."""

    path: str


@dataclasses.dataclass(frozen=True)
class SetReadAhead(Step):
    """Set the read-ahead of a mount."""

    path: str
    kib: int


@dataclasses.dataclass(frozen=True)
class SetRoot(Step):
    """Set owner, group and mode of the root of what is mounted at a path; None leaves one as it is."""

    path: str
    owner: int | None
    group: int | None
    mode: int | None
