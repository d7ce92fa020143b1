# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The systemd unit of the TLS tunnel of a file system: its name, its text and its hardening."""

from __future__ import annotations

import re

from .._host.files import header
from .spec import Wanted
from .tunnel_conf import conf_path


def unit_name(file_system: str) -> str:
    """The unit that runs the tunnel of a file system."""
    return f"samefiles-tunnel-{file_system}.service"


def file_system_of(unit: str) -> str | None:
    """The file system whose tunnel a unit is, None for any other unit."""
    match = re.fullmatch(r"samefiles-tunnel-(fs-[0-9a-f]+)\.service", unit)
    return match and match.group(1)


def unit_text(item: Wanted) -> str:
    """The unit of a tunnel: up before the mounts that use it, down after them, started again whatever ends it."""
    return f"""# {header("efs_mount")}
[Unit]
Description=TLS tunnel to the EFS file system {item.file_system}
After=network.target
Before=remote-fs-pre.target
StartLimitIntervalSec=0

[Service]
ExecStart=/usr/bin/stunnel {conf_path(item.file_system)}
Restart=always
RestartSec=1
DynamicUser=yes
ProtectHome=yes
PrivateDevices=yes
NoNewPrivileges=yes
CapabilityBoundingSet=
# a killed tunnel stalls every process that uses the mount
OOMScoreAdjust=-900

[Install]
WantedBy=multi-user.target
"""
