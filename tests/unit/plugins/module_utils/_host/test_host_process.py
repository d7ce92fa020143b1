"""Commands and calls that hang, die or fail: none holds up the module."""

from __future__ import annotations

import os
import signal
import time

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._host import process


def gone(pid: int) -> bool:
    """Whether a process ends within 5 s; one that only waits for its parent to notice has ended."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["true"], 0, "nothing"),
        (["sh", "-c", "echo out; echo first >&2; echo second >&2; exit 3"], 3, "first second"),
        (["sh", "-c", "echo out; exit 1"], 1, "out"),
        (["sh", "-c", "printf '\\377'; exit 1"], 1, "\N{REPLACEMENT CHARACTER}"),
        (["/no/such/program"], 127, "/no/such/program: No such file or directory"),
        (["cat"], 0, "nothing"),  # there is no terminal to wait for
    ],
)
def test_how_a_command_ends(argv, code, said):
    done = process.run(argv, 10)
    assert (done.code, done.said()) == (code, said)


def test_a_command_that_hangs_is_ended_with_its_children(tmp_path):
    pids = tmp_path / "pids"
    started = time.monotonic()
    done = process.run(["sh", "-c", f"sleep 60 & echo $! $$ > {pids}; echo begun; wait"], 0.5)
    assert time.monotonic() - started < 30
    assert (done.code, done.out) == (None, "begun")
    assert all(gone(int(pid)) for pid in pids.read_text().split())


def test_a_command_that_ignores_the_polite_signal_is_killed(monkeypatch):
    monkeypatch.setattr(process, "_GRACE", 0.3)
    started = time.monotonic()
    done = process.run(["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"], 0.3)
    assert done.code is None
    assert time.monotonic() - started < 30
    assert process.run(["sleep", "60"], 0.1).said() == "nothing before its timeout"


def test_a_child_that_stays_behind_is_not_waited_for():
    started = time.monotonic()
    assert process.run(["sh", "-c", "sleep 30 & echo done"], 20).out == "done"
    assert time.monotonic() - started < 20


def test_calls_run_side_by_side_and_one_that_hangs_costs_only_itself():
    def fails():
        raise PermissionError(13, "Permission denied")

    def breaks():
        raise ValueError("odd")

    calls = {
        "good": lambda: {"pid": os.getpid()},
        "large": lambda: "x" * 300_000,
        "hung": lambda: time.sleep(60),
        "fails": fails,
        "breaks": breaks,
        "dies": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "odd": lambda: object(),
    }
    started = time.monotonic()
    results = process.call_all(calls, 1.0)
    assert time.monotonic() - started < 30
    assert results["good"]["value"]["pid"] != os.getpid()
    assert len(results["large"]["value"]) == 300_000
    assert results["hung"] == {"error": "hung"}
    assert results["fails"] == {"error": "Permission denied", "errno": 13}
    assert results["breaks"] == {"error": "ValueError: odd"}
    assert results["dies"] == {"error": "it ended without an answer"}
    assert "error" in results["odd"]


def test_nothing_to_call():
    assert process.call_all({}, 1.0) == {}
