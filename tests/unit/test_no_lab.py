"""Playbooks without a lab: one sentence, not a page of parser errors."""

from __future__ import annotations

import os
import pathlib
import socket
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
INVENTORY = ROOT / "inventories/lab/lab.aws_ec2.yml"


@pytest.fixture
def endpoint(tmp_path):
    """A copy of the lab's inventory whose endpoint is a port of our own, that is bound and does not listen."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        text = INVENTORY.read_text()
        assert "127.0.0.1:5570\n" in text
        (tmp_path / INVENTORY.name).write_text(text.replace("127.0.0.1:5570\n", f"127.0.0.1:{port}\n"))
        yield held, tmp_path


def play(playbook: str, inventory: pathlib.Path) -> tuple[int, str]:
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1"}
    argv = ["ansible-playbook", "-i", str(inventory), playbook]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=60)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("playbook", ["site.yml", "playbooks/verify.yml"])
def test_without_a_lab(endpoint, playbook):
    code, said = play(playbook, endpoint[1])
    assert code == 2
    assert "There are no servers in the group web: start the lab with `make lab`, or name your inventory" in said
    assert "parse" not in said


def test_a_lab_that_runs_is_read_by_the_real_plugin(endpoint):
    held, folder = endpoint
    held.listen()
    held.settimeout(30)
    argv = ["ansible-inventory", "-i", str(folder), "--graph"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT) as process:
        asked = False
        while process.poll() is None and not asked:
            with held.accept()[0] as connection:
                asked = b"Action=DescribeInstances" in connection.recv(65536)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        process.kill()
    assert asked
