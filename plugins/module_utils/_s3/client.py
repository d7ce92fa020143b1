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
from .endpoint import Keys, Where
from .errors import WAY_OUT, Away, Changed, Denied, Expired, S3Error, Untrusted

_ERROR = re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?<Error[ >]")
_LAST = 5.0  # seconds for an answer when it must end


class Begun(NamedTuple):
    """A request that is sent, and its answer not read yet. skew: what its time was mended by."""

    head: bytes
    headers: dict[str, str]
    skew: float
    place: int


def is_kms(headers: dict[str, str]) -> bool:
    """Whether the object that an answer speaks of is encrypted by KMS."""
    return headers.get("x-amz-server-side-encryption", "").startswith("aws:kms")


class Learnt:
    """Where a bucket is by the server's word, and by what its clock differs from ours. Several buckets may share it."""

    def __init__(self, where: Where):
        self._lock, self._moved, self.skew = threading.Lock(), False, 0.0
        self._go_to(where)

    def _go_to(self, where: Where) -> None:
        self.where = where
        self.place = where, where.header, where.base  # made once: each request needs them

    def move(self, region: str) -> bool:
        """Have the bucket in another region, once; False when that is no news, True also when another thread had it first."""
        with self._lock:
            if not region or self._moved or region == self.where.region:
                return bool(region) and self._moved and region == self.where.region
            host = self.where.host
            if f".{self.where.region}.amazonaws.com" in host:
                host = host.replace(f".{self.where.region}.", f".{region}.")
            elif host == "s3.amazonaws.com":
                host = f"s3.{region}.amazonaws.com"
            self._moved = True
            self._go_to(self.where._replace(region=region, host=host))
        return True


class Requests:
    """What asks a bucket; its methods may be called by several threads.

    keys gives the credentials, renewed ones once they are; seconds is for each wait on the network; checksum is auto, crc32,
    sha256, md5 (with KMS sha256 as well) or none (then the signature of the body alone protects it); learnt is shared with
    other buckets of the place, so that what the server tells one of them is known to all; again: seconds after the beginning of
    a request in which it may be tried again.
    """

    def __init__(
        self, where: Where, keys: Callable[[], Keys], *, seconds: float = 60.0, attempts: int = retries.ATTEMPTS, checksum: str = "auto",
        part: int = 8 << 20, pause: Callable[[float], object] | None = None, now: Callable[[], float] = time.time,
        learnt: Learnt | None = None, again: float = math.inf,
    ):  # fmt: skip
        self._keys, self._seconds, self._attempts = keys, seconds, attempts
        self._again = again
        self._learnt = learnt or Learnt(where)
        self.checksum, self.part = checksum, part
        self.requests: collections.Counter = collections.Counter()
        self._over = threading.Event()
        self._pause, self._now = pause or self._over.wait, now
        self._lock, self._reached = threading.Lock(), self.where
        self._pool = connection.Pool(self.where, seconds)
        self._left: list[connection.Pool] = []
        self._copies = True  # on condition of what is replaced, which S3 knows since 2025
        self._kms = False  # KMS encrypts here, and ETags are no hashes: objects are stored with their SHA-256

    @property
    def where(self) -> Where:
        """Where it is, as far as that is known."""
        return self._learnt.where

    def close(self) -> None:
        """Close all connections."""
        for pool in (self._pool, *self._left):
            pool.close()

    def end(self) -> None:
        """Cut off what is under way, try nothing again from now on, and wait a moment for each answer: whoever runs this must end."""
        self._seconds = min(self._seconds, _LAST)
        self._over.set()
        for pool in (self._pool, *self._left):
            pool.cut(self._seconds)

    def now(self) -> float:
        """The time in seconds since the epoch, by the server's clock where that is known to differ."""
        return self._now() + self._learnt.skew

    def _connection(self, number: int) -> connection.Connection:
        """A connection of this thread to where the bucket is known to be by now."""
        if self.where is not self._reached:
            with self._lock:
                where = self.where
                if where is not self._reached:
                    self._left.append(self._pool)  # other threads are still using it
                    self._pool = connection.Pool(where, self._seconds)
                    self._reached = where
        return self._pool.connection(number)

    def _head(
        self, method: str, key: str, query: str, headers: dict[str, str], body: bytes | memoryview | None, payload: str
    ) -> bytes:
        (where, host, base), keys = self._learnt.place, self._credentials()
        path = base + sigv4.quote(key)
        signed = {"host": host, "x-amz-content-sha256": payload, **headers}
        signed["x-amz-date"] = sigv4.stamp(int(self.now()))
        if keys.token:
            signed["x-amz-security-token"] = keys.token
        signature = sigv4.sign(method, path, query, signed, payload, keys, where.region)
        target = f"{path}?{query}" if query else path
        if where.proxy and not where.secure:
            target = f"http://{host}{target}"
        length = f"content-length: {len(body)}\r\n" if body is not None else ""
        lines = "".join([f"{name}: {value}\r\n" for name, value in signed.items()])
        if where.proxy and not where.secure and where.proxy[2]:
            lines += f"proxy-authorization: {connection.basic(where.proxy[2])}\r\n"
        text = f"{method} {target} HTTP/1.1\r\n{lines}authorization: {signature}\r\n{length}\r\n"
        return text.encode("utf-8", "surrogateescape")

    def _credentials(self) -> Keys:
        try:
            return self._keys()
        except Exception as fault:  # whatever their provider raises
            raise Expired.by(fault) from fault

    def _renew(self) -> None:
        """Have new credentials made, where they can be, though their provider thinks that the former ones hold."""
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
        if self.where.secure and any(name == "content-md5" or name.startswith("x-amz-checksum-") for name in headers):
            return sigv4.UNSIGNED
        return hashlib.sha256(body).hexdigest()

    def ask(
        self, kind: str, method: str, key: str = "", query: dict[str, str] | None = None, headers: dict[str, str] | None = None,
        body: bytes | memoryview | None = None, fine: tuple[int, ...] = (), begun: Begun | None = None,
        into: connection.Receiver | None = None,
    ) -> connection.Answer:  # fmt: skip
        """One operation, tried again while that may help; kind is for the count. Raises S3Error.

        fine: statuses beyond 2xx that the caller understands; begun: the first try, where it is sent already; into: takes the
        body, from its beginning with each try.
        """
        headers, text = headers or {}, sigv4.query_text(query) if query else ""
        payload = self._payload(headers, body)
        fault: S3Error | None = None
        renewed, told, began = False, 0.0, time.monotonic()
        for attempt in range(self._attempts):
            if attempt and not self._waited(attempt, told, began):
                break
            self.requests[kind] += 1
            told = 0.0
            if begun and not attempt:
                skew, head = begun.skew, begun.head
            else:
                skew, head = self._learnt.skew, self._head(method, key, text, headers, body, payload)
            try:
                answer = self._connection(begun.place if begun else 0).ask(head, body, method == "HEAD", into)
            except connection.Broken as broken:
                fault = Away(f"{kind} {self.shown(key)}: {broken}: see whether {self.where.name} can be reached")
                continue
            except Untrusted as untrusted:
                raise Away(str(untrusted)) from untrusted
            code = self._code(answer)
            if "x-amz-server-side-encryption" in answer.headers:
                self._kms = self._kms or is_kms(answer.headers)
            if answer.status in fine or (answer.status < 300 and not code):
                return answer
            fault = self._fault(kind, key, answer, code)
            fault.again = attempt > 0
            if retries.again(answer.status, code):
                told = retries.retry_after(answer.headers)
            elif code == "RequestTimeTooSkewed" and self._set_clock(answer, skew):
                pass
            elif not renewed and (code in retries.EXPIRED or (not code and answer.status == 400)):
                renewed = True  # an answer to HEAD has no body to tell why
                self._renew()
                self._follow(answer)
            elif not self._follow(answer):
                raise fault
        raise fault or S3Error(f"{kind} {key!r}: not tried")

    def _waited(self, attempt: int, told: float, began: float) -> bool:
        """Pause before another try, longer each time; told: seconds that the server asks for. False when it is too late for one."""
        pause = retries.pause(attempt, told)
        if self._over.is_set() or time.monotonic() - began + pause > self._again:
            return False
        self._pause(pause)
        return not self._over.is_set()

    @staticmethod
    def _code(answer: connection.Answer) -> str:
        """The code of an error; a copy and the end of an upload may tell theirs within a 200."""
        body = answer.body
        if not body or (answer.status < 300 and not _ERROR.match(body)):
            return ""
        return responses.field(bytes(body[:4096]).decode("utf-8", "replace"), "Code")

    def shown(self, key: str) -> str:
        """An object in a sentence."""
        return repr(f"{self.where.bucket}/{key}")

    def _fault(self, kind: str, key: str, answer: connection.Answer, code: str) -> S3Error:
        told = responses.field(bytes(answer.body[:4096]).decode("utf-8", "replace"), "Message") if answer.body else ""
        if not code:
            code = {403: "AccessDenied", 404: "NotFound", 412: "PreconditionFailed"}.get(answer.status, "")
        way = f": {WAY_OUT[code]}" if code in WAY_OUT else ""
        text = f"{kind} {self.shown(key)}: {answer.status} {code} {told}".rstrip(" .") + way
        made = {412: Changed, 403: Denied, 401: Denied, 503: Away}.get(answer.status, S3Error)
        if answer.status < 300:  # an error that came after S3 had begun to answer
            made = {"PreconditionFailed": Changed, "AccessDenied": Denied}.get(code, made)
        return made(text, code, answer.status, f"{kind} {self.shown(key)}: {answer.status} {code}".rstrip() + way)

    def _set_clock(self, answer: connection.Answer, used: float) -> bool:
        """Sign with the server's time from now on; False when it tells none, or was signed with already."""
        there = responses.when(answer.headers.get("date", ""))
        skew = there - self._now()
        if not there or abs(skew - used) < 60:
            return False
        self._learnt.skew = skew
        return True

    def _follow(self, answer: connection.Answer) -> bool:
        """Sign for the region where the bucket is, once; False when the answer names no other one."""
        if answer.status not in (301, 307, 400):
            return False
        text = bytes(answer.body[:4096]).decode("utf-8", "replace")
        region = answer.headers.get("x-amz-bucket-region") or responses.field(text, "Region")
        return self._learnt.move(region)
