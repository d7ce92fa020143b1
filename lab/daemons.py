"""The programs of a lab that run on the machine itself: started once, found again by their command line, ended for good."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from lab.progress import step
from lab.settings import ROOT, Lab, LabError


def processes(fits: Callable[[list[str]], bool]) -> dict[int, list[str]]:
    """The command lines that fit, by process number."""
    matches = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as line:
                argv = line.read().decode(errors="replace").rstrip("\0").split("\0")
        except OSError:
            continue  # it ended in the meantime
        if fits(argv):
            matches[int(entry)] = argv
    return matches


def end(fits: Callable[[list[str]], bool]) -> None:
    """End the processes whose command line fits, and wait until they are gone."""
    while running := processes(fits):
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.05)


def end_connections(directory: pathlib.Path) -> None:
    """End the SSH connections that Ansible keeps open for later plays; DIRECTORY has their sockets."""
    place = f"{directory.resolve()}/"  # as Ansible writes it
    end(lambda argv: argv[0].startswith("ssh") and place in " ".join(argv))


def code() -> str:
    """A hash of the lab's programs, which an update changes."""
    digest = hashlib.sha256()
    for path in [*sorted((ROOT / "lab").glob("*.py")), ROOT / "requirements/dev.txt"]:
        digest.update(path.read_bytes())
    return f"code={digest.hexdigest()[:12]}"


@dataclasses.dataclass(frozen=True)
class Daemon:
    """The program `python -m MODULE ARGUMENT… CODE` of a lab; RESPONDS says whether it does its work.

    One of the ARGUMENTS is the lab's name.
    """

    lab: Lab
    name: str
    module: str
    arguments: tuple[str, ...]
    responds: Callable[[], bool]

    def _fits(self, argv: list[str]) -> bool:
        """Whether a command line is this program's; the name alone decides, because a lost record has no port."""
        return argv[1:3] == ["-m", self.module] and self.lab.name in argv[3:]

    def start(self) -> None:
        """Start it unless it runs; one that does not answer, or is of older code, is restarted."""
        wanted = [*self.arguments, code()]
        running = [argv[3:] for argv in processes(self._fits).values()]
        if running == [wanted] and self.responds():
            return
        self.stop()
        log = self.lab.state / f"{self.module.removeprefix('lab.')}.log"
        with log.open("wb") as out, step(f"starting {self.name}"):
            process = subprocess.Popen(
                [sys.executable, "-m", self.module, *wanted],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
            for _ in range(300):
                if process.poll() is not None:
                    last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["it printed nothing"]
                    raise LabError(f"{self.name} ended at once: {last[0]} (see {log})")
                if self.responds():
                    return
                time.sleep(0.2)
        raise LabError(f"{self.name} does not answer after 60 s, see {log}")

    def stop(self) -> None:
        """End it."""
        end(self._fits)
