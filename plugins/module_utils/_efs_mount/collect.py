# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the facts of this host. Changes nothing, and gives everything that may hang a timeout."""

from __future__ import annotations

import functools
import glob
import grp
import ipaddress
import json
import os
import pwd
import shutil
import socket
import stat

from .._host import process, systemd
from .._host.files import read_text
from . import fstab, mountpoint, nfs, read_ahead, tables, tunnel_conf
from .facts import Facts, Listener, Mountpoint, Root, State
from .spec import Wanted

_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
_STATES = ("/var/run/efs", "/run/efs")
# the programs that each transport needs
_PROGRAMS = {"plain": ("mount.nfs4",), "stunnel": ("mount.nfs4", "stunnel"), "efs-utils": ("mount.efs",)}
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def mount_table() -> list[tables.Mount]:
    """The kernel's mount table."""
    return tables.mounts(read_text("/proc/self/mountinfo"))


def _our_files() -> dict[str, str]:
    patterns = (
        f"{tunnel_conf.CONF_DIRECTORY}/fs-*.conf",
        f"{systemd.UNIT_DIRECTORY}/samefiles-tunnel-*.service",
        f"{systemd.UNIT_DIRECTORY}/samefiles-mount-*.service",
    )
    return {path: read_text(path) for pattern in patterns for path in glob.glob(pattern)}


def _enabled() -> set[str]:
    return {name for name in systemd.enabled("multi-user.target") if name.startswith("samefiles-")}


def _all_sockets() -> list[tables.Socket]:
    return tables.sockets(read_text("/proc/net/tcp")) + tables.sockets(read_text("/proc/net/tcp6"))


def _descriptors(pid: str) -> set[int]:
    """The socket inodes that a process holds."""
    inodes = set()
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                target = os.readlink(f"/proc/{pid}/fd/{name}")
            except OSError:
                continue
            if target.startswith("socket:["):
                inodes.add(int(target[len("socket:[") : -1]))
    except OSError:
        pass  # it ended meanwhile
    return inodes


def listeners() -> dict[int, Listener]:
    """Who listens on the ports of tunnels and proxies, and where they are connected to."""
    table = _all_sockets()
    ours = range(tunnel_conf.FIRST_PORT, tunnel_conf.FIRST_PORT + tunnel_conf.PORTS)
    helper = range(20049, 21050)  # mount.efs's own range
    local = ("127.0.0.1", "0.0.0.0", "::", "::1")
    listening = {
        row.inode: row.local_port
        for row in table
        if row.state == "LISTEN" and row.local in local and (row.local_port in ours or row.local_port in helper)
    }
    result: dict[int, Listener] = {}
    if not listening:
        return result
    peers = {row.inode: row.remote for row in table if row.state == "ESTABLISHED" and row.remote_port == nfs.PORT}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        inodes = _descriptors(pid)
        for inode in inodes & set(listening):
            command = read_text(f"/proc/{pid}/comm").strip()
            unit = tables.unit_of(read_text(f"/proc/{pid}/cgroup"))
            addresses = sorted({peers[other] for other in inodes & set(peers)})
            result[listening[inode]] = Listener(int(pid), command, unit, tuple(addresses))
    return result


def _states(ports: dict[int, Listener]) -> list[State]:
    """What mount.efs recorded, checked against the processes that run."""
    states = []
    for directory in _STATES[:1] if os.path.islink("/var/run") else _STATES:
        for path in glob.glob(f"{directory}/fs-*"):
            port = path.rpartition(".")[2]
            if not port.isdigit() or not os.path.isfile(path):
                continue
            try:
                record = json.loads(read_text(path))
                listener = ports.get(int(port))
                alive = listener is not None and listener.pid == record.get("pid")
                states.append(
                    State(
                        record.get("fsId") or os.path.basename(path).partition(".")[0],
                        record.get("accessPoint"),
                        record.get("mountpoint") or "",
                        int(port),
                        alive,
                        listener.peers if listener and alive else (),
                    )
                )
            except ValueError:
                continue  # half written, or not mount.efs's
    return states


def _mountpoints(items: list[Wanted], mounts: list[tables.Mount], timeout: float) -> dict[str, Mountpoint]:
    mountpoints, calls = {}, {}
    for item in items:
        on = mountpoint.home(item.path, mounts)
        if not mountpoint.is_remote(on):
            mountpoints[item.path] = mountpoint.inspect(item.path, mounts)
        elif any(mount.path == item.path for mount in mounts):
            mountpoints[item.path] = Mountpoint("shared", how="shared")
        else:
            calls[item.path] = functools.partial(_list, item.path)
    for path, answer in process.call_all(calls, timeout).items():
        # inside a mount that hangs, the problem is that mount; inside a healthy one a missing directory is made
        names = answer.get("value")
        mountpoints[path] = Mountpoint("shared", tuple(names or ()), guarded=names is not None, how="shared")
    return mountpoints


def _list(path: str) -> list[str]:
    return sorted(os.listdir(path))[:10]


def _root(path: str) -> list[int]:
    os.statvfs(path)  # asks the server; a stat alone may be answered from memory
    status = os.stat(path)
    return [status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)]


def _roots(paths: list[str], timeout: float) -> dict[str, Root]:
    roots = {}
    for path, answer in process.call_all({path: functools.partial(_root, path) for path in paths}, timeout).items():
        roots[path] = Root(*answer["value"]) if "value" in answer else Root(fault=answer["error"])
    return roots


def _resolve(host: str) -> list[str]:
    entries = socket.getaddrinfo(host, nfs.PORT, type=socket.SOCK_STREAM)
    return sorted({str(ipaddress.ip_address(str(entry[4][0]).partition("%")[0])) for entry in entries})


def resolve(hosts: set[str], timeout: float) -> dict[str, tuple[str, ...]]:
    """The addresses of hosts; none for a name that does not resolve within the timeout."""
    responses = process.call_all({host: functools.partial(_resolve, host) for host in sorted(hosts)}, timeout)
    return {host: tuple(response.get("value") or ()) for host, response in responses.items()}


def _ids(items: list[Wanted]) -> dict[str, int]:
    ids = {}
    for item in items:
        for database, name in (("user", item.owner), ("group", item.group)):
            if not name:
                continue
            try:
                number = pwd.getpwnam(name).pw_uid if database == "user" else grp.getgrnam(name).gr_gid
            except KeyError:
                if not name.isdigit():
                    continue
                number = int(name)
            ids[f"{database}:{name}"] = number
    return ids


def _missing(transports: set[str]) -> dict[str, str]:
    missing = {}
    for transport in transports:
        for program in _PROGRAMS[transport]:
            if not shutil.which(program, path=_PATH):
                missing[transport] = (
                    f"{program}, which transport {transport} needs, is not installed: apply the role efs_client first"
                )
    return missing


def read(items: list[Wanted], timeout: float) -> Facts:
    """All facts that the plan for these mounts depends on; at most three timeouts long."""
    mounts = mount_table()
    facts = Facts(fstab=fstab.Fstab(read_text(fstab.PATH)), mounts=mounts, files=_our_files(), enabled=_enabled())
    wanted = [item for item in items if item.state == "mounted"]
    live = {item.path: facts.at(item.path) for item in items}
    facts.addresses = resolve({item.host for item in wanted}, timeout)
    # before the connections are read: a mount that nobody used may have none
    facts.roots = _roots([path for path, mount in live.items() if mount and mount.fstype in ("nfs", "nfs4")], timeout)
    facts.listeners = listeners()
    facts.states = _states(facts.listeners)
    facts.mountpoints = _mountpoints(items, mounts, timeout)
    facts.read_ahead = {path: read_ahead.current(mount) for path, mount in live.items() if mount}
    facts.ids = _ids(items)
    facts.ca_file = next((path for path in _BUNDLES if os.path.exists(path)), _BUNDLES[0])
    facts.missing = _missing({item.transport for item in wanted})
    return facts
