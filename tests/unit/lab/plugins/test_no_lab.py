"""Playbooks without a lab: one sentence, not a page of parser errors."""

from __future__ import annotations

import http.server
import os
import pathlib
import socket
import subprocess
import threading

import pytest

from tests.support import ROOT

INVENTORY = ROOT / "inventories/lab/lab.aws_ec2.yml"


def inventory(directory: pathlib.Path, port: int) -> None:
    """Write a copy of the lab's inventory whose endpoint is another port."""
    text = INVENTORY.read_text()
    assert "127.0.0.1:5570\n" in text
    (directory / INVENTORY.name).write_text(text.replace("127.0.0.1:5570\n", f"127.0.0.1:{port}\n"))


@pytest.mark.parametrize("playbook", ["site.yml", "playbooks/verify.yml"])
def test_without_a_lab(tmp_path, playbook):
    with socket.socket() as bound:  # bound, and not listening
        bound.bind(("127.0.0.1", 0))
        inventory(tmp_path, bound.getsockname()[1])
        environment = {**os.environ, "ANSIBLE_NOCOLOR": "1"}
        argv = ["ansible-playbook", "-i", str(tmp_path), playbook]
        done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=60)
    said = done.stdout + done.stderr
    assert done.returncode == 2
    assert "There are no servers in the group web: start the lab with `make lab`, or name your inventory" in said
    assert "parse" not in said


def test_a_lab_that_runs_is_read_by_the_real_plugin(tmp_path):
    asked = []

    class Endpoint(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_error(400)

        def log_message(self, *words):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        inventory(tmp_path, server.server_port)
        argv = ["ansible-inventory", "-i", str(tmp_path), "--graph"]
        subprocess.run(argv, capture_output=True, cwd=ROOT, timeout=60)
        server.shutdown()
    assert b"Action=DescribeInstances" in asked[0]
