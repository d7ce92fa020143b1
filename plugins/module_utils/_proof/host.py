# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of the proof on one host. Whatever touches a mount runs in a process of its own, with a timeout."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from .._efs_mount import converge
from .._efs_mount.spec import Wanted
from .._host import process
from . import judge, site

_POLL = 0.02  # seconds between two attempts to read
_Calls = dict[str, Callable[[], Any]]


def _become(uid: int, gid: int) -> None:
    """Be the files' owner, in a process that ends soon."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)


def _file(path: str, host: str) -> str:
    return os.path.join(path, judge.DIRECTORY, judge.token_name(path, host))


def _part(path: str, host: str) -> str:
    return os.path.join(path, judge.DIRECTORY, f".{judge.token_name(path, host)}.part")


def _ask(path: str, owner: tuple[int, int], host: str, hosts: list[str]) -> list[str]:
    """Make the directory, remove what an earlier run left of this host, and ask for every name; returns those that exist."""
    _become(*owner)
    directory = os.path.join(path, judge.DIRECTORY)
    os.makedirs(directory, mode=0o755, exist_ok=True)
    for name in (_file(path, host), _part(path, host)):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
    existing = []
    for other in hosts:
        try:
            os.close(os.open(_file(path, other), os.O_RDONLY))
            existing.append(other)
        except FileNotFoundError:
            pass
    return existing


def _write(path: str, owner: tuple[int, int], host: str, run: str) -> str:
    """Publish this host's token: temporary file, fsync, rename."""
    _become(*owner)
    data = judge.token(run, host, path)
    part = _part(path, host)
    with open(part, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.rename(part, _file(path, host))
    return hashlib.sha256(data).hexdigest()


def _read_token(path: str, host: str, wanted: bytes, until: float) -> dict[str, Any]:
    """Open a host's token until it has the right bytes or the time is over."""
    begin = time.monotonic()
    fault = ""
    while True:
        try:
            with open(_file(path, host), "rb") as file:
                data = file.read()
            fault = "" if data == wanted else "other bytes"
        except OSError as error:
            fault = error.strerror or str(error)
        if not fault:
            return {"same": True, "lag_ms": round((time.monotonic() - begin) * 1000, 1)}
        if time.monotonic() >= until:
            return {"same": False, "lag_ms": None, "fault": f"{fault} after {time.monotonic() - begin:.0f} s"}
        time.sleep(_POLL)


def _read(path: str, owner: tuple[int, int], hosts: list[str], run: str, timeout: float) -> dict[str, Any]:
    _become(*owner)
    until = time.monotonic() + timeout
    return {host: _read_token(path, host, judge.token(run, host, path), until) for host in hosts}


def _clean(path: str, owner: tuple[int, int], host: str) -> None:
    _become(*owner)
    for name in (_file(path, host), _part(path, host)):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
    with contextlib.suppress(OSError):  # another host's token is still in it; the last one removes it
        os.rmdir(os.path.join(path, judge.DIRECTORY))


def _each(host: str, calls: _Calls, timeout: float, doing: str) -> tuple[dict[str, Any], list[str]]:
    """Do one call for each mount; returns the values by path, and a sentence for each that failed."""
    values: dict[str, Any] = {}
    problems: list[str] = []
    for path, answer in process.call_all(calls, timeout).items():
        if "value" in answer:
            values[path] = answer["value"]
        elif answer["error"] == "hung":
            problems.append(f"{host}: {path} hangs: {doing} did not end within {timeout:.0f} s")
        else:
            problems.append(f"{host}: {doing} at {path} failed: {answer['error']}")
    return values, problems


def inspect(items: list[Wanted], host: str, hosts: list[str], timeout: float) -> dict[str, Any]:
    """Whether the mounts are what they should be; then ask for every host's token, before any exists."""
    outcome = converge.inspect(items, False, timeout, programs=True)
    problems = [f"{host}: {problem}" for problem in outcome.problems]
    problems += judge.drift(host, outcome.plan, outcome.problems)
    mounts: list[dict[str, Any]] = []
    calls: _Calls = {}
    for item in items:
        if item.state != "mounted":
            continue
        verdict = outcome.plan.verdicts[item.path]
        root = outcome.before.roots.get(item.path)
        usable = verdict.what == "right" and root is not None and not root.fault and not item.read_only
        owner = (root.uid, root.gid) if root else (0, 0)
        row = {"path": item.path, "file_system": item.file_system, "usable": usable, "owner": owner}
        if not item.read_only:
            mounts.append(row)
        if usable:
            calls[item.path] = partial(_ask, item.path, owner, host, hosts)
    asked, faults = _each(host, calls, timeout, "asking for the others' files")
    for path, names in asked.items():
        if names:
            faults.append(f"{host}: {path} already held the file of {', '.join(names)} before it was written")
    for row in mounts:
        row["usable"] = row["path"] in asked
    return {"mounts": mounts, "problems": problems + faults}


def write(mounts: list[dict[str, Any]], host: str, run: str, timeout: float) -> dict[str, Any]:
    """Write this host's token to every mount that inspect reported as usable."""
    calls: _Calls = {
        row["path"]: partial(_write, row["path"], tuple(row["owner"]), host, run) for row in mounts if row["usable"]
    }
    written, problems = _each(host, calls, timeout, "writing")
    return {"written": written, "problems": problems}


def read(
    mounts: list[dict[str, Any]], host: str, writers: dict[str, list[str]], run: str, wait: float, timeout: float
) -> dict[str, Any]:
    """Open the token of every host that wrote one (by path); wait is how long (seconds) a file may take to appear."""
    calls: _Calls = {
        row["path"]: partial(_read, row["path"], tuple(row["owner"]), writers.get(row["path"], []), run, wait)
        for row in mounts
        if row["usable"]
    }
    readings, problems = _each(host, calls, wait + timeout, "reading")
    return {"read": readings, "problems": problems}


def clean(mounts: list[dict[str, Any]], host: str, timeout: float) -> dict[str, Any]:
    """Remove this host's token."""
    calls: _Calls = {
        row["path"]: partial(_clean, row["path"], tuple(row["owner"]), host) for row in mounts if row["usable"]
    }
    return {"problems": _each(host, calls, timeout, "cleaning up")[1]}


# the site, as this host serves it


def _site_calls(host: str, calls: _Calls, timeout: float, doing: str) -> tuple[dict[str, Any], list[str]]:
    """Do requests side by side; returns their values by key, and a sentence for each that failed."""
    values: dict[str, Any] = {}
    problems: list[str] = []
    for key, answer in process.call_all(calls, timeout).items():
        if "value" in answer:
            values[key] = answer["value"]
        else:
            hung = f"no answer within {timeout:.0f} s"
            problems.append(f"{host}: {doing} failed: {hung if answer['error'] == 'hung' else answer['error']}")
    return values, problems


def site_write(options: dict[str, Any], host: str, run: str, timeout: float) -> dict[str, Any]:
    """Upload this host's file through its own front: {"key"} or {"problems"}, and the bucket, "" for none."""
    name = site.file_name(options, f"proof-{host}")
    data = site.content(name, judge.token(run, host, "site"))
    call: _Calls = {"key": partial(site.upload, options, name, data)}
    values, problems = _site_calls(host, call, timeout, "uploading a file to its own site")
    return {**values, "bucket": options.get("bucket") or "" if site.in_s3(options) else "", "problems": problems}


def site_read(
    options: dict[str, Any], host: str, keys: dict[str, str], run: str, wait: float, timeout: float
) -> dict[str, Any]:
    """Fetch every uploaded file (key by writer) from this host's own front."""
    until = time.monotonic() + wait
    calls: _Calls = {
        writer: partial(site.fetch, options, key, judge.token(run, writer, "site"), until)
        for writer, key in keys.items()
    }
    readings, problems = _site_calls(host, calls, wait + timeout, "fetching a file from its own site")
    if site.in_s3(options):  # where a link alone proves nothing of the server
        call: _Calls = {"": partial(site.unlisted, options, list(keys.values()), until)}
        lists, faults = _site_calls(host, call, wait + timeout, "listing the files of its own site")
        problems += faults
        for writer in [writer for writer, key in keys.items() if key in lists.get("", [])]:
            readings[writer] = {"same": False, "lag_ms": None, "fault": "it is not in the list of files"}
    return {"site": readings, "problems": problems}


def site_clean(options: dict[str, Any], host: str, keys: list[str], timeout: float) -> dict[str, Any]:
    """Delete files through this host's own front."""
    calls: _Calls = {key: partial(site.delete, options, key) for key in keys}
    return {"problems": _site_calls(host, calls, timeout, "deleting a file from its own site")[1]}


def site_gone(options: dict[str, Any], host: str, keys: dict[str, str], wait: float, timeout: float) -> dict[str, Any]:
    """Whether this host serves none of the deleted files any more."""
    until = time.monotonic() + wait
    calls: _Calls = {writer: partial(site.gone, options, key, until) for writer, key in keys.items()}
    values, problems = _site_calls(host, calls, wait + timeout, "asking its own site for a deleted file")
    problems += [
        f"{host}: still serves the file of {writer}, which was deleted"
        for writer, is_gone in values.items()
        if not is_gone
    ]
    if site.in_s3(options):
        call: _Calls = {"": partial(site.still_listed, options, list(keys.values()), until)}
        lists, faults = _site_calls(host, call, wait + timeout, "listing the files of its own site")
        listed = [writer for writer, key in keys.items() if key in lists.get("", [])]
        problems += faults + [f"{host}: still lists the file of {writer}, which was deleted" for writer in listed]
    return {"problems": problems}
