# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proves from outside what a bucket gives to those without credentials: with requests that nobody has signed."""

from __future__ import annotations

import http.client
import secrets
import ssl
import time
import urllib.error
import urllib.request
from typing import Any, NamedTuple

from .._s3.endpoint import Endpoint
from . import spec
from .apply import BucketSettings
from .spec import BucketError, Wanted

TIMEOUT = 60.0  # seconds until all of S3 applies what was set
REFUSED = (401, 403)  # 404 is not among them: it shows that there is no such object
# of an object that KMS encrypts, which S3 decrypts for signed requests alone
# https://repost.aws/knowledge-center/s3-kms-signature-version-error
UNSIGNED = b"<Code>InvalidArgument</Code>"


class Check(NamedTuple):
    """One request without credentials, and whether it is to be answered."""

    method: str
    path: str  # below the bucket
    text: str
    answered: bool = False


def checks(wanted: Wanted, run: str) -> tuple[list[str], list[Check]]:
    """The keys of the probe objects, and the requests to make."""
    inside, outside = wanted.public_prefix or wanted.closed_prefix, wanted.key_prefix
    keys = [f"{prefix}/proof/{run}" for prefix in (inside, outside) if prefix]
    made = []
    for prefix, key in zip([prefix for prefix in (inside, outside) if prefix], keys):
        public = prefix == wanted.public_prefix
        made += [
            Check("GET", key, f"{'everybody reads' if public else 'nobody reads'} what lies below {prefix}/", public),
            Check("GET", f"?list-type=2&prefix={prefix}/", f"nobody lists {prefix}/"),
            Check("PUT", f"{key}-put", f"nobody writes below {prefix}/"),
            Check("PUT", key, f"nobody replaces what lies below {prefix}/"),
            Check("DELETE", key, f"nobody deletes below {prefix}/"),
        ]
    return keys, [*made, Check("GET", "", "nobody lists the bucket")]


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Takes a redirect for an answer: what another host says of the bucket proves nothing."""

    def redirect_request(self, *_arguments: Any) -> None:
        """Follow nothing."""


class Anybody:
    """A client without credentials."""

    def __init__(self, endpoint: Endpoint, browser: str):
        endpoints = [endpoint]
        if browser:
            endpoints.append(spec.for_browsers(browser, endpoint.bucket, endpoint.region))
        self.places = [f"{'https' if item.secure else 'http'}://{item.header}{item.base}" for item in endpoints]
        context = ssl.create_default_context(cafile=endpoint.ca_file)
        if not endpoint.verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _NoRedirects)

    def ask(self, url: str, method: str) -> tuple[int, bytes]:
        """Status and body of one request."""
        sent = b"nobody may write this" if method == "PUT" else None
        request = urllib.request.Request(url, data=sent, method=method)  # noqa: S310 - http(s), by Endpoint and location()
        try:
            try:
                answer = self._opener.open(request, timeout=20)
            except urllib.error.HTTPError as fault:
                answer = fault
            with answer:
                return answer.status, answer.read(1 << 16)
        except (OSError, http.client.HTTPException) as fault:
            raise BucketError(f"{method} {url} without credentials: {fault}") from fault


def _verdict(check: Check, url: str, status: int, got: bytes, body: bytes) -> str:
    """What is wrong with an answer, "" when nothing is."""
    if not check.answered:
        if status in REFUSED or (status == 400 and check.method == "GET" and UNSIGNED in got):
            return ""
        return (
            f"{check.method} {url} without credentials got {status} and should be refused: see which other statement of "
            "the bucket's policy opens it"
        )
    if status == 200 and got == body:
        return ""
    came = "other bytes" if status == 200 else str(status)
    return (
        f"{check.method} {url} without credentials got {came} and should be answered: see whether the public-access block "
        "of the account, or another statement of the bucket's policy, refuses it"
    )


def _hold(anybody: Anybody, check: Check, base: str, body: bytes, until: float) -> None:
    """Repeat a request until its answer is right. Raises BucketError when it never is."""
    url, pause = base + check.path, 0.2
    while True:
        status, got = anybody.ask(url, check.method)
        fault = _verdict(check, url, status, got, body)
        if not fault:
            return
        if time.monotonic() > until:
            raise BucketError(fault)
        time.sleep(pause)
        pause = min(2 * pause, 5.0)


def _clean(bucket: BucketSettings, keys: list[str]) -> None:
    """Remove the probe objects for good, with all their versions."""
    for key in keys:
        versions = bucket.ask("list_object_versions", Prefix=key) or {}
        for item in [*versions.get("Versions", []), *versions.get("DeleteMarkers", [])]:
            bucket.ask("delete_object", Key=item["Key"], VersionId=item["VersionId"])


def prove(
    bucket: BucketSettings, endpoint: Endpoint, wanted: Wanted, browser: str = "", wait: float = TIMEOUT
) -> list[str]:
    """Make probe objects, ask for them without credentials, remove them; what is proved, in words. Raises BucketError."""
    run = secrets.token_hex(8)
    keys, asked = checks(wanted, run)
    body = f"samefiles.aws proof {run}\n".encode()
    anybody = Anybody(endpoint, browser)
    until = time.monotonic() + wait
    try:
        for key in keys:
            bucket.ask("put_object", Key=key, Body=body, ContentType="text/plain")
        for base in anybody.places:
            for check in asked:
                _hold(anybody, check, base, body, until)
    finally:
        _clean(bucket, keys)
    return [check.text for check in asked]
