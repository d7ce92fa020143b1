# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides what a host needs so that its own timer runs a sync: configuration, service and timer of each schedule."""

from __future__ import annotations

import dataclasses
import json
import re

from .._host import systemd
from .._host.files import header
from .._host.steps import (
    EnableUnit,
    ReloadSystemd,
    RemoveFile,
    RestartUnit,
    StartUnit,
    Step,
    StopUnit,
    WriteFile,
)

CONF_DIRECTORY = "/etc/samefiles/s3_sync"
PROGRAM_DIRECTORY = "/usr/local/lib/samefiles"
PROGRAM = f"{PROGRAM_DIRECTORY}/s3_sync.py"
STATE_DIRECTORY = "/var/lib/samefiles-s3-sync"
CACHE_DIRECTORY = "/var/cache/samefiles-s3-sync"
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,47}")

SECRETS = ("access_key", "secret_key", "session_token")
_PREFIX = "samefiles-s3-sync-"
_HEAD = f"# {header('s3_schedule')}"


@dataclasses.dataclass(frozen=True)
class Schedule:
    """One sync that a host makes on its own; options are the module s3_sync's, times are in seconds."""

    name: str
    when: str  # as systemd's OnCalendar= takes it
    options: dict
    delay: int = 0  # maximum random delay: not all hosts at once
    timeout: int = 21600
    user: str = "root"
    present: bool = True
    side: str = "host"


@dataclasses.dataclass
class Facts:
    """The current state of a host."""

    files: dict[str, str] = dataclasses.field(default_factory=dict)  # texts of our files by path
    modes: dict[str, int] = dataclasses.field(default_factory=dict)
    enabled: set[str] = dataclasses.field(default_factory=set)  # timers that start at boot
    active: set[str] = dataclasses.field(default_factory=set)  # timers that run


@dataclasses.dataclass
class Plan:
    """The steps, and the schedules on the host that are not listed."""

    steps: list[Step] = dataclasses.field(default_factory=list)
    unlisted: list[str] = dataclasses.field(default_factory=list)


def unit(name: str, unit_type: str) -> str:
    """The service or timer of a schedule."""
    return f"{_PREFIX}{name}.{unit_type}"


def name_of(path: str) -> str | None:
    """The schedule whose timer a file is, None for any other file."""
    match = re.fullmatch(rf"{re.escape(systemd.UNIT_DIRECTORY)}/{_PREFIX}({NAME.pattern})\.timer", path)
    return match and match.group(1)


def conf_path(name: str) -> str:
    """Where the options of a schedule's sync are."""
    return f"{CONF_DIRECTORY}/{name}.json"


def faults(schedules: list[Schedule]) -> list[str]:
    """What is wrong with schedules, one sentence each."""
    said: list[str] = []
    seen: dict[str, str] = {}
    for number, item in enumerate(schedules):
        label = f"schedules[{number}]"
        if not NAME.fullmatch(item.name):
            said.append(
                f"{label}.name must be up to 48 of a-z, 0-9, '-' and '_', the first no sign, got {item.name!r}: "
                "it names the timer"
            )
        elif item.name in seen:
            said.append(f"{label}.name is {item.name!r}, as {seen[item.name]}.name is: give each its own")
        seen.setdefault(item.name, label)
        if item.present and (not item.when.strip() or "\n" in item.when):
            said.append(
                f"{label}.schedule.when must be a time as systemd's OnCalendar= takes it, such as daily, got {item.when!r}"
            )
        for key in ("delay", "timeout"):
            if getattr(item, key) < (0 if key == "delay" else 1):
                said.append(f"{label}.schedule.{key} must be a number of seconds, got {getattr(item, key)}")
        if item.side != "host":
            said.append(
                f"{label}.side must be host, for timers run on hosts, got {item.side!r}: leave side or schedule out"
            )
        for key in SECRETS:
            if item.present and item.options.get(key):
                said.append(
                    f"{label}.{key} must be left out: no key is written to a host, its instance role gives it credentials"
                )
        if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", item.user):
            said.append(f"{label}.schedule.user must be the name of a user of the host, got {item.user!r}")
    return said


def service_text(item: Schedule, python: str) -> str:
    """The service that runs a sync once; a push only reads, so little of the host is open to it."""
    push = item.options.get("mode", "push") == "push"
    closed = "ProtectSystem=full\nProtectHome=read-only\n" if push else ""
    return f"""{_HEAD}
[Unit]
Description=The sync {item.name}, once
Wants=network-online.target
After=network-online.target remote-fs.target

[Service]
Type=oneshot
User={item.user}
ExecStart={python} {PROGRAM} {item.name}
ExecStopPost={python} {PROGRAM} --after {item.name}
StateDirectory={STATE_DIRECTORY.rsplit("/", 1)[1]}/{item.name}
CacheDirectory={CACHE_DIRECTORY.rsplit("/", 1)[1]}/{item.name}
TimeoutStartSec={item.timeout}
Nice=10
IOSchedulingClass=idle
UMask=0027
NoNewPrivileges=yes
PrivateDevices=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictRealtime=yes
RestrictNamespaces=yes
LockPersonality=yes
SystemCallArchitectures=native
{closed}"""


def timer_text(item: Schedule) -> str:
    """The timer; it catches up on a run that was missed while the host was down."""
    return f"""{_HEAD}
[Unit]
Description=When the sync {item.name} runs

[Timer]
OnCalendar={item.when}
RandomizedDelaySec={item.delay}
Persistent=true

[Install]
WantedBy=timers.target
"""


def conf_text(item: Schedule) -> str:
    """The options of the sync, for the program; options that are not set have the program's defaults."""
    options = {key: value for key, value in sorted(item.options.items()) if value is not None}
    options.setdefault("cache", f"{CACHE_DIRECTORY}/{item.name}")
    return json.dumps(options, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def files(item: Schedule, python: str) -> dict[str, str]:
    """The text of each file of a schedule, by path."""
    return {
        conf_path(item.name): conf_text(item),
        f"{systemd.UNIT_DIRECTORY}/{unit(item.name, 'service')}": service_text(item, python),
        f"{systemd.UNIT_DIRECTORY}/{unit(item.name, 'timer')}": timer_text(item),
    }


def _writes(wanted: dict[str, str], facts: Facts) -> list[Step]:
    steps: list[Step] = []
    for path, text in wanted.items():
        if path not in facts.files:
            steps.append(WriteFile(f"write {path}", path, text))
        elif facts.files[path] != text:
            steps.append(WriteFile(f"change {path}", path, text))
    return steps


def _goes(name: str, facts: Facts) -> list[Step]:
    """Remove a schedule: its timer first, then its files. The synced files stay."""
    timer = unit(name, "timer")
    steps: list[Step] = []
    if timer in facts.enabled or timer in facts.active:
        steps.append(StopUnit(f"stop and disable {timer}", timer))
    for path in (
        conf_path(name),
        f"{systemd.UNIT_DIRECTORY}/{unit(name, 'service')}",
        f"{systemd.UNIT_DIRECTORY}/{timer}",
    ):
        if path in facts.files:
            steps.append(RemoveFile(f"remove {path}", path))
    return steps


def make(schedules: list[Schedule], program: dict[str, str], python: str, facts: Facts) -> Plan:
    """What to do so that a host runs these schedules; program is its text by path."""
    plan, present = Plan(), [item for item in schedules if item.present]
    wanted = dict(program) if present else {}
    for item in present:
        wanted.update(files(item, python))
    plan.steps = _writes(wanted, facts)
    for item in schedules:
        if not item.present:
            plan.steps += _goes(item.name, facts)
    written = {step.path for step in plan.steps if isinstance(step, WriteFile)}
    removed = {step.path for step in plan.steps if isinstance(step, RemoveFile)}
    if any(path.startswith(f"{systemd.UNIT_DIRECTORY}/") for path in written | removed):
        plan.steps.append(ReloadSystemd("make systemd read its units again"))
    for item in present:
        timer = unit(item.name, "timer")
        if timer not in facts.enabled:
            plan.steps.append(EnableUnit(f"enable {timer}", timer))
        if timer not in facts.active:
            plan.steps.append(StartUnit(f"start {timer}, next runs: {item.when}", timer))
        elif f"{systemd.UNIT_DIRECTORY}/{timer}" in written:
            plan.steps.append(RestartUnit(f"restart {timer}, next runs: {item.when}", timer))
    listed = {item.name for item in schedules}
    plan.unlisted = sorted(name for name in map(name_of, facts.files) if name and name not in listed)
    return plan
