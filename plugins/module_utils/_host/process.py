# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs what may hang: commands and calls in processes of their own, each with a timeout.

A process that waits for an unreachable NFS server may not even react to SIGKILL; it is left behind, never waited for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

Key = TypeVar("Key", bound=Hashable)

_GRACE = 2.0  # seconds between SIGTERM and SIGKILL: mount.efs cleans up after itself


@dataclasses.dataclass(frozen=True)
class Done:
    """How a command ended; code is None when it did not within its timeout."""

    code: int | None
    out: str
    error: str

    def said(self) -> str:
        """What it printed about its failure, on one line."""
        text = " ".join((self.error or self.out).split())
        return text or ("nothing" if self.code is not None else "nothing before its timeout")


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _wait(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def run(argv: list[str], timeout: float) -> Done:
    """Run a command with its own process group; at the timeout (seconds) the group is ended."""
    # files, not pipes: a left-behind process would keep a pipe open
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as error:
        environment = dict(os.environ, LC_ALL="C.UTF-8")
        try:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=error, env=environment, start_new_session=True
            )
        except OSError as fault:
            return Done(127, "", f"{argv[0]}: {fault.strerror}")
        code = process.returncode if _wait(process, timeout) else None
        if code is None:
            _signal(process, signal.SIGTERM)
            if not _wait(process, _GRACE):
                _signal(process, signal.SIGKILL)
                _wait(process, _GRACE)
        texts = []
        for file in (out, error):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace").strip())
        return Done(code, texts[0], texts[1])


def _child(call: Callable[[], object], pipe: int) -> None:
    """Run the call in the forked child and write {"value": …} or {"error": …}; never returns."""
    try:
        answer = {"value": call()}
    except OSError as fault:
        answer = {"error": fault.strerror or str(fault), "errno": fault.errno}
    except BaseException as fault:  # the child must not go on as a second module
        answer = {"error": f"{type(fault).__name__}: {fault}"}
    try:
        data = json.dumps(answer).encode()
        while data:
            data = data[os.write(pipe, data) :]
    finally:
        os._exit(0)


def _start(call: Callable[[], object]) -> tuple[int, int]:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _child(call, writer)
    os.close(writer)
    return pid, reader


def _collect(readers: dict[int, Key], until: float) -> dict[Key, bytes]:
    """Read the pipes until each is closed or the time is over; a pipe that was not closed is left out."""
    data = dict.fromkeys(readers.values(), b"")
    done = {}
    waiting = dict(readers)
    while waiting:
        left = until - time.monotonic()
        ready = select.select(list(waiting), [], [], max(left, 0))[0]
        if not ready and left <= 0:
            break
        for reader in ready:
            chunk = os.read(reader, 65536)
            data[waiting[reader]] += chunk
            if not chunk:
                key = waiting.pop(reader)
                done[key] = data[key]
    return done


def call_all(calls: Mapping[Key, Callable[[], object]], timeout: float) -> dict[Key, dict[str, Any]]:
    """Call every function of {key: function} in a process of its own, all at once.

    Returns {key: {"value": …}} (what it returned, as JSON), {"error": text, "errno": number} when it raised, or
    {"error": "hung"} when it did not return within the timeout (seconds, for all together).
    """
    started = {key: _start(call) for key, call in calls.items()}
    outputs = _collect({reader: key for key, (_pid, reader) in started.items()}, time.monotonic() + timeout)
    result = {}
    for key, (pid, reader) in started.items():
        os.close(reader)
        if key not in outputs:
            os.kill(pid, signal.SIGKILL)
            result[key] = {"error": "hung"}
            os.waitpid(pid, os.WNOHANG)
        else:
            os.waitpid(pid, 0)
            result[key] = json.loads(outputs[key] or b'{"error": "it ended without an answer"}')
    return result


def call(function: Callable[[], object], timeout: float) -> dict[str, Any]:
    """call_all for one function."""
    return call_all({0: function}, timeout)[0]
