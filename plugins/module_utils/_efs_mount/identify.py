# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proves what a live mount is. The mount table's source is a claim; the evidence differs by transport.

plain: the address that the kernel is connected to. stunnel: port in the mount table, the process that listens there,
its unit, the address that this process is connected to. efs-utils: mount.efs's state file, its proxy, and their port.
"""

from __future__ import annotations

import dataclasses
import posixpath
import re

from . import nfs, tunnel_conf, tunnel_unit
from .facts import Facts
from .spec import Wanted
from .tables import Mount

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_NAME = re.compile(r"(?:[a-z0-9-]+\.)?(fs-[0-9a-f]+)\.efs\.")


@dataclasses.dataclass(frozen=True)
class Live:
    """What is mounted at a path, as far as the evidence goes."""

    transport: str  # stunnel, plain, efs-utils, or "" where it is none of them
    file_system: str | None
    access_point: str | None
    directory: str
    peers: tuple[str, ...]  # the addresses it is connected to
    says: str  # what it is, for messages
    alive: bool = True  # False when its tunnel or proxy does not run


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a live mount is, and why.

    right; wrong (ours, but to be mounted anew); wrong_server (ours, but connected to another server); unmanaged (not
    ours); tunnel_down (its tunnel does not run); unproven; absent.
    """

    what: str
    why: str = ""


def split_source(source: str) -> tuple[str, str]:
    """Host and directory of an NFS source."""
    host, _colon, directory = source.rpartition(":")
    return host.strip("[]"), directory or "/"


def _through_port(mount: Mount, port: int, directory: str, facts: Facts) -> Live:
    """A mount from a local port: a tunnel of ours, a proxy of mount.efs, or something unknown."""
    for state in facts.states:
        if state.port == port and state.path == mount.path:
            says = f"{state.file_system} over efs-utils" + (
                f", access point {state.access_point}" if state.access_point else ""
            )
            return Live("efs-utils", state.file_system, state.access_point, directory, state.peers, says, state.alive)
    listener = facts.listeners.get(port)
    if listener:
        system = tunnel_unit.file_system_of(listener.unit)
        says = f"{system or 'something'} through {listener.command} (process {listener.pid}) on port {port}"
        return Live("stunnel" if system else "", system, None, directory, listener.peers, says)
    for path, text in facts.files.items():
        if path.startswith(tunnel_conf.CONF_DIRECTORY) and tunnel_conf.conf_port(text) == port:
            system = posixpath.basename(path)[: -len(".conf")]
            return Live("stunnel", system, None, directory, (), f"{system} through a tunnel that does not run", False)
    return Live("", None, None, directory, (), f"something through port {port}, where nothing listens", False)


def inspect(mount: Mount, facts: Facts) -> Live:
    """Find out what a mount is."""
    if mount.fstype not in ("nfs4", "nfs"):
        return Live("", None, None, mount.root, (), f"{mount.fstype} from {mount.source}")
    host, directory = split_source(mount.source)
    port = mount.option("port")
    if host in _LOOPBACK and port and port.isdigit():
        return _through_port(mount, int(port), directory, facts)
    match = _NAME.match(host)
    peer = mount.option("addr") or ""
    return Live("plain", match and match.group(1), None, directory, (peer,), f"NFS from {mount.source} ({peer})")


def made_by_our_line(mount: Mount, live: Live, facts: Facts) -> bool:
    """True when a line of ours in fstab describes this mount, which makes it ours to unmount."""
    for entry in facts.fstab.entries:
        mark = entry.file_system
        if entry.path != mount.path or mark is None:
            continue
        if entry.fstype == "efs":
            same = live.transport == "efs-utils" and live.file_system == mark
        else:
            same = entry.source == mount.source and entry.option("port") in (None, mount.option("port"))
        if same:
            return True
    return False


def _differs(item: Wanted, live: Live) -> str:
    """How a live mount of the right file system differs from the wanted one, apart from options; "" when it does not."""
    if live.transport != item.transport:
        return f"it is mounted over {live.transport}"
    if live.access_point != item.access_point:
        return f"its access point is {live.access_point or 'none'}"
    if not item.access_point and posixpath.normpath(live.directory) != item.directory:
        return f"its directory is {live.directory}"
    return ""


def _peer_fault(item: Wanted, live: Live, facts: Facts) -> Verdict | None:
    """Whether the mount is connected to the file system's addresses; None when it is."""
    addresses = facts.addresses.get(item.host, ())
    if not addresses:
        return Verdict("unproven", f"{item.host} does not resolve, so nothing proves that it is {item.file_system}")
    if not live.peers:
        return Verdict("unproven", "its tunnel has no connection to port 2049")
    wrong = [peer for peer in live.peers if peer not in addresses]
    if wrong:
        expected = f"{item.host} ({', '.join(addresses)})" if item.host not in addresses else item.host
        return Verdict("wrong_server", f"it is connected to {', '.join(wrong)}, not to {expected}")
    return None


def judge(item: Wanted, mount: Mount, facts: Facts) -> Verdict:
    """Whether a live mount is the wanted one."""
    live = inspect(mount, facts)
    system = live.file_system
    if system is None and live.transport == "plain":
        # mounted by address: it is the wanted one when the address is its mount target
        known = facts.addresses.get(item.host, ())
        system = item.file_system if set(live.peers) & set(known) else None
    if system != item.file_system:
        ours = made_by_our_line(mount, live, facts)
        return Verdict("wrong" if ours else "unmanaged", f"it is {live.says}")
    difference = _differs(item, live)
    if difference:
        return Verdict("wrong", difference)
    if not live.alive and item.transport == "efs-utils":
        return Verdict("wrong", "its proxy does not run, and no watchdog has started it again")
    drift = nfs.option_drift(nfs.nfs_options(item.options), mount)
    options = Verdict("wrong", f"its options differ: {', '.join(drift)}") if drift else None
    if not live.alive:
        return options or Verdict("tunnel_down", live.says)
    if item.transport == "efs-utils" and not live.peers:
        # the proxy was found by its state file; an idle one may have no connection
        return options or Verdict("right")
    fault = _peer_fault(item, live, facts)
    if fault:
        return fault
    root = facts.roots.get(item.path)
    if root and root.fault not in ("", "hung"):
        return Verdict("wrong", f"it answers with an error: {root.fault}")
    return options or Verdict("right")
