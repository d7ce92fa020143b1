# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries out the steps of efs_mount's plan."""

from __future__ import annotations

import os
import time

from .._host import executor, files, process, systemd
from .._host.executor import Failed
from .._host.steps import Step, StopUnit
from . import collect, diagnosis, fstab, mountpoint, read_ahead, tunnel_unit
from .steps import (
    GuardMountpoint,
    MakeNestedMountpoint,
    Mount,
    OpenMountpoint,
    RestartTunnel,
    SetReadAhead,
    SetRoot,
    StartTunnel,
    Unmount,
)
from .tables import Mount as TableRow

_BUSY = 10.0  # seconds that a mount may be in use: a probe or a request ends within that, a process that stays does not
_LISTEN_TIMEOUT = 10.0  # seconds until a started tunnel must listen


def _holders(path: str) -> list[str]:
    """Processes that use a mount, found without touching it."""
    holders = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        links = [f"/proc/{pid}/cwd", f"/proc/{pid}/root"]
        try:
            links += [f"/proc/{pid}/fd/{name}" for name in os.listdir(f"/proc/{pid}/fd")]
        except OSError:
            continue
        for link in links:
            try:
                target = os.readlink(link)
            except OSError:
                continue
            if target == path or target.startswith(path + "/"):
                holders.append(f"{files.read_text(f'/proc/{pid}/comm').strip()} ({pid})")
                break
    return holders


class Executor(executor.Executor):
    """Does the steps of efs_mount's plan."""

    def do(self, step: Step) -> None:
        """Do one step. Raises Failed or OSError."""
        if isinstance(step, StopUnit):
            self._stop(step)
        elif isinstance(step, StartTunnel):
            self._start_tunnel(step)
        elif isinstance(step, RestartTunnel):
            self._restart_tunnel(step)
        elif isinstance(step, Unmount):
            self._unmount(step.path)
        elif isinstance(step, Mount):
            self._mount(step)
        elif isinstance(step, SetReadAhead):
            self._set_read_ahead(step.path, step.kib)
        elif isinstance(step, SetRoot):
            self._root(step)
        elif isinstance(step, GuardMountpoint):
            self._guard(step)
        elif isinstance(step, MakeNestedMountpoint):
            self._nest(step)
        elif isinstance(step, OpenMountpoint):
            self._open(step)
        else:
            super().do(step)

    def _place(self, path: str) -> str:
        # fstab may be a link to where the administrator keeps it
        return os.path.realpath(path) if path == fstab.PATH else path

    # units

    def _stop(self, step: StopUnit) -> None:
        self.undo.append(lambda: self._restore_unit(step.unit))
        self._systemctl("disable", "--quiet", "--no-reload", "--now", step.unit)

    def _restore_unit(self, unit: str) -> None:
        self._systemctl("daemon-reload")
        if tunnel_unit.file_system_of(unit):
            self._systemctl("enable", "--quiet", "--now", unit)
        else:
            self._systemctl("enable", "--quiet", unit)

    @staticmethod
    def _await_listening(unit: str, port: int) -> None:
        until = time.monotonic() + _LISTEN_TIMEOUT
        while time.monotonic() < until:
            listener = collect.listeners().get(port)
            if listener and listener.unit == unit:
                return
            time.sleep(0.2)
        said = systemd.last_log_lines(unit)
        raise Failed(f"{unit} does not listen on port {port} after {_LISTEN_TIMEOUT:.0f} s: {said}")

    def _start_tunnel(self, step: StartTunnel) -> None:
        self.undo.append(lambda: self._systemctl("stop", step.unit))
        self._systemctl("start", step.unit)
        self._await_listening(step.unit, step.port)

    def _restart_tunnel(self, step: RestartTunnel) -> None:
        # undone once the files are: with the former configuration
        self.undo.insert(0, lambda: self._systemctl("restart", step.unit))
        self._systemctl("restart", step.unit)
        self._await_listening(step.unit, step.port)

    # mounts

    @staticmethod
    def _at(path: str) -> TableRow | None:
        return next((mount for mount in reversed(collect.mount_table()) if mount.path == path), None)

    def _unmount(self, path: str) -> None:
        until = time.monotonic() + _BUSY
        while self._at(path):  # whatever was stacked there
            # the path itself is not read: its server may be gone
            done = process.run(["umount", "--no-canonicalize", path], self.timeout)
            if done.code is None:
                raise Failed(f"unmounting {path} did not end within {self.timeout:.0f} s: its server does not answer")
            if done.code == 0 or not self._at(path):
                continue
            if time.monotonic() > until:
                users = _holders(path)
                who = f", used by {', '.join(users[:5])}: stop them first" if users else ""
                raise Failed(f"{path} cannot be unmounted: {done.said()}{who}")
            time.sleep(0.3)
        self.undo.append(lambda: self._mount_again(path))

    def _mount_again(self, path: str) -> None:
        self._systemctl("daemon-reload")
        process.run(["mount", path], self.timeout)
        self._set_read_ahead(path, read_ahead.DEFAULT_KIB)

    def _mount(self, step: Mount) -> None:
        item = step.item
        self.undo.append(lambda: process.run(["umount", "--no-canonicalize", item.path], self.timeout))
        done = process.run(["mount", item.path], self.timeout)
        mounted = self._at(item.path)
        if done.code is None and not mounted:
            raise Failed(
                f"{item.label}: mounting {item.file_system} at {item.path} did not end within {self.timeout:.0f} s: "
                f"{done.said()}"
            )
        if done.code and not mounted:
            raise Failed(diagnosis.explain(item, done.said()))
        if not mounted:
            said = f" and said: {done.said()}" if done.error or done.out else ""
            raise Failed(
                f"{item.label}: mount ended with code 0{said}, but nothing is mounted at {item.path} (mount.efs does this "
                "when network.target is not active)"
            )

    def _set_read_ahead(self, path: str, kib: int) -> None:
        mount = self._at(path)
        if not mount:
            raise Failed(f"nothing is mounted at {path}, so its read-ahead cannot be set")
        read_ahead.write(mount, kib)

    def _root(self, step: SetRoot) -> None:
        answer = process.call(lambda: _set_root(step), self.timeout)
        if "error" in answer:
            hint = ": give the instance's role elasticfilesystem:ClientRootAccess" if answer.get("errno") == 1 else ""
            raise Failed(f"{step.text} failed ({answer['error']}){hint}")

    # mountpoints

    def _nest(self, step: MakeNestedMountpoint) -> None:
        answer = process.call(lambda: _make_nested(step.path), self.timeout)
        if "error" in answer:
            raise Failed(f"{step.text} failed: {answer['error']}")
        if answer["value"]["made"]:
            self.undo.append(lambda: process.call(lambda: os.rmdir(step.path), self.timeout))
        if answer["value"]["names"]:
            names = ", ".join(answer["value"]["names"])
            raise Failed(f"{step.path} holds files that the mount would hide ({names}): move them away")

    def _guard(self, step: GuardMountpoint) -> None:
        mounts = collect.mount_table()
        if not os.path.isdir(step.path):
            self.undo.append(lambda: mountpoint.free(step.path, step.how))
        mountpoint.guard(step.path, mounts, step.how)

    def _open(self, step: OpenMountpoint) -> None:
        how = mountpoint.inspect(step.path, collect.mount_table()).how
        self.undo.append(lambda: mountpoint.guard(step.path, collect.mount_table(), how))
        mountpoint.unguard(step.path, how)


def _set_root(step: SetRoot) -> None:
    """Set owner, group and mode of a mounted root where they differ; -1 leaves one as it is."""
    status = os.stat(step.path)
    uid = -1 if step.owner in (None, status.st_uid) else step.owner
    gid = -1 if step.group in (None, status.st_gid) else step.group
    if (uid, gid) != (-1, -1):
        os.chown(step.path, uid, gid)
    if step.mode is not None and status.st_mode & 0o7777 != step.mode:
        os.chmod(step.path, step.mode)


def _make_nested(path: str) -> dict:
    """Make a mountpoint inside another mount where it is missing; returns whether it had to be made, and what lies in it."""
    made = not os.path.isdir(path)
    os.makedirs(path, mode=0o755, exist_ok=True)
    return {"made": made, "names": sorted(os.listdir(path))[:10]}
