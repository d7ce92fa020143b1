# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which requests to S3 are tried again, how often, and how long is waited before."""

from __future__ import annotations

import random

ATTEMPTS = 8  # tries of a request
PAGE_ATTEMPTS = 3  # tries of a page of a listing that arrives cut short
DELETE_ATTEMPTS = 5  # tries for a key that a batch delete reports as busy
STATUSES = {429, 500, 502, 503, 504}
CODES = {
    "RequestTimeout", "SlowDown", "InternalError", "ServiceUnavailable", "OperationAborted", "ConditionalRequestConflict",
    "BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch",
}  # fmt: skip
EXPIRED = ("ExpiredToken", "ExpiredTokenException", "InvalidToken")  # credentials, which can be renewed once
LONGEST_PAUSE = 20.0  # seconds between two tries, as botocore has it
_CHANCE = random.Random()  # noqa: S311 - our own, so that the module's random sequence stays as its user seeded it


def again(status: int, code: str) -> bool:
    """Whether a request with this answer may succeed a moment later."""
    return status in STATUSES or code in CODES


def retry_after(headers: dict[str, str]) -> float:
    """The seconds that the server asks to wait, no more than LONGEST_PAUSE; 0 when it asks for none."""
    seconds = headers.get("retry-after", "")
    return min(LONGEST_PAUSE, float(seconds)) if seconds.isdigit() else 0.0


def pause(attempt: int, asked: float) -> float:
    """The seconds to wait before another try, longer each time; asked: those that the server asks for."""
    return asked + _CHANCE.uniform(0, min(LONGEST_PAUSE, 0.2 * 2**attempt))
