"""The wanted state of a lab, kept in its state directory, and the lock that lets one command at a time change it."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import pathlib
import time
from collections.abc import Iterator
from typing import TextIO, TypedDict

from lab.identity import write
from lab.progress import step
from lab.settings import FIXED, MOST_LABS, STATE, Lab, LabError

MAIN_FILE_SYSTEM = "files"


class AccessPoint(TypedDict):
    """An access point of a file system; mode in octal digits."""

    name: str
    path: str
    uid: int
    gid: int
    mode: str


class _FileSystem(TypedDict):
    name: str
    number: int
    access_points: list[AccessPoint]


class FileSystem(_FileSystem, total=False):
    """A file system; without zones it has a mount target in every zone."""

    zones: list[str]


@dataclasses.dataclass
class Wanted:
    """The record lab.json: how many servers, which file systems, which transport, which storage of the site."""

    index: int
    hosts: int = 2
    transport: str = "stunnel"
    storage: str = "efs"  # where the site keeps its files
    package: str | None = None  # SHA-256 of the efs-utils package in the state directory
    file_systems: list[FileSystem] = dataclasses.field(
        default_factory=lambda: [{"name": MAIN_FILE_SYSTEM, "number": 0, "access_points": []}]
    )


def _file(directory: pathlib.Path) -> pathlib.Path:
    return directory / "lab.json"


def load(name: str) -> Wanted | None:
    """The record of a lab, or None where there is none that can be read."""
    try:
        return Wanted(**json.loads(_file(STATE / name).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def save(lab: Lab, wanted: Wanted) -> None:
    """Keep the record."""
    write(_file(lab.state), json.dumps(dataclasses.asdict(wanted), indent=2) + "\n")


def free_index(name: str) -> int:
    """The number for a new lab: a fixed one, or the first that no lab has."""
    if name in FIXED:
        return FIXED[name]
    taken = set(FIXED.values())
    for directory in STATE.glob("*/"):
        other = load(directory.name)
        if other:
            taken.add(other.index)
    free = set(range(MOST_LABS)) - taken
    if not free:
        raise LabError(f"there are {MOST_LABS} labs already: remove one with `make lab-down LAB=name`")
    return min(free)


@contextlib.contextmanager
def locked(timeout: float = 900) -> Iterator[None]:
    """Let one command at a time make, change or remove labs: they use the same images, numbers and engine.

    Waits for another command to end, at most TIMEOUT seconds.
    """
    STATE.mkdir(parents=True, exist_ok=True)
    with (STATE / ".lock").open("w") as lock:
        if not _locks(lock):
            until = time.monotonic() + timeout
            with step("another lab command is running: waiting for it"):
                while not _locks(lock):
                    if time.monotonic() > until:
                        raise LabError(f"another lab command has been running for {timeout:.0f} s: end it, or wait")
                    time.sleep(0.5)
        yield


def _locks(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
