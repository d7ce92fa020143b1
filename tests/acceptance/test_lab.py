"""make lab from nothing: a fresh clone, more and fewer servers, a second lab beside the first, and no trace afterwards."""

from __future__ import annotations

import json
import os
import pathlib
import re

import pytest

from tests.support import ROOT
from tests.support.fleet import Fleet, sh, wait

NAMES = ("accept", "accept2")


def traces(name: str) -> list[str]:
    """Everything on this machine that belongs to a lab."""
    mark = f"samefiles-{name}"
    left = []
    for argv in (["docker", "ps", "-a", "--format", "{{.Names}}"], ["docker", "network", "ls", "--format", "{{.Name}}"],
                 ["docker", "volume", "ls", "--format", "{{.Name}}"]):  # fmt: skip
        left += [line for line in sh(argv).stdout.split() if line == mark or line.startswith(mark + "-")]
    processes = sh(["ps", "-eo", "args"]).stdout.splitlines()
    left += [line for line in processes if "-m lab." in line and name in line.split()]
    left += [line for line in processes if f"/.ansible/cp/{name}/" in line]
    directory = pathlib.Path.home() / ".local/state/samefiles" / name
    return left + ([str(directory)] if directory.exists() else [])


def make(clone: pathlib.Path, *words: str, check: bool = True):
    environment = {key: value for key, value in os.environ.items() if key not in ("LAB", "VIRTUAL_ENV")}
    environment["PATH"] = ":".join(part for part in environment["PATH"].split(":") if ".venv" not in part)
    return sh(["make", *words], 1800, check, cwd=clone, env=environment)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A fresh clone; its labs are removed at the end."""
    directory = tmp_path_factory.mktemp("fresh") / "samefiles"
    sh(["git", "clone", "--quiet", str(ROOT), str(directory)])
    yield directory
    for name in NAMES:
        make(directory, "lab-down", f"LAB={name}", check=False)


def seconds(argv) -> tuple[float, str]:
    import time

    begin = time.monotonic()
    done = make(*argv)
    return time.monotonic() - begin, done.stdout


def test_no_lab_is_reported_in_json(clone):
    done = make(clone, "-s", "lab-status", "LAB=accept", check=False)
    assert (done.stdout.strip(), done.returncode != 0) == ("{}", True)


def test_from_a_fresh_clone(clone, figure):
    took, out = seconds((clone, "lab", "LAB=accept"))
    assert took < 600
    assert re.search(r"written by web-01 +\d+\.\d ms +\d+\.\d ms", out), out
    again, out = seconds((clone, "lab", "LAB=accept"))
    assert again < 90
    assert set(re.findall(r"^web-\d+ .*changed=(\d+)", out, re.MULTILINE)) == {"0"}
    figure(f"make lab {took:.0f} s (bar: 600 s), again {again:.0f} s (bar: 90 s)")


def test_a_file_written_by_hand_is_the_same_on_the_other(clone):
    first, second = Fleet("accept").servers
    first.run("head -c 3000000 /dev/urandom > /srv/files/by-hand")
    assert first.run("sha256sum /srv/files/by-hand") == second.run("sha256sum /srv/files/by-hand")
    first.run("rm /srv/files/by-hand")


def test_status_is_one_json_object(clone):
    status = json.loads(make(clone, "-s", "lab-status", "LAB=accept").stdout)
    assert set(status) == {
        "site_url", "aws_endpoint", "s3_endpoint", "s3_browser_endpoint", "region", "file_system", "bucket", "storage",
        "inventory", "hosts",
    }  # fmt: skip
    assert {"name", "instance_id", "address", "zone", "container", "ssh", "http"} == set(status["hosts"][0])
    assert sh([*status["hosts"][0]["ssh"], "hostname"]).stdout.strip() == status["hosts"][0]["name"]
    assert len({host["zone"] for host in status["hosts"]}) == 2


def test_a_second_lab_beside_the_first(clone):
    before = sh(["docker", "inspect", "-f", "{{.Id}} {{.State.StartedAt}}", "samefiles-accept-web-01"]).stdout
    make(clone, "lab", "LAB=accept2", "HOSTS=1")
    first, second = Fleet("accept"), Fleet("accept2")
    assert first.file_system != second.file_system
    assert not {server.address for server in first.servers} & {server.address for server in second.servers}
    assert sh(["docker", "inspect", "-f", "{{.Id}} {{.State.StartedAt}}", "samefiles-accept-web-01"]).stdout == before
    make(clone, "lab-down", "LAB=accept2")
    assert traces("accept2") == []
    assert first.play("playbooks/verify.yml").code == 0


def test_more_servers_and_fewer(clone, figure):
    took, out = seconds((clone, "lab", "LAB=accept", "HOSTS=3"))
    assert "written by web-03" in out
    fewer, out = seconds((clone, "lab", "LAB=accept", "HOSTS=2"))
    assert "web-03" not in out.partition("PLAY")[2]
    assert len(Fleet("accept").servers) == 2
    figure(f"third server {took:.0f} s, back to two {fewer:.0f} s")


def test_what_a_crash_left_is_repaired(clone):
    sh(["docker", "kill", "samefiles-accept-web-02", "samefiles-accept-efs-files"])
    sh(["docker", "rm", "-f", "samefiles-accept-resolver"])
    sh(["pkill", "-9", "-f", "lab.moto_server [0-9]* accept "])
    make(clone, "lab", "LAB=accept")
    fleet = Fleet("accept")
    assert fleet.status["file_system"]
    wait(lambda: fleet.play("playbooks/verify.yml", check=False).code == 0, 120, "the proof")


def test_down_leaves_nothing(clone):
    make(clone, "lab-down", "LAB=accept")
    assert traces("accept") == []
    make(clone, "lab-down", "LAB=accept")  # again is no error
