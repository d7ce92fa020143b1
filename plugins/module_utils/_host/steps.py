# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One step of a plan, as plain data."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Step:
    """One thing to do; kind names the executor's method, text says it to the user, the rest is for the executor."""

    kind: str
    target: str  # a path or a unit
    text: str
    value: object = None


def steps_diff(steps: list[Step]) -> list[dict]:
    """All steps in words, as the first entry of a module's diff: --check --diff shows what changes no file, too."""
    if not steps:
        return []
    text = "".join(f"{step.text}\n" for step in steps)
    return [{"before_header": "steps", "after_header": "steps", "before": "", "after": text}]
