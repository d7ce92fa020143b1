"""The commands that make HAProxy follow the target group, and what is reported of the targets."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.settings import MOST_SERVERS
from lab.targets import BACKENDS, DRAINING, INITIAL, UNUSED, Group, Slot, answer, configuration, plan, slots

GROUP = Group()
A, B = "10.0.0.1:80", "10.0.0.2:80"
NOW = 1000.0
FREE = Slot("t9", "0.0.0.0:80", "free", False, "")
ENTER = [
    "set server targets/t9 addr 10.0.0.1 port 80",
    "set server all/t9 addr 10.0.0.1 port 80",
    "set server targets/t9 state drain",
    "set server all/t9 state drain",
    "set server targets/t9 health down",
    "set server targets/t9 state ready",
    "set server all/t9 state ready",
]
AGAIN = [command.replace("t9", "t1") for command in ENTER]
DRAIN = ["set server targets/t1 state drain", "set server all/t1 state drain"]
CUT = [
    "set server targets/t1 state maint",
    "set server all/t1 state maint",
    "shutdown sessions server targets/t1",
    "shutdown sessions server all/t1",
]


def record(state: str, since: float = NOW, address: str = A) -> dict:
    return {"state": state, "address": address, "since": since}


def slot(admin: str = "ready", up: bool = True, check: str = "L7OK", name: str = "t1", address: str = A) -> Slot:
    return Slot(name, address, admin, up, check)


CASES = {
    "a new target takes a free slot": ({}, {"i": A}, [FREE], ENTER, ("initial", NOW)),
    "without a free slot it waits": ({"b": record("draining", address=B)}, {"i": A}, [slot("drain", address=B)], [], None),
    "it stays initial until it is up": ({"i": record("initial", 990)}, {"i": A}, [slot(up=False)], [], ("initial", 990)),
    "but not for ever": ({"i": record("initial", 980)}, {"i": A}, [slot(up=False)], [], ("unhealthy", NOW)),
    "then it is healthy": ({"i": record("initial", 990)}, {"i": A}, [slot()], [], ("healthy", NOW)),
    "and remains so": ({"i": record("healthy", 500)}, {"i": A}, [slot()], [], ("healthy", 500)),
    "it becomes unhealthy": ({"i": record("healthy", 500)}, {"i": A}, [slot(up=False)], [], ("unhealthy", NOW)),
    "and healthy again": ({"i": record("unhealthy", 900)}, {"i": A}, [slot()], [], ("healthy", NOW)),
    "deregistered it drains": ({"i": record("healthy", 500)}, {}, [slot()], DRAIN, ("draining", NOW)),
    "also when it is down": ({"i": record("unhealthy", 500)}, {}, [slot(up=False)], DRAIN, ("draining", NOW)),
    "for a while": ({"i": record("draining", 991)}, {}, [slot("drain")], [], ("draining", 991)),
    "a lost command is given again": ({"i": record("draining", 991)}, {}, [slot()], DRAIN, ("draining", 991)),
    "then it is cut off": ({"i": record("draining", 990)}, {}, [slot("drain")], CUT, None),
    "registered while it drains it starts again": (
        {"i": record("draining", 995)}, {"i": A}, [slot("drain")], AGAIN, ("initial", NOW),
    ),
    "HAProxy forgot everything": ({"i": record("healthy", 500)}, {"i": A}, [FREE], ENTER, ("initial", NOW)),
    "HAProxy forgot what drained": ({"i": record("draining", 995)}, {}, [FREE], [], None),
    "the program forgot everything": ({}, {"i": A}, [slot()], [], ("healthy", NOW)),
    "the program forgot one that is down": ({}, {"i": A}, [slot(up=False)], [], ("initial", NOW)),
    "an instance was replaced at the same address": (
        {"old": record("draining", 995)}, {"i": A}, [slot("drain")], AGAIN, ("initial", NOW),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("before", "targets", "row", "commands", "outcome"), CASES.values(), ids=CASES)
def test_plan(before, targets, row, commands, outcome):
    planned, after = plan(before, targets, row, GROUP, NOW)
    assert planned == commands
    entry = after.get("i")
    assert (entry and (entry["state"], entry["since"])) == outcome
    assert "old" not in after


def test_unknown_server_drains_under_its_address():
    commands, after = plan({}, {}, [slot()], GROUP, NOW)
    assert (commands, list(after)) == (DRAIN, [A])
    assert plan(after, {}, [slot("drain")], GROUP, NOW + GROUP.delay)[0] == CUT


def test_delay_of_nothing_cuts_at_once():
    assert plan({"i": record("healthy")}, {}, [slot()], Group(delay=0), NOW) == (CUT, {})


@pytest.mark.parametrize(
    ("check", "reason"),
    [
        ("L7STS", "Target.ResponseCodeMismatch"),
        ("L7TOUT", "Target.Timeout"),
        ("L4TOUT", "Target.Timeout"),
        ("L4CON", "Target.FailedHealthChecks"),
    ],
)
def test_reason_of_the_unhealthy(check, reason):
    _, after = plan({"i": record("healthy")}, {"i": A}, [slot(up=False, check=check)], GROUP, NOW)
    assert after["i"]["reason"] == reason
    assert after["i"]["description"]


@pytest.mark.parametrize(
    ("entry", "registered", "state", "reason"),
    [
        (None, False, "unused", UNUSED[0]),
        (record("healthy"), False, "draining", DRAINING[0]),
        (record("draining"), False, "draining", DRAINING[0]),
        (None, True, "initial", "Elb.RegistrationInProgress"),
        (record("draining"), True, "initial", "Elb.RegistrationInProgress"),
        (record("healthy"), True, "healthy", None),
        ({**record("initial"), "reason": INITIAL[0]}, True, "initial", INITIAL[0]),
    ],
)
def test_answer(entry, registered, state, reason):
    said = answer(entry, registered)
    assert (said["state"], said.get("reason")) == (state, reason)


class Model:
    """HAProxy's servers, as the commands leave them; every server in service is up."""

    def __init__(self):
        self.servers = {f"{backend}/t{n}": ["0.0.0.0:80", "maint"] for backend in BACKENDS for n in range(1, 6)}

    def run(self, command: str) -> None:
        words = command.split()
        if words[:2] == ["set", "server"]:
            server = self.servers[words[2]]
            if words[3] == "addr":
                server[0] = f"{words[4]}:{words[6]}"
            elif words[3] == "state":
                server[1] = words[4]

    def slots(self) -> list[Slot]:
        row = []
        for n in range(1, 6):
            checked, unchecked = (self.servers[f"{backend}/t{n}"] for backend in BACKENDS)
            assert checked == unchecked
            address, admin = unchecked
            row.append(Slot(f"t{n}", address, "free" if admin == "maint" else admin, admin == "ready", "L7OK"))
        return row


@given(st.lists(st.tuples(st.sets(st.sampled_from("abcde")), st.integers(0, 15)), max_size=12))
def test_haproxy_follows_whatever_is_registered(steps):
    """Whatever comes and goes: what is registered is in service, nothing else is, and what left drains its time."""
    model, before, now, left = Model(), {}, NOW, {}
    for registered, seconds in steps:
        now += seconds
        left = {name: left.get(name, now) for name in "abcde" if name not in registered and name in {*left, *before}}
        targets = {name: f"10.0.0.{ord(name)}:80" for name in registered}
        commands, before = plan(before, targets, model.slots(), GROUP, now)
        for command in commands:
            model.run(command)
        assert sorted(item.address for item in model.slots() if item.admin == "ready") == sorted(targets.values())
        drained = {item.address for item in model.slots() if item.admin == "drain"}
        assert drained == {f"10.0.0.{ord(name)}:80" for name, since in left.items() if now - since < GROUP.delay}
        assert {name for name in before if before[name]["state"] != "draining"} == registered
        assert plan(before, targets, model.slots(), GROUP, now)[0] == []


def stat(*servers: tuple[str, str, str, str, str]) -> str:
    """An answer to `show stat`: every server is in maintenance but those given as back end, name, status, check, address."""
    rows = {(backend, f"t{n}"): ("MAINT", "", "0.0.0.0:80") for backend in BACKENDS for n in range(1, MOST_SERVERS + 1)}
    rows |= {server[:2]: server[2:] for server in servers}
    lines = [f"{backend},{name},{','.join(rest)},-" for (backend, name), rest in rows.items()]
    return "\n".join(["# pxname,svname,status,check_status,addr,-", *lines, "targets,BACKEND,UP,,,-", "", ""])


@pytest.mark.parametrize(
    ("checked", "unchecked", "expected"),
    [
        (("UP", "L7OK"), "no check", ("ready", True, "L7OK")),
        (("UP 1/3", "L7STS"), "no check", ("ready", True, "L7STS")),
        (("DOWN", "* L4CON"), "no check", ("ready", False, "L4CON")),
        (("DOWN 1/2", "L7OK"), "no check", ("ready", False, "L7OK")),
        (("DRAIN", "L7OK"), "DRAIN", ("drain", False, "L7OK")),
        (("DOWN", "L4TOUT"), "DRAIN", ("drain", False, "L4TOUT")),
        (("MAINT", ""), "MAINT", ("free", False, "")),
    ],
)
def test_slots(checked, unchecked, expected):
    parsed = slots(stat(("targets", "t2", *checked, A), ("all", "t2", unchecked, "", A)))
    assert len(parsed) == MOST_SERVERS
    assert parsed[1] == Slot("t2", A, *expected)


def test_configuration_has_the_health_check():
    text = configuration(Group("/ready?deep=1", "8080", 30, 7, 3, 4, "200-299,404"))
    assert "uri /ready?deep=1 ver" in text
    assert "expect status 200-299,404\n" in text
    assert "check inter 30s rise 3 fall 4 port 8080\n" in text
    assert "timeout check 7s\n" in text
    assert " port " not in configuration(GROUP)


def test_configuration_cannot_be_broken_by_a_path():
    text = configuration(dataclasses.replace(GROUP, path="/a b'\"#\n$HOME\\", matcher="200 ; x"))
    assert "uri /a%20b%27%22%23%0A%24HOME%5C ver" in text
    assert "expect status 200\n" in text


def test_configuration_is_known_by_its_last_word():
    words = [configuration(group).split()[-1] for group in (GROUP, Group(), Group(delay=300), Group(path="/other"))]
    assert words[0] == words[1] == words[2] != words[3]
