# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides what the module webapp does: the wanted release, files and units, and facts in; steps in order out. No I/O."""

from __future__ import annotations

import dataclasses
import re

from .._host import systemd
from .._host.steps import EnableUnit, ReloadSystemd, RemoveFile, RestartUnit, StartUnit, Step
from .identity import RELEASE
from .spec import File, Wanted
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
    WriteSiteFile,
)


@dataclasses.dataclass
class Facts:
    """The state of a host."""

    releases: list[str] = dataclasses.field(default_factory=list)  # whole ones, the oldest first
    current: str | None = None  # the release that serves requests
    files: dict[str, tuple[str, int]] = dataclasses.field(default_factory=dict)  # those of ours: text and mode by path
    leftovers: set[str] = dataclasses.field(default_factory=set)  # paths of files that should not be there
    enabled: set[str] = dataclasses.field(default_factory=set)  # units that start at boot
    states: dict[str, str] = dataclasses.field(default_factory=dict)  # of systemd, by unit: active, inactive, failed …

    users: dict[str, tuple[int, int]] = dataclasses.field(default_factory=dict)  # number and group's number by name
    groups: dict[str, int] = dataclasses.field(default_factory=dict)  # number by name

    def runs(self, unit: str) -> bool:
        """Whether a unit is up."""
        return self.states.get(unit) == "active"

    def is_up(self, unit: str) -> bool:
        """Whether a unit is up or on its way there, or fails and is started again."""
        return self.states.get(unit, "inactive") not in ("inactive", "failed", "deactivating")


@dataclasses.dataclass
class Plan:
    """What to do now, and what waits for the moment of the switch."""

    steps: list[Step] = dataclasses.field(default_factory=list)
    pending: list[str] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)


def app_unit(release: str, suffix: str = "service") -> str:
    """The unit of one release of the app: its service, or the socket that systemd holds for it."""
    return f"webapp@{release}.{suffix}"


def release_of(unit: str) -> str | None:
    """The release whose service or socket a unit is, None for any other unit."""
    match = re.fullmatch(rf"webapp@({RELEASE.pattern})\.(service|socket)", unit)
    return match and match.group(1)


def environment_text(environment: dict[str, str]) -> str:
    """The environment as systemd's EnvironmentFile= reads it."""
    lines = []
    for name, value in sorted(environment.items()):
        quoted = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("`", "\\`")
        lines.append(f'{name}="{quoted}"\n')
    return "".join(lines)


def _account(wanted: Wanted, facts: Facts, plan: Plan) -> None:
    """Make group and user where they are missing; one that exists with other numbers is not changed."""
    account = wanted.account
    if not account:
        return
    group, user = facts.groups.get(account.name), facts.users.get(account.name)
    taken = {gid: name for name, gid in facts.groups.items()}.get(account.gid)
    if group is None and taken:
        plan.problems.append(f"gid {account.gid} belongs to the group {taken} on this server: choose another")
    elif group is None:
        plan.steps.append(CreateGroup(f"make the group {account.name} ({account.gid})", account))
    elif group != account.gid:
        plan.problems.append(
            f"the group {account.name} has the number {group} here, not {account.gid}: give that number"
        )
    taken = {uid: name for name, (uid, _gid) in facts.users.items()}.get(account.uid)
    if user is None and taken:
        plan.problems.append(f"uid {account.uid} belongs to the user {taken} on this server: choose another")
    elif user is None:
        plan.steps.append(CreateUser(f"make the user {account.name} ({account.uid})", account))
    elif user != (account.uid, account.gid):
        numbers = f"has the numbers {user[0]}:{user[1]} here, not {account.uid}:{account.gid}"
        plan.problems.append(f"the user {account.name} {numbers}: give those numbers")


def _write(file: File, text: str) -> WriteSiteFile:
    return WriteSiteFile(text, file.path, file.text, file.mode, file.group, file.secret)


def _file_steps(wanted: Wanted, facts: Facts) -> list[WriteSiteFile]:
    steps = []
    for file in wanted.files:
        current = facts.files.get(file.path)
        later = f", which {file.unit} takes up when it next starts" if file.how == "next_start" else ""
        if current is None:
            steps.append(_write(file, f"write {file.path}"))
        elif current[0] != file.text:
            steps.append(_write(file, f"change {file.path}{later if facts.runs(file.unit) else ''}"))
        elif current[1] != file.mode:
            steps.append(_write(file, f"set the mode of {file.path} to {file.mode:04o}"))
    return steps


def _app_steps(wanted: Wanted, facts: Facts, first: list[Step]) -> list[Step]:
    """Start the wanted release beside the one that serves, and route requests to it once it answers and `first` is done."""
    unit = app_unit(wanted.release)
    steps: list[Step] = []
    if not facts.runs(unit):
        steps.append(StartRelease(f"start {unit} and wait until it answers", unit, wanted.release))
    if unit not in facts.enabled:
        steps.append(EnableUnit(f"enable {unit}", unit))
    steps += first
    if facts.current != wanted.release:
        before = f" instead of {facts.current}" if facts.current else ""
        steps.append(SwitchRelease(f"route requests to release {wanted.release}{before}", wanted.root, wanted.release))
    return steps


def _unit_steps(wanted: Wanted, facts: Facts, changed: set[str]) -> tuple[list[Step], list[Step]]:
    """Enable and start the units beside the app, and reload or restart those that run with changed files.

    Returns what is done before requests are routed to another release, and what is done then.
    """
    first: list[Step] = []
    steps: list[Step] = []
    # what another release needs beside it runs before it serves; on a bare host the order does not matter
    starts = first if facts.current else steps
    for unit in wanted.units:
        if unit not in facts.enabled:
            starts.append(EnableUnit(f"enable {unit}", unit))
        hows = {file.how for file in wanted.files if file.unit == unit and file.path in changed} - {"next_start"}
        if not facts.runs(unit):
            starts.append(StartUnit(f"start {unit}", unit))
        elif "restart" in hows:
            steps.append(RestartUnit(f"restart {unit}", unit))
        elif hows:
            (first if "reload_first" in hows else steps).append(ReloadUnit(f"reload {unit}", unit))
    return first, steps


def _others(wanted: Wanted, facts: Facts) -> list[Step]:
    """End the releases that get no requests any more; each ends when its last request has."""
    ended = set()
    for unit in sorted(set(facts.states) | facts.enabled):
        release = release_of(unit)
        if release and release != wanted.release and (facts.is_up(unit) or unit in facts.enabled):
            ended.add(release)
    return [
        RetireRelease(f"stop {app_unit(release)} when its last request has ended", app_unit(release), release)
        for release in sorted(ended)
    ]


def _leftovers(wanted: Wanted, facts: Facts) -> list[Step]:
    """End the units that nothing uses any more, and remove their files."""
    steps: list[Step] = []
    for item in wanted.absent:
        if item.unit and (item.path in facts.leftovers or item.unit in facts.enabled or facts.is_up(item.unit)):
            when = " when its last request has ended" if item.drain else ""
            steps.append(EndUnit(f"stop {item.unit}{when}, and remove it", item.unit, item.drain))
        elif item.path in facts.leftovers:
            steps.append(RemoveFile(f"remove {item.path}", item.path))
    return steps


def ending(unit: str, place: str, drain: int) -> str:
    """The text of a unit that only has to end: it gets time for its last requests, and its file at `place` goes with it."""
    head = unit if unit.endswith("\n") else unit + "\n"
    return f"{head}[Service]\nTimeoutStopSec={drain}\nExecStopPost=+/bin/rm -f {place}\n"


def _old(wanted: Wanted, facts: Facts) -> list[Step]:
    """Remove the oldest releases but those that are kept, serve, or still end."""
    busy = {release_of(unit) for unit, state in facts.states.items() if state not in ("inactive", "failed")}
    others = [release for release in facts.releases if release not in (wanted.release, facts.current)]
    surplus = others[: max(0, len(others) - wanted.keep + (2 if _changes(wanted, facts) else 1))]
    return [
        RemoveRelease(f"remove release {release}", f"{wanted.root}/releases/{release}")
        for release in surplus
        if release not in busy
    ]


def _changes(wanted: Wanted, facts: Facts) -> bool:
    return facts.current not in (None, wanted.release)


def make(wanted: Wanted, facts: Facts, safe: bool) -> Plan:
    """What to do to serve the wanted release.

    safe leaves out, as pending, whatever concerns the release that serves now; a host that serves nothing yet has
    nothing to wait for.
    """
    plan = Plan()
    _account(wanted, facts, plan)
    if wanted.release not in facts.releases:
        plan.steps.append(
            UnpackRelease(f"unpack release {wanted.release} into {wanted.directory}", wanted.directory, wanted.release)
        )
    writes = _file_steps(wanted, facts)
    first, units = _unit_steps(wanted, facts, {step.path for step in writes})
    live: list[Step] = [*writes]
    if any(step.path.startswith(systemd.UNIT_DIRECTORY) for step in writes):
        live.append(ReloadSystemd("make systemd read its units again"))
    live += _app_steps(wanted, facts, first) + units
    live += [
        DisableUnit(f"disable {unit}, which would take the site's port at the next boot", unit)
        for unit in wanted.unneeded
        if unit in facts.enabled and not facts.runs(unit)
    ]
    if live:
        live.append(CheckSite("check that the site answers and its units stay up", wanted.units))
    live += _others(wanted, facts) + _leftovers(wanted, facts) + _old(wanted, facts)
    if safe and facts.current:
        plan.pending = [step.text for step in live]
    else:
        plan.steps += live
    return plan
