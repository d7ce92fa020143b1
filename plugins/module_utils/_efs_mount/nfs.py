# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What EFS and its client prescribe: names, mount options, and which of them belong together.

Sources: the EFS user guide ("Recommended NFS mount options", "Limits") and the configuration of amazon-efs-utils 3.2.0.
"""

from __future__ import annotations

import re

from .tables import Mount

PORT = 2049
FILE_SYSTEM = re.compile(r"fs-([0-9a-f]{8}|[0-9a-f]{17})")
ACCESS_POINT = re.compile(r"fsap-[0-9a-f]{17}")
REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]+")
TRANSPORTS = ("stunnel", "plain", "efs-utils")

# DNS suffixes of the AWS partitions, by the region's beginning (efs-utils.conf, sections mount.<region>)
_SUFFIXES = (
    ("cn-", "amazonaws.com.cn"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("us-iso-", "c2s.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
    ("eusc-", "amazonaws.eu"),
)

# As the EFS user guide recommends. lookupcache=positive is ours: without it a server that has asked for a name before
# another server made it goes on for up to 30 s saying that there is no such file.
DEFAULTS = (
    "nfsvers=4.1",
    "rsize=1048576",
    "wsize=1048576",
    "hard",
    "timeo=600",
    "retrans=2",
    "noresvport",
    "lookupcache=positive",
)
# How the system handles the line: the network first, a boot that never waits, an attempt that ends.
SYSTEM_OPTIONS = ("_netdev", "nofail", "x-systemd.mount-timeout=30")

# Options that switch each other off, or name the same thing, under the name that we know them by.
_SAME = {
    "vers": "nfsvers", "soft": "hard", "softerr": "hard", "resvport": "noresvport", "rw": "ro", "ac": "noac",
    "cto": "nocto", "lock": "nolock", "acl": "noacl", "rdirplus": "nordirplus", "sharecache": "nosharecache",
    "nofsc": "fsc", "fg": "bg", "suid": "nosuid", "dev": "nodev", "exec": "noexec", "atime": "noatime",
    "relatime": "noatime", "strictatime": "noatime", "diratime": "nodiratime",
}  # fmt: skip

# Options that a mount may not be given, with the way out.
REFUSED = {
    "nconnect": "EFS does not support it: leave it out",
    "port": "the transport decides it: leave it out",
    "addr": "use mount_target",
    "proto": "EFS speaks TCP only: leave it out",
    "tls": "use transport: efs-utils or stunnel",
    "notls": "use transport: plain",
    "stunnel": "use transport: stunnel",
    "iam": "use iam: true",
    "accesspoint": "use access_point",
    "region": "use region",
    "mounttargetip": "use mount_target",
    "cafile": "use ca_file",
    "tlsport": "the transport decides it: leave it out",
    "noauto": "this module mounts every file system that it lists: leave it out",
    "auto": "it is the default: leave it out",
    "remount": "options are changed by unmounting and mounting: leave it out",
    "bind": "this module mounts EFS only: leave it out",
    "udp": "EFS speaks TCP only: leave it out",
    "tcp": "it is the default: leave it out",
    "minorversion": "use nfsvers=4.1: leave it out",
    "nolock": "it has no effect over NFSv4: leave it out",
    "lock": "it has no effect over NFSv4: leave it out",
    "local_lock": "it has no effect over NFSv4: leave it out",
    "noacl": "it has no effect over NFSv4: leave it out",
    "acl": "it has no effect over NFSv4: leave it out",
    "v4.0": "use nfsvers=4.0",
    "v4.1": "it is the default: leave it out",
    "v4.2": "EFS speaks 4.1 and 4.0: leave it out",
    "v4": "use nfsvers=4.1",
    "v3": "EFS speaks 4.1 and 4.0: leave it out",
    "x-samefiles.aws": "it is the mark of this module's own lines: leave it out",
}
# What the kernel uses for all mounts of one file system, whatever each of them asks for.
SHARED = ("timeo", "retrans")
# Options that are switches, not values.
SWITCHES = {"hard", "soft", "ro", "rw", "noresvport", "resvport", "noac", "nocto", "bg", "fg"}
NFS_VERSIONS = ("4.1", "4.0")


def dns_name(file_system: str, region: str) -> str:
    """The name of a file system that its clients resolve to the mount target of their own zone."""
    suffix = next((suffix for start, suffix in _SUFFIXES if region.startswith(start)), "amazonaws.com")
    return f"{file_system}.efs.{region}.{suffix}"


def option_key(option: str) -> str:
    """What an option decides: equal for options that name or switch off the same thing (soft and hard)."""
    key = option.partition("=")[0]
    return _SAME.get(key, key)


def nfs_options(overrides: tuple[str, ...]) -> list[str]:
    """The default mount options, overridden key by key, then what is new, in a stable order."""
    given = {option_key(option): option for option in overrides}
    options = [given.pop(option_key(option), option) for option in DEFAULTS]
    return options + list(given.values())


# How the kernel's mount table shows options. Those it always shows, or leaves out only at a default known to us, can be
# compared with what was wanted; of any other option only a different value proves a difference.
_SHOWN_KEYS = {"vers": "vers", "nfsvers": "vers"}
_SHOWN_VALUES = {("lookupcache", "positive"): "pos"}
_LEFT_OUT = {
    "lookupcache": "all", "acregmin": "3", "acregmax": "60", "acdirmin": "30", "acdirmax": "60",
}  # fmt: skip
_ALWAYS_SHOWN = {"vers", "rsize", "wsize", "timeo", "retrans", "sec"}
_FLAGS = set(_SAME.values()) - {"nfsvers", "bg"}
_FLAGS_LEFT_OUT = {
    "rw", "resvport", "ac", "cto", "lock", "acl", "rdirplus", "sharecache", "nofsc", "suid", "dev", "exec", "atime",
    "diratime", "strictatime",
}  # fmt: skip
_NEGOTIATED = {"rsize", "wsize"}


def comparable(option: str) -> bool:
    """True when the kernel's mount table shows whether a mount has this option."""
    key = option.partition("=")[0]
    if option_key(option) in _FLAGS or key == "actimeo":
        return True
    return _SHOWN_KEYS.get(key, key) in _ALWAYS_SHOWN or key in _LEFT_OUT


def _flag_drift(key: str, mount: Mount) -> str:
    group = option_key(key)
    names = [group] + [name for name, same in _SAME.items() if same == group and name != group]
    shown = next((name for name in names if mount.option(name) is not None), None)
    if key == shown or (key in _FLAGS_LEFT_OUT and shown in (None, key)):
        return ""
    return f"{key} (is {shown or 'not set'})"


def _value_drift(key: str, value: str, mount: Mount) -> str:
    shown_key = _SHOWN_KEYS.get(key, key)
    live = mount.option(shown_key)
    if live is None:
        live = _LEFT_OUT.get(key)
    if live is None and shown_key not in _ALWAYS_SHOWN:
        return ""
    wanted = _SHOWN_VALUES.get((key, value), value)
    if key in _NEGOTIATED and live and live.isdigit() and wanted.isdigit() and int(live) <= int(wanted):
        return ""  # the server granted less, which another mount would not change
    return "" if live == wanted else f"{key}={value} (is {live or 'not set'})"


def _drift(option: str, mount: Mount) -> str:
    key, equals, value = option.partition("=")
    if key == "actimeo":
        limits = ("acregmin", "acregmax", "acdirmin", "acdirmax")
        return next(filter(None, (_value_drift(limit, value, mount) for limit in limits)), "")
    if equals:
        return _value_drift(key, value, mount)
    return _flag_drift(key, mount) if option_key(key) in _FLAGS else ""


# What the kernel shows only when somebody asked for it: shown without being wanted, it is left over from former options.
_ON_DEMAND = {
    "ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "sync", "dirsync", "noac", "nocto", "nordirplus",
    "nosharecache", "fsc", "softreval", "acregmin", "acregmax", "acdirmin", "acdirmax",
}  # fmt: skip
_IMPLIED = {"actimeo": ("acregmin", "acregmax", "acdirmin", "acdirmax"), "noac": ("sync",)}


def _left_over(wanted: list[str], mount: Mount) -> list[str]:
    keys = {option_key(option) for option in wanted}
    keys |= {implied for key, more in _IMPLIED.items() if key in keys for implied in more}
    return [f"{key} (is set)" for key, _value in mount.options if key in _ON_DEMAND and option_key(key) not in keys]


def option_drift(wanted: list[str], mount: Mount) -> list[str]:
    """The wanted options that the kernel's mount table contradicts, each with what it shows instead; then what is left
    over there from options that are not wanted any more."""
    drifts = [drift for drift in (_drift(option, mount) for option in wanted if comparable(option)) if drift]
    return drifts + list(dict.fromkeys(_left_over(wanted, mount)))
