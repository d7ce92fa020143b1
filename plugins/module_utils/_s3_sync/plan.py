# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides what makes a tree and a key prefix equal: listing + listing + rules -> plan. Pure: plain data in, plain data out.

Paths are relative to the tree's root and to the key prefix. Which of two things of equal size have equal content is told by the
caller, who looks only where this module asks.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Collection, Iterable
from typing import NamedTuple

from .._s3.responses import Head, Listed
from . import rules as _rules
from .rules import Rules

_CONTENT = ("content-type", "content-encoding", "cache-control", "content-disposition", "content-language")
_SHOWN = 20  # paths that a sentence names at most


class Send(NamedTuple):
    """A file to store. expect: '' for a new object, the ETag that is replaced, None for whatever is there."""

    path: str
    size: int
    expect: str | None
    why: str


class Fetch(NamedTuple):
    """An object to bring here."""

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
    """Both sides, compared as far as listings tell."""

    new: list[str] = dataclasses.field(default_factory=list)  # only in the source
    resized: list[str] = dataclasses.field(default_factory=list)
    open: list[str] = dataclasses.field(default_factory=list)  # of equal size: the content must be looked at
    extra: list[str] = dataclasses.field(default_factory=list)  # only in the destination


@dataclasses.dataclass
class Plan:
    """All that is to be done, in its order: assets, pages, then deletes."""

    sends: list[Send] = dataclasses.field(default_factory=list)
    fetches: list[Fetch] = dataclasses.field(default_factory=list)
    reheaders: list[Reheader] = dataclasses.field(default_factory=list)
    deletes: list[Delete] = dataclasses.field(default_factory=list)

    def empty(self) -> bool:
        """Whether nothing is to be done."""
        return not (self.sends or self.fetches or self.reheaders or self.deletes)


def objects(listing: Iterable[Listed], rules: Rules) -> dict[str, Listed]:
    """The objects that take part, by path, which is their key from here on. Folder markers and what is excluded are nobody's business."""
    choose, start = _rules.Chooser(rules), len(rules.prefix)
    found: dict[str, Listed] = {}
    for item in listing:
        path = item.key[start:]
        # a server that lists neighbours of the prefix must not make us touch them
        if path and not path.endswith("/") and item.key.startswith(rules.prefix) and choose.takes(path):
            path = sys.intern(path)
            found[path] = Listed(path, item.size, item.etag, item.modified)
    return found


def sort_out(source: dict[str, int], target: dict[str, int]) -> Sorted:
    """Compare two trees, given as sizes by path."""
    told = Sorted()
    for path, size in source.items():
        there = target.get(path)
        (told.new if there is None else told.open if there == size else told.resized).append(path)
    told.extra = [path for path in target if path not in source]
    return told


def drift(rules: Rules, path: str, head: Head) -> tuple[dict[str, str], str]:
    """The headers to set on an object whose content is right, and why; empty when they are as they are to be.

    Content headers are all ours. Of the metadata only what the rules name is: what other tools wrote there stays. The storage
    class is left as it is, for lifecycle rules change it.
    """
    told = _rules.told(rules, path)
    wanted = {name: value for name, value in told.items() if value}
    now = {name: head.headers[name] for name in _CONTENT if name in head.headers}
    now.update((f"x-amz-meta-{name}", value) for name, value in head.metadata.items())
    differs = [name for name in _CONTENT if wanted.get(name) != now.get(name)]
    differs += [name for name in told if name.startswith("x-amz-meta-") and told[name] != now.get(name, "")]
    encryption = encryption_headers(rules)
    if rules.encryption and head.encryption != rules.encryption:
        differs.append("encryption")
    elif rules.kms_key and rules.kms_key not in (head.kms_key, (head.kms_key or "").rpartition("/")[2]):
        differs.append("encryption key")
    if not differs:
        return {}, ""
    kept = {name: value for name, value in now.items() if name.startswith("x-amz-meta-") and name not in told}
    other = {name: value for name, value in head.headers.items() if name not in _CONTENT}
    if head.storage_class != "STANDARD":
        other["x-amz-storage-class"] = head.storage_class
    if not encryption and head.encryption:
        encryption = {"x-amz-server-side-encryption": head.encryption}
        if head.kms_key:
            encryption["x-amz-server-side-encryption-aws-kms-key-id"] = head.kms_key
    why = ", ".join(_change(name, now, wanted) for name in differs)
    return {**other, **kept, **wanted, **encryption}, why


def _change(name: str, now: dict, wanted: dict) -> str:
    if name.startswith("encryption"):
        return name
    return f"{name} {now.get(name, 'none')!r} -> {wanted.get(name, 'none')!r}"


def encryption_headers(rules: Rules) -> dict[str, str]:
    """What asks for encryption; without a rule the bucket's own setting holds."""
    if not rules.encryption:
        return {}
    told = {"x-amz-server-side-encryption": rules.encryption}
    if rules.kms_key:
        told["x-amz-server-side-encryption-aws-kms-key-id"] = rules.kms_key
    return told


def put_headers(rules: Rules, path: str) -> dict[str, str]:
    """All headers that a new object is stored with."""
    told = {**_rules.headers(rules, path), **encryption_headers(rules)}
    if rules.storage_class and rules.storage_class != "STANDARD":
        told["x-amz-storage-class"] = rules.storage_class
    return told


def push(
    told: Sorted, files: dict[str, int], there: dict[str, Listed], rules: Rules, differ: dict[str, str], heads: dict[str, Head]
) -> Plan:  # fmt: skip
    """The plan of a push. differ: the paths of told.open whose content differs, with the reason; heads: of the equal ones."""
    plan, why = Plan(), dict.fromkeys(told.new, "new")
    why.update((path, f"{there[path].size} -> {files[path]} bytes") for path in told.resized)
    why.update(differ)
    if rules.force:
        why.update((path, "forced") for path in told.open if path not in why)
    for path, reason in why.items():
        expect = (there[path].etag if path in there else "") if rules.conditional else None
        plan.sends.append(Send(path, files[path], expect, reason))
    for path in told.open:
        if path not in why and path in heads:
            headers, reason = drift(rules, path, heads[path])
            if headers:
                plan.reheaders.append(Reheader(path, there[path].etag, there[path].size, headers, reason))
    if rules.delete:
        plan.deletes = [Delete(path, there[path].etag, there[path].size) for path in told.extra]
    _order(plan, rules)
    if rules.phase == "assets":
        new = set(told.new)
        plan.sends = [item for item in plan.sends if item.path in new and not _rules.is_page(rules, item.path)]
        plan.reheaders, plan.deletes = [], []
    return plan


def pull(
    told: Sorted, files: dict[str, int], there: dict[str, Listed], rules: Rules, differ: dict[str, str], blocked: dict[str, str]
) -> Plan:  # fmt: skip
    """The plan of a pull; blocked: paths that cannot be files here, which are left out (the caller tells of them)."""
    plan, why = Plan(), dict.fromkeys(told.new, "new")
    why.update((path, f"{files[path]} -> {there[path].size} bytes") for path in told.resized)
    why.update(differ)
    if rules.force:
        why.update((path, "forced") for path in told.open if path not in why)
    for path, reason in why.items():
        if path not in blocked:
            plan.fetches.append(Fetch(path, there[path].size, there[path].etag, reason))
    if rules.delete:
        plan.deletes = [Delete(path, "", files[path]) for path in told.extra if path not in blocked]
    _order(plan, rules)
    if rules.phase == "assets":
        new = set(told.new)
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
    """Why a key cannot be a file below a folder, "" when it can."""
    if "\0" in path:
        return "a NUL byte"
    if path.startswith("/"):
        return "it would be an absolute path"
    if _ODD.search(path):
        return "an empty part, '.' or '..'"
    if len(path) > 63 and any(len(part.encode("utf-8", "surrogateescape")) > 255 for part in path.split("/")):
        return "a name of more than 255 bytes"
    return ""


def folders(paths: Iterable[str]) -> set[str]:
    """All folders that some paths lie in."""
    found: set[str] = set()
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found


def blocked(paths: Collection[str]) -> dict[str, str]:
    """The keys that cannot be files, with the reason: unsafe ones, and those that are a folder of others too."""
    found = {path: why for path in paths if (why := unsafe(path))}
    above = folders(path for path in paths if path not in found)
    found.update((path, "it is a folder of other keys too") for path in paths if path in above)
    return found


def names(paths: list[str]) -> str:
    """A few of some paths."""
    shown = ", ".join(repr(path) for path in paths[:3])
    return f"{shown} and {len(paths) - 3} more" if len(paths) > 3 else shown


def size_text(size: int) -> str:
    """A size for people."""
    value, units = float(size), ["B", "kB", "MB", "GB", "TB"]
    while value >= 999.5 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.0f} {units[0]}" if units[0] == "B" or value >= 9.95 else f"{value:.1f} {units[0]}"


def actions(plan: Plan, destination: str) -> list[str]:
    """The plan in words, with counts and bytes: a line for each file while they are few, else one for all of a kind."""
    told = []
    groups = (
        ("send", plan.sends, "to"), ("fetch", plan.fetches, "into"), ("set the headers of", plan.reheaders, "in"),
        ("delete", plan.deletes, "from"),
    )  # fmt: skip
    for verb, items, to in groups:
        if len(items) > _SHOWN:
            size = size_text(sum(item.size for item in items))
            told.append(
                f"{verb} {len(items)} files, {size}, {to} {destination} ({names([item.path for item in items])})"
            )
            continue
        for item in items:
            why = f", {item.why}" if not isinstance(item, Delete) else ""
            told.append(f"{verb} {item.path!r}, {size_text(item.size)}{why}, {to} {destination}")
    return told


def diff(plan: Plan, where: str) -> dict:
    """The exact plan as Ansible shows a difference, one line for each thing."""
    before = [f"{item.path}: {item.why.split(' -> ')[0]}" for item in plan.sends + plan.fetches if item.why != "new"]
    before += [f"{item.path}" for item in plan.deletes]
    before += [f"{item.path}: headers" for item in plan.reheaders]
    after = [f"{item.path}: {item.why} ({item.size} bytes)" for item in plan.sends + plan.fetches]
    after += [f"{item.path}: headers, {item.why}" for item in plan.reheaders]
    join = "".join
    return {
        "before_header": where, "after_header": where,
        "before": join(f"{line!s}\n" for line in sorted(before)), "after": join(f"{line!s}\n" for line in sorted(after)),
    }  # fmt: skip
