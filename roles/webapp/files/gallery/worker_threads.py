# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Worker threads for calls of the storage, each with a time limit: a mount that hangs costs these threads and no more.

A thread that waits for a frozen NFS server cannot be ended. It is left alone, and counted: when all of them hang,
further calls fail at once. When the mount answers again they end, and everything goes on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from gallery.errors import Problem, unavailable

if TYPE_CHECKING:  # Python has these from 3.11 on
    from typing_extensions import TypeVarTuple, Unpack

    _Arguments = TypeVarTuple("_Arguments")
_Result = TypeVar("_Result")
_LOG = logging.getLogger("gallery")
_UNAVAILABLE = "The storage does not answer; gallery works again when it does."


class Calls:
    """A pool of threads for calls that may block for ever; timeout (seconds) is how long a caller waits."""

    def __init__(self, threads: int, timeout: float) -> None:
        self._pool = ThreadPoolExecutor(threads, "storage")
        self._threads = threads
        self._timeout = timeout
        self._until: dict[object, float] = {}  # when each call that runs now is late

    async def run(
        self,
        function: Callable[[Unpack[_Arguments]], _Result],
        *arguments: Unpack[_Arguments],
        undo: Callable[[_Result], object] | None = None,
        timeout: float = 0.0,
    ) -> _Result:
        """What the function returns. Too late it is of no use to the caller any more: undo(result) is called then.

        timeout is this call's own, when it is longer than the others'.
        """
        if self._all_hang():
            raise unavailable(_UNAVAILABLE)
        seconds = max(timeout, self._timeout)
        job = self._pool.submit(self._work, seconds, lambda: function(*arguments))
        try:
            return await self._outcome(job, seconds)
        except (asyncio.TimeoutError, asyncio.CancelledError) as fault:
            if not job.cancel() and undo is not None:
                job.add_done_callback(lambda late: self._undo_late(late, undo))
            if isinstance(fault, asyncio.CancelledError):
                raise
            raise unavailable(_UNAVAILABLE) from None

    async def finish(self, function: Callable[[], object]) -> None:
        """Call a function that cleans up, whenever a thread is free; the caller waits a second at most."""
        try:
            await self._outcome(self._pool.submit(self._work, self._timeout, function), min(1.0, self._timeout))
        except asyncio.TimeoutError:
            pass
        except (OSError, Problem) as fault:
            _LOG.warning("cleaning up: %s", fault)

    def _all_hang(self) -> bool:
        now = time.monotonic()
        return sum(until < now for until in list(self._until.values())) >= self._threads

    def _work(self, seconds: float, function: Callable[[], _Result]) -> _Result:
        token = object()
        self._until[token] = time.monotonic() + seconds
        try:
            return function()
        finally:
            del self._until[token]

    async def _outcome(self, job: Future[_Result], seconds: float) -> _Result:
        waiting = asyncio.wrap_future(job)
        # its failure may come when nobody waits for it any more
        waiting.add_done_callback(lambda late: late.cancelled() or late.exception())
        # not wait_for(): before Python 3.12 that may swallow a cancellation
        done, _late = await asyncio.wait({waiting}, timeout=seconds)
        if not done:
            raise asyncio.TimeoutError
        return waiting.result()

    def _undo_late(self, job: Future[_Result], undo: Callable[[_Result], object]) -> None:
        if not job.cancelled() and job.exception() is None:
            self._pool.submit(self._work, self._timeout, lambda: undo(job.result()))
