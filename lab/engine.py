"""The Docker engine, through its own command, and what the machine must have for a lab."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import platform
import shutil
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from lab.progress import say, step
from lab.settings import LabError


def run(
    argv: list[str], *, check: bool = True, timeout: float = 600, **keywords: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command and return it with its output; a failure becomes a LabError with the last line it printed."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False, **keywords)
    except subprocess.TimeoutExpired:
        raise LabError(f"`{' '.join(argv[:6])} …` did not end within {timeout:.0f} s") from None
    except FileNotFoundError:
        raise LabError(f"the command {argv[0]!r} is missing: install it") from None
    if check and done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it printed nothing"]
        raise LabError(f"`{' '.join(argv[:6])} …` failed with code {done.returncode}: {said[-1]}")
    return done


def docker(*argv: str, **keywords: Any) -> str:
    """Run a docker command and return what it printed."""
    return run(["docker", *argv], **keywords).stdout.strip()


def inspect(object_type: str, *names: str) -> dict[str, dict[str, Any]]:
    """Those of the named objects (type: container, image, network, volume) that exist, by name."""
    if not names:
        return {}
    out = run(["docker", object_type, "inspect", *names], check=False).stdout
    key = {"image": lambda item: (item["RepoTags"] or [""])[0]}.get(object_type, lambda item: item["Name"].lstrip("/"))
    return {key(item): item for item in json.loads(out or "[]")}


def named(object_type: str, prefix: str, label: str) -> list[str]:
    """The objects of a type that carry a label and whose name begins with a prefix."""
    listing = ["ps", "--all"] if object_type == "container" else [object_type, "ls"]
    field = "{{.Names}}" if object_type == "container" else "{{.Name}}"
    names = docker(*listing, "--filter", f"label={label}", "--format", field).splitlines()
    return sorted(name for name in names if name.startswith(prefix))


def ensure_container(name: str, arguments: list[str], image: str, command: Sequence[str] = ()) -> bool:
    """Make a container run as described; returns whether anything had to be done.

    A paused container is resumed, a stopped one is started, one made from another description is recreated.
    """
    wanted = [*arguments, image, *command]
    spec = hashlib.sha256(json.dumps(wanted).encode()).hexdigest()[:16]
    container = inspect("container", name).get(name)
    if container and container["Config"]["Labels"].get("samefiles.spec") != spec:
        docker("rm", "--force", "--volumes", name)
        container = None
    if not container:
        docker("run", "--detach", "--name", name, "--label", f"samefiles.spec={spec}", *wanted)
        return True
    if container["State"]["Paused"]:
        docker("unpause", name)
        return True
    if not container["State"]["Running"]:
        docker("start", name)
        return True
    return False


def _is_debian_root() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(command: str, package: str) -> None:
    """Make sure that a command exists: on Debian and Ubuntu, root installs its package."""
    if shutil.which(command):
        return
    if not _is_debian_root():
        raise LabError(f"{command} is missing: install it (Debian, Ubuntu: sudo apt-get install {package})")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with step(f"installing {package}"):
        run(["apt-get", "-qq", "update"], env=environment)
        run(["apt-get", "-qq", "-y", "--no-install-recommends", "install", package], env=environment)


def _engine_problem() -> str:
    """The error of the Docker engine; empty when it responds."""
    done = run(["docker", "version", "--format", "{{.Server.Version}}"], check=False, timeout=30)
    return "" if done.returncode == 0 else (done.stderr or done.stdout).strip()


def _start_engine() -> None:
    """Start Docker on a machine where it is installed and does not run."""
    with step("starting the Docker engine"):
        run(["service", "docker", "start"], check=False, timeout=60)
        for _ in range(40):
            if not _engine_problem():
                return
            time.sleep(0.5)
    raise LabError(f"the Docker engine does not start: {_engine_problem()}")


def prerequisites() -> None:
    """Check what a lab needs, install and start what root can install and start; one sentence where that is not enough."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise LabError(
            "the lab's servers are User-Mode Linux guests and need Linux on x86-64, this is "
            f"{platform.system()} on {platform.machine()}: use a Linux machine, or -i inventories/aws"
        )
    install("docker", "docker.io")
    install("ssh", "openssh-client")
    install("ssh-keygen", "openssh-client")
    problem = _engine_problem()
    if problem and os.geteuid() == 0:
        _start_engine()
    elif problem:
        raise LabError(f"the Docker engine does not answer ({problem}): start it, or join the group docker")
    if not pathlib.Path("/dev/net/tun").exists():
        if os.geteuid() != 0 or run(["modprobe", "tun"], check=False).returncode:
            raise LabError("/dev/net/tun is missing: load the kernel module with `sudo modprobe tun`")
        say("loaded the kernel module tun")
