# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a run: actions, counts, diff and failures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .plan import Delete, Plan, names

_SHOWN = 20  # paths that a sentence names at most


class Done:
    """The paths that were changed, and a sentence for each failure."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.fetched: list[str] = []
        self.reheaded: list[str] = []
        self.deleted: list[str] = []
        self.problems: list[str] = []
        self.bytes = 0


def as_planned(plan: Plan) -> Done:
    """The outcome of a run that carries out the whole plan."""
    done = Done()
    done.sent, done.fetched = [item.path for item in plan.sends], [item.path for item in plan.fetches]
    done.reheaded, done.deleted = [item.path for item in plan.reheaders], [item.path for item in plan.deletes]
    done.bytes = sum(item.size for item in plan.sends + plan.fetches)
    return done


def size_text(size: int) -> str:
    """A human-readable size."""
    value, units = float(size), ["B", "kB", "MB", "GB", "TB"]
    while value >= 999.5 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.0f} {units[0]}" if units[0] == "B" or value >= 9.95 else f"{value:.1f} {units[0]}"


def actions(plan: Plan, destination: str) -> list[str]:
    """The plan in words, with counts and bytes: a line for each file while they are few, else one for all."""
    lines = []
    groups = (
        ("send", plan.sends, "to"), ("fetch", plan.fetches, "into"), ("set the headers of", plan.reheaders, "in"),
        ("delete", plan.deletes, "from"),
    )  # fmt: skip
    for verb, items, to in groups:
        if len(items) > _SHOWN:
            size = size_text(sum(item.size for item in items))
            lines.append(
                f"{verb} {len(items)} files, {size}, {to} {destination} ({names([item.path for item in items])})"
            )
            continue
        for item in items:
            why = f", {item.why}" if not isinstance(item, Delete) else ""
            lines.append(f"{verb} {item.path!r}, {size_text(item.size)}{why}, {to} {destination}")
    return lines


def diff(plan: Plan, destination: str) -> dict:
    """The exact plan as a diff of Ansible, one line for each file."""
    before = [f"{item.path}: {item.why.split(' -> ')[0]}" for item in plan.sends + plan.fetches if item.why != "new"]
    before += [f"{item.path}" for item in plan.deletes]
    before += [f"{item.path}: headers" for item in plan.reheaders]
    after = [f"{item.path}: {item.why} ({item.size} bytes)" for item in plan.sends + plan.fetches]
    after += [f"{item.path}: headers, {item.why}" for item in plan.reheaders]
    join = "".join
    return {
        "before_header": destination, "after_header": destination,
        "before": join(f"{line!s}\n" for line in sorted(before)), "after": join(f"{line!s}\n" for line in sorted(after)),
    }  # fmt: skip


def result(
    plan: Plan, done: Done, destination: str, request_counts: Mapping[str, int], with_diff: bool, with_files: bool
) -> dict[str, Any]:
    """The result of the module for the part of a plan that was done."""
    sent, fetched, gone, heads = (set(paths) for paths in (done.sent, done.fetched, done.deleted, done.reheaded))
    made = Plan(
        [item for item in plan.sends if item.path in sent], [item for item in plan.fetches if item.path in fetched],
        [item for item in plan.reheaders if item.path in heads], [item for item in plan.deletes if item.path in gone],
    )  # fmt: skip
    report: dict[str, Any] = {
        "changed": not made.empty(), "actions": actions(made, destination), "uploaded": len(sent),
        "downloaded": len(fetched), "deleted": len(gone), "updated_headers": len(heads), "bytes": done.bytes,
        "requests": dict(sorted(request_counts.items())),
    }  # fmt: skip
    if with_diff:
        report["diff"] = diff(made, destination)
    if with_files:
        report["files"] = {
            "uploaded": sorted(sent), "downloaded": sorted(fetched), "deleted": sorted(gone), "updated_headers": sorted(heads),
        }  # fmt: skip
    return report
