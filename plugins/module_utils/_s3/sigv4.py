# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signature Version 4 of requests to S3, as pure functions.

The rules: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
import time
import urllib.parse

from .endpoint import Keys

UNSIGNED = "UNSIGNED-PAYLOAD"
EMPTY = hashlib.sha256(b"").hexdigest()
_AS_IS = re.compile("[A-Za-z0-9._~/-]*")


def quote(text: str, safe: str = "/") -> str:
    """Percent-encoding as S3 signs it: all but unreserved characters, in UTF-8; a key's slashes stay."""
    if safe == "/" and _AS_IS.fullmatch(text):
        return text
    return urllib.parse.quote(text, safe=f"{safe}-._~", encoding="utf-8", errors="surrogateescape")


def query_text(query: dict[str, str]) -> str:
    """A query as it is signed and sent: sorted, each name with a value."""
    return "&".join(f"{name}={value}" for name, value in sorted((quote(k, ""), quote(v, "")) for k, v in query.items()))


def _mac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


@functools.lru_cache(maxsize=8)
def signing_key(secret: str, day: str, region: str, service: str = "s3") -> bytes:
    """The key of a day, a region and a service; four HMACs, made once."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = _mac(key, part)
    return key


@functools.lru_cache(maxsize=4)
def stamp(second: int) -> str:
    """A time, in whole seconds since the epoch, as AWS writes it."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))


def sign(
    method: str,
    path: str,
    query: str,
    headers: dict[str, str],
    payload: str,
    keys: Keys,
    region: str,
    service: str = "s3",
) -> str:
    """The header Authorization.

    path and query are encoded; headers (lower-case names, host and x-amz-date among them) are all signed; payload is the
    SHA-256 of the body in hexadecimal, or UNSIGNED.
    """
    date = headers["x-amz-date"]
    scope = f"{date[:8]}/{region}/{service}/aws4_request"
    signature = _signature(method, path, query, headers, payload, keys, date, scope)
    listed = ";".join(sorted(headers))
    return f"AWS4-HMAC-SHA256 Credential={keys.access_key}/{scope},SignedHeaders={listed},Signature={signature}"


def _signature(
    method: str, path: str, query: str, headers: dict[str, str], payload: str, keys: Keys, date: str, scope: str
) -> str:
    """Sign a request; scope is DAY/REGION/SERVICE/aws4_request."""
    names = sorted(headers)
    lines = "".join([f"{name}:{headers[name]}\n" for name in names])
    if "  " in lines:
        lines = re.sub(" +", " ", lines)  # as S3 reads them
    canonical = f"{method}\n{path}\n{query}\n{lines}\n{';'.join(names)}\n{payload}"
    digest = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
    day, region, service, _end = scope.split("/")
    key = signing_key(keys.secret_key, day, region, service)
    return _mac(key, f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{digest}").hex()


def presigned(
    method: str, path: str, headers: dict[str, str], keys: Keys, region: str, second: int, seconds: int,
    query: dict[str, str] | None = None,
) -> str:  # fmt: skip
    """The query with which anybody may send this one request to S3, for so many seconds from a second since the epoch on.

    headers (lower-case names, host among them) must be sent with just these values; the body may be any. query is what else
    the request asks. The rules:
    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
    """
    date = stamp(second)
    scope = f"{date[:8]}/{region}/s3/aws4_request"
    parameters = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Credential": f"{keys.access_key}/{scope}", "X-Amz-Date": date,
        "X-Amz-Expires": str(seconds), "X-Amz-SignedHeaders": ";".join(sorted(headers)),
    }  # fmt: skip
    if keys.token:
        parameters["X-Amz-Security-Token"] = keys.token
    text = query_text({**parameters, **(query or {})})
    return f"{text}&X-Amz-Signature={_signature(method, path, text, headers, UNSIGNED, keys, date, scope)}"
