"""The images of the lab and the disk of all its guests, each made once and named after what it is made from."""

from __future__ import annotations

import hashlib
import os
import pathlib
import subprocess

from lab import engine
from lab.progress import step
from lab.settings import CACHE, LabError

DIRECTORY = pathlib.Path(__file__).parent / "images"
BASE = "samefiles-base:bookworm"


def _digest(directory: pathlib.Path) -> str:
    """A hash of every file below a directory: name, mode and content."""
    total = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            total.update(f"{path.relative_to(directory)} {path.stat().st_mode & 0o111}\n".encode())
            total.update(path.read_bytes())
    return total.hexdigest()[:12]


def tag(name: str) -> str:
    """The image NAME (server, efs) as it has to be built from its directory."""
    return f"samefiles-{name}:{_digest(DIRECTORY / name)}"


def _build_base() -> None:
    """Debian 12: from a registry when one answers, otherwise from Debian's packages."""
    with step("fetching the base image debian:bookworm"):
        if engine.run(["docker", "pull", "--quiet", "debian:bookworm"], check=False).returncode == 0:
            engine.docker("tag", "debian:bookworm", BASE)
            return
    engine.install("mmdebstrap", "mmdebstrap")
    with step("no image registry answers: making the base image from Debian's packages (half a minute)"):
        make = ["mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates", "bookworm", "-"]
        with subprocess.Popen(make, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as tree:
            assert tree.stderr is not None  # a pipe, as asked for
            engine.docker("import", "-", BASE, stdin=tree.stdout)
            said = tree.stderr.read().decode(errors="replace").strip()
            if tree.wait():
                raise LabError(f"mmdebstrap failed with code {tree.returncode}: {said[-300:]}")


def ensure(name: str, hint: str) -> str:
    """Build the image NAME unless it is there; returns its tag."""
    image = tag(name)
    if not engine.inspect("image", image):
        if not engine.inspect("image", BASE):
            _build_base()
        # the classic builder needs no plug-in and is in every engine
        environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
        with step(f"building the image {image} ({hint})"):
            engine.run(["docker", "build", "--tag", image, str(DIRECTORY / name)], env=environment, timeout=1800)
    return image


def disk(image: str) -> pathlib.Path:
    """The disk of the guests, made from the server image by a container of it; returns its path."""
    path = CACHE / f"disk-{image.split(':')[1]}.img"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with step("making the disk of the servers (half a minute)"):
            engine.docker(
                "run", "--rm", "--name", f"samefiles-disk-{os.getpid()}", "--volume", f"{CACHE}:/disk",
                "--entrypoint", "/usr/local/sbin/lab-disk", image, f"/disk/{path.name}",
            )  # fmt: skip
    return path
