# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One call of efs_mount, without Ansible: read, plan, apply, read again."""

from __future__ import annotations

import dataclasses
import os

from .._host import process
from .._host.executor import Failed
from .._host.steps import RemoveFile, WriteFile, file_diff, steps_diff
from . import collect, fstab, identify, preflight
from .apply import Executor
from .facts import Facts
from .plan import Plan
from .plan import make as make_plan
from .spec import Wanted
from .steps import Mount, Unmount


@dataclasses.dataclass
class Outcome:
    """What a call read and did."""

    plan: Plan
    before: Facts
    after: Facts
    problems: list[str]


def _preflight(plan: Plan, facts: Facts, programs: bool) -> list[str]:
    """Whether the mounts and tunnels that the plan makes will work; all checks run at once.

    Without programs (check mode on a bare host) the system's CA bundle may be missing as well: it comes with them.
    """
    items = {item.path: item for item in plan.to_mount + plan.tunnelled}
    if not programs and not os.path.exists(facts.ca_file):
        items = {path: item for path, item in items.items() if item.ca_file or item.transport == "plain"}
    calls = {
        path: (lambda item=item: preflight.preflight(item, facts.addresses.get(item.host, ()), facts.ca_file))
        for path, item in items.items()
    }
    faults = []
    for _path, answer in process.call_all(calls, 60).items():
        fault = answer.get("value", answer.get("error"))
        if fault:
            faults.append(fault)
    return faults


def inspect(items: list[Wanted], safe: bool, timeout: float, programs: bool) -> Outcome:
    """Read and plan; changes nothing. programs: a missing client program is a problem, not just a warning."""
    facts = collect.read(items, timeout)
    plan = make_plan(items, facts, safe)
    problems = list(plan.problems)
    if programs and not problems and plan.to_mount:
        used = {item.transport for item in plan.to_mount}
        problems += [facts.missing[transport] for transport in sorted(used & set(facts.missing))]
    if not problems:
        problems += _preflight(plan, facts, programs)
    return Outcome(plan, facts, facts, problems)


def apply(items: list[Wanted], safe: bool, timeout: float) -> Outcome:
    """Read, plan, apply, and prove: after the last step a new plan must be empty.

    When a step fails, or the proof does, everything that was done is rolled back; the problem says what failed.
    """
    outcome = inspect(items, safe, timeout, programs=True)
    if outcome.problems or not outcome.plan.steps:
        return outcome
    executor = Executor(timeout)
    try:
        executor.run(outcome.plan.steps)
    except Failed as fault:
        outcome.problems = [str(fault)]
        return outcome
    outcome.after = collect.read(items, timeout)
    rest = make_plan(items, outcome.after, safe)
    left = rest.problems + _not_mounted(outcome.plan, rest)
    left = left or [f"{step.text} did not take effect" for step in rest.steps]
    if left:
        outcome.problems = left + executor.roll_back()
    outcome.plan.verdicts = rest.verdicts
    return outcome


def _not_mounted(done: Plan, rest: Plan) -> list[str]:
    """Mounts that were reported as made and are something else."""
    mounted = {item.path: item for item in done.to_mount}
    return [
        f"{mounted[path].label}: mount ended with code 0, but {path} is not {mounted[path].file_system}: {verdict.why}"
        for path, verdict in rest.verdicts.items()
        if path in mounted and verdict.what != "right" and verdict.why
    ]


def _row(item: Wanted, facts: Facts) -> str:
    mount = facts.at(item.path)
    if not mount:
        return f"{item.path} not mounted\n"
    live = identify.inspect(mount, facts)
    options = ",".join(key if value is None else f"{key}={value}" for key, value in mount.options)
    return f"{item.path} {live.says} {options}\n"


def diff(items: list[Wanted], outcome: Outcome) -> list[dict]:
    """The steps, then before and after of every file that they change, and of the mounts."""
    before = outcome.before
    entries = steps_diff(outcome.plan.steps)
    for step in outcome.plan.steps:
        if isinstance(step, (WriteFile, RemoveFile)):
            old = before.fstab.text if step.path == fstab.PATH else before.files.get(step.path, "")
            entries.append(file_diff(step.path, old, step.contents if isinstance(step, WriteFile) else ""))
    changes = [step for step in outcome.plan.steps if isinstance(step, (Unmount, Mount))]
    if changes:
        rows = "".join(_row(item, before) for item in items if item.path in {step.path for step in changes})
        steps = "".join(f"{step.text}\n" for step in changes if isinstance(step, Mount))
        entries.append(file_diff("mounts", rows, steps))
    return entries


def describe(items: list[Wanted], facts: Facts, plan: Plan) -> list[dict]:
    """The mounts as they are, for the module's result."""
    rows = []
    for item in items:
        mount = facts.at(item.path)
        verdict = plan.verdicts.get(item.path)
        mountpoint = facts.mountpoints.get(item.path)
        rows.append(
            {
                "path": item.path,
                "file_system": item.file_system,
                "transport": item.transport,
                "state": verdict.what if verdict else "absent",
                "source": mount.source if mount else None,
                "options": [key if value is None else f"{key}={value}" for key, value in mount.options]
                if mount
                else [],
                "addresses": list(identify.inspect(mount, facts).peers) if mount else [],
                "guard": mountpoint.how if mountpoint else "unknown",
                "read_ahead_kb": facts.read_ahead.get(item.path),
            }
        )
    return rows
