# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a plan that several modules use, as plain data: one class each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Step:
    """One thing to do; text says it to the user, the rest is for the executor."""

    text: str


@dataclasses.dataclass(frozen=True)
class WriteFile(Step):
    """Write a file whole. Without a mode it keeps owner, group and mode; with one it belongs to root and the group."""

    path: str
    contents: str
    mode: int | None = None
    group: int = 0


@dataclasses.dataclass(frozen=True)
class RemoveFile(Step):
    """Remove a file."""

    path: str


@dataclasses.dataclass(frozen=True)
class ReloadSystemd(Step):
    """Make systemd read its units, and fstab, again."""


@dataclasses.dataclass(frozen=True)
class EnableUnit(Step):
    """Enable a unit, so that it starts at boot."""

    unit: str


@dataclasses.dataclass(frozen=True)
class StartUnit(Step):
    """Start a unit."""

    unit: str


@dataclasses.dataclass(frozen=True)
class RestartUnit(Step):
    """Restart a unit that runs."""

    unit: str


@dataclasses.dataclass(frozen=True)
class StopUnit(Step):
    """Stop and disable a unit."""

    unit: str


def steps_diff(steps: Sequence[Step]) -> list[dict[str, str]]:
    """All steps in words, as the first entry of a module's diff: --check --diff also shows what changes no file."""
    if not steps:
        return []
    text = "".join(f"{step.text}\n" for step in steps)
    return [{"before_header": "steps", "after_header": "steps", "before": "", "after": text}]


def file_diff(path: str, before: str, after: str) -> dict[str, str]:
    """One file as an entry of a module's diff."""
    return {"before_header": path, "after_header": path, "before": before, "after": after}
