# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong with S3, as exceptions that hold one sentence each, and the way out of it."""

from __future__ import annotations

# by the code that S3 gives
WAY_OUT = {
    "AccessDenied": "allow it to the role or user that runs this",
    "NoSuchBucket": "create it, or fix the name",
    "InvalidAccessKeyId": "check the access key",
    "SignatureDoesNotMatch": "check the secret key",
    "ExpiredToken": "give credentials that are still valid",
    "EntityTooLarge": "split the file",
    "KeyTooLongError": "shorten the name",
}


class S3Error(Exception):
    """A request that failed for good, as one sentence. unavailable: every other key would fail alike; again: tried before.

    brief is the sentence for strangers: without what others said, which may name accounts, roles and hosts.
    """

    unavailable, again = False, False

    def __init__(self, text: str, code: str = "", status: int = 0, brief: str = ""):
        super().__init__(text)
        self.code, self.status, self.brief = code, status, brief or text


class Changed(S3Error):
    """The object was not as the request said it must be: somebody else wrote it meanwhile."""


class Denied(S3Error):
    """The credentials do not suffice."""


class Expired(Denied):
    """The credentials cannot be renewed."""

    unavailable = True

    @classmethod
    def by(cls, fault: Exception) -> Expired:
        """With what their provider raised."""
        brief = "the credentials cannot be renewed"
        return cls(f"{brief}: {' '.join(str(fault).split())}", brief=brief)


class Unreachable(S3Error):
    """The server does not answer, or its answer cannot be trusted."""

    unavailable = True


class ContentMismatch(S3Error):
    """The bytes that arrived are not those of the object: their number, their range or their checksum differs."""


class EndpointError(Exception):
    """An endpoint or a proxy that is not valid, as one sentence."""


class SessionError(Exception):
    """No credentials, no region or no such endpoint, as one sentence."""


class Untrusted(Exception):
    """The server's certificate does not hold, as one sentence; trying again is of no use."""


class Malformed(Exception):
    """An answer that S3 does not give."""
