"""kill -9 between every two system calls of a publish: a file is there wholly, or not at all."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys

import pytest
from gallery.storage.efs import Efs

from tests.support import ROOT
from tests.support.gallery_server import FILES
from tests.support.gallery_storage import listed, put, read

DYING = ROOT / "tests/support/gallery_dying.py"
BYTES = bytes(range(256)) * 40_000
PREVIEW = b"\xff\xd8\xff" + bytes(60_000)


def die(directory, number, *half) -> tuple[int, list[str]]:
    """Put a file in a process that dies before a call; returns how it ended and what it called."""
    environment = {"PYTHONPATH": str(FILES), "PYTHONDONTWRITEBYTECODE": "1"}
    argv = [sys.executable, str(DYING), str(directory), str(number), *half]
    done = subprocess.run(argv, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    return done.returncode, done.stdout.split()


def prepare(directory, state):
    """A directory that was never used, or one that holds a file of these minutes."""
    storage = Efs(str(directory))
    return storage, [put(storage, b"older").key] if state == "settled" else []


@pytest.mark.parametrize("half", [(), ("half",)])
@pytest.mark.parametrize("state", ["virgin", "settled"])
def test_killed_before_every_system_call(tmp_path, state, half):
    outcomes = []
    for number in itertools.count(1):
        directory = tmp_path / str(number)
        storage, before = prepare(directory, state)
        ended, called = die(directory, number, *half)
        new = [key for key in listed(storage) if key not in before]
        outcomes.append(len(new))
        for key in new:
            assert read(storage, key) == BYTES, called
        storage.tidy(-1)
        assert not (directory / ".tmp").exists() or os.listdir(directory / ".tmp") == [], called
        assert sorted(listed(storage)) == sorted(new + before), called
        assert read(storage, put(storage, b"next").key) == b"next", called
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
    assert outcomes == sorted(outcomes)  # from one call on it is there
    assert set(outcomes) == {0, 1}
    assert called.count("link") == (2 if "mkdir" in called else 1)
    assert called[-1] == "unlink"


@pytest.mark.parametrize("state", ["virgin", "settled"])
def test_killed_with_a_preview_on_the_way(tmp_path, state):
    outcomes = []
    for number in itertools.count(1):
        directory = tmp_path / str(number)
        storage, before = prepare(directory, state)
        ended, called = die(directory, number, "preview", "half")
        new = [key for key in listed(storage) if key not in before]
        small = listed(storage.previews())
        outcomes.append((len(new), len(small)))
        assert set(small) <= set(new), called  # none without its file
        assert [read(storage, key) for key in new] == [BYTES] * len(new), called
        assert [read(storage.previews(), key) for key in small] == [PREVIEW] * len(small), called
        for place, expected in ((storage, new + before), (storage.previews(), small)):
            place.tidy(-1)
            assert sorted(listed(place)) == sorted(expected), called
        assert not list(directory.rglob("*.part")), called
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
    assert outcomes == sorted(outcomes)
    assert set(outcomes) == {(0, 0), (1, 0), (1, 1)}
