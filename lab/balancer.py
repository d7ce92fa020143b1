"""Keeps the lab's balancer in step with the target group in moto, and reports to moto what the health checks measured.

Run as `python -m lab.balancer LAB PORT CODE`, where PORT is moto's. Once a second it reads the target group and its targets
from moto and the server slots from HAProxy, and gives HAProxy the commands that lab/targets.py decides on. HAProxy is
reloaded (never restarted) when the health check changes. While moto does not answer, or has lost its record and does
not have all of it again, the last answer stands; while HAProxy does not answer, nothing is reported.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable

from lab import engine
from lab.aws import client
from lab.daemons import Daemon
from lab.identity import write
from lab.settings import Lab
from lab.targets import Group, TargetRecord, configuration, plan, slots

PERIOD = 1.0
STALE = 15  # seconds without a report after which the program counts as dead


def program(lab: Lab) -> Daemon:
    """The program of a lab."""

    def responds() -> bool:
        try:
            return time.time() - lab.health.stat().st_mtime < STALE
        except FileNotFoundError:
            return False

    return Daemon(lab, "the balancer's program", "lab.balancer", (lab.name, str(lab.aws_port)), responds)


class Aws:
    """The target group, as moto has it."""

    def __init__(self, name: str, endpoint: str):
        self.name = name
        self.elb, self.ec2 = client("elbv2", endpoint), client("ec2", endpoint)

    def read(self) -> tuple[Group, dict[str, str]] | None:
        """The target group and its targets in service (ADDRESS:PORT by id); None while no listener forwards to it."""
        description = self.elb.describe_target_groups(Names=[self.name])["TargetGroups"][0]
        if not description["LoadBalancerArns"]:
            return None
        arn = description["TargetGroupArn"]
        attributes = self.elb.describe_target_group_attributes(TargetGroupArn=arn)["Attributes"]
        delay = {item["Key"]: item["Value"] for item in attributes}["deregistration_delay.timeout_seconds"]
        group = Group(
            path=description["HealthCheckPath"],
            port=description["HealthCheckPort"],
            interval=description["HealthCheckIntervalSeconds"],
            timeout=description["HealthCheckTimeoutSeconds"],
            healthy=description["HealthyThresholdCount"],
            unhealthy=description["UnhealthyThresholdCount"],
            matcher=description["Matcher"]["HttpCode"],
            delay=int(delay),
        )
        return group, self._targets(arn)

    def _targets(self, arn: str) -> dict[str, str]:
        targets = self.elb.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
        ports = {
            item["Target"]["Id"]: item["Target"]["Port"]
            for item in targets
            if item["TargetHealth"]["State"] != "draining"
        }
        filters = [
            {"Name": "instance-id", "Values": list(ports)},
            {"Name": "instance-state-name", "Values": ["running"]},
        ]
        pages = self.ec2.get_paginator("describe_instances").paginate(Filters=filters) if ports else []
        running = [item for page in pages for part in page["Reservations"] for item in part["Instances"]]
        return {item["InstanceId"]: f"{item['PrivateIpAddress']}:{ports[item['InstanceId']]}" for item in running}


class Follower:
    """What the program remembers from one second to the next."""

    def __init__(self, lab: Lab, aws: Aws):
        self.lab = lab
        self.aws = aws
        self.wanted: tuple[Group, dict[str, str]] | None = None
        self.trouble: dict[str, str] = {}
        self.records: dict[str, TargetRecord]
        try:
            self.records = json.loads(lab.health.read_text())
        except (OSError, ValueError):
            self.records = {}

    def ask(self, command: str) -> str:
        """Give HAProxy one command; returns its answer."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self.lab.alb / "run.sock"))
            connection.sendall(command.encode() + b"\n")
            with connection.makefile() as answer:
                return answer.read()

    def attempt(self, what: str, function: Callable[[], None]) -> None:
        """Do a part of the round; an error is printed once, not every second."""
        try:
            function()
            trouble = ""
        except Exception as error:  # moto and HAProxy may be down, starting or cut off in the middle of an answer
            trouble = repr(error)
        if trouble != self.trouble.get(what, ""):
            print(f"{what}: {trouble or 'in order again'}", flush=True)
        self.trouble[what] = trouble

    def read(self) -> None:
        """Read what is wanted."""
        self.wanted = self.aws.read() or self.wanted

    def apply(self) -> None:
        """Bring HAProxy in line and report what it measured."""
        if not self.wanted:
            return
        group, targets = self.wanted
        commands, records = plan(self.records, targets, slots(self.ask("show stat")), group, time.time())
        for command in commands:
            print(command, self.ask(command).strip(), flush=True)
        if records != self.records:
            self.keep_servers()
        self.records = records
        write(self.lab.health, json.dumps(records, indent=2) + "\n")
        self.lab.health.touch()
        self.configure(configuration(group))

    def keep_servers(self) -> None:
        """Keep what HAProxy knows of its servers for the process that takes over from it."""
        write(self.lab.alb / "servers.state", self.ask("show servers state"))

    def configure(self, text: str) -> None:
        """Reload HAProxy unless this is the configuration it runs; connections go on in the process that is replaced."""
        if text.split()[-1] not in self.ask("show info").split():
            self.keep_servers()
            write(self.lab.alb / "haproxy.cfg", text)
            engine.docker("kill", "--signal", "USR2", f"{self.lab.prefix}-alb")
            print("reloaded", flush=True)


def main() -> None:
    """Follow, for ever."""
    name, port = sys.argv[1:3]
    lab = Lab(name, 0)  # only its name counts here: state directory, container, target group
    follower = Follower(lab, Aws(lab.prefix, f"http://127.0.0.1:{port}"))
    while True:
        begin = time.monotonic()
        follower.attempt("AWS API", follower.read)
        follower.attempt("HAProxy", follower.apply)
        time.sleep(max(0.0, begin + PERIOD - time.monotonic()))


if __name__ == "__main__":
    main()
