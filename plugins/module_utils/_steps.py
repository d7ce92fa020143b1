# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries out the steps of a plan, and takes back what was done when one of them fails: what all modules share."""

from __future__ import annotations

import os

from ansible_collections.samefiles.aws.plugins.module_utils import _host, _process
from ansible_collections.samefiles.aws.plugins.module_utils._step import Step


class Failed(Exception):
    """A step that did not succeed, as one sentence."""


class Executor:
    """Does steps and remembers how to undo them.

    move(source, target) puts a finished temporary file in its place: AnsibleModule.atomic_move, which keeps owner, mode and
    SELinux label of what was there, or os.replace, which brings its own. deadline is in seconds, for each command.
    """

    def __init__(self, move, deadline: float):
        self.move = move
        self.deadline = deadline
        self.undo: list = []

    def run(self, steps: list[Step]) -> None:
        """Do the steps in order; at the first failure take back those before it and raise Failed."""
        try:
            for step in steps:
                getattr(self, f"_{step.kind}")(step)
        except (Failed, OSError) as fault:
            said = str(fault) if isinstance(fault, Failed) else f"{step.text}: {fault}"
            self.take_back()
            raise Failed(said) from fault

    def take_back(self) -> None:
        """Undo what was done, the last first; one that fails does not keep the others from being undone."""
        for action in reversed(self.undo):
            try:
                action()
            except (Failed, OSError):
                continue
        self.undo = []

    def _systemctl(self, *arguments: str, deadline: float | None = None) -> None:
        done = _process.run(["systemctl", *arguments], deadline or self.deadline)
        if done.code != 0:
            raise Failed(f"systemctl {' '.join(arguments)} failed: {done.said()}")

    def _last_words(self, unit: str) -> str:
        """The last lines that the processes of a unit wrote to the journal."""
        argv = ["journalctl", f"_SYSTEMD_UNIT={unit}", "--lines", "3", "--output", "cat", "--no-pager"]
        return _process.run(argv, 10).said()

    # files

    def _put(self, path: str, text: str, mode: int = 0o644, group: int = 0) -> None:
        folder = os.path.dirname(path)
        part = os.path.join(folder, f".samefiles.{os.getpid()}")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            os.fchown(file.fileno(), 0, group)
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if os.path.islink(path):
            os.unlink(path)  # a masked unit: the link must go, not its target
        self.move(part, path)

    def _write(self, step: Step) -> None:
        there = os.path.lexists(step.target)
        before = _host.text_of(step.target) if os.path.exists(step.target) else ""
        folder = os.path.dirname(step.target)
        if not os.path.isdir(folder):
            os.makedirs(folder)
            self.undo.append(lambda: os.rmdir(folder))
        self.undo.append(lambda: self._put(step.target, before) if there else os.unlink(step.target))
        self._put(step.target, step.value)

    def _remove(self, step: Step) -> None:
        before = _host.text_of(step.target)
        self.undo.append(lambda: self._put(step.target, before))
        os.unlink(step.target)

    # units

    def _reload(self, step: Step) -> None:
        done = _process.run(["systemctl", "daemon-reload"], self.deadline)
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
