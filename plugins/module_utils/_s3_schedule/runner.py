# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host's timer starts: one sync, with a lock, a log on standard output and its result as JSON."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import time
import traceback

from .._s3_sync import converge
from . import plan
from .metrics import metrics

BUSY = 75  # exit code when another run of the same schedule is under way (EX_TEMPFAIL)


def put(path: str, text: str) -> None:
    """Write a file atomically. Another user collects the metrics, and the unit has UMask=0027."""
    part = f"{path}.part"
    with open(part, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def _before(path: str) -> float:
    try:
        with open(path, encoding="utf-8") as file:
            return float(json.load(file)["succeeded"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def _record(name: str, state: str, began: float, before: float, result: dict) -> None:
    ended = time.time()
    succeeded = ended if result["ok"] else before
    outcome = {"sync": name, "began": began, "ended": ended, "succeeded": succeeded, **result}
    put(os.path.join(state, "last.json"), json.dumps(outcome, indent=2, ensure_ascii=False) + "\n")
    put(os.path.join(state, "s3_sync.prom"), metrics(name, outcome, succeeded))


def bury(name: str, state: str) -> int:
    """Record the end of a run that could not do so itself, for it was killed; systemd calls this after each run."""
    try:
        with open(os.path.join(state, "last.json"), encoding="utf-8") as file:
            last = json.load(file)
        if not last.get("running"):
            return 0
        began, before = float(last["began"]), float(last["succeeded"])
    except (OSError, ValueError, KeyError, TypeError):
        began, before = time.time(), 0.0
    why = " ".join(os.environ.get(word, "") for word in ("SERVICE_RESULT", "EXIT_CODE", "EXIT_STATUS")).strip()
    _record(
        name,
        state,
        began,
        before,
        {"ok": False, "msg": f"the run was ended before it could say how it went ({why}): see the journal"},
    )
    return 0


def run(name: str, conf: str, state: str) -> int:
    """Make one sync and record how it went; the exit code."""
    began = time.time()
    last = os.path.join(state, "last.json")
    before = _before(last)
    # if this process is killed, bury() sees that it was running, and no former success counts for this run
    put(
        last,
        json.dumps({"sync": name, "began": began, "ended": None, "succeeded": before, "ok": False, "running": True})
        + "\n",
    )
    try:
        with open(conf, encoding="utf-8") as file:
            result = {"ok": True, **converge.sync({**json.load(file), "diff": False})}
    except (converge.Refused, OSError, ValueError) as fault:
        result = {"ok": False, "msg": str(fault), **getattr(fault, "result", {})}
    except Exception as fault:  # a bug of this program is a failure as well
        traceback.print_exc()
        result = {"ok": False, "msg": f"this program has a fault: {type(fault).__name__}: {fault}"}
    _record(name, state, began, before, result)
    for action in result.get("actions", []):
        sys.stdout.write(f"{action}\n")
    if not result["ok"]:
        sys.stderr.write(f"{result['msg']}\n")
    return 0 if result["ok"] else 1


def main(argv: list[str]) -> int:
    """Run the schedule that the last argument names, or with --after before it see how its run went."""
    name, late = argv[-1], argv[:-1] == ["--after"]
    state = os.environ.get("STATE_DIRECTORY") or f"{plan.STATE_DIRECTORY}/{name}"
    with contextlib.ExitStack() as after:
        lock = after.enter_context(open(os.path.join(state, "lock"), "w", encoding="utf-8"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if late:
                return 0  # the other run records its own result
            sys.stderr.write(f"another run of {name} is under way: nothing done\n")
            return BUSY
        return bury(name, state) if late else run(name, plan.conf_path(name), state)
