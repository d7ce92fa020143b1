# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides what makes a tree and a key prefix equal: listing + listing + rules -> plan. Pure: plain data in, plain data out.

Paths are relative to the tree's root and to the key prefix. Which of two things of equal size have equal content is reported by
the caller, who compares only where this module asks.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Collection, Iterable
from typing import NamedTuple

from .._s3.responses import Head, Listed
from . import rules as _rules
from .headers import drift
from .rules import Rules


class Send(NamedTuple):
    """A file to store. expect: '' for a new object, the ETag that is replaced, None for whatever is there."""

    path: str
    size: int
    expect: str | None
    why: str


class Fetch(NamedTuple):
    """An object to download."""

    path: str
    size: int
    etag: str
    why: str


class Reheader(NamedTuple):
    """Headers to set on an object whose bytes stay."""

    path: str
    etag: str
    size: int
    headers: dict[str, str]
    why: str


class Delete(NamedTuple):
    """Something to remove: an object with this ETag, or a file."""

    path: str
    etag: str
    size: int


@dataclasses.dataclass
class Sorted:
    """Both sides, compared as far as listings say."""

    new: list[str] = dataclasses.field(default_factory=list)  # only in the source
    resized: list[str] = dataclasses.field(default_factory=list)
    open: list[str] = dataclasses.field(default_factory=list)  # of equal size: the content must be looked at
    extra: list[str] = dataclasses.field(default_factory=list)  # only in the destination


@dataclasses.dataclass
class Plan:
    """All actions in their order: assets, pages, then deletes."""

    sends: list[Send] = dataclasses.field(default_factory=list)
    fetches: list[Fetch] = dataclasses.field(default_factory=list)
    reheaders: list[Reheader] = dataclasses.field(default_factory=list)
    deletes: list[Delete] = dataclasses.field(default_factory=list)

    def empty(self) -> bool:
        """Whether there is no action."""
        return not (self.sends or self.fetches or self.reheaders or self.deletes)


def objects(listing: Iterable[Listed], rules: Rules) -> dict[str, Listed]:
    """The objects that take part, by path, which is their key from here on. Directory markers and excluded keys are left out."""
    choose, start = _rules.Chooser(rules), len(rules.prefix)
    chosen: dict[str, Listed] = {}
    for item in listing:
        path = item.key[start:]
        # a server that lists neighbours of the prefix must not make us touch them
        if path and not path.endswith("/") and item.key.startswith(rules.prefix) and choose.takes(path):
            path = sys.intern(path)
            chosen[path] = Listed(path, item.size, item.etag, item.modified)
    return chosen


def sort_out(source: dict[str, int], target: dict[str, int]) -> Sorted:
    """Compare two trees, given as sizes by path."""
    sides = Sorted()
    for path, size in source.items():
        current = target.get(path)
        (sides.new if current is None else sides.open if current == size else sides.resized).append(path)
    sides.extra = [path for path in target if path not in source]
    return sides


def push(
    sides: Sorted, files: dict[str, int], listing: dict[str, Listed], rules: Rules, differ: dict[str, str], heads: dict[str, Head]
) -> Plan:  # fmt: skip
    """The plan of a push. differ: the paths of sides.open whose content differs, with the reason; heads: of the equal ones."""
    plan, why = Plan(), dict.fromkeys(sides.new, "new")
    why.update((path, f"{listing[path].size} -> {files[path]} bytes") for path in sides.resized)
    why.update(differ)
    if rules.force:
        why.update((path, "forced") for path in sides.open if path not in why)
    for path, reason in why.items():
        expect = (listing[path].etag if path in listing else "") if rules.conditional else None
        plan.sends.append(Send(path, files[path], expect, reason))
    for path in sides.open:
        if path not in why and path in heads:
            headers, reason = drift(rules, path, heads[path])
            if headers:
                plan.reheaders.append(Reheader(path, listing[path].etag, listing[path].size, headers, reason))
    if rules.delete:
        plan.deletes = [Delete(path, listing[path].etag, listing[path].size) for path in sides.extra]
    _order(plan, rules)
    if rules.phase == "assets":
        new = set(sides.new)
        plan.sends = [item for item in plan.sends if item.path in new and not _rules.is_page(rules, item.path)]
        plan.reheaders, plan.deletes = [], []
    return plan


def pull(
    sides: Sorted, files: dict[str, int], listing: dict[str, Listed], rules: Rules, differ: dict[str, str], blocked: dict[str, str]
) -> Plan:  # fmt: skip
    """The plan of a pull; blocked: paths that cannot be files here, which are left out (the caller reports them)."""
    plan, why = Plan(), dict.fromkeys(sides.new, "new")
    why.update((path, f"{files[path]} -> {listing[path].size} bytes") for path in sides.resized)
    why.update(differ)
    if rules.force:
        why.update((path, "forced") for path in sides.open if path not in why)
    for path, reason in why.items():
        if path not in blocked:
            plan.fetches.append(Fetch(path, listing[path].size, listing[path].etag, reason))
    if rules.delete:
        plan.deletes = [Delete(path, "", files[path]) for path in sides.extra if path not in blocked]
    _order(plan, rules)
    if rules.phase == "assets":
        new = set(sides.new)
        plan.fetches = [item for item in plan.fetches if item.path in new and not _rules.is_page(rules, item.path)]
        plan.deletes = []
    return plan


def _order(plan: Plan, rules: Rules) -> None:
    """Assets before pages, each by path."""

    def place(item: Send | Fetch | Reheader) -> tuple[bool, str]:
        return _rules.is_page(rules, item.path), item.path

    for items in (plan.sends, plan.fetches, plan.reheaders):
        items.sort(key=place)
    plan.deletes.sort(key=lambda item: item.path)


def too_many(extra: list[str], total: int, rules: Rules) -> str:
    """Why the deletes are too many to be meant, "" when they are not; total: what takes part in the destination."""
    count = len(extra) if rules.delete else 0
    percent = 100.0 * count / total if total else 0.0
    if count <= rules.most_deletes and percent <= rules.most_percent:
        return ""
    limit = f"{rules.most_deletes} or {rules.most_percent:g} %"
    return (
        f"{count} of {total} would be deleted ({percent:.0f} %, {names(sorted(extra))}), and max_delete "
        f"allows {limit}: nothing was changed; see whether the source is whole, or raise max_delete"
    )


_ODD = re.compile(r"(^|/)(\.{1,2})?(/|$)")


def unsafe(path: str) -> str:
    """Why a key cannot be a file below a directory, "" when it can."""
    if "\0" in path:
        return "a NUL byte"
    if path.startswith("/"):
        return "it would be an absolute path"
    if _ODD.search(path):
        return "an empty part, '.' or '..'"
    if len(path) > 63 and any(len(part.encode("utf-8", "surrogateescape")) > 255 for part in path.split("/")):
        return "a name of more than 255 bytes"
    return ""


def directories(paths: Iterable[str]) -> set[str]:
    """All directories that some paths lie in."""
    above: set[str] = set()
    for path in paths:
        directory = path.rpartition("/")[0]
        while directory and directory not in above:
            above.add(directory)
            directory = directory.rpartition("/")[0]
    return above


def blocked(paths: Collection[str]) -> dict[str, str]:
    """The keys that cannot be files, with the reason: unsafe ones, and those that are a directory of others too."""
    reasons = {path: why for path in paths if (why := unsafe(path))}
    above = directories(path for path in paths if path not in reasons)
    reasons.update((path, "it is a directory of other keys too") for path in paths if path in above)
    return reasons


def names(paths: list[str]) -> str:
    """The first paths, as text."""
    shown = ", ".join(repr(path) for path in paths[:3])
    return f"{shown} and {len(paths) - 3} more" if len(paths) > 3 else shown
