# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's tables: mountinfo, TCP sockets, cgroups; and the escapes and options that fstab uses as well. Pure."""

from __future__ import annotations

import dataclasses
import ipaddress
import re

Options = tuple[tuple[str, "str | None"], ...]  # in their order; a flag has the value None

_ESCAPE = re.compile(rb"\\([0-7]{3})")
_BLANKS = {" ": r"\040", "\t": r"\011", "\n": r"\012", "\\": r"\134"}


def unescape(field: str) -> str:
    """Turn the octal escapes of fstab and mountinfo (a space is written as backslash 040) back into characters."""
    # escapes stand for bytes, of which one character may have several
    raw = field.encode("utf-8", "surrogateescape")
    raw = _ESCAPE.sub(lambda match: bytes([int(match.group(1), 8) & 0xFF]), raw)
    return raw.decode("utf-8", "surrogateescape")


def escape(field: str) -> str:
    """Write a field so that fstab(5) reads it back unchanged."""
    return "".join(_BLANKS.get(char, char) for char in field)


def split_options(text: str) -> Options:
    """Split a comma-separated option string into (key, value) pairs; a flag has the value None."""
    pairs = (item.partition("=") for item in text.split(",") if item)
    return tuple((key, value if equals else None) for key, equals, value in pairs)


def option_value(options: Options, key: str) -> str | None:
    """The value of an option, "" for a flag, None when it is absent."""
    for name, value in options:
        if name == key:
            return value or ""
    return None


@dataclasses.dataclass(frozen=True)
class Mount:
    """One row of /proc/self/mountinfo."""

    device: str
    root: str
    path: str
    fstype: str
    source: str
    options: Options

    def option(self, key: str) -> str | None:
        """The value of an option, "" for a flag, None when it is absent."""
        return option_value(self.options, key)


def mounts(text: str) -> list[Mount]:
    """The mounts of this mount namespace in the order in which they were made: of two at one path the last is on top.

    The options are those of the mount (ro, nosuid) followed by those of its file system (vers, hard).
    """
    rows = []
    for line in text.split("\n"):
        fields, _dash, rest = line.partition(" - ")
        head, tail = fields.split(" "), rest.split(" ")
        if len(head) < 6 or len(tail) < 3:
            continue
        options = split_options(head[5]) + split_options(tail[2])
        rows.append(Mount(head[2], unescape(head[3]), unescape(head[4]), tail[0], unescape(tail[1]), options))
    return rows


@dataclasses.dataclass(frozen=True)
class Socket:
    """One row of /proc/net/tcp or tcp6."""

    local: str
    local_port: int
    remote: str
    remote_port: int
    state: str  # LISTEN, ESTABLISHED, or the kernel's number
    inode: int


_STATES = {"01": "ESTABLISHED", "0A": "LISTEN"}


def _address(word: str) -> tuple[str, int]:
    """An address as the kernel prints it: hexadecimal, each 32-bit word in the machine's (little-endian) order."""
    address, _colon, port = word.partition(":")
    raw = bytes.fromhex(address)
    ordered = b"".join(raw[i : i + 4][::-1] for i in range(0, len(raw), 4))
    ip = ipaddress.ip_address(ordered)
    mapped = getattr(ip, "ipv4_mapped", None)
    return str(mapped or ip), int(port, 16)


def sockets(text: str) -> list[Socket]:
    """The TCP sockets of this network namespace that listen or are connected."""
    rows = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) < 10 or fields[3] not in _STATES:
            continue
        local, local_port = _address(fields[1])
        remote, remote_port = _address(fields[2])
        rows.append(Socket(local, local_port, remote, remote_port, _STATES[fields[3]], int(fields[9])))
    return rows


def unit_of(cgroup: str) -> str:
    """The systemd unit of a process, from its /proc/PID/cgroup; "" when it belongs to none.

    cgroup v2 has one line "0::/system.slice/x.service", v1 one for each controller of which systemd's is "name=systemd".
    """
    for line in cgroup.splitlines():
        _number, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        if controllers in ("", "name=systemd"):
            for part in reversed(path.split("/")):
                if part.endswith((".service", ".mount", ".scope")):
                    return part
    return ""
