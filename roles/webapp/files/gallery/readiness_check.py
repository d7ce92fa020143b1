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
_STALE = 3  # rounds without a result
_SOON = 2.0  # seconds to the next check while the storage is unavailable


class Watch:
    """The result of the last check of the storage; check() raises a Problem when the storage is unavailable."""

    def __init__(self, check: Callable[[], object], every: float, timeout: float) -> None:
        self._check, self._every, self._timeout = check, every, timeout
        self._readiness = Readiness(
            False, sentence="The storage has not been checked yet; the first check is under way."
        )
        self._at = time.monotonic()

    def readiness(self) -> Readiness:
        """The last result."""
        age = time.monotonic() - self._at
        if age > _STALE * (self._every + self._timeout):
            return Readiness(False, sentence=f"The storage was last checked {age:.0f} s ago; see gallery's log.")
        return self._readiness

    async def run(self) -> None:
        """Check for ever."""
        # threads of its own: it must not wait for the visitors' calls
        calls = Calls(2, self._timeout)
        while True:
            try:
                await calls.run(self._check)
                state, whole = Readiness(True), "the storage can be used"
            except Problem as problem:
                state, whole = Readiness(False, unavailable=True, sentence=problem.sentence), str(problem)
            except Exception as fault:
                _LOG.exception("checking the storage")
                whole = f"The check of the storage failed with an internal error: {fault!r}."
                state = Readiness(False, sentence=whole)
            if state.sentence != self._readiness.sentence:
                _LOG.warning("readiness: %s", whole)
            self._readiness, self._at = state, time.monotonic()
            await asyncio.sleep(self._every if state.ready else min(self._every, _SOON))
