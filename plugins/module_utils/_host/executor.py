# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries out the steps of a plan, and takes back what was done when one of them fails: what all modules share."""

from __future__ import annotations

import os

from . import files, process
from .steps import Step


class Failed(Exception):
    """A step that did not succeed, as one sentence."""


class Executor:
    """Does steps and remembers how to undo them; deadline is in seconds, for each command."""

    def __init__(self, deadline: float):
        self.deadline = deadline
        self.undo: list = []

    def run(self, steps: list[Step]) -> None:
        """Do the steps in order; at the first failure take back those before it and raise Failed."""
        try:
            for step in steps:
                getattr(self, f"_{step.kind}")(step)
        except (Failed, OSError) as fault:
            said = str(fault) if isinstance(fault, Failed) else f"{step.text}: {fault}"
            raise Failed("; ".join([said, *self.take_back()])) from fault

    def take_back(self) -> list[str]:
        """Undo what was done, the last first; one that fails does not keep the others from being undone.

        Returns a sentence for each that failed.
        """
        left = []
        for action in reversed(self.undo):
            try:
                action()
            except (Failed, OSError) as fault:
                left.append(f"something that was done could not be taken back: {fault}")
        self.undo = []
        return left

    def _systemctl(self, *arguments: str, deadline: float | None = None) -> None:
        done = process.run(["systemctl", *arguments], deadline or self.deadline)
        if done.code != 0:
            raise Failed(f"systemctl {' '.join(arguments)} failed: {done.said()}")

    # files

    def _put(self, path: str, text: str) -> None:
        files.write_text(path, text)

    def _write(self, step: Step) -> None:
        there = os.path.lexists(step.target)
        before = files.read_text(step.target) if os.path.exists(step.target) else ""
        folder = os.path.dirname(step.target)
        if not os.path.isdir(folder):
            os.makedirs(folder)
            self.undo.append(lambda: os.rmdir(folder))
        self.undo.append(lambda: self._put(step.target, before) if there else os.unlink(step.target))
        self._put(step.target, step.value)

    def _remove(self, step: Step) -> None:
        before = files.read_text(step.target)
        self.undo.append(lambda: self._put(step.target, before))
        os.unlink(step.target)

    # units

    def _reload(self, step: Step) -> None:
        done = process.run(["systemctl", "daemon-reload"], self.deadline)
        if done.code is None:
            raise Failed(
                f"systemd did not read its units again within {self.deadline:.0f} s: it looks at every mountpoint of fstab, "
                "and one of them does not answer"
            )
        if done.code:
            raise Failed(f"systemctl daemon-reload failed: {done.said()}")

    def _enable(self, step: Step) -> None:
        self.undo.append(lambda: self._systemctl("disable", "--quiet", "--no-reload", step.target))
        self._systemctl("enable", "--quiet", "--no-reload", step.target)
