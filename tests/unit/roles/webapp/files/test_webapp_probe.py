"""The storage probe as a process of its own: what it reports of a file system that answers, is not mounted, hangs, or fails."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import probe
import pytest
from gallery import errors, mounts

from tests.support.gallery_server import FILES

# the kernel's table is a file of the test, and a call hangs while the file `frozen` is there, as one of a dead server does
PROGRAM = """
import os, sys, time, probe
home, use = sys.argv.pop(1), probe.use
def held(*arguments):
    while os.path.exists(home + "/frozen"):
        time.sleep(0.02)
    use(*arguments)
probe.TABLE, probe.use = home + "/mountinfo", held
probe.main(*sys.argv[1:])
"""
ROOT = "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
NFS = "30 21 0:50 / /srv/files rw,relatime shared:2 - nfs4 127.0.0.1:/ rw,vers=4.1\n"
UNDER = "40 30 0:51 / /srv/files/deep rw - nfs4 fs:/deep rw\n"


class Running:
    """A probe that checks five times a second."""

    def __init__(
        self, home: pathlib.Path, mount: str, directory: str | None, textfile: str, **environment: str
    ) -> None:
        self.home, self.directory = home, home / "mount"
        self.directory.mkdir()
        self.say(ROOT + NFS)
        self.status, self.ready, self.textfile = home / "status.json", home / "ready", pathlib.Path(textfile)
        arguments = [mount, str(self.directory) if directory is None else directory, "web-01", "0.2", "0.5"]
        with open(home / "journal", "wb") as journal:
            self.process = subprocess.Popen(
                [sys.executable, "-B", "-c", PROGRAM, str(home), *arguments, str(self.status), textfile],
                env={**os.environ, "PYTHONPATH": str(FILES), **environment},
                stdout=journal,
                start_new_session=True,
            )

    def say(self, table: str) -> None:
        """Make this the kernel's table."""
        part = self.home / "part"
        part.write_text(table)
        part.rename(self.home / "mountinfo")

    def result(self) -> dict:
        """The result of a round that began after this moment."""
        since, until = time.time() + 0.1, time.monotonic() + 10
        while time.monotonic() < until:
            assert self.process.poll() is None
            with contextlib.suppress(FileNotFoundError):
                result = json.loads(self.status.read_text())
                # a round may wait its whole timeout before it reports
                if result["at"] - 0.5 * (not result["ok"]) > since:
                    time.sleep(0.1)  # the other files follow
                    return result
            time.sleep(0.02)
        raise AssertionError("the probe reports nothing")

    def up(self) -> str:
        """The gauge samefiles_mount_up."""
        return next(line for line in self.textfile.read_text().splitlines() if line.startswith("samefiles_mount_up "))

    def children(self) -> list[str]:
        """The probe's children."""
        return pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()

    def journal(self) -> list[str]:
        """What it printed."""
        return (self.home / "journal").read_text().splitlines()


@pytest.fixture
def start(tmp_path):
    """A function that starts a probe; it is ended after the test, with what it left."""
    running = []

    def begin(
        mount: str = "/srv/files", directory: str | None = None, textfile: str = "", **environment: str
    ) -> Running:
        running.append(Running(tmp_path, mount, directory, textfile or str(tmp_path / "webapp.prom"), **environment))
        return running[-1]

    yield begin
    for probed in running:
        os.killpg(probed.process.pid, signal.SIGKILL)
        probed.process.wait()


def is_up(probed: Running) -> None:
    result = probed.result()
    assert (result["ok"], result["problem"], result["every"]) == (True, "", 0.2)
    assert probed.up() == "samefiles_mount_up 1"
    assert probed.ready.exists()


def is_down(probed: Running, said: str) -> None:
    result = probed.result()
    assert result["ok"] is False
    assert said in result["problem"]
    assert probed.up() == "samefiles_mount_up 0"
    assert not probed.ready.exists()


def test_a_file_system_that_answers(start):
    probed = start()
    is_up(probed)
    assert float((probed.directory / ".probe/web-01").read_text()) == pytest.approx(time.time(), abs=5)
    assert {path.stat().st_mode & 0o777 for path in (probed.status, probed.textfile, probed.ready)} == {0o644}
    # as Prometheus reads it
    lines = probed.textfile.read_text().splitlines()
    names = [line.split()[0] for line in lines if not line.startswith("#")]
    assert names == ["samefiles_mount_up", "samefiles_mount_probe_seconds", "samefiles_mount_probe_time_seconds"]
    assert [line.split()[2] for line in lines if line.startswith("# TYPE")] == names


def test_a_file_system_that_is_unmounted_and_mounted_again(start):
    probed = start()
    is_up(probed)
    probed.say(ROOT)
    is_down(probed, "no file system is mounted at /srv/files")
    # something else was mounted over it
    probed.say(ROOT + NFS + "50 30 0:60 / /srv/files rw - tmpfs none rw\n")
    is_down(probed, "a file system of type tmpfs, not nfs4, is mounted at /srv/files")
    probed.say(ROOT + NFS)
    is_up(probed)
    assert [line[:12] for line in probed.journal()] == ["the file sys", "no file syst", "a file syste", "the file sys"]


def test_a_file_system_that_hangs_costs_one_process_and_its_timeout(start):
    probed = start()
    is_up(probed)
    (probed.home / "frozen").touch()
    for _ in range(3):
        is_down(probed, "the file system at /srv/files does not answer within 0.5 s")
    assert len(probed.children()) == 1
    (probed.home / "frozen").unlink()
    is_up(probed)
    assert len(probed.journal()) == 3


def test_a_file_system_that_fails(start):
    probed = start()
    is_up(probed)
    probed.directory.rename(probed.home / "away")
    probed.directory.write_text("no directory")
    is_down(probed, "the file system at /srv/files fails: Not a directory")


def test_a_child_that_dies_counts_as_a_failure(start):
    probed = start()
    is_up(probed)
    (probed.home / "frozen").touch()
    is_down(probed, "does not answer")
    os.kill(int(probed.children()[0]), signal.SIGKILL)
    # reported once, by the round that found it dead
    until = time.monotonic() + 5
    while not any("the probe died" in line for line in probed.journal()) and time.monotonic() < until:
        time.sleep(0.02)
    assert any("the file system at /srv/files fails: the probe died" in line for line in probed.journal())
    assert not probed.ready.exists()


def test_without_a_directory_nothing_is_left_on_the_file_system(start, tmp_path):
    probed = start(mount="", directory="")
    is_up(probed)
    assert list(probed.directory.iterdir()) == []
    (probed.home / "frozen").touch()
    is_down(probed, "the directory / does not answer")


def test_a_file_system_that_is_only_asked_may_fail_too(start, tmp_path):
    probed = start(mount=f"{tmp_path}/gone", directory="")
    is_down(probed, "no file system is mounted")
    probed.say(ROOT + NFS.replace("/srv/files", f"{tmp_path}/gone"))
    is_down(probed, f"the file system at {tmp_path}/gone fails: No such file or directory")


def test_metrics_that_cannot_be_written_are_reported_once_and_the_file_system_still_counts_as_up(start, tmp_path):
    probed = start(textfile="/no/such/directory/webapp.prom")
    for _ in range(3):
        assert probed.result()["ok"] is True
    assert probed.ready.exists()
    said = "the metrics cannot be written to /no/such/directory/webapp.prom: No such file or directory"
    assert probed.journal() == [said, "the file system answers"]


def test_each_round_notifies_the_watchdog_even_while_the_file_system_hangs(start, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(5)
        probed = start(NOTIFY_SOCKET=str(tmp_path / "notify"))
        (probed.home / "frozen").touch()
        for _ in range(3):
            assert systemd.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize(
    ("path", "table", "fstype"),
    [
        ("/srv/files", ROOT + NFS, "nfs4"),
        ("/srv/files", ROOT, ""),
        ("/srv/files", "", ""),
        ("/srv/files", ROOT + UNDER, ""),
        ("/srv", ROOT + NFS, ""),
        # what is on top counts: something mounted over NFS, and NFS over something
        ("/srv/files", ROOT + NFS + "50 30 0:60 / /srv/files rw - tmpfs none rw\n", "tmpfs"),
        ("/srv/files", ROOT + "29 21 0:49 / /srv/files rw - autofs systemd-1 rw\n" + NFS, "nfs4"),
        ("/srv/files", ROOT + NFS.replace("nfs4", "nfs"), "nfs"),
        ("/srv/my files", ROOT + NFS.replace("/srv/files", r"/srv/my\040files"), "nfs4"),
        ("/srv/a\\b", ROOT + NFS.replace("/srv/files", r"/srv/a\134b"), "nfs4"),
        ("/srv/files", ROOT + "garbage\n\n - nfs4\n", ""),
    ],
)
def test_gallery_and_the_probe_agree_on_what_is_mounted(path, table, fstype, tmp_path, monkeypatch):
    assert mounts.mounted_type(path, table) == probe.mounted_type(path, table) == fstype
    (tmp_path / "mountinfo").write_text(table)
    monkeypatch.setattr(mounts, "_TABLE", str(tmp_path / "mountinfo"))
    monkeypatch.setattr(probe, "TABLE", str(tmp_path / "mountinfo"))
    if fstype == "nfs4":
        mounts.require(path)
    else:
        with pytest.raises(errors.Problem):
            mounts.require(path)
    assert bool(probe.missing(path)) == (fstype != "nfs4")
