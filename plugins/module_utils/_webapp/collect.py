# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the facts that the module webapp decides on. Changes nothing."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat

from .._host import process, systemd
from .._host.files import read_text
from .identity import RELEASE
from .plan import Facts
from .spec import Wanted


def _states(units: tuple[str, ...], timeout: float) -> dict[str, str]:
    argv = ["systemctl", "list-units", "--all", "--plain", "--no-legend", "webapp*", *units]
    done = process.run(argv, timeout)
    rows = [line.split() for line in done.out.splitlines()]
    return {row[0]: row[2] for row in rows if len(row) > 3}


def _releases(root: str) -> list[str]:
    directory = os.path.join(root, "releases")
    try:
        names = [name for name in os.listdir(directory) if RELEASE.fullmatch(name)]
    except FileNotFoundError:
        return []
    return sorted(names, key=lambda name: os.stat(os.path.join(directory, name)).st_mtime_ns)


def current(root: str) -> str | None:
    """The release that serves requests, None when there is none."""
    try:
        name = os.path.basename(os.readlink(os.path.join(root, "current")))
    except OSError:
        return None
    return name if RELEASE.fullmatch(name) else None


def read(wanted: Wanted, timeout: float) -> Facts:
    """All facts that the plan depends on; changes nothing."""
    files = {}
    for file in wanted.files:
        with contextlib.suppress(FileNotFoundError):
            files[file.path] = (read_text(file.path), stat.S_IMODE(os.stat(file.path).st_mode))
    return Facts(
        releases=_releases(wanted.root),
        current=current(wanted.root),
        files=files,
        leftovers={item.path for item in wanted.absent if os.path.lexists(item.path)},
        enabled=systemd.enabled("multi-user.target"),
        states=_states(wanted.units + wanted.unneeded, timeout),
        users={user.pw_name: (user.pw_uid, user.pw_gid) for user in pwd.getpwall()},
        groups={group.gr_name: group.gr_gid for group in grp.getgrall()},
    )
