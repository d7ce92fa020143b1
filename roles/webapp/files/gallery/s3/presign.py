# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""URLs that browsers use at S3: presigned ones to read and to upload, and plain ones. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

from ansible_collections.samefiles.aws.plugins.module_utils._s3 import sigv4
from ansible_collections.samefiles.aws.plugins.module_utils._s3.endpoint import Endpoint, Keys

from gallery import checksums, file_headers


class Signer(NamedTuple):
    """What signs: the credentials, when they end (seconds since 1970, None: never), and the time by S3's clock."""

    keys: Keys
    end: float | None
    now: float


class Link(NamedTuple):
    """An address, and for how many seconds from now it holds for certain."""

    url: str
    left: int


def url(
    endpoint: Endpoint, method: str, key: str, headers: dict[str, str], credentials: Keys, second: int,
    seconds: int, query: dict[str, str] | None = None,
) -> str:  # fmt: skip
    """An address with which anybody may send this one request; headers are signed with Host, and must be sent."""
    path = endpoint.base + sigv4.quote(key)
    signed = {"host": endpoint.header, **headers}
    text = sigv4.presigned(method, path, signed, credentials, endpoint.region, second, seconds, query)
    return f"{plain_url(endpoint, key)}?{text}"


def plain_url(endpoint: Endpoint, key: str) -> str:
    """The address of an object, which opens it only where everybody may read it."""
    return f"{origin(endpoint)}{endpoint.base}{sigv4.quote(key)}"


def origin(endpoint: Endpoint) -> str:
    """What a browser calls the place: scheme, host and port."""
    return f"{'https' if endpoint.secure else 'http'}://{endpoint.header}"


def window(now: float, life: float, end: float | None) -> tuple[int, int]:
    """From which second on a link holds, and for how many: the same for half of its life, so that browsers know it again.

    It never outlives the credentials that end at `end`.
    """
    half = max(1, int(life) // 2)
    second = int(now) // half * half
    return second, _within(int(life), second, end)


def _within(seconds: int, second: int, end: float | None) -> int:
    return max(1, seconds if end is None else min(seconds, int(end) - second))


def link(endpoint: Endpoint, signer: Signer, method: str, object_key: str, life: float, download: str = "") -> Link:
    """An address by which one object can be read without credentials for a while; method is GET or HEAD.

    download is the name under which browsers keep it; "": they show what they can.
    """
    second, seconds = window(signer.now, life, signer.end)
    query = {"response-content-disposition": f'attachment; filename="{download}"'} if download else None
    address = url(endpoint, method, object_key, {}, signer.keys, second, seconds, query)
    return Link(address, max(0, int(second + seconds - signer.now)))


def ticket(
    endpoint: Endpoint,
    signer: Signer,
    object_key: str,
    key: str,
    size: int,
    sha256: str,
    life: float,
    public: bool = False,
) -> dict[str, Any]:
    """The right to store one object, once, of just this size and type; and of this SHA-256 (hexadecimal), when it is given."""
    headers = {**file_headers.of_object(key, public), "if-none-match": "*", **checksums.for_s3(sha256)}
    second = int(signer.now)
    seconds = _within(int(life), second, signer.end)
    signed = {**headers, "content-length": str(size)}
    address = url(endpoint, "PUT", object_key, signed, signer.keys, second, seconds)
    return {"key": key, "method": "PUT", "url": address, "headers": headers, "expires": seconds}
