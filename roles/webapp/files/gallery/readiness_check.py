# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks the storage `s3` at intervals for /readyz, so that no visitor and no health check waits for S3."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from gallery.errors import Problem
from gallery.readiness import Readiness
from gallery.worker_threads import Calls

_LOG = logging.getLogger("gallery")
_STALE = 3  # rounds without a word
_SOON = 2.0  # seconds to the next look while the storage is away


class Watch:
    """What the last look at the storage found; look() raises a Problem when it is away."""

    def __init__(self, look: Callable[[], object], every: float, timeout: float) -> None:
        self._look, self._every, self._timeout = look, every, timeout
        self._found = Readiness(False, sentence="The storage has not been asked yet; it is just now.")
        self._at = time.monotonic()

    def found(self) -> Readiness:
        """The last word."""
        age = time.monotonic() - self._at
        if age > _STALE * (self._every + self._timeout):
            return Readiness(False, sentence=f"The storage was last asked {age:.0f} s ago; gallery's log may tell why.")
        return self._found

    async def run(self) -> None:
        """Look for ever."""
        # of its own: it must not wait behind the visitors' calls
        calls = Calls(2, self._timeout)
        while True:
            try:
                await calls.run(self._look)
                found, whole = Readiness(True), "the storage can be used"
            except Problem as problem:
                found, whole = Readiness(False, away=True, sentence=problem.sentence), str(problem)
            except Exception as fault:
                _LOG.exception("looking at the storage")
                whole = f"The look at the storage failed by a fault of its own: {fault!r}."
                found = Readiness(False, sentence=whole)
            if found.sentence != self._found.sentence:
                _LOG.warning("readiness: %s", whole)
            self._found, self._at = found, time.monotonic()
            await asyncio.sleep(self._every if found.ready else min(self._every, _SOON))
