# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries out the steps of the module webapp's plan."""

from __future__ import annotations

import compileall
import contextlib
import grp
import os
import shutil
import time
from typing import Any

from .._host import executor, process, systemd
from .._host.executor import Failed
from .._host.files import read_text, write_text
from .._host.steps import StartUnit, Step
from . import collect, health
from .plan import app_unit, ending, environment_text
from .steps import (
    CheckSite,
    CreateGroup,
    CreateUser,
    DisableUnit,
    EndUnit,
    ReloadUnit,
    RemoveRelease,
    RetireRelease,
    StartRelease,
    SwitchRelease,
    UnpackRelease,
)
from .unpack import unpack

_GIVE_UP = 4  # starts that failed before a release counts as broken
# seconds: between the switch and the end of the old release, so that requests already accepted are served; and for which a unit must
# keep its process
_SETTLE = 2.0
_RUN_UNITS = "/run/systemd/system"  # units that end with the next boot at the latest


class Executor(executor.Executor):
    """Does the steps of the module webapp's plan."""

    def __init__(self, timeout: float, given: dict[str, Any]):
        super().__init__(timeout)
        self.archive = given["archive"]
        self.environment = given["environment"]
        self.health = given["health_path"]
        self.start_timeout = given["start_timeout"]
        self.port = given["port"]

    def do(self, step: Step) -> None:
        """Do one step. Raises Failed or OSError."""
        if isinstance(step, CreateGroup):
            self._create_group(step)
        elif isinstance(step, CreateUser):
            self._create_user(step)
        elif isinstance(step, UnpackRelease):
            self._unpack(step)
        elif isinstance(step, StartRelease):
            self._start_release(step)
        elif isinstance(step, DisableUnit):
            self._disable(step)
        elif isinstance(step, SwitchRelease):
            self._switch(step)
        elif isinstance(step, ReloadUnit):
            self._reload_unit(step)
        elif isinstance(step, CheckSite):
            self._check_site(step)
        elif isinstance(step, RetireRelease):
            self._retire(step)
        elif isinstance(step, EndUnit):
            self._end(step)
        elif isinstance(step, RemoveRelease):
            shutil.rmtree(step.path)
        else:
            super().do(step)

    def _command(self, step: Step, *argv: str) -> None:
        done = process.run(list(argv), self.timeout)
        if done.code != 0:
            raise Failed(f"{step.text} failed: {done.said()}")

    def _create_group(self, step: CreateGroup) -> None:
        self.undo.append(lambda: self._drop_group(step))
        self._command(step, "groupadd", "--system", "--gid", str(step.account.gid), step.account.name)

    def _drop_group(self, step: CreateGroup) -> None:
        # userdel has taken the user's own group along
        if step.account.name in {group.gr_name for group in grp.getgrall()}:
            self._command(step, "groupdel", step.account.name)

    def _create_user(self, step: CreateUser) -> None:
        self.undo.append(lambda: self._command(step, "userdel", step.account.name))
        numbers = ["--uid", str(step.account.uid), "--gid", str(step.account.gid)]
        home = ["--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"]
        self._command(step, "useradd", "--system", *numbers, *home, step.account.name)

    def _unpack(self, step: UnpackRelease) -> None:
        part = os.path.join(os.path.dirname(step.path), f".part-{os.path.basename(step.path)}")
        shutil.rmtree(part, ignore_errors=True)
        self.undo.append(lambda: shutil.rmtree(part, ignore_errors=True))
        os.makedirs(part, mode=0o755)
        unpack(self.archive, os.path.join(part, "app"))
        # what a Python app would compile at each start, as its user cannot keep it
        compileall.compile_dir(os.path.join(part, "app"), quiet=2, force=True)
        write_text(os.path.join(part, "environment"), environment_text(self.environment), 0o600)
        os.symlink(f"/run/webapp/{step.release}.sock", os.path.join(part, "app.sock"))
        os.rename(part, step.path)
        self.undo.append(lambda: shutil.rmtree(step.path, ignore_errors=True))

    def _await_end(self, unit: str) -> None:
        """Wait for a unit that still finishes its last requests: it cannot be started before."""
        until = time.monotonic() + self.start_timeout
        argv = ["systemctl", "show", "--property=ActiveState", "--value", unit]
        while process.run(argv, self.timeout).out == "deactivating":
            if time.monotonic() > until:
                raise Failed(
                    f"{unit} still finishes its last requests after {self.start_timeout} s: run again when "
                    f"`systemctl status {unit}` says that it is inactive"
                )
            time.sleep(0.5)

    def _start_release(self, step: StartRelease) -> None:
        unit, socket_unit = step.unit, app_unit(step.release, "socket")
        self._await_end(unit)
        self.undo.append(lambda: self._systemctl("stop", unit, socket_unit))
        self._systemctl("start", unit)
        until = time.monotonic() + self.start_timeout
        said = ""
        while time.monotonic() < until:
            said = health.check(f"/run/webapp/{step.release}.sock", self.health)
            if not said:
                return
            shown = process.run(["systemctl", "show", "--property=NRestarts", "--value", unit], self.timeout).out
            if shown.isdigit() and int(shown) >= _GIVE_UP:
                break
            time.sleep(0.5)
        raise Failed(
            f"release {step.release} does not answer GET {self.health} ({said}); its last log lines: {systemd.last_log_lines(unit)}; the "
            "former release still serves"
        )

    def _disable(self, step: DisableUnit) -> None:
        self.undo.append(lambda: self._systemctl("enable", "--quiet", "--no-reload", step.unit))
        self._systemctl("disable", "--quiet", "--no-reload", step.unit)

    def _switch(self, step: SwitchRelease) -> None:
        before = collect.current(step.root)
        self.undo.append(lambda: self._link_current(step.root, before))
        self._link_current(step.root, step.release)

    @staticmethod
    def _link_current(root: str, release: str | None) -> None:
        """Point the link `current`, through which nginx finds the app's socket, to a release, atomically."""
        link, part = os.path.join(root, "current"), os.path.join(root, ".current.part")
        if release is None:
            os.unlink(link)
            return
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        os.symlink(f"releases/{release}", part)
        os.rename(part, link)

    def _start(self, step: StartUnit) -> None:
        self._await_end(step.unit)
        super()._start(step)

    def _reload_unit(self, step: ReloadUnit) -> None:
        done = process.run(["systemctl", "reload", step.unit], self.timeout)
        if done.code:  # it refused, and the former configuration stays in use
            raise Failed(f"{step.text} failed: {done.said()}; its last log lines: {systemd.last_log_lines(step.unit)}")
        self.undo.insert(0, lambda: self._systemctl("reload", step.unit))
        if done.code is None:
            raise Failed(f"{step.text} failed: {done.said()}")

    def _reload(self) -> None:
        self.undo.insert(0, lambda: self._systemctl("daemon-reload"))
        super()._reload()

    def _check_site(self, step: CheckSite) -> None:
        until = time.monotonic() + 15
        said = health.check(self.port, self.health)
        while said and time.monotonic() < until:
            time.sleep(0.3)
            said = health.check(self.port, self.health)
        if said:
            front = systemd.last_log_lines("webapp-front.service")
            raise Failed(
                f"the site does not answer GET {self.health} on port {self.port} ({said}); the last log lines of "
                f"webapp-front.service: {front}"
            )
        self._stay_up(step.units)
        # the new release serves, and the former one is about to end: what fails from here on rolls none of that back
        self.undo = []

    def _processes(self, units: tuple[str, ...]) -> dict[str, str]:
        """The state and the main process of units."""
        done = process.run(["systemctl", "show", "--property=ActiveState,MainPID", *units], self.timeout)
        return dict(zip(units, done.out.split("\n\n")))

    def _stay_up(self, units: tuple[str, ...]) -> None:
        """A unit that was started may end at once and be started again for ever: it must keep its process for a while."""
        before = self._processes(units)
        time.sleep(_SETTLE)
        after = self._processes(units)
        for unit in units:
            if "ActiveState=active" not in after.get(unit, "") or after[unit] != before.get(unit):
                raise Failed(f"{unit} does not stay up; its last log lines: {systemd.last_log_lines(unit)}")

    def _retire(self, step: RetireRelease) -> None:
        time.sleep(_SETTLE)
        units = (app_unit(step.release, "socket"), step.unit)
        self._systemctl("disable", "--quiet", "--no-reload", step.unit)
        self._systemctl("stop", "--no-block", *units)

    def _end(self, step: EndUnit) -> None:
        """Stop a unit for good. One that has time to drain runs on from a file in /run, which the unit itself removes."""
        unit, drain = step.unit, step.drain
        path, place = (os.path.join(directory, unit) for directory in (systemd.UNIT_DIRECTORY, _RUN_UNITS))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(systemd.wants_directory("multi-user.target"), unit))
        if not drain:
            self._stop(unit)
        elif os.path.exists(path) and self._is_up(unit):
            os.makedirs(_RUN_UNITS, mode=0o755, exist_ok=True)
            write_text(place, ending(read_text(path), place, drain), 0o644)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self._systemctl("daemon-reload")
        if drain:
            self._stop(unit, "--no-block")

    def _is_up(self, unit: str) -> bool:
        shown = process.run(["systemctl", "show", "--property=ActiveState", "--value", unit], self.timeout).out
        return shown not in ("inactive", "failed")

    def _stop(self, unit: str, *how: str) -> None:
        if self._is_up(unit):  # systemd does not know one that has no file and does not run
            self._systemctl("stop", *how, unit)
