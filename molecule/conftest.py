# Copyright: samefiles.aws contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of every scenario: a run of the scenario's role with its results by host, and the hosts to inspect."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess

import pytest
import testinfra

SCENARIO = pathlib.Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])
ROOT = pathlib.Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
CONVERGE = ROOT / ".config/molecule/converge.yml"
# Molecule ends with a page of its own; `make molecule` prints this after it.
FAILED = ROOT / ".cache/molecule-failed"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note what failed, with the end of its report."""
    if report.failed:
        FAILED.parent.mkdir(exist_ok=True)
        end = report.longreprtext.splitlines()[-25:]
        with FAILED.open("a", encoding="utf-8") as file:
            file.write("\n".join([f"FAILED {report.nodeid} ({report.when})", *end, "", ""]))


@dataclasses.dataclass
class HostResult:
    """The result of a run on one host."""

    changed: int
    failure: str  # the message of the task that failed on the host, empty when none did
    result: dict = dataclasses.field(default_factory=dict)  # of the last task that ran on the host


@pytest.fixture(scope="session")
def converge():
    """A function that runs the scenario's role on the hosts of a group or pattern, and returns a HostResult for each of them."""

    def run(*options: str, hosts: str = "web") -> dict[str, HostResult]:
        done = subprocess.run(
            ["ansible-playbook", f"--inventory={SCENARIO / 'inventory'}", f"--extra-vars=converge_hosts={hosts}", *options, CONVERGE],
            env={**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_FORCE_COLOR": "0"},
            capture_output=True, text=True, timeout=300, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert "{" in done.stdout, done.stderr
        said = json.loads(done.stdout[done.stdout.index("{") :])
        results = {name: HostResult(stats["changed"], "") for name, stats in said["stats"].items()}
        for task in (task for play in said["plays"] for task in play["tasks"]):
            for name, result in task["hosts"].items():
                results[name].result = result
                ended = said["stats"][name]["failures"] or said["stats"][name]["unreachable"]
                if ended and (result.get("failed") or result.get("unreachable")):
                    results[name].failure = str(result["msg"])
        return results

    return run


@pytest.fixture(scope="session")
def checked_again(converge):
    """A run in check mode on the hosts that are converged already."""
    return converge("--check", "--diff")


@pytest.fixture(scope="session")
def server():
    """A function that returns the testinfra host of a container, by its name without the common prefix."""
    hosts = {}

    def get(name: str):
        if name not in hosts:
            hosts[name] = testinfra.get_host(f"docker://samefiles-molecule-{name}")
        return hosts[name]

    return get
