# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof that every host serves the same bytes: what is written, what counts as agreement, and the report."""

from __future__ import annotations

import hashlib
import zlib
from typing import Any

from .._efs_mount.plan import Plan
from .._efs_mount.steps import GuardMountpoint, MakeNestedMountpoint, SetReadAhead, SetRoot, StartTunnel
from .._host.steps import EnableUnit, RemoveFile, Step, WriteFile

_REMEDY = "run site.yml, which repairs it"
DIRECTORY = ".samefiles-proof"  # in the root of the file system, while a proof runs
BALANCER = "balancer"  # stands among the hosts in the site's matrix


def token(run: str, host: str, path: str) -> bytes:
    """The bytes that a host writes in this run: 4 KiB that nobody can have who has not read them or knows the run."""
    seed = f"{run} {host} {path}".encode()
    return b"".join(hashlib.sha256(seed + str(number).encode()).hexdigest().encode() for number in range(64))


def token_name(path: str, host: str) -> str:
    """The file of a host's token. It names the path too: two mounts may show one directory."""
    return f"{host}.{zlib.crc32(path.encode()):08x}"


def _drift_of(step: Step, unknown: set[str]) -> str:
    """What a step that should not be needed says about a host, "" when it says nothing of its own."""
    if isinstance(step, WriteFile):
        return f"{step.path} is not what it should be"
    if isinstance(step, RemoveFile):
        return f"{step.path} should not be there"
    if isinstance(step, EnableUnit):
        return f"{step.unit} is not enabled, so it would not start at boot"
    if isinstance(step, StartTunnel):
        return f"{step.unit} does not run"
    if isinstance(step, SetReadAhead) and step.path not in unknown:
        return f"the read-ahead of {step.path} is not what it should be"
    if isinstance(step, SetRoot) and step.path not in unknown:
        return f"owner, group or mode of the file system at {step.path} are not what they should be"
    if isinstance(step, (GuardMountpoint, MakeNestedMountpoint)) and step.path not in unknown:
        return f"the mountpoint {step.path} is not guarded"
    return ""


def drift(host: str, plan: Plan, known: list[str]) -> list[str]:
    """What a plan that should be empty says about a host, one sentence for each thing; known problems name their path."""
    said = []
    for path, verdict in sorted(plan.verdicts.items()):
        if any(f" {path} " in f"{problem} " for problem in known):
            continue
        if verdict.what == "absent":
            said.append(f"{host}: nothing is mounted at {path}: {_REMEDY}")
        elif verdict.what != "right":
            said.append(f"{host}: {path} is not what it should be, {verdict.why}: {_REMEDY}")
    # of a mount that is to be made anew, or cannot be asked, nothing more is said than that
    unknown = {path for path, verdict in plan.verdicts.items() if verdict.what != "right"}
    for step in plan.steps:
        text = _drift_of(step, unknown)
        if text:
            said.append(f"{host}: {text}: {_REMEDY}")
    return said


def writers(writes: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    """The hosts that wrote a token, by path."""
    hosts: dict[str, list[str]] = {}
    for host, answer in writes.items():
        for path in answer.get("written") or {}:
            hosts.setdefault(path, []).append(host)
    return hosts


def judge(
    hosts: list[str],
    inspections: dict[str, dict[str, Any]],
    writes: dict[str, dict[str, Any]],
    reads: dict[str, dict[str, Any]],
    site: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """All hosts' answers as one proof: {"agree", "mounts": [{"path", "file_system", "pairs"}], "site", "problems"}.

    inspections, writes and reads are the results of those steps by host; a host without one did not answer. site is what the
    controller read through the balancer ({"url", "read", "problems"}), None where no site is proved.
    """
    problems = []
    for host in hosts:
        inspection = inspections.get(host) or {}
        if "mounts" not in inspection:
            why = " ".join(str(inspection.get("msg") or "").split())
            problems.append(f"{host}: did not answer" + (f" ({why})" if why else "") + ": see whether it runs")
        for results in (inspections, writes, reads):
            problems += (results.get(host) or {}).get("problems") or []
    mounts = []
    for path in sorted(
        {mount["path"] for inspection in inspections.values() for mount in inspection.get("mounts") or []}
    ):
        mount, disputes = _mount(path, hosts, inspections, reads)
        mounts.append(mount)
        problems += disputes
        problems += _disagreements(path, hosts, mount["pairs"], {problem.partition(":")[0] for problem in problems})
    if not (mounts or site or problems):
        problems.append("there is nothing to prove: no server has a mount that can be written to")
    proved: dict[str, Any] | None = None
    if site:
        proved, disputes = _site(hosts, writes, reads, site)
        problems += site["problems"] + disputes
        explained = {problem.partition(":")[0] for problem in problems}
        problems += _disagreements("the site", hosts, proved["pairs"], explained)
    pairs = [pair for part in [*mounts, proved or {"pairs": []}] for pair in part["pairs"]]
    agree = not problems and bool(pairs) and all(pair["same"] for pair in pairs)
    return {"agree": agree, "mounts": mounts, "site": proved, "problems": problems}


def _mount(
    path: str, hosts: list[str], inspections: dict[str, dict[str, Any]], reads: dict[str, dict[str, Any]]
) -> tuple[dict[str, Any], list[str]]:
    """One path's matrix, and a sentence when the hosts are to mount different file systems there."""
    wanted = {
        host: mount["file_system"]
        for host in hosts
        for mount in (inspections.get(host) or {}).get("mounts") or []
        if mount["path"] == path
    }
    systems = sorted(set(wanted.values()))
    disputes = []
    if len(systems) > 1:
        disputes.append(f"{path}: the servers are to mount different file systems there: {', '.join(systems)}")
    # a host that did not answer is expected to have the mount; one that answered lists its mounts
    expected = [host for host in hosts if host in wanted or "mounts" not in (inspections.get(host) or {})]
    readings = {host: (reads.get(host) or {}).get("read", {}).get(path, {}) for host in hosts}
    pairs = [_pair(readings[reader].get(writer, {}), writer, reader) for writer in expected for reader in expected]
    return {"path": path, "file_system": systems[0], "pairs": pairs}, disputes


def _site(
    hosts: list[str], writes: dict[str, dict[str, Any]], reads: dict[str, dict[str, Any]], site: dict[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """The site's matrix: who served the file that was uploaded through whom; and a sentence when they use several stores."""
    everyone = [*hosts, BALANCER] if site["url"] else hosts
    readings = {host: (reads.get(host) or {}).get("site") or {} for host in hosts}
    readings[BALANCER] = site["read"]
    pairs = [_pair(readings[reader].get(writer, {}), writer, reader) for writer in everyone for reader in everyone]
    buckets = sorted({answer["bucket"] for answer in writes.values() if "bucket" in answer})
    disputes = []
    if len(buckets) > 1:
        names = ", ".join(f"the bucket {name}" if name else "EFS" for name in buckets)
        disputes.append(f"the site: the servers keep its files in different places: {names}")
    bucket = buckets[-1] if buckets else ""
    return {
        "url": site["url"],
        "storage": "s3" if bucket else "efs",
        "bucket": bucket or None,
        "pairs": pairs,
    }, disputes


def _pair(reading: dict[str, Any], writer: str, reader: str) -> dict[str, Any]:
    """One reading, with the words of a missing one."""
    pair = {"written_by": writer, "read_by": reader, "same": bool(reading.get("same")), "lag_ms": reading.get("lag_ms")}
    return pair if pair["same"] else {**pair, "fault": reading.get("fault") or "it was not written, or not read"}


def _disagreements(path: str, hosts: list[str], pairs: list[dict[str, Any]], explained: set[str]) -> list[str]:
    """A sentence for each pair that fails, unless one of its hosts has been named already."""
    return [
        f"{pair['read_by']}: does not serve what {pair['written_by']} wrote to {path}: {pair['fault']}"
        for pair in pairs
        if not pair["same"] and not {pair["written_by"], pair["read_by"]} & explained
    ]


def word(pair: dict[str, Any]) -> str:
    """How one reading went, in a word."""
    if pair["same"]:
        return "same"
    return "differs" if pair["fault"].startswith("other bytes") else "fails"


def _matrix(title: str, verb: str, other: str, pairs: list[dict[str, Any]]) -> str:
    hosts = list(dict.fromkeys(pair["written_by"] for pair in pairs))
    cells = {
        (pair["written_by"], pair["read_by"]): f"{pair['lag_ms']} ms" if pair["same"] else word(pair).upper()
        for pair in pairs
    }
    wide = max([len(host) for host in hosts] + [9])
    first = max(len(verb), len(other)) + 1 + wide
    rows = [
        f"{verb} {writer}".ljust(first) + "".join(f"  {cells[writer, reader].rjust(wide)}" for reader in hosts)
        for writer in hosts
    ]
    head = other.rjust(first) + "".join(f"  {host.rjust(wide)}" for host in hosts)
    return "\n".join([title, head, *rows])


def table(proof: dict[str, Any]) -> str:
    """The matrices as text: milliseconds from the reader's first open, or first request, to the right bytes."""
    matrices = [
        _matrix(f"{mount['path']} = {mount['file_system']}", "written by", "read by", mount["pairs"])
        for mount in proof["mounts"]
    ]
    if proof["site"]:
        bucket = proof["site"]["bucket"]
        title = f"the site, its files in the bucket {bucket}" if bucket else "the site"
        matrices.append(_matrix(title, "uploaded through", "served by", proof["site"]["pairs"]))
    return "\n\n".join(matrices)
