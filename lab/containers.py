"""The network and the containers of a lab: resolver, file systems, load balancer and web servers."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import socket
import subprocess
import time

from lab import engine, images
from lab.aws import Record
from lab.identity import write
from lab.progress import say, step
from lab.settings import REGION, USER, ZONES, Lab, LabError, Server
from lab.state import FileSystem, Wanted
from lab.targets import Group, configuration

BOOT_TIMEOUT = 240  # seconds; two guests boot in 13-17 s on two idle cores
MEMORY = "512M"


def label(lab: Lab) -> list[str]:
    """The label by which everything of a lab is found again."""
    return ["--label", f"samefiles.lab={lab.name}"]


def network(lab: Lab) -> None:
    """The network that connects the containers of the lab."""
    if not engine.inspect("network", lab.prefix):
        engine.docker(
            "network", "create", "--subnet", str(lab.subnet), "--gateway", lab.gateway, *label(lab), lab.prefix
        )


def on_network(lab: Lab, address: str, host: str) -> list[str]:
    """Arguments that give a container its place on the network."""
    return [*label(lab), "--network", lab.prefix, "--ip", address, "--hostname", host]


def fingerprint(certificate: pathlib.Path) -> str:
    """A short hash of a certificate, so that what runs with a former one is recreated."""
    return hashlib.sha256(certificate.read_bytes()).hexdigest()[:12]


def file_system_name(identity: str) -> str:
    """The name that clients resolve."""
    return f"{identity}.efs.{REGION}.amazonaws.com"


def resolver(lab: Lab, records: dict[str, dict[str, str]], image: str) -> bool:
    """The VPC's resolver: each zone's file-system names resolve to that zone's mount target."""
    commands = []
    for zone in ZONES:
        options = [
            "--no-hosts", "--no-resolv", "--server=127.0.0.11", "--user=root", "--bind-interfaces", "--pid-file",
            "--conf-file=/dev/null", f"--listen-address={lab.resolver(zone)}",
            f"--local=/efs.{REGION}.amazonaws.com/", "--keep-in-foreground", "--log-facility=-",
        ]  # fmt: skip
        for identity, addresses in records.items():
            if zone in addresses:
                options.append(f"--host-record={file_system_name(identity)},{addresses[zone]},10")
        commands.append("dnsmasq " + " ".join(options))
    second = f"{lab.resolver(ZONES[1])}/{lab.subnet.prefixlen}"
    script = f"ip address add {second} dev eth0; {commands[0]} & exec {commands[1]}"
    arguments = [*on_network(lab, lab.resolver(ZONES[0]), "resolver"), "--init", "--cap-add", "NET_ADMIN"]
    return engine.ensure_container(
        f"{lab.prefix}-resolver", [*arguments, "--entrypoint", "/bin/sh"], image, ["-c", script]
    )


def file_system(lab: Lab, item: FileSystem, record: Record, image: str) -> tuple[str, dict[str, str]]:
    """One EFS file system: on record in moto, and running; returns its id and its mount targets by zone."""
    zones = item.get("zones", list(ZONES))
    addresses = {zone: lab.mount_target(zone, item["number"]) for zone in zones}
    identity, ids = record.file_system(item["name"], addresses, item["access_points"])
    directory = lab.state / "efs" / item["name"]
    config = {
        "file_system": identity,
        "addresses": [f"{address}/{lab.subnet.prefixlen}" for address in list(addresses.values())[1:]],
        "access_points": [{**access_point, "id": ids[access_point["name"]]} for access_point in item["access_points"]],
    }
    write(directory / "efs.json", json.dumps(config, indent=2) + "\n")
    write(directory / "server.pem", (lab.state / "tls/server.pem").read_bytes(), 0o600)
    name = f"{lab.prefix}-efs-{item['name']}"
    arguments = [
        *on_network(lab, addresses[zones[0]], f"efs-{item['name']}"), "--init",
        "--cap-add", "NET_ADMIN", "--cap-add", "DAC_READ_SEARCH", "--security-opt", "seccomp=unconfined",
        "--volume", f"{name}:/export", "--volume", f"{name}-recovery:/var/lib/nfs/ganesha",
        "--volume", f"{directory}:/etc/efs:ro", "--label", f"samefiles.config={json.dumps(config)}",
        "--label", f"samefiles.certificate={fingerprint(directory / 'server.pem')}",
    ]  # fmt: skip
    for volume in (name, f"{name}-recovery"):
        if not engine.inspect("volume", volume):
            engine.docker("volume", "create", *label(lab), volume)
    if engine.ensure_container(name, arguments, image):
        say(f"file system {identity} ({item['name']}) runs")
    return identity, addresses


def server(lab: Lab, item: Server, image: str, disk: str) -> bool:
    """One web server; returns whether it had to be made or started."""
    arguments = [
        *on_network(lab, item.address, item.name), "--cap-add", "NET_ADMIN", "--device", "/dev/net/tun",
        "--tmpfs", "/ram:exec,size=700m", "--env", f"LAB_MEMORY={MEMORY}", "--stop-timeout", "60",
        "--volume", f"{disk}:/disk/server.img:ro", "--volume", f"{lab.state / 'seed' / item.name}:/seed:ro",
    ]  # fmt: skip
    return engine.ensure_container(item.container, arguments, image)


def _claim(port: int) -> None:
    """Fail with one sentence when a port of this machine is in use; Docker prints many lines."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise LabError(
                f"the site needs 127.0.0.1:{port} ({error.strerror}): end what listens there, or take another LAB=name"
            ) from None


def balancer(lab: Lab, image: str) -> None:
    """The load balancer: HAProxy, which lab.balancer keeps in step with the target group."""
    name = f"{lab.prefix}-alb"
    container = engine.inspect("container", name).get(name)
    if not (container and container["State"]["Running"]):
        _claim(lab.site_port)
    if not (lab.alb / "haproxy.cfg").exists():
        write(lab.alb / "haproxy.cfg", configuration(Group()))
    arguments = [
        *on_network(lab, lab.balancer, "alb"), "--publish", f"127.0.0.1:{lab.site_port}:80",
        "--env", f"SITE_PORT={lab.site_port}", "--volume", f"{lab.alb}:/alb",
        # the runtime socket then belongs to the user of the lab, and nobody else can use it
        "--user", f"{os.getuid()}:{os.getgid()}", "--entrypoint", "/usr/sbin/haproxy",
    ]  # fmt: skip
    engine.ensure_container(name, arguments, image, ["-W", "-f", "/alb/haproxy.cfg"])


def ssh(lab: Lab, item: Server) -> list[str]:
    """The command that runs a command on a server: append it."""
    return [
        "ssh", "-i", str(lab.state / "ssh/id_ed25519"), "-o", f"UserKnownHostsFile={lab.state / 'ssh/known_hosts'}",
        "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR",
        "-o", "ConnectTimeout=10", f"{USER}@{item.address}",
    ]  # fmt: skip


def _console(item: Server) -> str:
    done = subprocess.run(
        ["docker", "logs", "--tail", "40", item.container], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def _responds(lab: Lab, item: Server) -> bool:
    """Whether a command gets through by SSH; ssh's own limit ends with the connection, and a frozen guest keeps that."""
    argv = [*ssh(lab, item), "-o", "BatchMode=yes", "true"]
    try:
        done = subprocess.run(argv, capture_output=True, check=False, stdin=subprocess.DEVNULL, timeout=20)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def wait_for_servers(lab: Lab, servers: list[Server]) -> None:
    """Wait until every server lets a command run; when a guest dies early, its console is shown."""
    begin = time.monotonic()
    waiting = list(servers)
    while waiting:
        for item in list(waiting):
            if _responds(lab, item):
                waiting.remove(item)
                continue
            state = engine.inspect("container", item.container)[item.container]["State"]
            late = time.monotonic() - begin > BOOT_TIMEOUT
            if late or not state["Running"]:
                print(_console(item))
                what = f"does not answer on SSH after {BOOT_TIMEOUT} s" if late else "died while it booted"
                raise LabError(
                    f"{item.name} {what}; its console is above: try again, or `make lab-down` and `make lab`"
                )
        time.sleep(0.5 if waiting else 0)


def servers(lab: Lab, wanted: Wanted, image: str) -> list[Server]:
    """The web servers, as many as wanted; surplus ones are removed."""
    all_of_them = [lab.server(number + 1) for number in range(wanted.hosts)]
    keep = {item.container for item in all_of_them}
    for name in engine.named("container", f"{lab.prefix}-web-", f"samefiles.lab={lab.name}"):
        if name not in keep:
            engine.docker("rm", "--force", "--volumes", name)
            say(f"removed {name}")
    disk = str(images.disk(image))
    started = [item.name for item in all_of_them if server(lab, item, image, disk)]
    with step(f"booting {', '.join(started)}" if started else "asking the servers"):
        wait_for_servers(lab, all_of_them)
    return all_of_them


def remove(lab: Lab) -> list[str]:
    """Remove every container, network and volume of the lab; returns their names."""
    gone = []
    mark = f"samefiles.lab={lab.name}"
    containers = engine.named("container", lab.prefix, mark)
    if containers:
        engine.docker("rm", "--force", "--volumes", *containers)
        gone += containers
    for object_type in ("network", "volume"):
        names = engine.named(object_type, lab.prefix, mark)
        if names:
            engine.docker(object_type, "rm", *names)
            gone += names
    return gone
