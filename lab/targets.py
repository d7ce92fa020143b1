"""The commands that make the lab's balancer follow a target group: decisions over plain data, no I/O.

HAProxy has a fixed row of server slots. A target takes a free one, keeps it while it is registered and while it
drains, and gives it back. Every slot stands in two back ends: `targets`, where it is checked, and `all`, where it is
not, and which takes the traffic while no target is healthy (an ALB fails open in the same way).
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import re
import urllib.parse
from typing import TypedDict

from lab.settings import MOST_SERVERS

BACKENDS = ("targets", "all")
NO_TARGET = "No server is in service behind this balancer."

# An ALB's reasons, with the sentence that it adds
REGISTERING = ("Elb.RegistrationInProgress", "Target registration is in progress")
INITIAL = ("Elb.InitialHealthChecking", "Initial health checks in progress")
DRAINING = ("Target.DeregistrationInProgress", "Target deregistration is in progress")
UNUSED = ("Target.NotRegistered", "Target is not registered to the target group")
FAILED = {
    "L7STS": ("Target.ResponseCodeMismatch", "Health checks failed: the answer has another status than expected"),
    "L4TOUT": ("Target.Timeout", "Health checks failed: no connection within the time-out"),
    "L7TOUT": ("Target.Timeout", "Health checks failed: no answer within the time-out"),
}
FAILED_OTHERWISE = ("Target.FailedHealthChecks", "Health checks failed")

# Without `http-server-close` HAProxy would send requests into kept connections to a server that has lost its power
# (nothing closes them), and each of these requests would fail after a minute.
CONFIGURATION = """\
global
  maxconn 4000
  log stdout format raw local0
  stats socket /alb/run.sock mode 600 level admin
  server-state-file /alb/servers.state
defaults
  mode http
  log global
  option httplog
  option dontlog-normal
  option http-server-close
  option idle-close-on-response
  option redispatch 1
  retries 3
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  timeout http-request 60s
  timeout http-keep-alive 60s
  timeout check {timeout}s
  load-server-state-from-file global
frontend listener
  bind :80
  # a process that has been replaced counts no server, and still serves the clients that are connected to it
  acl replaced stopping
  http-request return status 503 content-type text/plain string "{no_target}\\n" if !replaced {{ nbsrv(all) eq 0 }}
  acl forwarded req.hdr(X-Forwarded-For) -m found
  http-request set-header X-Forwarded-For "%[req.fhdr(X-Forwarded-For)], %[src]" if forwarded
  http-request set-header X-Forwarded-For %[src] if !forwarded
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Port "${{SITE_PORT}}"
  use_backend all if !replaced {{ nbsrv(targets) eq 0 }}
  default_backend targets
backend targets
  balance roundrobin
  option httpchk
  http-check send meth GET uri {path} ver HTTP/1.1 hdr Host health-check hdr User-Agent ELB-HealthChecker/2.0
  http-check expect status {matcher}
  default-server check inter {interval}s rise {healthy} fall {unhealthy}{port}
  server-template t 1-{slots} target.invalid:80 disabled init-addr last,0.0.0.0
backend all
  balance roundrobin
  server-template t 1-{slots} target.invalid:80 disabled init-addr last,0.0.0.0
"""


@dataclasses.dataclass(frozen=True)
class Group:
    """A target group, as far as the balancer follows it."""

    path: str = "/healthz"
    port: str = "traffic-port"
    interval: int = 5
    timeout: int = 2
    healthy: int = 2
    unhealthy: int = 2
    matcher: str = "200"
    delay: int = 10  # seconds that a deregistered target drains

    @property
    def patience(self) -> int:
        """The seconds after which a new target that is not healthy is unhealthy."""
        return self.unhealthy * self.interval + self.timeout


@dataclasses.dataclass(frozen=True)
class Slot:
    """One server slot, as HAProxy shows it."""

    name: str
    address: str  # ADDRESS:PORT
    admin: str  # ready, drain or free
    up: bool
    check: str  # HAProxy's code of the last check


class _State(TypedDict):
    state: str


class Answer(_State, total=False):
    """What DescribeTargetHealth says of a target; reason and description go together."""

    reason: str
    description: str


class TargetRecord(Answer):
    """What is reported of a target, and remembered for the next round."""

    address: str  # ADDRESS:PORT
    since: float


def configuration(group: Group) -> str:
    """HAProxy's configuration; targets are no part of it. Its last word is what `show info` calls it by."""
    text = CONFIGURATION.format(
        path=urllib.parse.quote(group.path, safe="/?&=%:@!*()+,;~"),
        matcher=re.sub(r"[^0-9,-]", "", group.matcher),
        port="" if group.port == "traffic-port" else f" port {int(group.port)}",
        interval=group.interval,
        timeout=group.timeout,
        healthy=group.healthy,
        unhealthy=group.unhealthy,
        slots=MOST_SERVERS,
        no_target=NO_TARGET,
    )
    return f"{text}global\n  description {hashlib.sha256(text.encode()).hexdigest()[:16]}\n"


def slots(stat: str) -> list[Slot]:
    """The server slots in the answer to `show stat`."""
    rows = {(row["pxname"], row["svname"]): row for row in csv.DictReader(stat.lstrip("# ").splitlines())}
    all_slots = []
    for number in range(1, MOST_SERVERS + 1):
        checked, unchecked = (rows[backend, f"t{number}"] for backend in BACKENDS)
        # a server that is down does not show that it drains, so the back end without checks is asked
        admin = {"MAINT": "free", "DRAIN": "drain"}.get(unchecked["status"], "ready")
        up = checked["status"].split(" ")[0] == "UP"
        check = checked["check_status"].removeprefix("* ")  # the mark of a check that is running
        all_slots.append(Slot(f"t{number}", unchecked["addr"], admin, up, check))
    return all_slots


def _to(state: str, slot: str) -> list[str]:
    return [f"set server {backend}/{slot} state {state}" for backend in BACKENDS]


def _enter(slot: str, address: str) -> list[str]:
    """Commands that put a target into service, down until its checks have passed.

    A server that leaves maintenance counts as up, so it drains until its health is set to down.
    """
    host, port = address.rsplit(":", 1)
    place = [f"set server {backend}/{slot} addr {host} port {port}" for backend in BACKENDS]
    return [*place, *_to("drain", slot), f"set server targets/{slot} health down", *_to("ready", slot)]


def _cut(slot: str) -> list[str]:
    """Commands that give a slot back and close what connections are left."""
    return [*_to("maint", slot), *(f"shutdown sessions server {backend}/{slot}" for backend in BACKENDS)]


def _answer(state: str, reason: tuple[str, str] | None) -> Answer:
    return {"state": state, "reason": reason[0], "description": reason[1]} if reason else {"state": state}


def _record(state: str, reason: tuple[str, str] | None, address: str, since: float) -> TargetRecord:
    return {**_answer(state, reason), "address": address, "since": since}


def _measured(before: TargetRecord | None, slot: Slot, group: Group, now: float) -> TargetRecord:
    """What HAProxy's checks say of a target in service."""
    old, then = (before["state"], before["since"]) if before else (None, now)
    begins = old in (None, "draining") or (old == "initial" and now - then < group.patience)
    state = "healthy" if slot.up else "initial" if begins else "unhealthy"
    reason = {"healthy": None, "initial": INITIAL}.get(state, FAILED.get(slot.check, FAILED_OTHERWISE))
    return _record(state, reason, address=slot.address, since=then if old == state else now)


def plan(
    before: dict[str, TargetRecord], targets: dict[str, str], row: list[Slot], group: Group, now: float
) -> tuple[list[str], dict[str, TargetRecord]]:
    """The commands that bring HAProxy in line with the targets (ADDRESS:PORT by id), and what to report of each.

    BEFORE is what was reported a moment ago: only it knows since when a target drains.
    """
    commands: list[str] = []
    after: dict[str, TargetRecord] = {}
    used = {slot.address: slot for slot in row if slot.admin != "free"}
    free = [slot.name for slot in row if slot.admin == "free"]
    for identity, address in targets.items():
        slot = used.pop(address, None)
        if slot and slot.admin == "ready":
            after[identity] = _measured(before.get(identity), slot, group, now)
        elif slot or free:
            commands += _enter(slot.name if slot else free.pop(0), address)
            after[identity] = _record("initial", INITIAL, address=address, since=now)
    owners = {record["address"]: identity for identity, record in before.items()}
    for address, slot in used.items():
        identity = owners.get(address, address)
        old = before.get(identity)
        since = old["since"] if old and old["state"] == "draining" else now
        if now - since >= group.delay:
            commands += _cut(slot.name)
            continue
        after[identity] = _record("draining", DRAINING, address=address, since=since)
        if slot.admin == "ready":
            commands += _to("drain", slot.name)
    return commands, after


def answer(record: TargetRecord | None, registered: bool) -> Answer:
    """What DescribeTargetHealth says of a target with this record (None: nothing was reported)."""
    if not registered:
        return _answer("draining", DRAINING) if record else _answer("unused", UNUSED)
    if not record or record["state"] == "draining":
        return _answer("initial", REGISTERING)
    return record
