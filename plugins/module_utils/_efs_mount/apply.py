# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries out the steps of efs_mount's plan."""

from __future__ import annotations

import os
import time

from .._host import executor, files, process, systemd
from .._host.executor import Failed
from .._host.steps import Step
from . import collect, mountpoint, nfs, preflight, units

_BUSY = 10.0  # seconds that a mount may be in use: a probe or a request ends within that, a process that stays does not
_LISTEN_DEADLINE = 10.0  # seconds until a started tunnel must listen


def _holders(path: str) -> list[str]:
    """Processes that use a mount, found without touching it."""
    found = []
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
                found.append(f"{files.read_text(f'/proc/{pid}/comm').strip()} ({pid})")
                break
    return found


class Executor(executor.Executor):
    """Does the steps of efs_mount's plan."""

    def _put(self, path: str, text: str) -> None:
        # fstab may be a link to where the administrator keeps it
        super()._put(os.path.realpath(path) if path == units.FSTAB else path, text)

    # units

    def _stop(self, step: Step) -> None:
        self.undo.append(lambda: self._revive(step.target))
        self._systemctl("disable", "--quiet", "--no-reload", "--now", step.target)

    def _revive(self, unit: str) -> None:
        self._systemctl("daemon-reload")
        if units.tunnel_file_system(unit):
            self._systemctl("enable", "--quiet", "--now", unit)
        else:
            self._systemctl("enable", "--quiet", unit)

    def _listening(self, step: Step) -> None:
        until = time.monotonic() + _LISTEN_DEADLINE
        while time.monotonic() < until:
            listener = collect.listeners().get(step.value)
            if listener and listener.unit == step.target:
                return
            time.sleep(0.2)
        said = systemd.last_words(step.target)
        raise Failed(f"{step.target} does not listen on port {step.value} after {_LISTEN_DEADLINE:.0f} s: {said}")

    def _start(self, step: Step) -> None:
        self.undo.append(lambda: self._systemctl("stop", step.target))
        self._systemctl("start", step.target)
        self._listening(step)

    def _restart(self, step: Step) -> None:
        # taken back once the files are: with the former configuration
        self.undo.insert(0, lambda: self._systemctl("restart", step.target))
        self._systemctl("restart", step.target)
        self._listening(step)

    # mounts

    def _at(self, path: str):
        return next((mount for mount in reversed(collect.mount_table()) if mount.path == path), None)

    def _unmount(self, step: Step) -> None:
        path = step.target
        until = time.monotonic() + _BUSY
        while self._at(path):  # whatever was stacked there
            # no look at the path itself: its server may be gone
            done = process.run(["umount", "--no-canonicalize", path], self.deadline)
            if done.code is None:
                raise Failed(f"unmounting {path} did not end within {self.deadline:.0f} s: its server does not answer")
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
        process.run(["mount", path], self.deadline)
        self._set_read_ahead(path, nfs.READ_AHEAD_KB)

    def _mount(self, step: Step) -> None:
        item = step.value
        self.undo.append(lambda: process.run(["umount", "--no-canonicalize", item.path], self.deadline))
        done = process.run(["mount", item.path], self.deadline)
        there = self._at(item.path)
        if done.code is None and not there:
            raise Failed(
                f"{item.where}: mounting {item.file_system} at {item.path} did not end within {self.deadline:.0f} s: "
                f"{done.said()}"
            )
        if done.code and not there:
            raise Failed(preflight.explain(item, done.said()))
        if not there:
            said = f" and said: {done.said()}" if done.error or done.out else ""
            raise Failed(
                f"{item.where}: mount ended with code 0{said}, but nothing is mounted at {item.path} (mount.efs does this "
                "when network.target is not active)"
            )

    def _read_ahead(self, step: Step) -> None:
        self._set_read_ahead(step.target, step.value)

    def _set_read_ahead(self, path: str, size: int) -> None:
        mount = self._at(path)
        if not mount:
            raise Failed(f"nothing is mounted at {path}, so its read-ahead cannot be set")
        with open(f"/sys/class/bdi/{mount.device}/read_ahead_kb", "w", encoding="ascii") as file:
            file.write(str(size))

    def _root(self, step: Step) -> None:
        answer = process.call(lambda: _set_root(step.target, step.value), self.deadline)
        if "error" in answer:
            hint = ": give the instance's role elasticfilesystem:ClientRootAccess" if answer.get("errno") == 1 else ""
            raise Failed(f"{step.text} failed ({answer['error']}){hint}")

    # mountpoints

    def _point(self, step: Step) -> None:
        if step.value == "shared":
            answer = process.call(lambda: _make_on_share(step.target), self.deadline)
            if "error" in answer:
                raise Failed(f"{step.text} failed: {answer['error']}")
            if answer["value"]["made"]:
                self.undo.append(lambda: process.call(lambda: os.rmdir(step.target), self.deadline))
            if answer["value"]["names"]:
                names = ", ".join(answer["value"]["names"])
                raise Failed(f"{step.target} holds files that the mount would hide ({names}): move them away")
            return
        mounts = collect.mount_table()
        made = not os.path.isdir(step.target)
        if made:
            self.undo.append(lambda: mountpoint.free(step.target, step.value))
        mountpoint.guard(step.target, mounts, step.value)

    def _unguard(self, step: Step) -> None:
        how = mountpoint.look(step.target, collect.mount_table()).how
        self.undo.append(lambda: mountpoint.guard(step.target, collect.mount_table(), how) and None)
        mountpoint.unguard(step.target, how)


def _set_root(path: str, wanted: dict) -> None:
    """Set owner, group and mode of a mounted root where they differ; -1 leaves one as it is."""
    about = os.stat(path)
    uid = -1 if wanted["owner"] in (None, about.st_uid) else wanted["owner"]
    gid = -1 if wanted["group"] in (None, about.st_gid) else wanted["group"]
    if (uid, gid) != (-1, -1):
        os.chown(path, uid, gid)
    if wanted["mode"] is not None and about.st_mode & 0o7777 != wanted["mode"]:
        os.chmod(path, wanted["mode"])


def _make_on_share(path: str) -> dict:
    """Make a mountpoint on a share where it is missing; returns whether it had to be made, and what lies in it."""
    made = not os.path.isdir(path)
    os.makedirs(path, mode=0o755, exist_ok=True)
    return {"made": made, "names": sorted(os.listdir(path))[:10]}
