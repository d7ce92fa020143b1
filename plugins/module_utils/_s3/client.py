# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signed requests to one bucket, tried again where that helps, over connections that are kept."""

from __future__ import annotations

import collections
import hashlib
import math
import re
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from . import connection, responses, retries, sigv4
from .endpoint import Endpoint, Keys
from .errors import WAY_OUT, Changed, Denied, Expired, S3Error, Unreachable, Untrusted

_ERROR = re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?<Error[ >]")
_LAST = 5.0  # seconds for an answer when the process must end


class InFlight(NamedTuple):
    """A request that is sent and whose answer is not read yet. skew: seconds added to its time."""

    head: bytes
    headers: dict[str, str]
    skew: float
    place: int


def is_kms(headers: dict[str, str]) -> bool:
    """Whether KMS encrypts the object of an answer."""
    return headers.get("x-amz-server-side-encryption", "").startswith("aws:kms")


class DiscoveredEndpoint:
    """The endpoint of a bucket as its server reports it, and how far its clock is from ours. Several Buckets may use the same one."""

    def __init__(self, endpoint: Endpoint):
        self._lock, self._moved, self.skew = threading.Lock(), False, 0.0
        self._go_to(endpoint)

    def _go_to(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.place = endpoint, endpoint.header, endpoint.base  # made once: each request needs them

    def move(self, region: str) -> bool:
        """Use another region, once; False when it is the same one, True also when another thread was first."""
        with self._lock:
            if not region or self._moved or region == self.endpoint.region:
                return bool(region) and self._moved and region == self.endpoint.region
            host = self.endpoint.host
            if f".{self.endpoint.region}.amazonaws.com" in host:
                host = host.replace(f".{self.endpoint.region}.", f".{region}.")
            elif host == "s3.amazonaws.com":
                host = f"s3.{region}.amazonaws.com"
            self._moved = True
            self._go_to(self.endpoint._replace(region=region, host=host))
        return True


class Client:
    """The client of a bucket; its methods may be called by several threads.

    keys returns the current credentials; seconds is for each wait on the network; checksum is auto, crc32, sha256, md5 (with
    KMS sha256 as well) or none (then the signature of the body alone protects it); other buckets at the endpoint use the same
    discovered, so that what the server reports to one of them is known to all; again: seconds after the beginning of a request
    in which it may be tried again.
    """

    def __init__(
        self, endpoint: Endpoint, keys: Callable[[], Keys], *, seconds: float = 60.0, attempts: int = retries.ATTEMPTS, checksum: str = "auto",
        part: int = 8 << 20, pause: Callable[[float], object] | None = None, now: Callable[[], float] = time.time,
        discovered: DiscoveredEndpoint | None = None, again: float = math.inf,
    ):  # fmt: skip
        self._keys, self._seconds, self._attempts = keys, seconds, attempts
        self._again = again
        self._discovered = discovered or DiscoveredEndpoint(endpoint)
        self.checksum, self.part = checksum, part
        self.request_counts: collections.Counter = collections.Counter()
        self._over = threading.Event()
        self._pause, self._now = pause or self._over.wait, now
        self._lock, self._reached = threading.Lock(), self.endpoint
        self._pool = connection.Pool(self.endpoint, seconds)
        self._left: list[connection.Pool] = []
        self._copies = True  # conditional on the object that is replaced, which S3 supports since 2025
        self._kms = False  # KMS encrypts the objects, and ETags are no hashes: objects are stored with their SHA-256

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint, as far as it is known."""
        return self._discovered.endpoint

    def close(self) -> None:
        """Close all connections."""
        for pool in (self._pool, *self._left):
            pool.close()

    def end(self) -> None:
        """Abort the requests under way, repeat none from now on, and wait only a moment for each answer: the process must end."""
        self._seconds = min(self._seconds, _LAST)
        self._over.set()
        for pool in (self._pool, *self._left):
            pool.cut(self._seconds)

    def now(self) -> float:
        """The time in seconds since the epoch, by the server's clock where that is known to differ."""
        return self._now() + self._discovered.skew

    def _connection(self, number: int) -> connection.Connection:
        """A connection of this thread to the current endpoint."""
        if self.endpoint is not self._reached:
            with self._lock:
                endpoint = self.endpoint
                if endpoint is not self._reached:
                    self._left.append(self._pool)  # other threads are still using it
                    self._pool = connection.Pool(endpoint, self._seconds)
                    self._reached = endpoint
        return self._pool.connection(number)

    def _head(
        self, method: str, key: str, query: str, headers: dict[str, str], body: bytes | memoryview | None, payload: str
    ) -> bytes:
        (endpoint, host, base), keys = self._discovered.place, self._credentials()
        path = base + sigv4.quote(key)
        signed = {"host": host, "x-amz-content-sha256": payload, **headers}
        signed["x-amz-date"] = sigv4.stamp(int(self.now()))
        if keys.token:
            signed["x-amz-security-token"] = keys.token
        signature = sigv4.sign(method, path, query, signed, payload, keys, endpoint.region)
        target = f"{path}?{query}" if query else path
        if endpoint.proxy and not endpoint.secure:
            target = f"http://{host}{target}"
        length = f"content-length: {len(body)}\r\n" if body is not None else ""
        lines = "".join([f"{name}: {value}\r\n" for name, value in signed.items()])
        if endpoint.proxy and not endpoint.secure and endpoint.proxy[2]:
            lines += f"proxy-authorization: {connection.basic(endpoint.proxy[2])}\r\n"
        text = f"{method} {target} HTTP/1.1\r\n{lines}authorization: {signature}\r\n{length}\r\n"
        return text.encode("utf-8", "surrogateescape")

    def _credentials(self) -> Keys:
        try:
            return self._keys()
        except Exception as fault:  # whatever their provider raises
            raise Expired.by(fault) from fault

    def _renew(self) -> None:
        """Renew the credentials if they can be renewed, although their provider takes them for valid."""
        renew = getattr(self._keys, "renew", None)
        if renew:
            try:
                renew()
            except Exception as fault:
                raise Expired.by(fault) from fault

    def _payload(self, headers: dict[str, str], body: bytes | memoryview | None) -> str:
        if not body:
            return sigv4.EMPTY
        # over TLS a body that a checksum protects need not be hashed a second time
        if self.endpoint.secure and any(
            name == "content-md5" or name.startswith("x-amz-checksum-") for name in headers
        ):
            return sigv4.UNSIGNED
        return hashlib.sha256(body).hexdigest()

    def ask(
        self, operation: str, method: str, key: str = "", query: dict[str, str] | None = None, headers: dict[str, str] | None = None,
        body: bytes | memoryview | None = None, fine: tuple[int, ...] = (), in_flight: InFlight | None = None,
        into: connection.Receiver | None = None,
    ) -> connection.Answer:  # fmt: skip
        """One operation, tried again while that may help; the name operation is for the count and for messages. Raises S3Error.

        fine: statuses beyond 2xx that the caller understands; in_flight: the first try, if it is sent already; into: receives
        the body, from its beginning with each try.
        """
        headers, text = headers or {}, sigv4.query_text(query) if query else ""
        payload = self._payload(headers, body)
        fault: S3Error | None = None
        renewed, delay, began = False, 0.0, time.monotonic()
        for attempt in range(self._attempts):
            if attempt and not self._waited(attempt, delay, began):
                break
            self.request_counts[operation] += 1
            delay = 0.0
            if in_flight and not attempt:
                skew, head = in_flight.skew, in_flight.head
            else:
                skew, head = self._discovered.skew, self._head(method, key, text, headers, body, payload)
            try:
                answer = self._connection(in_flight.place if in_flight else 0).ask(head, body, method == "HEAD", into)
            except connection.Broken as broken:
                fault = Unreachable(
                    f"{operation} {self.shown(key)}: {broken}: see whether {self.endpoint.name} can be reached"
                )
                continue
            except Untrusted as untrusted:
                raise Unreachable(str(untrusted)) from untrusted
            code = self._code(answer)
            if "x-amz-server-side-encryption" in answer.headers:
                self._kms = self._kms or is_kms(answer.headers)
            if answer.status in fine or (answer.status < 300 and not code):
                return answer
            fault = self._fault(operation, key, answer, code)
            fault.again = attempt > 0
            if retries.again(answer.status, code):
                delay = retries.retry_after(answer.headers)
            elif code == "RequestTimeTooSkewed" and self._set_clock(answer, skew):
                pass
            elif not renewed and (code in retries.EXPIRED or (not code and answer.status == 400)):
                renewed = True  # an answer to HEAD has no body that says why
                self._renew()
                self._follow(answer)
            elif not self._follow(answer):
                raise fault
        raise fault or S3Error(f"{operation} {key!r}: not tried")

    def _waited(self, attempt: int, delay: float, began: float) -> bool:
        """Pause before another try, longer each time; delay: seconds that the server asks for. False when it is too late for one."""
        pause = retries.pause(attempt, delay)
        if self._over.is_set() or time.monotonic() - began + pause > self._again:
            return False
        self._pause(pause)
        return not self._over.is_set()

    @staticmethod
    def _code(answer: connection.Answer) -> str:
        """The code of an error; a copy and the end of an upload may report one within a 200."""
        body = answer.body
        if not body or (answer.status < 300 and not _ERROR.match(body)):
            return ""
        return responses.field(bytes(body[:4096]).decode("utf-8", "replace"), "Code")

    def shown(self, key: str) -> str:
        """An object as messages name it."""
        return repr(f"{self.endpoint.bucket}/{key}")

    def _fault(self, operation: str, key: str, answer: connection.Answer, code: str) -> S3Error:
        message = (
            responses.field(bytes(answer.body[:4096]).decode("utf-8", "replace"), "Message") if answer.body else ""
        )
        if not code:
            code = {403: "AccessDenied", 404: "NotFound", 412: "PreconditionFailed"}.get(answer.status, "")
        way = f": {WAY_OUT[code]}" if code in WAY_OUT else ""
        text = f"{operation} {self.shown(key)}: {answer.status} {code} {message}".rstrip(" .") + way
        made = {412: Changed, 403: Denied, 401: Denied, 503: Unreachable}.get(answer.status, S3Error)
        if answer.status < 300:  # an error that came after S3 had begun to answer
            made = {"PreconditionFailed": Changed, "AccessDenied": Denied}.get(code, made)
        return made(text, code, answer.status, f"{operation} {self.shown(key)}: {answer.status} {code}".rstrip() + way)

    def _set_clock(self, answer: connection.Answer, used: float) -> bool:
        """Sign with the server's time from now on; False when the answer has none, or was signed with already."""
        current = responses.when(answer.headers.get("date", ""))
        skew = current - self._now()
        if not current or abs(skew - used) < 60:
            return False
        self._discovered.skew = skew
        return True

    def _follow(self, answer: connection.Answer) -> bool:
        """Sign for the region where the bucket is, once; False when the answer names no other one."""
        if answer.status not in (301, 307, 400):
            return False
        text = bytes(answer.body[:4096]).decode("utf-8", "replace")
        region = answer.headers.get("x-amz-bucket-region") or responses.field(text, "Region")
        return self._discovered.move(region)
