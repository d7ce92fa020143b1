# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of the proof on one host. Whatever touches a share runs in a process of its own, with a deadline."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time

from .._efs_mount import converge
from .._host import process
from . import judge, site

_POLL = 0.02  # seconds between two attempts to read


def _become(uid: int, gid: int) -> None:
    """Be the files' owner, in a process that ends soon."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)


def _file(path: str, host: str) -> str:
    return os.path.join(path, judge.FOLDER, judge.token_name(path, host))


def _part(path: str, host: str) -> str:
    return os.path.join(path, judge.FOLDER, f".{judge.token_name(path, host)}.part")


def _ask(path: str, owner: tuple[int, int], host: str, hosts: list[str]) -> list[str]:
    """Make the folder, remove what an earlier run left of this host, and ask for every name; returns those that exist."""
    _become(*owner)
    folder = os.path.join(path, judge.FOLDER)
    os.makedirs(folder, mode=0o755, exist_ok=True)
    for name in (_file(path, host), _part(path, host)):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
    there = []
    for other in hosts:
        try:
            os.close(os.open(_file(path, other), os.O_RDONLY))
            there.append(other)
        except FileNotFoundError:
            pass
    return there


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


def _read_one(path: str, host: str, wanted: bytes, until: float) -> dict:
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


def _read(path: str, owner: tuple[int, int], hosts: list[str], run: str, deadline: float) -> dict:
    _become(*owner)
    until = time.monotonic() + deadline
    return {host: _read_one(path, host, judge.token(run, host, path), until) for host in hosts}


def _clean(path: str, owner: tuple[int, int], host: str) -> None:
    _become(*owner)
    for name in (_file(path, host), _part(path, host)):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
    with contextlib.suppress(OSError):  # another host's token is still in it; the last one removes it
        os.rmdir(os.path.join(path, judge.FOLDER))


def _each(host: str, calls: dict, deadline: float, doing: str) -> tuple[dict, list[str]]:
    """Do one call for each mount; returns the values by path, and a sentence for each that failed."""
    values, problems = {}, []
    for path, answer in process.call_all(calls, deadline).items():
        if "value" in answer:
            values[path] = answer["value"]
        elif answer["error"] == "hung":
            problems.append(f"{host}: {path} hangs: {doing} did not end within {deadline:.0f} s")
        else:
            problems.append(f"{host}: {doing} at {path} failed: {answer['error']}")
    return values, problems


def look(items: list, host: str, hosts: list[str], deadline: float) -> dict:
    """Whether the mounts are what they should be; then ask for every host's token, before any exists."""
    outcome = converge.inspect(items, False, deadline, programs=True)
    problems = [f"{host}: {problem}" for problem in outcome.problems]
    problems += judge.drift(host, outcome.plan, outcome.problems)
    mounts, calls = [], {}
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
            calls[item.path] = lambda item=item, owner=owner: _ask(item.path, owner, host, hosts)
    asked, faults = _each(host, calls, deadline, "asking for the others' files")
    for path, names in asked.items():
        if names:
            faults.append(f"{host}: {path} already held the file of {', '.join(names)} before it was written")
    for row in mounts:
        row["usable"] = row["path"] in asked
    return {"mounts": mounts, "problems": problems + faults}


def write(mounts: list[dict], host: str, run: str, deadline: float) -> dict:
    """Write this host's token to every mount that look found usable."""
    calls = {
        row["path"]: (lambda row=row: _write(row["path"], tuple(row["owner"]), host, run))
        for row in mounts
        if row["usable"]
    }
    written, problems = _each(host, calls, deadline, "writing")
    return {"written": written, "problems": problems}


def read(mounts: list[dict], host: str, writers: dict, run: str, wait: float, deadline: float) -> dict:
    """Open the token of every host that wrote one (by path); wait is how long (seconds) a file may take to appear."""
    calls = {
        row["path"]: (lambda row=row: _read(row["path"], tuple(row["owner"]), writers.get(row["path"], []), run, wait))
        for row in mounts
        if row["usable"]
    }
    found, problems = _each(host, calls, wait + deadline, "reading")
    return {"read": found, "problems": problems}


def clean(mounts: list[dict], host: str, deadline: float) -> dict:
    """Remove this host's token."""
    calls = {
        row["path"]: (lambda row=row: _clean(row["path"], tuple(row["owner"]), host)) for row in mounts if row["usable"]
    }
    return {"problems": _each(host, calls, deadline, "cleaning up")[1]}


# the site, as this host serves it


def _site_calls(host: str, calls: dict, deadline: float, doing: str) -> tuple[dict, list[str]]:
    """Do requests side by side; returns their values by key, and a sentence for each that failed."""
    values, problems = {}, []
    for key, answer in process.call_all(calls, deadline).items():
        if "value" in answer:
            values[key] = answer["value"]
        else:
            hung = f"no answer within {deadline:.0f} s"
            problems.append(f"{host}: {doing} failed: {hung if answer['error'] == 'hung' else answer['error']}")
    return values, problems


def site_write(options: dict, host: str, run: str, deadline: float) -> dict:
    """Upload this host's file through its own front: {"key"} or {"problems"}, and the bucket, "" for none."""
    name = site.file_name(options, f"proof-{host}")
    data = site.content(name, judge.token(run, host, "site"))
    call = {"key": lambda: site.upload(options, name, data)}
    values, problems = _site_calls(host, call, deadline, "uploading a file to its own site")
    return {**values, "bucket": options.get("bucket") or "" if site.in_s3(options) else "", "problems": problems}


def site_read(options: dict, host: str, keys: dict, run: str, wait: float, deadline: float) -> dict:
    """Fetch every uploaded file (key by writer) from this host's own front."""
    until = time.monotonic() + wait
    tokens = {writer: judge.token(run, writer, "site") for writer in keys}
    calls = {
        writer: (lambda writer=writer, key=key: site.fetch(options, key, tokens[writer], until))
        for writer, key in keys.items()
    }
    readings, problems = _site_calls(host, calls, wait + deadline, "fetching a file from its own site")
    if site.in_s3(options):  # where a link alone proves nothing of the server
        call = {"": lambda: site.unlisted(options, list(keys.values()), until)}
        lists, faults = _site_calls(host, call, wait + deadline, "listing the files of its own site")
        problems += faults
        for writer in [writer for writer, key in keys.items() if key in lists.get("", [])]:
            readings[writer] = {"same": False, "lag_ms": None, "fault": "it is not in the list of files"}
    return {"site": readings, "problems": problems}


def site_clean(options: dict, host: str, keys: list[str], deadline: float) -> dict:
    """Delete files through this host's own front."""
    calls = {key: (lambda key=key: site.delete(options, key)) for key in keys}
    return {"problems": _site_calls(host, calls, deadline, "deleting a file from its own site")[1]}


def site_gone(options: dict, host: str, keys: dict, wait: float, deadline: float) -> dict:
    """Whether this host serves none of the deleted files any more."""
    until = time.monotonic() + wait
    calls = {writer: (lambda key=key: site.gone(options, key, until)) for writer, key in keys.items()}
    values, problems = _site_calls(host, calls, wait + deadline, "asking its own site for a deleted file")
    problems += [
        f"{host}: still serves the file of {writer}, which was deleted"
        for writer, is_gone in values.items()
        if not is_gone
    ]
    if site.in_s3(options):
        call = {"": lambda: site.still_listed(options, list(keys.values()), until)}
        lists, faults = _site_calls(host, call, wait + deadline, "listing the files of its own site")
        there = [writer for writer, key in keys.items() if key in lists.get("", [])]
        problems += faults + [f"{host}: still lists the file of {writer}, which was deleted" for writer in there]
    return {"problems": problems}
