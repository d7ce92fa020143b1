# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The TLS tunnels that a host's mounts need: what each should be, and whether it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from .._host import systemd
from . import tunnel_conf, tunnel_unit
from .facts import Facts
from .spec import Wanted


@dataclasses.dataclass(frozen=True)
class Tunnel:
    """The tunnel of one file system: what it should be and whether it is."""

    file_system: str
    port: int
    files: dict[str, str]
    drift: bool
    running: bool
    blocked: str = ""  # what holds its port

    @property
    def unit(self) -> str:
        """Its systemd unit."""
        return tunnel_unit.unit_name(self.file_system)


def known_port(file_system: str, facts: Facts) -> int | None:
    """The port that our fstab lines or the tunnel's configuration name for a file system."""
    for entry in facts.fstab.entries:
        port = tunnel_conf.own_port(entry.option("port") or "")
        if entry.file_system == file_system and port:
            return port
    return tunnel_conf.conf_port(facts.files.get(tunnel_conf.conf_path(file_system), ""))


def _tunnel(item: Wanted, facts: Facts, taken: set[int]) -> Tunnel:
    port = known_port(item.file_system, facts)
    if port is None:
        port = tunnel_conf.choose_port(item.file_system, taken | set(facts.listeners))
    unit = tunnel_unit.unit_name(item.file_system)
    files = {
        tunnel_conf.conf_path(item.file_system): tunnel_conf.conf_text(item, port, item.ca_file or facts.ca_file),
        systemd.unit_path(unit): tunnel_unit.unit_text(item),
    }
    listener = facts.listeners.get(port)
    running = bool(listener and listener.unit == unit)
    blocked = f"{listener.command} (process {listener.pid})" if listener and not running else ""
    drift = any(facts.files.get(path) != text for path, text in files.items())
    return Tunnel(item.file_system, port, files, drift, running, blocked)


def tunnels(items: Sequence[Wanted], facts: Facts) -> dict[str, Tunnel]:
    """The tunnels of the mounts with transport stunnel, by file system."""
    result: dict[str, Tunnel] = {}
    taken = {port for port in map(tunnel_conf.conf_port, facts.files.values()) if port}
    for item in items:
        if item.state == "mounted" and item.transport == "stunnel" and item.file_system not in result:
            result[item.file_system] = _tunnel(item, facts, taken)
            taken.add(result[item.file_system].port)
    return result
