"""The lab's command: what it says to wrong values, what it finds again by the lab's name alone."""

from __future__ import annotations

import argparse
import pathlib
import shutil
import socket
import subprocess
import sys
import time

import pytest
import yaml

from lab import __main__ as command
from lab import containers, daemons, state
from lab.settings import Lab, LabError
from tests.support import ROOT


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--hosts=x"], "HOSTS must be a number from 0 to 40, got 'x'"),
        (["--hosts=-1"], "HOSTS must be a number from 0 to 40, got '-1'"),
        (["--hosts=41"], "HOSTS must be a number from 0 to 40, got '41'"),
        (["--transport=foo"], "TRANSPORT must be stunnel, plain or efs-utils, got 'foo'"),
        (["--storage=nfs"], "STORAGE must be efs or s3, got 'nfs'"),
    ],
)
def test_a_wrong_word_costs_one_sentence(words, said):
    arguments = command.parser().parse_args(["--lab", "unit", "up", *words])
    with pytest.raises(LabError) as error:
        arguments.run(arguments)
    assert str(error.value) == said


@pytest.mark.parametrize(
    ("storage", "hosts", "said"),
    [("efs", 2, "site.yml"), ("s3", 2, "playbooks/bucket.yml site.yml"), ("s3", 0, "site.yml")],
)
def test_a_site_with_its_files_in_s3_needs_its_bucket_first(monkeypatch, capsys, storage, hosts, said):
    monkeypatch.setattr(state, "load", lambda name: state.Wanted(15, hosts=hosts, storage=storage))
    command.playbooks(argparse.Namespace(lab="unit"))
    assert capsys.readouterr().out == said + "\n"


def test_a_record_without_a_storage_is_of_a_lab_with_efs(monkeypatch, tmp_path):
    monkeypatch.setattr(state, "STATE", tmp_path)
    (tmp_path / "unit").mkdir()
    (tmp_path / "unit/lab.json").write_text('{"index": 15, "hosts": 2, "transport": "plain"}')
    assert state.load("unit").storage == "efs"


def test_without_moto_no_lab_runs(monkeypatch, capsys):
    with socket.socket() as bound:  # bound, and not listening
        bound.bind(("127.0.0.1", 0))
        monkeypatch.setattr(Lab, "aws_port", bound.getsockname()[1])
        monkeypatch.setattr(state, "load", lambda name: state.Wanted(15))
        monkeypatch.setattr(command.engine, "named", lambda *words: ["samefiles-unit-web-01"])
        with pytest.raises(SystemExit) as ended:
            command.status(argparse.Namespace(lab="unit"))
    assert (ended.value.code, capsys.readouterr().out) == (1, "{}\n")


@pytest.fixture
def start(tmp_path):
    """Starts a program that sleeps, under a command line of choice."""
    (tmp_path / "sleeper.py").write_text("import time\ntime.sleep(60)\n")
    started = []

    def run(*argv: str, executable: str = sys.executable) -> subprocess.Popen:
        process = subprocess.Popen(argv, executable=executable, cwd=tmp_path)
        started.append(process)
        # for a moment after its start the kernel shows no command line
        while process.pid not in daemons.processes(lambda shown: shown == list(argv)):
            assert process.poll() is None
            time.sleep(0.01)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()


def test_a_program_is_found_by_the_name_of_its_lab(start):
    mine = [start("python", "-m", "sleeper", *words) for words in (("5585", "unit"), ("unit", "1", "code=0"))]
    other = start("python", "-m", "sleeper", "5585", "unit2", "code=0")
    daemons.Daemon(Lab("unit", 0), "a sleeper", "sleeper", ("5570", "unit"), lambda: True).stop()
    assert [process.wait(5) for process in mine] == [-9, -9]
    assert other.poll() is None


def test_a_program_of_older_code_is_restarted(start, monkeypatch):
    started = []
    monkeypatch.setattr(daemons.Daemon, "stop", lambda self: started.append(self) or sys.exit())
    daemon = daemons.Daemon(Lab("unit", 0), "a sleeper", "sleeper", ("5570", "unit"), lambda: True)
    process = start("python", "-m", "sleeper", "5570", "unit", daemons.code())
    daemon.start()
    assert started == []
    monkeypatch.setattr(daemons, "code", lambda: "code=new")
    with pytest.raises(SystemExit):
        daemon.start()
    assert process.poll() is None


def test_open_connections_of_the_lab_are_ended(start, tmp_path):
    sleep = shutil.which("sleep")
    mine, other = (start(f"ssh: {tmp_path}/{name}/0a1b2c [mux]", "60", executable=sleep) for name in ("lab", "lab2"))
    daemons.end_connections(tmp_path / "lab")
    assert mine.wait(5) == -9
    assert other.poll() is None


def test_inventory_and_lab_name_the_same_short_directory():
    settings = yaml.safe_load((ROOT / "inventories/lab/group_vars/aws_ec2/connection.yml").read_text())
    lab = Lab("a" * 15, 0)
    path = settings["ansible_control_path_dir"].replace("{{ aws_tags.Lab }}", lab.name)
    assert pathlib.Path(path).expanduser() == lab.connections
    # Ansible adds a slash and ten digits, ssh 17 characters while it makes the socket; 104 is the shortest limit
    assert len(path.replace("~", "/home/" + "u" * 32) + "/" + 10 * "0" + 17 * "x") < 104


def test_a_frozen_guest_does_not_answer(monkeypatch):
    def hang(argv, timeout, **keywords):
        raise subprocess.TimeoutExpired(argv, timeout)

    monkeypatch.setattr(containers.subprocess, "run", hang)
    lab = Lab("unit", 0)
    assert not containers._responds(lab, lab.server(1))


@pytest.mark.parametrize(("name", "made"), [("nosuch", "`make lab LAB=nosuch`"), ("", "`make lab`")])
def test_env_without_a_lab_says_how_to_make_it(tmp_path, name, made):
    environment = {"HOME": str(tmp_path), **({"LAB": name} if name else {})}
    done = subprocess.run(["/bin/sh", "-c", ". lab/env"], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.stderr == f"there is no lab {name or 'lab'}: make it with {made}\n"
