"""Plans: wanted mounts and facts in, steps out. Every plan is also carried out on a model that refuses a wrong order."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._efs_mount import (
    mount_unit,
    tables,
    tunnel_conf,
    tunnel_unit,
)
from ansible_collections.samefiles.aws.plugins.module_utils._efs_mount import plan as _plan
from ansible_collections.samefiles.aws.plugins.module_utils._efs_mount.facts import Listener, Mountpoint, Root
from ansible_collections.samefiles.aws.plugins.module_utils._efs_mount.steps import Mount, Unmount
from ansible_collections.samefiles.aws.plugins.module_utils._host import systemd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.efs_host import AP, FS, FSTAB, OTHER, Host, action, want

SITE = {"owner": "5000", "group": "5000", "mode": "0750"}
TUNNEL = tunnel_unit.unit_name(FS)
RETRY = mount_unit.unit_name("/srv/files")
CONF = tunnel_conf.conf_path(FS)


def step_names(plan: _plan.Plan) -> str:
    return " ".join(action(step) for step in plan.steps)


def lines(fstab: str, word: str) -> list[str]:
    return [line for line in fstab.splitlines() if f" {word} " in line]


def converged(*mounts: dict, transport: str = "stunnel") -> tuple[Host, list]:
    host, items = Host(), want(*mounts, transport=transport)
    plan = host.converge(items)
    assert not plan.problems
    assert host.plan(items).steps == []
    return host, items


@pytest.mark.parametrize(
    ("mounts", "transport", "steps"),
    [
        ([{}], "stunnel", "write write write write reload enable enable start guard mount read_ahead"),
        ([{}], "plain", "write write reload enable guard mount read_ahead"),
        ([{}], "efs-utils", "write write reload enable guard mount"),
        ([SITE], "plain", "write write reload enable guard mount read_ahead root"),
        (
            [{}, {"path": "/srv/files/in", "directory": "/in"}],
            "stunnel",
            "write write write write write reload enable enable enable start guard mount read_ahead nest mount read_ahead",
        ),
        ([{"state": "absent"}], "stunnel", ""),
        ([], "stunnel", ""),
    ],
)
def test_a_virgin_host(mounts, transport, steps):
    host, items = Host(), want(*mounts, transport=transport)
    plan = host.converge(items)
    assert (plan.problems, plan.pending, step_names(plan)) == ([], [], steps)
    assert host.plan(items).steps == []


def test_a_new_mount_interrupts_nobody():
    host, items = Host(), want(SITE)
    assert step_names(host.plan(items, safe=True)) == step_names(host.plan(items))


# One thing broken by hand on a converged host: what the next run does, what it leaves pending when it must not interrupt.


def unmounted(host):
    host.unmount("/srv/files")


def line_removed(host):
    host.fstab = FSTAB


def line_edited(host):
    host.fstab = host.fstab.replace("hard", "soft")


def line_replaced(host):
    port = next(iter(host.facts.listeners))
    host.fstab = FSTAB + f"127.0.0.1:/ /srv/files nfs4 port={port},defaults 0 0\n"


def line_doubled(host):
    host.fstab += host.fstab.splitlines()[1] + "\n"


def tunnel_stopped(host):
    host.facts.listeners.clear()
    host.facts.roots["/srv/files"] = Root(fault="hung")


def tunnel_disabled(host):
    host.facts.enabled.discard(TUNNEL)


def tunnel_to_wrong_server(host):
    host.facts.files[CONF] = host.facts.files[CONF].replace(FS, OTHER)
    port = next(iter(host.facts.listeners))
    host.facts.listeners[port] = dataclasses.replace(host.facts.listeners[port], peers=("10.0.0.20",))


def tunnel_conf_edited(host):
    host.facts.files[CONF] = host.facts.files[CONF].replace("verifyChain = yes", "verifyChain = no")


def options_differ(host):
    mounted = host.facts.at("/srv/files")
    words = tuple(("soft", None) if key == "hard" else (key, value) for key, value in mounted.options)
    host.facts.mounts = [mount for mount in host.facts.mounts if mount is not mounted]
    host.facts.mounts.append(dataclasses.replace(mounted, options=words))


def handle_stale(host):
    host.facts.roots["/srv/files"] = Root(fault="Stale file handle")


def read_ahead_lost(host):
    host.facts.read_ahead["/srv/files"] = 128


def owner_changed(host):
    host.facts.roots["/srv/files"] = Root(0, 0, 0o755)


def guard_lost(host):
    host.facts.mountpoints["/srv/files"] = Mountpoint("directory", guarded=False, how="immutable")


def retry_removed(host):
    del host.facts.files[systemd.unit_path(RETRY)]
    host.facts.enabled.discard(RETRY)


BREAKS = [
    (unmounted, "reload mount read_ahead root", False),
    (line_removed, "write reload", False),
    (line_edited, "write reload", False),
    (line_replaced, "write reload", False),
    (line_doubled, "write reload", False),
    (tunnel_stopped, "start root", False),
    (tunnel_disabled, "enable", False),
    (tunnel_to_wrong_server, "unmount write reload restart mount read_ahead root", True),
    (tunnel_conf_edited, "write reload restart", True),
    (options_differ, "unmount reload mount read_ahead root", True),
    (handle_stale, "unmount reload mount read_ahead root", True),
    (read_ahead_lost, "read_ahead", False),
    (owner_changed, "root", False),
    (guard_lost, "guard", False),
    (retry_removed, "write reload enable", False),
]


@pytest.mark.parametrize(("broken", "steps", "interrupts"), BREAKS, ids=[case[0].__name__ for case in BREAKS])
def test_one_break(broken, steps, interrupts):
    host, items = converged(SITE)
    broken(host)
    plan = host.plan(items)
    assert (plan.problems, step_names(plan)) == ([], steps)
    safe = host.plan(items, safe=True)
    assert (step_names(safe), len(safe.pending)) == (("", 1) if interrupts else (steps, 0))
    host.converge(items)
    if broken is tunnel_stopped:
        host.facts.roots["/srv/files"] = Root(5000, 5000, 0o750)  # it answers again
    assert host.plan(items).steps == []


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([case[0] for case in BREAKS]), max_size=6, unique=True), st.booleans())
def test_any_breaks_together_are_repaired_or_reported(breaks, safe):
    host, items = converged(SITE, {"path": "/srv/other", "file_system": OTHER})
    for broken in breaks:
        try:
            broken(host)
        except (StopIteration, KeyError, AttributeError, IndexError):
            continue  # an earlier break took away what this one breaks
    before = host.fstab
    plan = host.converge(items, safe)
    if plan.problems:
        assert plan.steps == []
        return
    if safe:
        assert not {"unmount", "restart"} & {action(step) for step in plan.steps}
        if "/srv/files" in " ".join(plan.pending):
            assert lines(host.fstab, "/srv/files") == lines(before, "/srv/files")
        host.facts.roots = {path: Root(5000, 5000, 0o750) for path in host.facts.roots}
        plan = host.converge(items)
    if not plan.problems:
        host.facts.roots = {path: Root(5000, 5000, 0o750) for path in host.facts.roots}
        assert host.plan(items).steps == []


# Changes of the user's list that a line of fstab alone would not carry out.


@pytest.mark.parametrize(
    ("before", "after", "transport"),
    [
        ({"options": ["ro"]}, {}, "stunnel"),
        ({"options": ["noexec", "nosuid"]}, {"options": ["nosuid"]}, "stunnel"),
        ({"options": ["acregmin=1"]}, {}, "plain"),
        ({"options": ["noac"]}, {}, "plain"),
        ({}, {"directory": "/sub"}, "efs-utils"),
        ({}, {"iam": True}, "efs-utils"),
        ({"iam": True}, {}, "efs-utils"),
        ({}, {"ca_file": "/etc/ca.pem"}, "efs-utils"),
        ({}, {"mount_target": "10.0.0.10"}, "efs-utils"),
    ],
)
def test_a_changed_wish_is_mounted_anew(before, after, transport):
    host, _ = converged(before, transport=transport)
    items = want(after, transport=transport)
    assert host.plan(items, safe=True).pending
    plan = host.converge(items)
    assert {"unmount", "mount"} <= set(step_names(plan).split())
    assert host.plan(items).steps == []


@pytest.mark.parametrize(
    ("live", "wanted"),
    [
        ([], ["noexec", "nosuid"]),
        (["nosuid"], []),
        (["noexec", "nosuid"], ["nosuid"]),
        (["nosuid"], ["nosuid", "noatime"]),
    ],
)
def test_a_mount_that_somebody_remounted_with_other_options_is_mounted_again(live, wanted):
    """mount -o remount,exec: fstab is as wanted and none of these options is a default, so only their comparison shows it."""
    host, _ = converged({"options": live})
    items = want({"options": wanted})
    host.facts.fstab = converged({"options": wanted})[0].facts.fstab
    assert {"unmount", "mount"} <= set(step_names(host.converge(items)).split())
    assert host.plan(items).steps == []


def test_a_tunnel_to_a_wrong_server_is_restarted_although_its_file_is_right():
    host, items = converged({})
    port = next(iter(host.facts.listeners))
    host.facts.listeners[port] = dataclasses.replace(host.facts.listeners[port], peers=("10.0.0.20",))
    assert "restart" in step_names(host.converge(items)).split()
    assert host.plan(items).steps == []


def test_a_tunnel_that_starts_with_another_configuration_is_tried_first():
    host, _ = converged({})
    items = want({"ca_file": "/etc/ca.pem"})
    assert [item.ca_file for item in host.plan(items).tunnelled] == ["/etc/ca.pem"]
    assert host.plan(want({})).tunnelled == []


# What stops a run: a sentence, and nothing is done.


def tmpfs_over(host):
    host.facts.mounts += tables.mounts("9 1 0:9 / /srv/files rw - tmpfs tmpfs rw\n")


def other_file_system(host):
    host.unmount("/srv/files")
    host.facts.mounts += tables.mounts(
        f"9 1 0:9 / /srv/files rw - nfs4 {OTHER}.efs.eu-central-1.amazonaws.com:/ rw,vers=4.1,addr=10.0.0.20\n"
    )


def files_below(host):
    host.unmount("/srv/files")
    host.facts.mountpoints["/srv/files"] = Mountpoint("directory", ("a.jpg", "b.jpg"), guarded=False, how="immutable")


def frozen(host):
    host.facts.roots["/srv/files"] = Root(fault="hung")


def name_gone(host):
    host.facts.addresses = {}


def unmanaged_line(host):
    host.unmount("/srv/files")
    host.fstab = FSTAB + "10.9.9.9:/x /srv/files nfs defaults 0 0\n"


def port_taken(host):
    port = next(iter(host.facts.listeners))
    host.facts.listeners[port] = Listener(7, "nc", "session-1.scope", ())
    host.unmount("/srv/files")


def inner_mount_of_others(host):
    options_differ(host)
    host.facts.mounts += tables.mounts("9 1 0:9 / /srv/files/cache rw - tmpfs tmpfs rw\n")


STOPS = [
    (
        tmpfs_over,
        "mounts[0]: /srv/files already holds a mount that is not ours (it is tmpfs from tmpfs): unmount it, or set "
        "replace: true for this mount",
    ),
    (
        other_file_system,
        "mounts[0]: /srv/files already holds a mount that is not ours (it is NFS from "
        f"{OTHER}.efs.eu-central-1.amazonaws.com:/ (10.0.0.20)): unmount it, or set replace: true for this mount",
    ),
    (
        files_below,
        "mounts[0]: /srv/files holds files that the mount would hide (a.jpg, b.jpg): move them away, nothing was touched",
    ),
    (
        frozen,
        f"mounts[0]: {FS} at /srv/files does not answer: see whether its mount target can be reached and works; "
        "processes that use it wait until it does",
    ),
    (
        name_gone,
        f"mounts[0]: /srv/files cannot be proved to be {FS}: {FS}.efs.eu-central-1.amazonaws.com does not resolve, so "
        f"nothing proves that it is {FS}",
    ),
    (
        unmanaged_line,
        "mounts[0]: /srv/files has a line in fstab that is not ours (line 2, 10.9.9.9:/x): remove it, or set replace: true "
        "for this mount",
    ),
    (port_taken, None),
    (
        inner_mount_of_others,
        "/srv/files has to be unmounted, but /srv/files/cache is mounted inside: unmount it first",
    ),
]


@pytest.mark.parametrize(("broken", "sentence"), STOPS, ids=[case[0].__name__ for case in STOPS])
@pytest.mark.parametrize("safe", [False, True])
def test_what_stops_a_run(broken, sentence, safe):
    host, items = converged(SITE)
    broken(host)
    plan = host.plan(items, safe)
    assert plan.steps == []
    assert len(plan.problems) == 1
    if sentence:
        assert plan.problems == [sentence]


@pytest.mark.parametrize("broken", [tmpfs_over, other_file_system, unmanaged_line])
def test_the_way_out_is_a_switch(broken):
    host, _ = converged(SITE)
    broken(host)
    items = want({**SITE, "replace": True})
    assert host.converge(items).problems == []
    assert host.plan(items).steps == []
    assert len(host.fstab.splitlines()) == 2


def test_an_unknown_owner_stops():
    host = Host()
    (sentence,) = host.plan(want({"owner": "nobody-here"})).problems
    assert sentence == (
        "mounts[0].owner is 'nobody-here', which this server does not know: create it first, or give its number"
    )


def test_a_hand_made_line_for_the_same_file_system_is_taken_over():
    host = Host()
    host.fstab = FSTAB + f"{FS}.efs.eu-central-1.amazonaws.com:/ /srv/files nfs4 defaults 0 0\n# mine\n"
    items = want({})
    assert host.converge(items).problems == []
    rows = host.fstab.splitlines()
    assert (len(rows), rows[2]) == (3, "# mine")
    assert f"x-samefiles.aws={FS}" in rows[1]


@pytest.mark.parametrize("change", [{"transport": "plain"}, {"options": ["ro"]}, {"file_system": OTHER}])
def test_a_change_of_mind_unmounts_once_and_leaves_no_leftover(change):
    host, _ = converged({})
    items = want(change)
    safe = host.plan(items, safe=True)
    assert (safe.steps, len(safe.pending)) == ([], 1)
    plan = host.converge(items)
    assert step_names(plan).count("unmount") == 1
    assert host.plan(items).steps == []
    units = {tunnel_unit.file_system_of(listener.unit) for listener in host.facts.listeners.values()}
    wanted = {item.file_system for item in items if item.transport == "stunnel"}
    assert units == wanted
    assert {path for path in host.facts.files if path.endswith(".conf")} == {tunnel_conf.conf_path(fs) for fs in wanted}


def test_absent_takes_everything_away_but_the_files():
    host, _ = converged(SITE)
    items = want({"state": "absent"})
    assert step_names(host.plan(items, safe=True)) == ""
    plan = host.converge(items)
    assert step_names(plan) == "unmount stop stop remove remove remove write reload unguard"
    assert (host.fstab, host.facts.files, host.facts.enabled, host.facts.listeners) == (FSTAB, {}, set(), {})
    assert host.plan(items).steps == []


def test_absent_keeps_a_tunnel_that_another_mount_uses():
    host, _ = converged({}, {"path": "/srv/second", "directory": "/b"})
    items = want({"state": "absent"}, {"path": "/srv/second", "directory": "/b"})
    host.converge(items)
    assert [listener.unit for listener in host.facts.listeners.values()] == [TUNNEL]
    assert host.plan(items).steps == []


def test_a_mount_that_is_no_longer_listed_is_reported_and_stays():
    host, _ = converged({}, {"path": "/srv/second", "file_system": OTHER})
    items = want({})
    plan = host.plan(items)
    assert (plan.steps, plan.unlisted) == ([], ["/srv/second"])
    assert "list it with state: absent" in plan.warnings[0]


def test_parents_first_and_children_down_first():
    inner = {"path": "/srv/files/in", "directory": "/in"}
    host, items = converged({}, inner)
    options_differ(host)
    plan = host.plan(items)
    order = [(action(step), step.path) for step in plan.steps if isinstance(step, (Unmount, Mount))]
    assert order == [
        ("unmount", "/srv/files/in"),
        ("unmount", "/srv/files"),
        ("mount", "/srv/files"),
        ("mount", "/srv/files/in"),
    ]


def test_safe_defers_everything_that_uses_a_deferred_tunnel():
    host, _ = converged({})
    tunnel_conf_edited(host)
    items = want({}, {"path": "/srv/new", "directory": "/new"})
    plan = host.plan(items, safe=True)
    assert plan.steps == []
    assert len(plan.pending) == 2


def test_a_deferred_mount_whose_line_is_gone_keeps_its_tunnel():
    host, items = converged({})
    options_differ(host)
    line_removed(host)
    assert host.plan(items, safe=True).steps == []


def test_the_proof_of_efs_utils_is_its_state_file():
    host, items = converged({"access_point": AP, "iam": True}, transport="efs-utils")
    assert f"accesspoint={AP}" in host.fstab
    host.facts.states = [dataclasses.replace(host.facts.states[0], access_point=None)]
    plan = host.plan(items)
    assert step_names(plan).startswith("unmount")
    host.facts.states = [dataclasses.replace(host.facts.states[0], file_system=OTHER)]
    assert "not ours" in host.plan(items).problems[0]


def test_a_known_port_is_kept_and_a_taken_one_avoided():
    host = Host()
    first = tunnel_conf.choose_port(FS, set())
    host.facts.listeners[first] = Listener(7, "nc", "", ())
    items = want({})
    host.converge(items)
    assert f"port={first + 1}," in host.fstab
    assert host.plan(items).steps == []


def test_warns_about_files_that_a_right_mount_hides():
    host, items = converged({})
    host.facts.mountpoints["/srv/files"] = Mountpoint("directory", ("old.jpg",), how="immutable")
    plan = host.plan(items)
    assert (plan.steps, plan.problems) == ([], [])
    assert "hides files of the server's own disk (old.jpg)" in plan.warnings[0]


def test_the_sentences_read_well():
    host, items = Host(), want(SITE)
    assert [step.text for step in host.plan(items).steps] == [
        f"write /etc/samefiles/{FS}.conf",
        f"write /etc/systemd/system/{RETRY}",
        f"write /etc/systemd/system/{TUNNEL}",
        "change the lines of /etc/fstab that belong to our mounts",
        "make systemd read its units and fstab again",
        f"enable {TUNNEL}",
        f"enable {RETRY}",
        f"start {TUNNEL}",
        "make the mountpoint /srv/files: root-owned, mode 0, immutable",
        f"mount {FS} at /srv/files over stunnel",
        "set the read-ahead of /srv/files to 15360 KiB",
        f"ensure that the root of {FS} has owner 5000, group 5000, mode 0750",
    ]
