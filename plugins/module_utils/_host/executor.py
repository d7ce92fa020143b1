# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries out the steps of a plan, and rolls back when one of them fails: the base of every module's executor."""

from __future__ import annotations

import contextlib
import functools
import os
import stat
from collections.abc import Callable, Sequence

from . import process
from .files import read_text, write_text
from .steps import EnableUnit, ReloadSystemd, RemoveFile, RestartUnit, StartUnit, Step, WriteFile


class Failed(Exception):
    """A step that did not succeed, as one sentence."""


class Executor:
    """Does steps and remembers how to undo them; timeout is in seconds, for each command."""

    def __init__(self, timeout: float):
        self.timeout = timeout
        self.undo: list[Callable[[], object]] = []

    def run(self, steps: Sequence[Step]) -> None:
        """Do the steps in order; at the first failure roll back those before it and raise Failed."""
        try:
            for step in steps:
                self.do(step)
        except (Failed, OSError) as fault:
            said = str(fault) if isinstance(fault, Failed) else f"{step.text}: {fault}"
            raise Failed("; ".join([said, *self.roll_back()])) from fault

    def do(self, step: Step) -> None:
        """Do one step; a module's own executor handles further steps. Raises Failed or OSError."""
        if isinstance(step, WriteFile):
            self._write(step)
        elif isinstance(step, RemoveFile):
            self._remove(step)
        elif isinstance(step, ReloadSystemd):
            self._reload()
        elif isinstance(step, EnableUnit):
            self._enable(step)
        elif isinstance(step, StartUnit):
            self._start(step)
        elif isinstance(step, RestartUnit):
            self._restart(step)
        else:
            raise TypeError(f"{type(self).__module__} cannot do {type(step).__name__}")

    def roll_back(self) -> list[str]:
        """Undo what was done, the last first; one that fails does not keep the others from being undone.

        Returns a sentence for each that failed.
        """
        left = []
        for action in reversed(self.undo):
            try:
                action()
            except (Failed, OSError) as fault:
                left.append(f"something that was done could not be rolled back: {fault}")
        self.undo = []
        return left

    # files

    def _place(self, path: str) -> str:
        """Where a file is written that has this path."""
        return path

    def _make_parents(self, path: str) -> None:
        directory, missing = os.path.dirname(path), []
        while not os.path.isdir(directory):
            missing.append(directory)
            directory = os.path.dirname(directory)
        for made in reversed(missing):
            os.mkdir(made, 0o755)
            self.undo.append(functools.partial(_remove_empty, made))

    def _write(self, step: WriteFile) -> None:
        path = self._place(step.path)
        former = None
        if os.path.lexists(path):
            status = os.stat(path) if os.path.exists(path) else None
            kept = (stat.S_IMODE(status.st_mode), status.st_gid) if status and step.mode is not None else (None, 0)
            former = (read_text(path), *kept)
        self._make_parents(path)
        self.undo.append(lambda: write_text(path, *former) if former else os.unlink(path))
        write_text(path, step.contents, step.mode, step.group)

    def _remove(self, step: RemoveFile) -> None:
        before = read_text(step.path)
        self.undo.append(lambda: write_text(step.path, before))
        os.unlink(step.path)

    # units

    def _systemctl(self, *arguments: str) -> None:
        done = process.run(["systemctl", *arguments], self.timeout)
        if done.code != 0:
            raise Failed(f"systemctl {' '.join(arguments)} failed: {done.said()}")

    def _reload(self) -> None:
        done = process.run(["systemctl", "daemon-reload"], self.timeout)
        if done.code is None:
            raise Failed(
                f"systemctl daemon-reload did not end within {self.timeout:.0f} s: it reads every mountpoint of fstab, "
                "and one of them does not answer"
            )
        if done.code:
            raise Failed(f"systemctl daemon-reload failed: {done.said()}")

    def _enable(self, step: EnableUnit) -> None:
        self.undo.append(lambda: self._systemctl("disable", "--quiet", "--no-reload", step.unit))
        self._systemctl("enable", "--quiet", "--no-reload", step.unit)

    def _start(self, step: StartUnit) -> None:
        self.undo.append(lambda: self._systemctl("stop", step.unit))
        self._systemctl("start", step.unit)

    def _restart(self, step: RestartUnit) -> None:
        # undone once the files are: with the former configuration
        self.undo.insert(0, lambda: self._systemctl("restart", step.unit))
        self._systemctl("restart", step.unit)


def _remove_empty(directory: str) -> None:
    """Remove a directory that was made here, unless somebody uses it by now."""
    with contextlib.suppress(OSError):
        os.rmdir(directory)
