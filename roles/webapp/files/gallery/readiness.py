# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Readiness: what the storage probe wrote last. The probe is another program: it may hang, this never does."""

from __future__ import annotations

import dataclasses
import json
import time

_STALE = 3  # rounds of the probe


@dataclasses.dataclass(frozen=True)
class Readiness:
    """Whether the storage can be used, by the probe's file; sentence says why not."""

    ready: bool
    unavailable: bool = False  # the probe itself reports that the storage fails, just now
    sentence: str = ""


def read(path: str, now: float | None = None) -> Readiness:
    """The probe's report in a file on the server's own disk; now is in seconds since 1970. Without a path: ready."""
    if not path:
        return Readiness(True)
    try:
        with open(path, encoding="utf-8") as file:
            report = json.load(file)
        good, at, every, problem = (
            report["ok"] is True,
            float(report["at"]),
            float(report["every"]),
            str(report["problem"]),
        )
    except (OSError, ValueError, TypeError, KeyError) as fault:
        why = getattr(fault, "strerror", None) or "it cannot be understood"
        return Readiness(False, sentence=f"The storage probe's report {path} cannot be read: {why}; see its unit.")
    age = (time.time() if now is None else now) - at
    # a time in the future is no current report either: the clock was set back
    if abs(age) > _STALE * every:
        return Readiness(False, sentence=f"The storage probe last reported {age:.0f} s ago; see its unit.")
    if not good:
        return Readiness(False, unavailable=True, sentence=problem or "The storage probe failed and did not say why.")
    return Readiness(True)
