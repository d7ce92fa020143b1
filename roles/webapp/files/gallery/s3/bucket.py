# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bucket of the storage `s3`: where it is, and the credentials with which it is used, found when they are first needed.

gallery starts without either, so that its health and its page do not hang on S3 or on the host's instance role.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator

from ansible_collections.samefiles.aws.plugins.module_utils._s3 import endpoint, session
from ansible_collections.samefiles.aws.plugins.module_utils._s3.client import Learnt
from ansible_collections.samefiles.aws.plugins.module_utils._s3.endpoint import Keys, Where
from ansible_collections.samefiles.aws.plugins.module_utils._s3.errors import (
    Denied,
    Expired,
    LoginError,
    S3Error,
    Untrusted,
    WhereError,
)
from ansible_collections.samefiles.aws.plugins.module_utils._s3.objects import Bucket

from gallery.problems import Problem, away
from gallery.s3 import objects
from gallery.settings import Settings

_LOG = logging.getLogger("gallery")
PATIENCE = 100.0
"""Seconds that a copy within S3 may take: with another try after a quick failure, less than nginx waits for us (120)."""
_STEADY = 20.0  # seconds of silence that a part of an upload, or the end of one, may take
_KEPT = 60.0  # seconds after which credentials are asked for again; their provider keeps them longer
_PAUSE = 1.0  # seconds from one question to the next


def _beside(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="credentials", daemon=True).start()


def _told(what: str, fault: Exception) -> Problem:
    """What failed, and why. The log alone is told what S3 itself says: on AWS that names account, role and instance."""
    return away(f"{what}: {getattr(fault, 'brief', fault)}.", f"{what}: {fault}.")


class Held:
    """Credentials for a moment: asking their provider each time costs a request when they end soon, and it may hang.

    Others are asked for beside the work, when a quarter of their life is over, or after a minute; until these come, and
    while none can be had, the former ones are used to their end.
    """

    def __init__(self, provider, clock=time.time, beside=_beside) -> None:
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


class Place:
    """The bucket of one gallery; its methods may be called by several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._buckets: dict[str, Bucket] = {}
        self._failed: tuple[float, Exception] | None = None  # when the search for it failed last, and how
        self._held: Held | None = None
        self._browser: Where | None = None

    def _login(self) -> None:
        told = self._settings
        options = {
            "region": told.region,
            "endpoint_url": told.endpoint_url,
            "aws_ca_bundle": told.ca_bundle,
        }
        where, provider = session.login(told.bucket, options)
        self._held = Held(provider)
        if told.browser_endpoint_url:
            self._browser = endpoint.by_url(told.browser_endpoint_url, told.bucket, where.region)
        waits = {"quick": told.deadline, "steady": _STEADY, "patient": PATIENCE, "watch": told.ready_deadline}
        own = {
            "watch": {"attempts": 2},  # the look is soon repeated, and its pauses must leave time for a sentence
            "patient": {"again": PATIENCE / 10},  # who asked has gone before a second copy could be waited for
        }
        same = {"attempts": 3, "checksum": "sha256", "learnt": Learnt(where)}
        self._buckets = {
            name: Bucket(where, self._held, seconds=seconds, **{**same, **own.get(name, {})})
            for name, seconds in waits.items()
        }

    def bucket(self, patience: str = "quick") -> Bucket:
        """The bucket: quick for what S3 answers at once, steady for parts, patient for copies, watch for the look at it."""
        with self._lock:
            if not self._buckets and self._failed and time.monotonic() - self._failed[0] < _PAUSE:
                raise self._failed[1]  # many may have waited for this one
            if not self._buckets:
                try:
                    self._login()
                except Exception as fault:
                    self._failed = time.monotonic(), fault
                    raise
            return self._buckets[patience]

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for bucket in self._buckets.values():
                bucket.close()

    @contextlib.contextmanager
    def explained(self, doing: str) -> Iterator[None]:
        """Turn what S3 and the search for credentials fail with into a sentence."""
        try:
            yield
        except Problem:
            raise
        except Denied as fault:
            raise _told(f"{doing} failed, S3 refuses this server", fault) from fault
        except (S3Error, LoginError, WhereError, Untrusted) as fault:
            raise _told(f"{doing} failed", fault) from fault

    def outside(self) -> Where:
        """Where browsers find the bucket."""
        own = self.bucket().where
        # S3 itself may have told the region since
        return self._browser._replace(region=own.region) if self._browser else own

    def signer(self) -> tuple[Keys, float | None, float]:
        """The credentials, their end, and the time by S3's clock."""
        bucket = self.bucket()
        try:
            keys, end = self._held.both()
        except Exception as fault:  # whatever their provider raises
            raise Expired.by(fault) from fault
        return keys, end, bucket.now()

    def origin(self) -> str:
        """What the page must be allowed to talk to; "" while nobody knows."""
        told = self._settings
        if told.browser_endpoint_url or told.endpoint_url:
            return objects.origin(endpoint.by_url(told.browser_endpoint_url or told.endpoint_url, told.bucket, ""))
        return objects.origin(self._buckets["quick"].where) if self._buckets else ""
