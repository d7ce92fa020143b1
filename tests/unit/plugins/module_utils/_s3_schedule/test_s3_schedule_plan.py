"""Which files and units a host needs for its schedules."""

from __future__ import annotations

import json

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._host import steps as _steps
from ansible_collections.samefiles.aws.plugins.module_utils._s3_schedule import plan as _plan

WORDS = {
    _steps.WriteFile: "write",
    _steps.RemoveFile: "remove",
    _steps.ReloadSystemd: "reload",
    _steps.EnableUnit: "enable",
    _steps.StartUnit: "start",
    _steps.RestartUnit: "restart",
    _steps.StopUnit: "stop",
}

PROGRAM = {_plan.PROGRAM: "print()\n"}
OPTIONS = {"bucket": "backups", "file_root": "/var/log", "key_prefix": "hosts/web-01", "delete": None}
LOGS = _plan.Schedule("logs", "daily", OPTIONS, delay=900)
GONE = _plan.Schedule("logs", "", {}, present=False)
CONF = "/etc/samefiles/s3_sync/logs.json"
SERVICE = "/etc/systemd/system/samefiles-s3-sync-logs.service"
TIMER = "/etc/systemd/system/samefiles-s3-sync-logs.timer"
UNIT = "samefiles-s3-sync-logs.timer"


def facts(schedules=(LOGS,), **change) -> _plan.Facts:
    """A host on which schedules were made already."""
    files = dict(PROGRAM)
    for item in schedules:
        files.update(_plan.files(item, "/usr/bin/python3"))
    units = {_plan.unit(item.name, "timer") for item in schedules}
    return _plan.Facts(**{"files": files, "enabled": set(units), "active": set(units), **change})


def steps(schedules, current) -> list[tuple[str, str]]:
    plan = _plan.make(schedules, PROGRAM, "/usr/bin/python3", current)
    return [(WORDS[type(step)], getattr(step, "path", getattr(step, "unit", "systemd"))) for step in plan.steps]


@pytest.mark.parametrize(
    ("schedules", "current", "wanted"),
    [
        (
            [LOGS],
            _plan.Facts(),
            [
                *(("write", path) for path in (_plan.PROGRAM, CONF, SERVICE, TIMER)),
                ("reload", "systemd"),
                ("enable", UNIT),
                ("start", UNIT),
            ],
        ),
        ([LOGS], facts(), []),
        ([], _plan.Facts(), []),
        ([GONE], _plan.Facts(), []),
        (
            [GONE],
            facts(),
            [("stop", UNIT), ("remove", CONF), ("remove", SERVICE), ("remove", TIMER), ("reload", "systemd")],
        ),
        ([LOGS], facts(enabled=set()), [("enable", UNIT)]),
        ([LOGS], facts(active=set()), [("start", UNIT)]),
        (
            [_plan.Schedule("logs", "hourly", OPTIONS, delay=900)],
            facts(),
            [("write", TIMER), ("reload", "systemd"), ("restart", UNIT)],
        ),
        ([_plan.Schedule("logs", "daily", {**OPTIONS, "delete": True}, delay=900)], facts(), [("write", CONF)]),
    ],
)
def test_steps(schedules, current, wanted):
    assert steps(schedules, current) == wanted


def test_a_schedule_in_no_list_is_reported_and_left_alone():
    plan = _plan.make([], PROGRAM, "/usr/bin/python3", facts())
    assert plan.steps == []
    assert plan.unlisted == ["logs"]


def test_what_is_not_set_is_left_to_the_program():
    options = json.loads(_plan.conf_text(LOGS))
    assert options == {
        "bucket": "backups",
        "cache": "/var/cache/samefiles-s3-sync/logs",
        "file_root": "/var/log",
        "key_prefix": "hosts/web-01",
    }


def test_a_pull_may_write():
    assert "ProtectSystem" in _plan.service_text(LOGS, "/usr/bin/python3")
    pull = _plan.Schedule("logs", "daily", {**OPTIONS, "mode": "pull"})
    assert "ProtectSystem" not in _plan.service_text(pull, "/usr/bin/python3")


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (_plan.Schedule("Logs!", "daily", OPTIONS), "schedules[0].name must be up to 48 of a-z"),
        (_plan.Schedule("logs", " ", OPTIONS), "schedules[0].schedule.when must be a time as systemd's OnCalendar="),
        (_plan.Schedule("logs", "daily\nx=y", OPTIONS), "schedules[0].schedule.when must be a time"),
        (
            _plan.Schedule("logs", "daily", OPTIONS, delay=-1),
            "schedules[0].schedule.delay must be a number of seconds, got -1",
        ),
        (_plan.Schedule("logs", "daily", OPTIONS, timeout=0), "schedules[0].schedule.timeout must be"),
        (_plan.Schedule("logs", "daily", OPTIONS, user="a b"), "schedules[0].schedule.user must be the name of a user"),
        (_plan.Schedule("logs", "daily", OPTIONS, side="controller"), "schedules[0].side must be host, for timers"),
        (
            _plan.Schedule("logs", "daily", {**OPTIONS, "secret_key": "hidden"}),
            "schedules[0].secret_key must be left out: no key is written to a host",
        ),
    ],
)
def test_bad_input_is_one_sentence(item, said):
    (fault,) = _plan.faults([item])
    assert fault.startswith(said)
    assert "hidden" not in fault


def test_names_are_unique():
    (fault,) = _plan.faults([LOGS, LOGS])
    assert fault == "schedules[1].name is 'logs', as schedules[0].name is: give each its own"
