# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks at intervals whether the web app's file system answers; the app's /readyz and monitoring read the result.

Called as: probe MOUNT DIRECTORY HOST EVERY TIMEOUT STATUS TEXTFILE. Every EVERY seconds a child process writes a small file in
DIRECTORY and reads it back; without a DIRECTORY it calls statvfs on the mount, and writes nothing there. A child that does not
end within TIMEOUT seconds is left alone - a process that waits for a dead server cannot be killed - and no other is started
before it has ended, so that processes do not pile up.
STATUS is JSON: {"ok", "at": epoch seconds, "every": seconds, "problem": sentence or ""}. The file `ready` is beside it while the
file system answers, so that nginx can check for it. TEXTFILE is for Prometheus. Each round notifies systemd's watchdog: systemd
ends a probe that hangs, and removes its runtime directory with `ready`.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from typing import NoReturn

NAME = ".probe"  # the directory of the probes' files, inside the app's
TABLE = "/proc/self/mountinfo"
BLANKS = {" ": r"\040", "\t": r"\011", "\n": r"\012", "\\": r"\134"}


def mounted_type(path: str, table: str) -> str:
    """The file system type of what is mounted at a path, by the text of a mountinfo table; "" for nothing.

    gallery/mounts.py has the same rule; this program also runs where gallery is not installed, so it has its own copy.
    """
    wanted = "".join(BLANKS.get(char, char) for char in path)
    fstype = ""
    for line in table.split("\n"):
        head, _dash, tail = line.partition(" - ")
        fields = head.split(" ")
        if len(fields) > 4 and fields[4] == wanted:
            fstype = tail.split(" ")[0]  # of two mounts at one path the last is on top
    return fstype


def missing(mount: str) -> str:
    """Why no NFS file system is mounted at a path, "" when one is; reading the kernel's table never hangs."""
    if not mount:
        return ""
    with open(TABLE, encoding="utf-8", errors="surrogateescape") as table:
        fstype = mounted_type(mount, table.read())
    if fstype == "nfs4":
        return ""
    what = f"a file system of type {fstype}, not nfs4," if fstype else "no file system"
    return f"{what} is mounted at {mount}: see `systemctl status samefiles-mount-*`"


def use(mount: str, directory: str, host: str) -> None:
    """Read from the file system; this sends a request to the server each time, whatever the kernel has cached."""
    if not directory:
        os.statvfs(mount or "/")
        return
    os.makedirs(os.path.join(directory, NAME), mode=0o750, exist_ok=True)
    path = os.path.join(directory, NAME, host)
    said = str(time.time()).encode()
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    try:
        os.write(file, said)
        os.fsync(file)
    finally:
        os.close(file)
    with open(path, "rb") as again:
        if again.read() != said:
            raise OSError("it returned other bytes than were written")


def child(mount: str, directory: str, host: str, pipe: int) -> NoReturn:
    """Use the file system and report; never returns."""
    try:
        use(mount, directory, host)
        said = b"ok"
    except OSError as fault:
        said = (fault.strerror or str(fault)).encode()
    os.write(pipe, said)
    os._exit(0)


class Probe:
    """One file system, checked again and again."""

    def __init__(self, mount: str, directory: str, host: str, timeout: float) -> None:
        self.mount, self.directory, self.host, self.timeout = mount, directory, host, timeout
        self.name = f"file system at {mount}" if mount else f"directory {directory or '/'}"
        self.asked: tuple[int, int] | None = None  # the child that has not ended yet, and the pipe on which it answers

    def ask(self) -> tuple[int, int]:
        """Start a child; returns its process id and the pipe on which it answers."""
        pipe, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            child(self.mount, self.directory, self.host, writer)
        os.close(writer)
        return pid, pipe

    def check(self) -> str:
        """What is wrong with the file system, "" when it answers."""
        absent = missing(self.mount)
        if absent:
            return absent
        if self.asked is None:
            self.asked = self.ask()
        pid, pipe = self.asked
        if not select.select([pipe], [], [], self.timeout)[0]:
            return f"the {self.name} does not answer within {self.timeout:g} s"
        said = os.read(pipe, 1000).decode(errors="replace")
        os.close(pipe)
        os.waitpid(pid, 0)
        self.asked = None
        return "" if said == "ok" else f"the {self.name} fails: {said or 'the probe died'}"


def put(path: str, text: str) -> None:
    """Replace a file atomically."""
    part = path + ".part"
    with open(part, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(part, 0o644)
    os.rename(part, path)


def publish(status: str, every: float, problem: str) -> None:
    """Write the result for gallery and for nginx; `ready` is removed first and created last, so it never outlives "ok"."""
    ready = os.path.join(os.path.dirname(status), "ready")
    if problem:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(ready)
    result = {"ok": not problem, "at": time.time(), "every": every, "problem": problem}
    put(status, json.dumps(result) + "\n")
    if not problem:
        put(ready, "")


def wake() -> None:
    """Notify systemd's watchdog that the probe runs; does nothing without a watchdog."""
    place = os.environ.get("NOTIFY_SOCKET", "")
    if place:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as plain, contextlib.suppress(OSError):
            plain.sendto(b"WATCHDOG=1", place)


def metrics(problem: str, took: float) -> str:
    """The result as Prometheus' node exporter reads it."""
    rows = (
        ("up", "Whether the web app's file system answers.", f"{int(not problem)}"),
        ("probe_seconds", "How long the file system took to answer.", f"{took:.3f}"),
        ("probe_time_seconds", "When the file system was checked.", f"{time.time():.0f}"),
    )
    return "".join(
        f"# HELP samefiles_mount_{name} {words}\n# TYPE samefiles_mount_{name} gauge\nsamefiles_mount_{name} {value}\n"
        for name, words, value in rows
    )


def main(mount: str, directory: str, host: str, every: str, timeout: str, status: str, textfile: str) -> NoReturn:
    """Check and publish the result until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    probe = Probe(mount, directory, host, float(timeout))
    before = unwritten = None
    while True:
        begin = time.monotonic()
        problem = probe.check()
        took = time.monotonic() - begin
        publish(status, float(every), problem)
        wake()
        failed = ""
        try:
            put(textfile, metrics(problem, took))
        except OSError as fault:  # a full or missing directory of the monitoring does not make the file system fail
            failed = f"the metrics cannot be written to {textfile}: {fault.strerror}"
        if failed and failed != unwritten:
            print(failed, flush=True)
        unwritten = failed
        if problem != before:
            print(problem or "the file system answers", flush=True)
            before = problem
        time.sleep(max(0.2, float(every) - took))


if __name__ == "__main__":
    main(*sys.argv[1:])
