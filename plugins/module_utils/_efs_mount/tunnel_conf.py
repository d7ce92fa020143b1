# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration of the TLS tunnel of a file system: its local port and what stunnel reads."""

from __future__ import annotations

import re
import zlib

from .._host.files import header
from . import nfs
from .spec import Wanted

CONF_DIRECTORY = "/etc/samefiles"

# Beside the range 20049-21049 that mount.efs takes its ports from.
FIRST_PORT = 21100
PORTS = 900


def conf_path(file_system: str) -> str:
    """Where the tunnel of a file system is configured."""
    return f"{CONF_DIRECTORY}/{file_system}.conf"


def choose_port(file_system: str, taken: set[int]) -> int:
    """A port for a new tunnel: the same one for the same file system on every host unless it is taken there."""
    start = zlib.crc32(file_system.encode()) % PORTS
    for step in range(PORTS):
        port = FIRST_PORT + (start + step) % PORTS
        if port not in taken:
            return port
    raise ValueError(f"all {PORTS} ports from {FIRST_PORT} are taken")


def own_port(port: str) -> int | None:
    """A port, if it is one that a tunnel of ours may have."""
    number = int(port) if port.isdecimal() else 0
    return number if FIRST_PORT <= number < FIRST_PORT + PORTS else None


def conf_port(conf: str) -> int | None:
    """The local port of a tunnel's configuration, None when it names none of ours."""
    match = re.search(r"^accept = 127\.0\.0\.1:(\d+)$", conf, re.MULTILINE)
    return own_port(match.group(1)) if match else None


def conf_text(item: Wanted, port: int, ca_file: str) -> str:
    """stunnel's configuration: TLS to the mount target, its chain and its name checked."""
    return f"""; {header("efs_mount")}
foreground = yes
pid =
syslog = no
debug = notice

[{item.file_system}]
client = yes
accept = 127.0.0.1:{port}
connect = {item.host}:{nfs.PORT}
sni = {item.dns_name}
checkHost = {item.dns_name}
verifyChain = yes
CAfile = {ca_file}
sslVersionMin = TLSv1.2
; the name is resolved for each connection, so that a start without network is no fault
delay = yes
TIMEOUTclose = 0
"""
