"""The programs of a lab that run on the machine itself: started once, found again by their command line, ended for good."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from lab.progress import step
from lab.settings import ROOT, Lab, LabError


@dataclasses.dataclass(frozen=True)
class Daemon:
    """The program `python -m MODULE ARGUMENT…` of a lab; ANSWERS tells whether it does its work."""

    lab: Lab
    name: str
    module: str
    arguments: tuple[str, ...]
    answers: Callable[[], bool]

    def _processes(self) -> list[int]:
        """The processes that run it."""
        found = []
        wanted = [self.module, *self.arguments]
        for entry in os.listdir("/proc"):
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as line:
                    argv = line.read().decode(errors="replace").split("\0")
            except (OSError, NotADirectoryError):
                continue
            if argv[2 : 2 + len(wanted)] == wanted:
                found.append(int(entry))
        return found

    def start(self) -> None:
        """Start it unless it runs; one that does not answer is started anew."""
        if self._processes():
            if self.answers():
                return
            self.stop()
        log = self.lab.state / f"{self.module.removeprefix('lab.')}.log"
        with log.open("wb") as out, step(f"starting {self.name}"):
            process = subprocess.Popen(
                [sys.executable, "-m", self.module, *self.arguments],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
            for _ in range(300):
                if process.poll() is not None:
                    last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["it printed nothing"]
                    raise LabError(f"{self.name} ended at once: {last[0]} (see {log})")
                if self.answers():
                    return
                time.sleep(0.2)
        raise LabError(f"{self.name} does not answer after 60 s, see {log}")

    def stop(self) -> None:
        """End it."""
        for process in self._processes():
            os.kill(process, signal.SIGKILL)
        while self._processes():
            time.sleep(0.05)
