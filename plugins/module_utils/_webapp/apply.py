# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the facts that the module webapp decides on, and carries out its steps."""

from __future__ import annotations

import compileall
import contextlib
import grp
import os
import pwd
import shutil
import stat
import tarfile
import time

from .._host import executor, process, systemd
from .._host.executor import Failed
from .._host.files import read_text, write_text
from .._host.steps import Step
from . import health, identity, plan

_GIVE_UP = 4  # starts that failed before a release counts as broken
# seconds: between the flip and the end of the old release, so that requests on their way get in; and for which a unit must
# keep its process
_SETTLE = 2.0
_RUN_UNITS = "/run/systemd/system"  # units that end with the next boot at the latest


# facts


def _enabled() -> set[str]:
    return systemd.enabled("multi-user.target")


def _states(units: tuple[str, ...], deadline: float) -> dict[str, str]:
    argv = ["systemctl", "list-units", "--all", "--plain", "--no-legend", "webapp*", *units]
    done = process.run(argv, deadline)
    rows = [line.split() for line in done.out.splitlines()]
    return {row[0]: row[2] for row in rows if len(row) > 3}


def _releases(root: str) -> list[str]:
    folder = os.path.join(root, "releases")
    try:
        names = [name for name in os.listdir(folder) if identity.RELEASE.fullmatch(name)]
    except FileNotFoundError:
        return []
    return sorted(names, key=lambda name: os.stat(os.path.join(folder, name)).st_mtime_ns)


def _current(root: str) -> str | None:
    try:
        name = os.path.basename(os.readlink(os.path.join(root, "current")))
    except OSError:
        return None
    return name if identity.RELEASE.fullmatch(name) else None


def read(wanted: plan.Wanted, deadline: float) -> plan.Facts:
    """All facts that the plan depends on; changes nothing."""
    files = {}
    for file in wanted.files:
        with contextlib.suppress(FileNotFoundError):
            files[file.path] = (read_text(file.path), stat.S_IMODE(os.stat(file.path).st_mode))
    return plan.Facts(
        releases=_releases(wanted.root),
        current=_current(wanted.root),
        files=files,
        leftovers={item.path for item in wanted.absent if os.path.lexists(item.path)},
        enabled=_enabled(),
        states=_states(wanted.units + wanted.unneeded, deadline),
        users={user.pw_name: (user.pw_uid, user.pw_gid) for user in pwd.getpwall()},
        groups={group.gr_name: group.gr_gid for group in grp.getgrall()},
    )


# unpacking


def _member(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """A member of the archive as it may be unpacked: inside its folder, owned by root, written by root alone."""
    parts = member.name.split("/")
    if member.name.startswith("/") or ".." in parts:
        raise Failed(f"the archive holds {member.name!r}, which lies outside it: pack it from inside its folder")
    inside = os.path.normpath(os.path.join(os.path.dirname(member.name), member.linkname or "."))
    if member.issym() and (member.linkname.startswith("/") or inside.startswith("..")):
        raise Failed(f"the archive holds the link {member.name!r} to {member.linkname!r}, outside it: remove the link")
    if not (member.isfile() or member.isdir() or member.issym()):
        raise Failed(f"the archive holds {member.name!r}, which is neither file nor folder nor link: remove it")
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    return member


def unpack(archive: str, folder: str) -> None:
    """Unpack a tar archive into a new folder."""
    try:
        with tarfile.open(archive) as tar:
            members = [_member(member) for member in tar.getmembers() if member.name not in (".", "")]
            os.makedirs(folder, mode=0o755)
            for member in members:
                tar.extract(member, folder, set_attrs=True, numeric_owner=True)
    except (tarfile.TarError, EOFError) as fault:
        raise Failed(f"the archive cannot be read ({fault}): make it anew with tar") from fault


class Executor(executor.Executor):
    """Does the steps of the module webapp's plan."""

    def __init__(self, deadline: float, given: dict):
        super().__init__(deadline)
        self.archive = given["archive"]
        self.environment = given["environment"]
        self.health = given["health"]
        self.start_deadline = given["start_deadline"]
        self.port = given["port"]

    def _command(self, step: Step, *argv: str) -> None:
        done = process.run(list(argv), self.deadline)
        if done.code != 0:
            raise Failed(f"{step.text} failed: {done.said()}")

    def _group(self, step: Step) -> None:
        self.undo.append(lambda: self._drop_group(step))
        self._command(step, "groupadd", "--system", "--gid", str(step.value.gid), step.target)

    def _drop_group(self, step: Step) -> None:
        # userdel has taken the user's own group along
        if step.target in {group.gr_name for group in grp.getgrall()}:
            self._command(step, "groupdel", step.target)

    def _user(self, step: Step) -> None:
        self.undo.append(lambda: self._command(step, "userdel", step.target))
        numbers = ["--uid", str(step.value.uid), "--gid", str(step.value.gid)]
        home = ["--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"]
        self._command(step, "useradd", "--system", *numbers, *home, step.target)

    def _unpack(self, step: Step) -> None:
        part = os.path.join(os.path.dirname(step.target), f".part-{os.path.basename(step.target)}")
        shutil.rmtree(part, ignore_errors=True)
        self.undo.append(lambda: shutil.rmtree(part, ignore_errors=True))
        os.makedirs(part, mode=0o755)
        unpack(self.archive, os.path.join(part, "app"))
        # what a Python app would compile at each start, as its user cannot keep it
        compileall.compile_dir(os.path.join(part, "app"), quiet=2, force=True)
        write_text(os.path.join(part, "environment"), plan.environment_text(self.environment), 0o600)
        os.symlink(f"/run/webapp/{step.value.release}.sock", os.path.join(part, "app.sock"))
        os.rename(part, step.target)
        self.undo.append(lambda: shutil.rmtree(step.target, ignore_errors=True))

    def _write(self, step: Step) -> None:
        file = step.value
        before = None
        if os.path.exists(file.path):
            about = os.stat(file.path)
            before = (read_text(file.path), stat.S_IMODE(about.st_mode), about.st_gid)
        os.makedirs(os.path.dirname(file.path), mode=0o755, exist_ok=True)
        self.undo.append(lambda: write_text(file.path, *before) if before else os.unlink(file.path))
        write_text(file.path, file.text, file.mode, file.group)

    def _await_end(self, unit: str) -> None:
        """A unit that still ends its last requests cannot be started again before it has."""
        until = time.monotonic() + self.start_deadline
        argv = ["systemctl", "show", "--property=ActiveState", "--value", unit]
        while process.run(argv, self.deadline).out == "deactivating":
            if time.monotonic() > until:
                raise Failed(
                    f"{unit} still ends the last requests of its former time, after {self.start_deadline} s: run again when "
                    f"`systemctl status {unit}` says that it is inactive"
                )
            time.sleep(0.5)

    def _start_app(self, step: Step) -> None:
        unit, socket_unit = step.target, plan.app_unit(step.value, "socket")
        self._await_end(unit)
        self.undo.append(lambda: self._systemctl("stop", unit, socket_unit))
        self._systemctl("start", unit)
        until = time.monotonic() + self.start_deadline
        said = ""
        while time.monotonic() < until:
            said = health.answers(f"/run/webapp/{step.value}.sock", self.health)
            if not said:
                return
            shown = process.run(["systemctl", "show", "--property=NRestarts", "--value", unit], self.deadline).out
            if shown.isdigit() and int(shown) >= _GIVE_UP:
                break
            time.sleep(0.5)
        raise Failed(
            f"release {step.value} does not answer GET {self.health} ({said}); its last words: {systemd.last_words(unit)}; what "
            "served before goes on"
        )

    def _disable(self, step: Step) -> None:
        self.undo.append(lambda: self._systemctl("enable", "--quiet", "--no-reload", step.target))
        self._systemctl("disable", "--quiet", "--no-reload", step.target)

    def _flip(self, step: Step) -> None:
        before = _current(step.target)
        self.undo.append(lambda: self._lead(step.target, before))
        self._lead(step.target, step.value)

    @staticmethod
    def _lead(root: str, release: str | None) -> None:
        """Make the link `current`, through which nginx finds the app's socket, point to a release, at one stroke."""
        link, part = os.path.join(root, "current"), os.path.join(root, ".current.part")
        if release is None:
            os.unlink(link)
            return
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        os.symlink(f"releases/{release}", part)
        os.rename(part, link)

    def _start(self, step: Step) -> None:
        self._await_end(step.target)
        self.undo.append(lambda: self._systemctl("stop", step.target))
        self._systemctl("start", step.target)

    def _restart(self, step: Step) -> None:
        # taken back once the files are: with the former configuration
        self.undo.insert(0, lambda: self._systemctl("restart", step.target))
        self._systemctl("restart", step.target)

    def _tell(self, step: Step) -> None:
        done = process.run(["systemctl", "reload", step.target], self.deadline)
        if done.code:  # it refused, and the former configuration goes on
            raise Failed(f"{step.text} failed: {done.said()}; its last words: {systemd.last_words(step.target)}")
        self.undo.insert(0, lambda: self._systemctl("reload", step.target))
        if done.code is None:
            raise Failed(f"{step.text} failed: {done.said()}")

    def _reload(self, step: Step) -> None:
        self.undo.insert(0, lambda: self._systemctl("daemon-reload"))
        super()._reload(step)

    def _answers(self, step: Step) -> None:
        until = time.monotonic() + 15
        said = health.answers(self.port, self.health)
        while said and time.monotonic() < until:
            time.sleep(0.3)
            said = health.answers(self.port, self.health)
        if said:
            front = systemd.last_words("webapp-front.service")
            raise Failed(
                f"the site does not answer GET {self.health} on port {self.port} ({said}); the last words of "
                f"webapp-front.service: {front}"
            )
        self._stay_up(step.value)
        # the new release serves, and the former one is about to end: what fails from here on takes nothing of that back
        self.undo = []

    def _processes(self, units: tuple[str, ...]) -> dict[str, str]:
        """The state and the main process of units."""
        done = process.run(["systemctl", "show", "--property=ActiveState,MainPID", *units], self.deadline)
        return dict(zip(units, done.out.split("\n\n")))

    def _stay_up(self, units: tuple[str, ...]) -> None:
        """A unit that was started may end at once and be started again for ever: it must keep its process for a while."""
        before = self._processes(units)
        time.sleep(_SETTLE)
        after = self._processes(units)
        for unit in units:
            if "ActiveState=active" not in after.get(unit, "") or after[unit] != before.get(unit):
                raise Failed(f"{unit} does not stay up; its last words: {systemd.last_words(unit)}")

    def _retire(self, step: Step) -> None:
        time.sleep(_SETTLE)
        units = (plan.app_unit(step.value, "socket"), step.target)
        self._systemctl("disable", "--quiet", "--no-reload", step.target)
        self._systemctl("stop", "--no-block", *units)

    def _end(self, step: Step) -> None:
        """Stop a unit for good. One that may take its time goes on from a file in /run, which the unit itself removes."""
        unit, drain = step.target, step.value
        path, place = (os.path.join(folder, unit) for folder in (systemd.UNIT_FOLDER, _RUN_UNITS))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(systemd.wants_folder("multi-user.target"), unit))
        if not drain:
            self._stop(unit)
        elif os.path.exists(path) and self._is_up(unit):
            os.makedirs(_RUN_UNITS, mode=0o755, exist_ok=True)
            write_text(place, plan.ending(read_text(path), place, drain), 0o644)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self._systemctl("daemon-reload")
        if drain:
            self._stop(unit, "--no-block")

    def _is_up(self, unit: str) -> bool:
        shown = process.run(["systemctl", "show", "--property=ActiveState", "--value", unit], self.deadline).out
        return shown not in ("inactive", "failed")

    def _stop(self, unit: str, *how: str) -> None:
        if self._is_up(unit):  # systemd does not know one that has no file and does not run
            self._systemctl("stop", *how, unit)

    def _prune(self, step: Step) -> None:
        shutil.rmtree(step.target)
