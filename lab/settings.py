"""Names, addresses and directories of a lab: everything that follows from its name and its number."""

from __future__ import annotations

import dataclasses
import ipaddress
import pathlib
import re

REGION = "eu-central-1"
ZONES = ("eu-central-1a", "eu-central-1b")
DEFAULT_LAB = "lab"
MOST_LABS = 16
# Numbers that are always the same; any other name gets the first number that is free.
FIXED = {DEFAULT_LAB: 0, "test": 1, "plain": 2, "webapp": MOST_LABS - 1}
MOST_SERVERS = 40
MOST_FILE_SYSTEMS = 20
USER = "admin"  # as on Debian's own machine image

STATE = pathlib.Path.home() / ".local/state/samefiles"
CACHE = pathlib.Path.home() / ".cache/samefiles"
ROOT = pathlib.Path(__file__).resolve().parent.parent


class LabError(Exception):
    """What stops the lab, as one sentence for the user."""


@dataclasses.dataclass(frozen=True)
class Server:
    """A web server: a container with a guest inside."""

    name: str
    zone: str
    address: str
    container: str


@dataclasses.dataclass(frozen=True)
class Lab:
    """A lab's name and number, and what follows from them."""

    name: str
    index: int

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9]{0,14}", self.name):
            raise LabError(
                f"LAB must be 1 to 15 lower-case letters and digits that begin with a letter, got {self.name!r}"
            )

    @property
    def prefix(self) -> str:
        """The prefix of the name of every container, network and volume of this lab."""
        return f"samefiles-{self.name}"

    @property
    def state(self) -> pathlib.Path:
        """Keys, certificates, seeds and the record of what is wanted."""
        return STATE / self.name

    @property
    def connections(self) -> pathlib.Path:
        """Where Ansible keeps the sockets of open SSH connections; not in the state directory, for their path must be short."""
        return pathlib.Path.home() / ".ansible/cp" / self.name

    @property
    def subnet(self) -> ipaddress.IPv4Network:
        """The VPC: two halves, one for each zone."""
        return ipaddress.IPv4Network(f"10.77.{self.index}.0/24")

    @property
    def gateway(self) -> str:
        """The machine itself, seen from the servers."""
        return str(self.subnet[1])

    @property
    def aws_port(self) -> int:
        """Where moto listens on 127.0.0.1."""
        return 5570 + self.index

    @property
    def aws_endpoint(self) -> str:
        """The endpoint that AWS tools talk to."""
        return f"http://127.0.0.1:{self.aws_port}"

    @property
    def site_port(self) -> int:
        """Where the balancer listens on 127.0.0.1."""
        return 8080 + self.index

    @property
    def site_url(self) -> str:
        """The site as a browser on this machine finds it."""
        return f"http://127.0.0.1:{self.site_port}"

    @property
    def balancer(self) -> str:
        """The address of the balancer, in the first zone."""
        return str(self.zone_subnet(ZONES[0])[5])

    @property
    def s3_address(self) -> str:
        """The address of S3, in the first zone; instance metadata is served there too."""
        return str(self.zone_subnet(ZONES[0])[6])

    @property
    def s3_endpoint(self) -> str:
        """The endpoint of S3, for this machine and for the servers."""
        return f"https://{self.s3_address}"

    @property
    def s3_browser_endpoint(self) -> str:
        """The endpoint of S3 for browsers on this machine, which do not know the lab's CA."""
        return f"http://{self.s3_address}:8080"

    @property
    def bucket(self) -> str:
        """The bucket of the site."""
        return f"{self.prefix}-site"

    @property
    def alb(self) -> pathlib.Path:
        """The files of the balancer and its program: configuration, runtime socket, measured health."""
        return self.state / "alb"

    @property
    def health(self) -> pathlib.Path:
        """What the balancer measured, by instance id; written once a second."""
        return self.alb / "health.json"

    def zone_subnet(self, zone: str) -> ipaddress.IPv4Network:
        """The subnet of one zone."""
        return list(self.subnet.subnets())[ZONES.index(zone)]

    def resolver(self, zone: str) -> str:
        """The resolver of one zone, at the subnet's third address as in AWS."""
        return str(self.zone_subnet(zone)[2])

    def mount_target(self, zone: str, number: int) -> str:
        """The address of the mount target of file system NUMBER (from 0) in a zone."""
        return str(self.zone_subnet(zone)[10 + number])

    def server(self, number: int) -> Server:
        """Web server NUMBER (from 1): odd ones stand in the first zone, even ones in the second."""
        name = f"web-{number:02d}"
        zone = ZONES[(number - 1) % 2]
        address = str(self.zone_subnet(zone)[40 + number])
        return Server(name, zone, address, f"{self.prefix}-{name}")
