# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the facts that the module s3_schedule decides on, carries out its steps, and knows the program's own sources."""

from __future__ import annotations

import glob
import importlib.util
import os
import pkgutil
from typing import Any

from .._host import executor, files, process, systemd
from .._host.steps import Step, StopUnit
from . import plan, runner

# Ansible sends to a host what is imported: with the runner, all that it needs
_HOME = runner.__name__.rsplit(".", 2)[0]
PACKAGES = ("_host", "_s3", "_s3_schedule", "_s3_sync")  # what the runner imports, and all that these import
_START = f'''# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the sync of one schedule; its name is the argument. Written by samefiles.aws.s3_schedule."""

import sys

from {_HOME}._s3_schedule import runner

sys.exit(runner.main(sys.argv[1:]))
'''


def _sources(package: str) -> dict[str, str]:
    """The text of every file of a package of ours, by name; where Ansible runs a module, they lie in a zip file."""
    home = f"{_HOME}.{package}"
    texts: dict[str, str] = {}
    for module in pkgutil.iter_modules(importlib.import_module(home).__path__):
        name = f"{home}.{module.name}"
        loader: Any = importlib.util.find_spec(name).loader  # type: ignore[union-attr]  # iter_modules has just found it
        texts[f"{module.name}.py"] = loader.get_source(name)
    return texts


def program() -> dict[str, str]:
    """The program of the timers, by path: the packages that a sync needs, each file as it lies in this collection."""
    texts, directory = {plan.PROGRAM: _START}, plan.PROGRAM_DIRECTORY
    for part in _HOME.split("."):
        directory = f"{directory}/{part}"
        texts[f"{directory}/__init__.py"] = ""  # a package, not a part of one: the host may have collections of its own
    for package in PACKAGES:
        texts[f"{directory}/{package}/__init__.py"] = ""
        texts.update((f"{directory}/{package}/{name}", text) for name, text in _sources(package).items())
    return texts


def _active(timeout: float) -> set[str]:
    argv = ["systemctl", "list-units", "--plain", "--no-legend", "--state=active", plan.unit("*", "timer")]
    return {line.split()[0] for line in process.run(argv, timeout).out.splitlines() if line.strip()}


def read(paths: list[str], timeout: float) -> plan.Facts:
    """All facts that the plan depends on; changes nothing."""
    patterns = [f"{plan.CONF_DIRECTORY}/*.json", f"{systemd.UNIT_DIRECTORY}/{plan.unit('*', '*')}"]
    existing = {path for pattern in patterns for path in glob.glob(pattern)} | set(filter(os.path.exists, paths))
    return plan.Facts(
        files={path: files.read_text(path) for path in existing},
        enabled=systemd.enabled("timers.target"),
        active=_active(timeout),
    )


class Executor(executor.Executor):
    """Does the steps of s3_schedule's plan."""

    def do(self, step: Step) -> None:
        """Do one step. Raises Failed or OSError."""
        if isinstance(step, StopUnit):
            self._stop(step)
        else:
            super().do(step)

    def _stop(self, step: StopUnit) -> None:
        self.undo.append(lambda: self._systemctl("enable", "--quiet", "--now", step.unit))
        self._systemctl("disable", "--quiet", "--no-reload", "--now", step.unit)
