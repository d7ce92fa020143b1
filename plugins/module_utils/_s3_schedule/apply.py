# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the facts that the module s3_schedule decides on, carries out its steps, and knows the program's own sources."""

from __future__ import annotations

import glob
import os
import sys

from .._host import executor, files, process, systemd
from .._host.steps import Step
from . import plan

_PACKAGE = "ansible_collections.samefiles.aws.plugins.module_utils"
_START = '''# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the sync of one schedule; its name is the argument. Written by samefiles.aws.s3plan."""

import sys

from {package} import {start}

sys.exit({start}.main(sys.argv[1:]))
'''


def program(start: str) -> dict[str, str]:
    """The program of the timers, by path: every module of this collection that a sync imports, as it runs here.

    start is the full name of the module that it begins with.

    Ansible packs a module together with what it imports; so what came along with s3_schedule is all that a sync needs.
    """
    found = {plan.PROGRAM: _START.format(package=_PACKAGE, start=start.rpartition(".")[2])}
    folder = f"{plan.PROGRAM_FOLDER}/{_PACKAGE.replace('.', '/')}"
    for name, module in sorted(sys.modules.items()):
        if name.startswith(f"{_PACKAGE}._"):
            found[f"{folder}/{name.rpartition('.')[2]}.py"] = module.__loader__.get_source(name)
    return found


def _active(deadline: float) -> set[str]:
    argv = ["systemctl", "list-units", "--plain", "--no-legend", "--state=active", plan.unit("*", "timer")]
    return {line.split()[0] for line in process.run(argv, deadline).out.splitlines() if line.strip()}


def read(paths: list[str], deadline: float) -> plan.Facts:
    """All facts that the plan depends on; changes nothing."""
    patterns = [f"{plan.CONF_FOLDER}/*.json", f"{systemd.UNIT_FOLDER}/{plan.unit('*', '*')}"]
    there = {path for pattern in patterns for path in glob.glob(pattern)} | set(filter(os.path.exists, paths))
    return plan.Facts(
        files={path: files.read_text(path) for path in there},
        enabled=systemd.enabled("timers.target"),
        active=_active(deadline),
    )


class Executor(executor.Executor):
    """Does the steps of s3_schedule's plan."""

    def _write(self, step: Step) -> None:
        folder, missing = os.path.dirname(step.target), []
        while not os.path.isdir(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        for folder in reversed(missing):
            os.mkdir(folder, 0o755)
            self.undo.append(lambda folder=folder: os.rmdir(folder))
        super()._write(step)

    def _start(self, step: Step) -> None:
        self.undo.append(lambda: self._systemctl("stop", step.target))
        self._systemctl("start", step.target)

    def _restart(self, step: Step) -> None:
        self.undo.insert(0, lambda: self._systemctl("restart", step.target))
        self._systemctl("restart", step.target)

    def _stop(self, step: Step) -> None:
        self.undo.append(lambda: self._systemctl("enable", "--quiet", "--now", step.target))
        self._systemctl("disable", "--quiet", "--no-reload", "--now", step.target)
