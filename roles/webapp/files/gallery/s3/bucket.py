# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bucket of the storage `s3`: endpoint and clients, found when they are first needed, as are the credentials.

gallery starts without either, so that its health and its page do not hang on S3 or on the host's instance role.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Iterator

from ansible_collections.samefiles.aws.plugins.module_utils._s3 import endpoint, session
from ansible_collections.samefiles.aws.plugins.module_utils._s3.client import DiscoveredEndpoint
from ansible_collections.samefiles.aws.plugins.module_utils._s3.endpoint import Endpoint, Keys
from ansible_collections.samefiles.aws.plugins.module_utils._s3.errors import (
    Denied,
    EndpointError,
    Expired,
    S3Error,
    SessionError,
    Untrusted,
)
from ansible_collections.samefiles.aws.plugins.module_utils._s3.objects import Bucket

from gallery.errors import Problem, unavailable
from gallery.s3 import presign
from gallery.s3.credentials import CachedCredentials
from gallery.settings import Settings

_LOG = logging.getLogger("gallery")
PATIENCE = 100.0
"""Seconds that a copy within S3 may take: with another try after a quick failure, less than nginx waits for us (120)."""
_STEADY = 20.0  # seconds of silence that a part of an upload, or the end of one, may take
_PAUSE = 1.0  # seconds from a search for the bucket that failed to the next


def _unavailable(what: str, fault: Exception) -> Problem:
    """What failed, and why. The log alone gets what S3 itself says: on AWS that names account, role and instance."""
    return unavailable(f"{what}: {getattr(fault, 'brief', fault)}.", f"{what}: {fault}.")


class Place:
    """The bucket of one gallery; its methods may be called by several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._buckets: dict[str, Bucket] = {}
        self._failed: tuple[float, Exception] | None = None  # when the search for it failed last, and how
        self._credentials: CachedCredentials | None = None
        self._browser: Endpoint | None = None

    def _connect(self) -> None:
        settings = self._settings
        options = {
            "region": settings.region,
            "endpoint_url": settings.endpoint_url,
            "aws_ca_bundle": settings.ca_bundle,
        }
        bucket_endpoint, provider = session.resolve(settings.bucket, options)
        self._credentials = credentials = CachedCredentials(provider)
        if settings.browser_endpoint_url:
            self._browser = endpoint.by_url(settings.browser_endpoint_url, settings.bucket, bucket_endpoint.region)
        discovered = DiscoveredEndpoint(bucket_endpoint)

        def made(seconds: float, attempts: int = 3, again: float = math.inf) -> Bucket:
            return Bucket(
                bucket_endpoint,
                credentials,
                seconds=seconds,
                attempts=attempts,
                checksum="sha256",
                discovered=discovered,
                again=again,
            )

        self._buckets = {
            "quick": made(settings.storage_timeout),
            "steady": made(_STEADY),
            # the client has gone before a second copy could end
            "patient": made(PATIENCE, again=PATIENCE / 10),
            # the check is soon repeated, and its pauses must leave time for a sentence
            "watch": made(settings.probe_timeout, attempts=2),
        }

    def bucket(self, patience: str = "quick") -> Bucket:
        """The bucket: quick for what S3 answers at once, steady for parts, patient for copies, watch for the check of it."""
        with self._lock:
            if not self._buckets and self._failed and time.monotonic() - self._failed[0] < _PAUSE:
                raise self._failed[1]  # many may have waited for this one
            if not self._buckets:
                try:
                    self._connect()
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
            raise _unavailable(f"{doing} failed, S3 refuses this server", fault) from fault
        except (S3Error, SessionError, EndpointError, Untrusted) as fault:
            raise _unavailable(f"{doing} failed", fault) from fault

    def outside(self) -> Endpoint:
        """Where browsers find the bucket."""
        own = self.bucket().endpoint
        # S3 itself may have named the region since
        return self._browser._replace(region=own.region) if self._browser else own

    def signer(self) -> tuple[Keys, float | None, float]:
        """The credentials, their end, and the time by S3's clock."""
        bucket = self.bucket()
        assert self._credentials is not None  # it was made with the buckets
        try:
            keys, end = self._credentials.both()
        except Exception as fault:  # whatever their provider raises
            raise Expired.by(fault) from fault
        return keys, end, bucket.now()

    def origin(self) -> str:
        """What the page must be allowed to connect to; "" while it is unknown."""
        settings = self._settings
        url = settings.browser_endpoint_url or settings.endpoint_url
        if url:
            return presign.origin(endpoint.by_url(url, settings.bucket, ""))
        return presign.origin(self._buckets["quick"].endpoint) if self._buckets else ""
