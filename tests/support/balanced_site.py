"""The balancer with targets of its own and no lab around it, and the load on it, for test_balancer.py."""

from __future__ import annotations

import collections
import dataclasses
import http.client
import ipaddress
import json
import pathlib
import shutil
import threading
import time

from lab import aws, balancer, containers, engine, images
from lab.settings import Lab
from tests.support.fleet import wait

TARGET = pathlib.Path(__file__).with_name("target_server.py")


class Place(Lab):
    """Names, addresses and ports beside those of every lab; always the same, so that leftovers are found again."""

    subnet = ipaddress.IPv4Network("10.78.250.0/24")
    aws_port = 5599
    site_port = 8099


class Site:
    """moto, the balancer with its program, and two targets."""

    def __init__(self):
        self.lab = Place("balancertest", 0)
        self.servers = [self.lab.server(number) for number in (1, 2)]

    def make(self) -> None:
        """Start everything, with both targets in service."""
        self.remove()
        image = images.ensure("efs", "half a minute")
        containers.network(self.lab)
        for server in self.servers:
            arguments = [
                *containers.on_network(self.lab, server.address, server.name), "--init",
                "--volume", f"{TARGET}:/target.py:ro", "--entrypoint", "/usr/bin/python3",
            ]  # fmt: skip
            engine.ensure_container(server.container, arguments, image, ["/target.py", server.name])
        self.lab.alb.mkdir(parents=True)
        self.record()
        containers.balancer(self.lab, image)
        balancer.program(self.lab).start()
        self.wait_for("healthy", "healthy")

    def record(self) -> None:
        """Start moto and make its record, as `make lab` does."""
        aws.moto(self.lab).start()
        record = aws.Record(self.lab)
        self.ids = list(record.servers(self.servers, {}).values())
        record.balancer(self.ids)
        self.elb = record.elb
        self.group = record.elb.describe_target_groups(Names=[self.lab.prefix])["TargetGroups"][0]["TargetGroupArn"]

    def remove(self) -> None:
        """Leave nothing behind."""
        balancer.program(self.lab).stop()
        aws.moto(self.lab).stop()
        containers.remove(self.lab)
        shutil.rmtree(self.lab.state, ignore_errors=True)

    def states(self) -> list[str]:
        """The states of the targets, as AWS would report them."""
        return [self.health(number)["State"] for number in (0, 1)]

    def health(self, number: int) -> dict:
        """What the AWS API says of one target."""
        asked = self.elb.describe_target_health(TargetGroupArn=self.group, Targets=[{"Id": self.ids[number]}])
        return asked["TargetHealthDescriptions"][0]["TargetHealth"]

    def wait_for(self, *states: str, timeout: float = 40) -> float:
        """Wait until the targets are in these states; returns the seconds it took."""
        return wait(lambda: self.states() == list(states), timeout, f"{states}, last {self.states()}", every=0.2)

    def register(self, number: int) -> None:
        """Put a target into service."""
        self.elb.register_targets(TargetGroupArn=self.group, Targets=[{"Id": self.ids[number]}])

    def deregister(self, number: int) -> None:
        """Take a target out of service."""
        self.elb.deregister_targets(TargetGroupArn=self.group, Targets=[{"Id": self.ids[number]}])

    def sick(self, *command: str) -> None:
        """Run a command on the marker that makes a target unhealthy, on both."""
        for server in self.servers:
            engine.docker("exec", server.container, *command, "/sick")

    def checks(self, number: int) -> list[str]:
        """The paths of the health checks that a target has seen."""
        return request(80, host=self.servers[number].address).answer["checks"]

    def upload(self, seconds: float) -> Request:
        """Send one byte each tenth of a second."""

        def body():
            for _ in range(int(seconds * 10)):
                time.sleep(0.1)
                yield b"x"

        return request(self.lab.site_port, body(), {"Content-Length": str(int(seconds * 10))})


@dataclasses.dataclass
class Request:
    """One request and what became of it."""

    begin: float
    end: float
    answer: dict | None  # of the target
    problem: str = ""


def request(port: int, body=None, headers=None, connection=None, host: str = "127.0.0.1") -> Request:
    """Send one request, over a connection of its own unless one is given."""
    begin = time.monotonic()
    used = connection or http.client.HTTPConnection(host, port, timeout=20)
    try:
        used.request("POST" if body else "GET", "/", body, headers or {})
        answer = used.getresponse()
        data = answer.read()
        if answer.status == 200:
            return Request(begin, time.monotonic(), json.loads(data))
        problem = f"{answer.status} {data.decode()}"
    except (OSError, http.client.HTTPException) as error:
        problem = repr(error)
        used.close()
    finally:
        if used is not connection:
            used.close()
    return Request(begin, time.monotonic(), None, problem)


class Load:
    """Clients that send one request after the other while the block runs: half of them over kept connections."""

    def __init__(self, port: int, clients: int = 8):
        self.port = port
        self.done: list[Request] = []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.client, args=(number,)) for number in range(clients)]

    def client(self, number: int) -> None:
        """One client; every second one uploads."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        kept = connection if number < len(self.threads) / 2 else None
        while not self.over.is_set():
            self.done.append(request(self.port, b"x" * 3000 if number % 2 else None, connection=kept))
            time.sleep(0.02)
        connection.close()

    def __enter__(self) -> Load:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()

    def failed(self) -> list[Request]:
        """The requests that failed."""
        return [item for item in self.done if not item.answer]

    def served(self, since: float = 0) -> collections.Counter:
        """How many of the requests that began after SINCE each target answered."""
        return collections.Counter(item.answer["name"] for item in self.done if item.answer and item.begin > since)
