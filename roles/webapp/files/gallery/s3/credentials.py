# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The credentials for S3: cached for a moment and renewed in the background, so that no request waits for their provider."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from ansible_collections.samefiles.aws.plugins.module_utils._s3.endpoint import Keys

_LOG = logging.getLogger("gallery")
_KEPT = 60.0  # seconds after which credentials are asked for again; their provider keeps them longer
_PAUSE = 1.0  # seconds from one question to the next


def _beside(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="credentials", daemon=True).start()


class CachedCredentials:
    """Credentials, cached for a moment: asking their provider each time costs a request when they end soon, and it may hang.

    Others are asked for in the background, when a quarter of their life is over, or after a minute; until these come, and
    while none can be had, the former ones are used to their end.
    """

    def __init__(
        self,
        provider: Callable[[], Keys],
        clock: Callable[[], float] = time.time,
        beside: Callable[[Callable[[], None]], None] = _beside,
    ) -> None:
        self._provider, self._clock, self._beside = provider, clock, beside
        self._lock, self._asking = threading.Lock(), threading.Lock()
        self._keys: Keys | None = None
        self._end: float | None = None
        self._again = 0.0
        self._asked = 0
        self._fault: Exception | None = None  # why the last question failed

    def __call__(self) -> Keys:
        """The credentials of now."""
        return self.both()[0]

    def both(self) -> tuple[Keys, float | None]:
        """The credentials and their own end, in seconds since 1970; None when they have none."""
        with self._lock:
            now = self._clock()
            good = self._keys is not None and (self._end is None or self._end > now)
            due = now >= self._again
            if due:
                self._again = now + _PAUSE
        if due and (good or self._fault):
            self._beside(self._ask)
        elif not good and not self._fault:
            self._ask()  # the first ones, or the first after a long sleep
        with self._lock:
            if self._keys is not None and (self._end is None or self._end > self._clock()):
                return self._keys, self._end
            raise self._fault or OSError("they ended, and others have not come yet")

    def _ask(self) -> None:
        seen = self._asked
        with self._asking:
            if self._asked != seen:
                return  # somebody else has asked meanwhile
            self._asked += 1
            try:
                keys, end, fault = self._provider(), getattr(self._provider, "end", None), None
            except Exception as error:  # whatever a provider of botocore raises
                fault = error
            with self._lock:
                now = self._clock()
                if fault:
                    if not self._fault:
                        _LOG.warning("the credentials cannot be renewed: %s", " ".join(str(fault).split()))
                    self._fault, self._again = fault, now + _PAUSE
                    return
                self._keys, self._end, self._fault = keys, end, None
                left = _KEPT if end is None else (end - now) / 4
                self._again = now + max(0.0, min(_KEPT, left))

    def renew(self) -> None:
        """Ask for others: S3 takes these no more."""
        renew = getattr(self._provider, "renew", None)
        with self._asking:
            if renew:
                renew()
        with self._lock:
            self._keys, self._again = None, 0.0
