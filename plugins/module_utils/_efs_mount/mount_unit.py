# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The systemd unit of a mount, which tries it again after boot until it holds, and sets its read-ahead."""

from __future__ import annotations

from .._host import systemd
from .._host.files import header
from .read_ahead import DEFAULT_KIB
from .spec import Wanted


def unit_name(path: str) -> str:
    """The unit that retries a mount after boot until it holds, and sets its read-ahead."""
    return f"samefiles-mount-{systemd.escape_path(path)}.service"


def unit_text(item: Wanted) -> str:
    """The unit that makes a mount come automatically when its file system was out of reach at boot."""
    # in a unit's command line % and $ begin something, backslash and quote escape it
    path = item.path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    read_ahead = ""
    if item.transport != "efs-utils":  # mount.efs sets it itself
        read_ahead = (
            f"""ExecStart=/bin/sh -c 'echo {DEFAULT_KIB} """
            f"""> "/sys/class/bdi/$$(mountpoint -d "$$1")/read_ahead_kb"' sh "{path}"\n"""
        )
    return f"""# {header("efs_mount")}
[Unit]
Description=Mount of EFS {item.file_system} at {item.path.replace("%", "%%")}, tried until it holds
# boot does not wait for it
DefaultDependencies=no
After=sysinit.target network-online.target
Wants=network-online.target
Before=shutdown.target
Conflicts=shutdown.target
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart=/usr/bin/systemctl start "{path}"
{read_ahead}TimeoutStartSec=90
Restart=on-failure
RestartSec=15

[Install]
WantedBy=multi-user.target
"""
