# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of every file that efs_mount owns: a tunnel's configuration, its unit, a mount's unit, a mount's fstab line."""

from __future__ import annotations

import re
import zlib

from .._host import systemd
from . import nfs
from .spec import Wanted
from .tables import escape

FSTAB = "/etc/fstab"
CONF_FOLDER = "/etc/samefiles"
MARK = "x-samefiles.aws"  # in the options of our fstab lines; its value is the file system

# Beside the range 20049-21049 that mount.efs takes its ports from.
FIRST_PORT = 21100
PORTS = 900

_HEAD = "Written by samefiles.aws.efs_mount: edit the inventory, not this file."


def tunnel_conf_path(file_system: str) -> str:
    """Where the tunnel of a file system is configured."""
    return f"{CONF_FOLDER}/{file_system}.conf"


def tunnel_unit_name(file_system: str) -> str:
    """The unit that runs the tunnel of a file system."""
    return f"samefiles-tunnel-{file_system}.service"


def tunnel_file_system(unit: str) -> str | None:
    """The file system whose tunnel a unit is, None for any other unit."""
    match = re.fullmatch(r"samefiles-tunnel-(fs-[0-9a-f]+)\.service", unit)
    return match and match.group(1)


def mount_unit_name(path: str) -> str:
    """The unit that retries a mount after boot until it holds, and sets its read-ahead."""
    return f"samefiles-mount-{systemd.escape_path(path)}.service"


def choose_port(file_system: str, taken: set[int]) -> int:
    """A port for a new tunnel: the same one for the same file system on every host unless it is taken there."""
    start = zlib.crc32(file_system.encode()) % PORTS
    for step in range(PORTS):
        port = FIRST_PORT + (start + step) % PORTS
        if port not in taken:
            return port
    raise ValueError(f"all {PORTS} ports from {FIRST_PORT} are taken")


def conf_port(conf: str) -> int | None:
    """The local port of a tunnel's configuration, None when it names none of ours."""
    match = re.search(r"^accept = 127\.0\.0\.1:(\d+)$", conf, re.MULTILINE)
    port = int(match.group(1)) if match else 0
    return port if FIRST_PORT <= port < FIRST_PORT + PORTS else None


def tunnel_conf(item: Wanted, port: int, ca_file: str) -> str:
    """stunnel's configuration: TLS to the mount target, its chain and its name checked."""
    return f"""; {_HEAD}
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


def tunnel_unit(item: Wanted) -> str:
    """The unit of a tunnel: up before the mounts that use it, down after them, started again whatever ends it."""
    return f"""# {_HEAD}
[Unit]
Description=TLS tunnel to the EFS file system {item.file_system}
After=network.target
Before=remote-fs-pre.target
StartLimitIntervalSec=0

[Service]
ExecStart=/usr/bin/stunnel {tunnel_conf_path(item.file_system)}
Restart=always
RestartSec=1
DynamicUser=yes
ProtectHome=yes
PrivateDevices=yes
NoNewPrivileges=yes
CapabilityBoundingSet=
# a killed tunnel stalls every process that uses the share
OOMScoreAdjust=-900

[Install]
WantedBy=multi-user.target
"""


def mount_unit(item: Wanted) -> str:
    """The unit that makes a mount come by itself when its file system was away at boot."""
    # in a unit's command line % and $ begin something, backslash and quote escape it
    path = item.path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    read_ahead = ""
    if item.transport != "efs-utils":  # mount.efs sets it itself
        read_ahead = (
            f"""ExecStart=/bin/sh -c 'echo {nfs.READ_AHEAD_KB} """
            f"""> "/sys/class/bdi/$$(mountpoint -d "$$1")/read_ahead_kb"' sh "{path}"\n"""
        )
    return f"""# {_HEAD}
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


def fstab_line(item: Wanted, port: int | None) -> str:
    """The line of fstab; port is the tunnel's, for transport stunnel."""
    options = nfs.nfs_options(item.options)
    if item.transport == "efs-utils":
        source, fstype = f"{item.file_system}:{item.directory}", "efs"
        special = ["tls", f"region={item.region}"]
        special += ["iam"] if item.iam else []
        special += [f"accesspoint={item.access_point}"] if item.access_point else []
        special += [f"mounttargetip={item.mount_target}"] if item.mount_target else []
        special += [f"cafile={item.ca_file}"] if item.ca_file else []
    elif item.transport == "stunnel":
        source, fstype = f"127.0.0.1:{item.directory}", "nfs4"
        special = [f"port={port}", f"x-systemd.after={tunnel_unit_name(item.file_system)}"]
    else:
        host = f"[{item.host}]" if ":" in item.host else item.host
        source, fstype, special = f"{host}:{item.directory}", "nfs4", []
    everything = options + special + list(nfs.SYSTEM_OPTIONS) + [f"{MARK}={item.file_system}"]
    return " ".join((escape(source), escape(item.path), fstype, ",".join(everything), "0", "0"))
