# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The web app of a host as it should be: its release, files, units and user."""

from __future__ import annotations

import dataclasses

from .._host import systemd


@dataclasses.dataclass(frozen=True)
class File:
    """A file as it should be."""

    path: str
    text: str
    mode: int = 0o644
    group: int = 0  # the file belongs to root and this group
    secret: bool = False  # its text is never shown
    unit: str = ""  # the unit that has to take up a change
    # how it does: reload, reload_first (before requests are routed to another release), restart, or next_start (not
    # before it starts anew)
    how: str = "reload"


@dataclasses.dataclass(frozen=True)
class Account:
    """The user that everything runs as, and its group of the same name; NFS knows numbers only."""

    name: str
    uid: int
    gid: int


@dataclasses.dataclass(frozen=True)
class Leftover:
    """A file that should not be there any more; a unit's is removed once the unit has been stopped."""

    path: str
    drain: int = 0  # seconds that the unit's last requests have; 0: it has none, and is waited for

    @property
    def unit(self) -> str:
        """The unit that the file is, "" when it is none."""
        directory, _slash, name = self.path.rpartition("/")
        return name if directory == systemd.UNIT_DIRECTORY else ""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The web app of a host as it should be."""

    root: str
    release: str  # its id
    files: tuple[File, ...]
    units: tuple[str, ...]  # those beside the app, in the order in which they start
    keep: int = 3  # releases on the disk, the current one included
    account: Account | None = None
    unneeded: tuple[str, ...] = ()  # units of packages that would take the site's port at the next boot
    absent: tuple[Leftover, ...] = ()

    @property
    def directory(self) -> str:
        """Where the wanted release lies."""
        return f"{self.root}/releases/{self.release}"
