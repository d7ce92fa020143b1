"""Releases: what is done on a virgin host, for a new release, for what was broken by hand, and what waits."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._host.steps import (
    EnableUnit,
    ReloadSystemd,
    RemoveFile,
    RestartUnit,
    StartUnit,
)
from ansible_collections.samefiles.aws.plugins.module_utils._webapp import plan as _plan
from ansible_collections.samefiles.aws.plugins.module_utils._webapp.spec import Account, File, Leftover, Wanted
from ansible_collections.samefiles.aws.plugins.module_utils._webapp.steps import (
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

OLD, NEW = "0" * 12, "1" * 12
UNITS = ("webapp-files.service", "webapp-front.service")
FILES = (
    File("/etc/systemd/system/webapp@.service", "app"),
    File("/etc/webapp/front.conf", "front", unit="webapp-front.service"),
    File("/etc/webapp/probe", "probe", 0o755, unit="webapp-files.service", how="restart"),
)
ACCOUNT = Account("webapp", 5000, 5001)
WANTED = Wanted("/opt/webapp", NEW, FILES, UNITS, account=ACCOUNT, unneeded=("nginx.service",))


WORDS = {
    CreateGroup: "group",
    CreateUser: "user",
    UnpackRelease: "unpack",
    WriteSiteFile: "write",
    ReloadSystemd: "reload",
    StartRelease: "start_app",
    EnableUnit: "enable",
    SwitchRelease: "flip",
    StartUnit: "start",
    RestartUnit: "restart",
    ReloadUnit: "reload_unit",
    DisableUnit: "disable",
    CheckSite: "answers",
    RetireRelease: "retire",
    EndUnit: "end",
    RemoveFile: "remove",
    RemoveRelease: "prune",
}


def serving(release: str = NEW, **changes) -> _plan.Facts:
    """A host that serves a release, with all files and units in order."""
    unit = _plan.app_unit(release)
    facts = _plan.Facts(
        releases=[release],
        current=release,
        files={file.path: (file.text, file.mode) for file in FILES},
        enabled={unit, *UNITS},
        states=dict.fromkeys([unit, _plan.app_unit(release, "socket"), *UNITS], "active"),
        users={"webapp": (5000, 5001), "root": (0, 0)},
        groups={"webapp": 5001, "root": 0},
    )
    return dataclasses.replace(facts, **changes)


def step_names(steps) -> str:
    return " ".join(WORDS[type(step)] for step in steps)


def test_a_virgin_host_is_served_at_once_even_when_only_safe_steps_are_allowed():
    expected = "group user unpack write write write reload start_app enable flip enable start enable start answers"
    for safe in (False, True):
        plan = _plan.make(WANTED, _plan.Facts(), safe)
        assert (step_names(plan.steps), plan.pending) == (expected, [])


def test_a_second_run_does_nothing():
    for safe in (False, True):
        plan = _plan.make(WANTED, serving(), safe)
        assert (plan.steps, plan.pending) == ([], [])


def test_a_new_release_starts_beside_the_old_one_which_ends_last():
    plan = _plan.make(WANTED, serving(OLD), False)
    assert step_names(plan.steps) == "unpack start_app enable flip answers retire"
    assert plan.steps[-1].text == f"stop webapp@{OLD}.service when its last request has ended"


def test_stage_only_unpacks_beside_a_release_that_serves():
    plan = _plan.make(WANTED, serving(OLD), True)
    assert step_names(plan.steps) == "unpack"
    assert plan.pending[0] == f"start webapp@{NEW}.service and wait until it answers"
    assert f"route requests to release {NEW} instead of {OLD}" in plan.pending


def unit(name, state):
    return {**serving().states, name: state}


@pytest.mark.parametrize(
    ("facts", "steps"),
    [
        (serving(files={**serving().files, FILES[1].path: ("x", 0o644)}), "write reload_unit answers"),
        (serving(files={**serving().files, FILES[2].path: ("x", 0o755)}), "write restart answers"),
        (serving(files={**serving().files, FILES[2].path: ("probe", 0o644)}), "write restart answers"),
        (serving(files={**serving().files, FILES[0].path: ("x", 0o644)}), "write reload answers"),
        (serving(states=unit(UNITS[1], "failed")), "start answers"),
        (serving(states=unit(_plan.app_unit(NEW), "failed")), "start_app answers"),
        (serving(enabled={UNITS[0], _plan.app_unit(NEW)}), "enable answers"),
        (serving(enabled=serving().enabled | {"nginx.service"}), "disable answers"),
        # somebody's own nginx runs: it is left alone
        (serving(enabled=serving().enabled | {"nginx.service"}, states=unit("nginx.service", "active")), ""),
        # what an interrupted run left: the old release still runs, or is still enabled, or still ends
        (serving(releases=[OLD, NEW], states=unit(_plan.app_unit(OLD), "active")), "retire"),
        (serving(releases=[OLD, NEW], enabled=serving().enabled | {_plan.app_unit(OLD)}), "retire"),
        (serving(releases=[OLD, NEW], states=unit(_plan.app_unit(OLD), "deactivating")), ""),
        (serving(releases=[OLD, NEW], states=unit(_plan.app_unit(OLD, "socket"), "active")), "retire"),
        (serving(releases=[OLD, NEW], current=OLD), "flip answers"),
    ],
)
def test_what_is_out_of_order_is_repaired(facts, steps):
    assert step_names(_plan.make(WANTED, facts, False).steps) == steps
    waits = _plan.make(WANTED, facts, True)
    assert (waits.steps, len(waits.pending)) == ([], len(steps.split()))


def test_a_unit_whose_restart_would_break_requests_learns_at_its_next_start():
    file = File("/etc/systemd/system/webapp-front.service", "new", unit="webapp-front.service", how="next_start")
    wanted = dataclasses.replace(WANTED, files=(*FILES, file))
    facts = serving()
    facts.files[file.path] = ("old", 0o644)
    steps = _plan.make(wanted, facts, False).steps
    assert step_names(steps) == "write reload answers"
    assert steps[0].text == f"change {file.path}, which webapp-front.service takes up when it next starts"
    facts.states["webapp-front.service"] = "inactive"
    steps = _plan.make(wanted, facts, False).steps
    assert step_names(steps) == "write reload start answers"
    assert steps[0].text == f"change {file.path}"


def test_units_that_a_release_needs_run_before_it_serves():
    facts = serving(OLD)
    facts.enabled.discard(UNITS[0])
    facts.states[UNITS[0]] = "inactive"
    assert (
        step_names(_plan.make(WANTED, facts, False).steps) == "unpack start_app enable enable start flip answers retire"
    )


LEFT = (
    Leftover("/etc/systemd/system/webapp-probe.service"),
    Leftover("/etc/systemd/system/webapp-files.service", 900),
    Leftover("/etc/webapp/files.conf"),
)
WITHOUT = dataclasses.replace(WANTED, units=UNITS[1:], absent=LEFT)


def test_what_an_earlier_way_to_serve_left_is_ended_and_removed_last():
    facts = serving(OLD, leftovers={item.path for item in LEFT})
    facts.states["webapp-probe.service"] = "active"
    plan = _plan.make(WITHOUT, facts, False)
    assert step_names(plan.steps) == "unpack start_app enable flip answers retire end end remove"
    assert [(step.unit, step.drain) for step in plan.steps if isinstance(step, EndUnit)] == [
        ("webapp-probe.service", 0),
        ("webapp-files.service", 900),
    ]
    staged = _plan.make(WITHOUT, facts, True)
    assert step_names(staged.steps) == "unpack"
    assert staged.pending[-1] == "remove /etc/webapp/files.conf"


@pytest.mark.parametrize(
    ("state", "leftovers", "steps"),
    [
        ("inactive", set(), ""),
        # it ends its last requests, from a file in /run
        ("deactivating", set(), ""),
        # what an interrupted run left
        ("active", set(), "end"),
        ("activating", set(), "end"),
        ("inactive", {LEFT[1].path}, "end"),
        ("inactive", {LEFT[2].path}, "remove"),
    ],
)
def test_what_is_gone_already_is_left_alone(state, leftovers, steps):
    facts = serving(states=unit("webapp-files.service", state), leftovers=leftovers)
    facts.enabled.discard("webapp-files.service")
    assert step_names(_plan.make(WITHOUT, facts, False).steps) == steps


def test_a_unit_that_only_ends_keeps_its_settings_and_takes_its_file_along():
    text = _plan.ending("[Service]\nTimeoutStopSec=20", "/run/systemd/system/a.service", 900)
    assert text.splitlines() == [
        "[Service]",
        "TimeoutStopSec=20",
        "[Service]",
        "TimeoutStopSec=900",
        "ExecStopPost=+/bin/rm -f /run/systemd/system/a.service",
    ]


@pytest.mark.parametrize(("how", "steps"), [("reload", "flip reload_unit"), ("reload_first", "reload_unit flip")])
def test_a_front_may_be_reloaded_before_requests_are_routed_to_the_new_release(how, steps):
    files = (*FILES[:1], dataclasses.replace(FILES[1], text="new", how=how), *FILES[2:])
    plan = _plan.make(dataclasses.replace(WANTED, files=files), serving(OLD), False)
    assert step_names(plan.steps) == f"unpack write start_app enable {steps} answers retire"


@pytest.mark.parametrize(
    ("releases", "current", "removed"),
    [
        (["a" * 12, "b" * 12, NEW], NEW, []),
        (["a" * 12, "b" * 12, "c" * 12, NEW], NEW, ["a" * 12]),
        (["a" * 12, "b" * 12, "c" * 12], "c" * 12, ["a" * 12]),
        (["a" * 12, "b" * 12], "b" * 12, []),
        # the one that serves is never removed, however old
        ([OLD, "a" * 12, "b" * 12, "c" * 12], OLD, ["a" * 12, "b" * 12]),
    ],
)
def test_the_last_three_releases_are_kept(releases, current, removed):
    facts = serving(current, releases=releases)
    steps = _plan.make(WANTED, facts, False).steps
    assert [step.path.rpartition("/")[2] for step in steps if isinstance(step, RemoveRelease)] == removed
    left = [name for name in releases if name not in removed]
    assert len({*left, NEW}) <= 3


def test_a_release_that_still_ends_is_not_removed():
    states = unit(_plan.app_unit("a" * 12), "deactivating")
    facts = serving(releases=["a" * 12, "b" * 12, "c" * 12, NEW], states=states)
    assert "prune" not in step_names(_plan.make(WANTED, facts, False).steps)


@pytest.mark.parametrize(
    ("facts", "problem"),
    [
        ({"users": {"webapp": (998, 5001)}}, "the user webapp has the numbers 998:5001 here, not 5000:5001"),
        ({"groups": {"webapp": 999}}, "the group webapp has the number 999 here, not 5001"),
        ({"users": {"other": (5000, 1)}}, "uid 5000 belongs to the user other"),
        ({"groups": {"other": 5001}}, "gid 5001 belongs to the group other"),
    ],
)
def test_numbers_that_are_taken(facts, problem):
    assert problem in _plan.make(WANTED, serving(**facts), False).problems[0]


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("plain", 'A="plain"\n'),
        ("two words", 'A="two words"\n'),
        ('a "quote"', 'A="a \\"quote\\""\n'),
        ("back\\slash", 'A="back\\\\slash"\n'),
        ("$HOME `id`", 'A="\\$HOME \\`id\\`"\n'),
    ],
)
def test_the_environment_as_systemd_reads_it(value, line):
    assert _plan.environment_text({"A": value}) == line
