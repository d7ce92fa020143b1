# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the share of the web app, again and again, whether it answers; the app's /readyz and monitoring read the outcome.

Called as: probe MOUNT FOLDER HOST EVERY DEADLINE STATUS TEXTFILE. Every EVERY seconds a child of its own writes a small file
in FOLDER and reads it back. A child that does not end within DEADLINE seconds is left alone - a process that waits for a
dead server cannot be ended - and no other is started before it has ended, so that nothing piles up.
STATUS is JSON: {"ok", "at": epoch seconds, "every": seconds, "problem": sentence or ""}. TEXTFILE is for Prometheus.
"""

import json
import os
import select
import signal
import sys
import time

NAME = ".probe"  # the folder of the probes' files, inside the app's


def mounted(mount):
    """Whether an NFS file system is mounted at a path; the kernel's table never hangs."""
    if not mount:
        return True
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            fields, _dash, rest = line.partition(" - ")
            if fields.split(" ")[4] == mount and rest.split(" ")[0] in ("nfs", "nfs4"):
                return True
    return False


def use(folder, host):
    """Write a file on the share and read it back; the server is asked each time."""
    os.makedirs(os.path.join(folder, NAME), mode=0o750, exist_ok=True)
    path = os.path.join(folder, NAME, host)
    said = str(time.time()).encode()
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    try:
        os.write(file, said)
        os.fsync(file)
    finally:
        os.close(file)
    with open(path, "rb") as again:
        if again.read() != said:
            raise OSError("it gave back other bytes than were written")


def child(folder, host, pipe):
    """Use the share and report; never returns."""
    try:
        use(folder, host)
        said = b"ok"
    except OSError as fault:
        said = (fault.strerror or str(fault)).encode()
    os.write(pipe, said)
    os._exit(0)


class Probe:
    """One share, looked at again and again."""

    def __init__(self, mount, folder, host, deadline):
        self.mount, self.folder, self.host, self.deadline = mount, folder, host, deadline
        self.share = f"share at {mount}" if mount else f"folder {folder}"
        self.pid = self.pipe = None

    def look(self):
        """What is wrong with the share, "" when it answers."""
        if not mounted(self.mount):
            return f"no share is mounted at {self.mount}: see `systemctl status samefiles-mount-*`"
        if self.pid is None:
            self.pipe, writer = os.pipe()
            self.pid = os.fork()
            if self.pid == 0:
                child(self.folder, self.host, writer)
            os.close(writer)
        if not select.select([self.pipe], [], [], self.deadline)[0]:
            return f"the {self.share} does not answer within {self.deadline:g} s"
        said = os.read(self.pipe, 1000).decode(errors="replace")
        os.close(self.pipe)
        os.waitpid(self.pid, 0)
        self.pid = self.pipe = None
        return "" if said == "ok" else f"the {self.share} fails: {said or 'the probe died'}"


def put(path, text):
    """Replace a file at one stroke."""
    part = path + ".part"
    with open(part, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(part, 0o644)
    os.rename(part, path)


def metrics(problem, took):
    """The outcome as Prometheus' node exporter reads it."""
    rows = (
        ("up", "Whether the share of the web app answers.", f"{int(not problem)}"),
        ("probe_seconds", "How long the share took to answer.", f"{took:.3f}"),
        ("probe_time_seconds", "When the share was asked.", f"{time.time():.0f}"),
    )
    return "".join(
        f"# HELP samefiles_share_{name} {words}\n# TYPE samefiles_share_{name} gauge\nsamefiles_share_{name} {value}\n"
        for name, words, value in rows
    )


def main(mount, folder, host, every, deadline, status, textfile):
    """Look and tell until somebody ends it."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    probe = Probe(mount, folder, host, float(deadline))
    before = unwritten = None
    while True:
        begin = time.monotonic()
        problem = probe.look()
        took = time.monotonic() - begin
        told = {"ok": not problem, "at": time.time(), "every": float(every), "problem": problem}
        put(status, json.dumps(told) + "\n")
        failed = ""
        try:
            put(textfile, metrics(problem, took))
        except OSError as fault:  # a full or missing folder of the monitoring is not the share's fault
            failed = f"the metrics cannot be written to {textfile}: {fault.strerror}"
        if failed and failed != unwritten:
            print(failed, flush=True)
        unwritten = failed
        if problem != before:
            print(problem or "the share answers", flush=True)
            before = problem
        time.sleep(max(0.2, float(every) - took))


if __name__ == "__main__":
    main(*sys.argv[1:])
