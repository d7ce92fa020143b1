# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which requests to S3 are tried again, how often, and how long is waited before."""

from __future__ import annotations

import random

ATTEMPTS = 8  # tries of a request
PAGE_ATTEMPTS = 3  # tries of a page of a listing that arrives cut short
DELETE_ATTEMPTS = 5  # tries for a key that S3 puts off within an answer
STATUSES = {429, 500, 502, 503, 504}
CODES = {
    "RequestTimeout", "SlowDown", "InternalError", "ServiceUnavailable", "OperationAborted", "ConditionalRequestConflict",
    "BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch",
}  # fmt: skip
EXPIRED = ("ExpiredToken", "ExpiredTokenException", "InvalidToken")  # credentials, which can be renewed once
LONGEST_PAUSE = 20.0  # seconds between two tries, as botocore has it
_CHANCE = random.Random()  # noqa: S311 - of our own: who seeds that of the module, or counts on it, is not disturbed


def again(status: int, code: str) -> bool:
    """Whether an answer with this status and code may be another one a moment later."""
    return status in STATUSES or code in CODES


def retry_after(headers: dict[str, str]) -> float:
    """The seconds that the server asks to wait, no more than LONGEST_PAUSE; 0 when it asks for none."""
    seconds = headers.get("retry-after", "")
    return min(LONGEST_PAUSE, float(seconds)) if seconds.isdigit() else 0.0


def pause(attempt: int, asked: float) -> float:
    """The seconds to wait before another try, longer each time; asked: those that the server asks for."""
    return asked + _CHANCE.uniform(0, min(LONGEST_PAUSE, 0.2 * 2**attempt))
