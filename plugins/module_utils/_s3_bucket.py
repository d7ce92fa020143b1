# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of one bucket: signed requests, tried again where that helps, over connections that are kept."""

from __future__ import annotations

import base64
import collections
import hashlib
import math
import random
import re
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ansible_collections.samefiles.aws.plugins.module_utils import _s3_answers, _s3_sign, _s3_wire
from ansible_collections.samefiles.aws.plugins.module_utils._s3_answers import Head, Listed, Stored
from ansible_collections.samefiles.aws.plugins.module_utils._s3_where import Keys, Where

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
MOST_PARTS = 10_000
LEAST_PART = 5 << 20
LARGEST_COPY = 5 << 30
LARGEST = 5 << 40

_AGAIN = {500, 502, 503, 504, 429}
_AGAIN_CODES = {"RequestTimeout", "SlowDown", "InternalError", "ServiceUnavailable", "OperationAborted", "ConditionalRequestConflict",
                "BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"}  # fmt: skip
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "InvalidToken")
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")  # not even as an entity (XML 1.0, production 2)
_ERROR = re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?<Error[ >]")
_DELETES = 5  # tries for a key that S3 puts off within an answer
_LONGEST_PAUSE = 20.0  # seconds between two tries, as botocore has it
_CHANCE = random.Random()  # noqa: S311 - of our own: who seeds that of the module, or counts on it, is not disturbed


class S3Error(Exception):
    """A request that failed for good, as one sentence. away: whichever key is asked for, it would fail so.

    brief is the sentence for strangers: without what others said, which may name accounts, roles and hosts.
    """

    away = False

    def __init__(self, text: str, code: str = "", status: int = 0, brief: str = ""):
        super().__init__(text)
        self.code, self.status, self.brief = code, status, brief or text


class Changed(S3Error):
    """The object was not as the request said it must be: somebody else wrote it meanwhile."""


class Denied(S3Error):
    """The credentials do not suffice."""


class Expired(Denied):
    """The credentials cannot be renewed."""

    away = True

    @classmethod
    def by(cls, fault: Exception) -> Expired:
        """With what their provider raised."""
        brief = "the credentials cannot be renewed"
        return cls(f"{brief}: {' '.join(str(fault).split())}", brief=brief)


class Away(S3Error):
    """The server does not answer, or not so that it can be trusted."""

    away = True


class Torn(S3Error):
    """The bytes that arrived are not those of the object."""


class Begun(NamedTuple):
    """A request that is sent, and its answer not read yet. skew: what its time was mended by."""

    head: bytes
    headers: dict[str, str]
    skew: float
    place: int


_WAY_OUT = {
    "AccessDenied": "allow it to the role or user that runs this",
    "NoSuchBucket": "create it, or mend the name",
    "InvalidAccessKeyId": "check the access key",
    "SignatureDoesNotMatch": "check the secret key",
    "ExpiredToken": "give credentials that are still valid",
    "EntityTooLarge": "split the file",
    "KeyTooLongError": "shorten the name",
}


def part_size(size: int, wanted: int) -> int:
    """Bytes of each part of a large object: as wanted, larger where 10,000 of them would not do."""
    least = -(-size // MOST_PARTS)
    return max(wanted, LEAST_PART, -(-least // (1 << 20)) * (1 << 20) if least > wanted else 0)


def parts_etag(etags: list[str]) -> str:
    """The ETag of an object in parts, made from those of its parts; "" when they are no MD5s."""
    try:
        whole = b"".join(bytes.fromhex(etag) for etag in etags)
    except ValueError:
        return ""
    return f"{hashlib.md5(whole, usedforsecurity=False).hexdigest()}-{len(etags)}"


def _is_kms(headers: dict[str, str]) -> bool:
    return headers.get("x-amz-server-side-encryption", "").startswith("aws:kms")


def _is_ours(there: Head, headers: dict[str, str], md5: str, sums: dict[str, str]) -> bool:
    """Whether an object is what we sent: its bytes by its MD5 or the checksum that they travelled with, and its headers."""
    same = there.etag == md5 or any(
        sums.get(f"x-amz-checksum-{name}") == told for name, told in there.checksums.items()
    )
    content = {name: value for name, value in headers.items() if name in _s3_answers.CONTENT}
    metadata = {name[11:]: value for name, value in headers.items() if name.startswith("x-amz-meta-")}
    return same and there.headers == content and there.metadata == metadata


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


class Bucket:
    """A bucket; its methods may be called by several threads.

    keys gives the credentials, renewed ones once they are; seconds is for each wait on the network; checksum is auto, crc32,
    sha256, md5 (with KMS sha256 as well) or none (then the signature of the body alone protects it); learnt is shared with
    other buckets of the place, so that what the server tells one of them is known to all; again: seconds after the beginning of
    a request in which it may be tried again.
    """

    def __init__(
        self, where: Where, keys: Callable[[], Keys], *, seconds: float = 60.0, attempts: int = 8, checksum: str = "auto",
        part: int = 8 << 20, pause: Callable[[float], None] = time.sleep, now: Callable[[], float] = time.time,
        learnt: Learnt | None = None, again: float = math.inf,
    ):  # fmt: skip
        self._keys, self._seconds, self._attempts = keys, seconds, attempts
        self._again = again
        self._learnt = learnt or Learnt(where)
        self.checksum, self.part = checksum, part
        self.requests: collections.Counter = collections.Counter()
        self._pause, self._now = pause, now
        self._lock, self._reached = threading.Lock(), self.where
        self._pool = _s3_wire.Pool(self.where, seconds)
        self._left: list[_s3_wire.Pool] = []
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

    def now(self) -> float:
        """The time in seconds since the epoch, by the server's clock where that is known to differ."""
        return self._now() + self._learnt.skew

    # requests

    def _connection(self, number: int) -> _s3_wire.Connection:
        """A connection of this thread to where the bucket is known to be by now."""
        if self.where is not self._reached:
            with self._lock:
                where = self.where
                if where is not self._reached:
                    self._left.append(self._pool)  # other threads are still using it
                    self._pool = _s3_wire.Pool(where, self._seconds)
                    self._reached = where
        return self._pool.connection(number)

    def _head(self, method: str, key: str, query: str, headers: dict, body, payload: str) -> bytes:
        (where, host, base), keys = self._learnt.place, self._credentials()
        path = base + _s3_sign.quote(key)
        signed = {"host": host, "x-amz-content-sha256": payload, **headers}
        signed["x-amz-date"] = _s3_sign.stamp(int(self.now()))
        if keys.token:
            signed["x-amz-security-token"] = keys.token
        signature = _s3_sign.sign(method, path, query, signed, payload, keys, where.region)
        target = f"{path}?{query}" if query else path
        if where.proxy and not where.secure:
            target = f"http://{host}{target}"
        length = f"content-length: {len(body)}\r\n" if body is not None else ""
        lines = "".join([f"{name}: {value}\r\n" for name, value in signed.items()])
        if where.proxy and not where.secure and where.proxy[2]:
            lines += f"proxy-authorization: {_s3_wire.basic(where.proxy[2])}\r\n"
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

    def _payload(self, headers: dict, body) -> str:
        if not body:
            return _s3_sign.EMPTY
        # over TLS a body that a checksum protects need not be hashed a second time
        if self.where.secure and any(name == "content-md5" or name.startswith("x-amz-checksum-") for name in headers):
            return _s3_sign.UNSIGNED
        return hashlib.sha256(body).hexdigest()

    def ask(
        self, kind: str, method: str, key: str = "", query: dict | None = None, headers: dict | None = None, body=None,
        fine: tuple[int, ...] = (), begun: Begun | None = None, into=None,
    ) -> _s3_wire.Answer:  # fmt: skip
        """One operation, tried again while that may help; kind is for the count. Raises S3Error.

        fine: statuses beyond 2xx that the caller understands; begun: the first try, where it is sent already; into: takes the
        body, from its beginning with each try.
        """
        headers, text = headers or {}, _s3_sign.query_text(query) if query else ""
        payload = self._payload(headers, body)
        fault, renewed, told, began = None, False, 0.0, time.monotonic()
        for attempt in range(self._attempts):
            if attempt:
                pause = told + _CHANCE.uniform(0, min(_LONGEST_PAUSE, 0.2 * 2**attempt))
                if time.monotonic() - began + pause > self._again:
                    break
                self._pause(pause)
                told = 0.0
            self.requests[kind] += 1
            if begun and not attempt:
                skew, head = begun.skew, begun.head
            else:
                skew, head = self._learnt.skew, self._head(method, key, text, headers, body, payload)
            try:
                answer = self._connection(begun.place if begun else 0).ask(head, body, method == "HEAD", into)
            except _s3_wire.Broken as broken:
                fault = Away(f"{kind} {self._shown(key)}: {broken}: see whether {self.where.name} can be reached")
                continue
            except _s3_wire.Untrusted as untrusted:
                raise Away(str(untrusted)) from untrusted
            code = self._code(answer)
            if "x-amz-server-side-encryption" in answer.headers:
                self._kms = self._kms or _is_kms(answer.headers)
            if answer.status in fine or (answer.status < 300 and not code):
                return answer
            fault = self._fault(kind, key, answer, code)
            if answer.status in _AGAIN or code in _AGAIN_CODES:
                told = self._told_pause(answer)
            elif code == "RequestTimeTooSkewed" and self._set_clock(answer, skew):
                pass
            elif not renewed and (code in _EXPIRED or (not code and answer.status == 400)):
                renewed = True  # an answer to HEAD has no body to tell why
                self._renew()
                self._follow(answer)
            elif self._follow(answer):
                pass
            else:
                raise fault
        raise fault or S3Error(f"{kind} {key!r}: not tried")

    @staticmethod
    def _code(answer: _s3_wire.Answer) -> str:
        """The code of an error; a copy and the end of an upload may tell theirs within a 200."""
        body = answer.body
        if not body or (answer.status < 300 and not _ERROR.match(body)):
            return ""
        return _s3_answers.field(bytes(body[:4096]).decode("utf-8", "replace"), "Code")

    def _shown(self, key: str) -> str:
        return repr(f"{self.where.bucket}/{key}")

    def _fault(self, kind: str, key: str, answer: _s3_wire.Answer, code: str) -> S3Error:
        told = _s3_answers.field(bytes(answer.body[:4096]).decode("utf-8", "replace"), "Message") if answer.body else ""
        if not code:
            code = {403: "AccessDenied", 404: "NotFound", 412: "PreconditionFailed"}.get(answer.status, "")
        way = f": {_WAY_OUT[code]}" if code in _WAY_OUT else ""
        text = f"{kind} {self._shown(key)}: {answer.status} {code} {told}".rstrip(" .") + way
        made = {412: Changed, 403: Denied, 401: Denied, 503: Away}.get(answer.status, S3Error)
        if answer.status < 300:  # an error that came after S3 had begun to answer
            made = {"PreconditionFailed": Changed, "AccessDenied": Denied}.get(code, made)
        return made(text, code, answer.status, f"{kind} {self._shown(key)}: {answer.status} {code}".rstrip() + way)

    @staticmethod
    def _told_pause(answer: _s3_wire.Answer) -> float:
        told = answer.headers.get("retry-after", "")
        return min(_LONGEST_PAUSE, float(told)) if told.isdigit() else 0.0

    def _set_clock(self, answer: _s3_wire.Answer, used: float) -> bool:
        """Sign with the server's time from now on; False when it tells none, or was signed with already."""
        there = _s3_answers.when(answer.headers.get("date", ""))
        skew = there - self._now()
        if not there or abs(skew - used) < 60:
            return False
        self._learnt.skew = skew
        return True

    def _follow(self, answer: _s3_wire.Answer) -> bool:
        """Sign for the region where the bucket is, once; False when the answer names no other one."""
        if answer.status not in (301, 307, 400):
            return False
        text = bytes(answer.body[:4096]).decode("utf-8", "replace")
        region = answer.headers.get("x-amz-bucket-region") or _s3_answers.field(text, "Region")
        return self._learnt.move(region)

    # reading

    def list(self, prefix: str) -> Iterator[Listed]:
        """All objects whose key begins with a prefix, in the order of the server. Raises S3Error for a listing cut short."""
        token, seen, tries = "", set(), 0
        while True:
            query = {"list-type": "2", "encoding-type": "url", "max-keys": "1000", "prefix": prefix}
            if token:
                query["continuation-token"] = token
            answer = self.ask("LIST", "GET", "", query)
            try:
                page = _s3_answers.page(bytes(answer.body))
            except _s3_answers.Malformed as fault:
                tries += 1
                if tries > 2:
                    raise S3Error(f"LIST {self._shown(prefix)}: {fault}: what is missing there is unknown") from fault
                continue
            tries = 0
            yield from page.objects
            if not page.token:
                return
            token = page.token
            if token in seen:
                raise S3Error(f"LIST {self._shown(prefix)}: S3 gives the same page again and again")
            seen.add(token)

    def head(self, key: str, part: int = 0) -> Head | None:
        """What is known of an object, None when it is not there; with a part's number, size is that part's."""
        query = {"partNumber": str(part)} if part else None
        answer = self.ask("HEAD", "HEAD", key, query, {"x-amz-checksum-mode": "ENABLED"}, fine=(404,))
        if answer.status == 404:
            return None
        told = _s3_answers.head(answer.headers)
        return told._replace(size=int(answer.headers.get("content-length", "0"))) if part else told

    def part_sizes(self, key: str, etag: str, size: int, count: int) -> list[int]:
        """The sizes of the parts of an object with this ETag, [] when S3 does not tell them; a request for each. Raises Changed."""
        sizes: list[int] = []
        try:
            while len(sizes) < count <= MOST_PARTS and sum(sizes) <= size:
                about = self.head(key, len(sizes) + 1)
                if about is None or about.etag != etag:
                    raise Changed(f"HEAD {self._shown(key)}: it was replaced while this ran", "PreconditionFailed", 412)
                sizes.append(about.size)
        except S3Error as fault:
            if fault.status not in (400, 416, 501):  # of a server that knows no parts, or not by such numbers
                raise
        return sizes if len(sizes) == count and sum(sizes) == size else []

    @staticmethod
    def _span(etag: str, start: int, size: int) -> dict[str, str]:
        headers = {"if-match": f'"{etag}"', "x-amz-checksum-mode": "ENABLED"}
        if start or size:
            headers["range"] = f"bytes={start}-{start + size - 1}"
        return headers

    def begin_get(self, key: str, etag: str, size: int, place: int) -> Begun:
        """Send the request of get() for a whole object ahead, over one of this thread's connections, by number."""
        skew, headers = self._learnt.skew, self._span(etag, 0, size)
        head = self._head("GET", key, "", headers, None, _s3_sign.EMPTY)
        self._connection(place).send(head)
        return Begun(head, headers, skew, place)

    def get(
        self, key: str, etag: str, start: int, size: int, begun: Begun | None = None, into=None
    ) -> _s3_wire.Answer:  # fmt: skip
        """Bytes of an object as long as it has this ETag; Changed is raised when it has another one, Torn when some miss."""
        headers = begun.headers if begun else self._span(etag, start, size)
        answer = self.ask("GET", "GET", key, None, headers, fine=(206, 404), begun=begun, into=into)
        if answer.status == 404:
            raise Changed(f"GET {self._shown(key)}: it went while this ran", "NoSuchKey", 404)
        came = into.came if into else len(answer.body)
        if came != size:
            raise Torn(f"GET {self._shown(key)}: {came} bytes came instead of {size}")
        place = answer.headers.get("content-range", "")
        if place and not place.startswith(f"bytes {start}-{start + size - 1}/"):
            raise Torn(f"GET {self._shown(key)}: {place} came, and not from byte {start}")
        told = answer.headers.get("etag", etag)
        if told != headers["if-match"] and _s3_answers.bare(told) != etag:
            raise Changed(f"GET {self._shown(key)}: it was replaced while it was read", "PreconditionFailed", 412)
        return answer

    # writing

    def _needs_sha256(self, headers: dict) -> bool:
        """Whether an object gets a SHA-256 because KMS encrypts it: an MD5 is kept in the ETag alone, and that is none there."""
        return self.checksum in ("auto", "md5") and (self._kms or _is_kms(headers))

    def _sums(self, body, md5: bytes | None, headers: dict) -> dict[str, str]:
        """The checksum that a body travels with."""
        how = "sha256" if self._needs_sha256(headers) else self.checksum
        if how == "auto":
            how = "md5" if md5 is not None else "crc32"
        if how == "md5":
            digest = md5 if md5 is not None else hashlib.md5(body, usedforsecurity=False).digest()
            return {"content-md5": base64.b64encode(digest).decode()}
        if how == "crc32":
            return {"x-amz-checksum-crc32": base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()}
        if how == "sha256":
            return {"x-amz-checksum-sha256": base64.b64encode(hashlib.sha256(body).digest()).decode()}
        return {}

    @staticmethod
    def _condition(expect: str | None) -> dict[str, str]:
        """'' = the object must not exist, an ETag = it must still have that one, None = whatever is there."""
        if expect is None:
            return {}
        return {"if-match": f'"{expect}"'} if expect else {"if-none-match": "*"}

    def put(self, key: str, body: bytes, headers: dict, md5: bytes, expect: str | None) -> Stored:
        """Store an object whole. Raises Changed when what is there is not what was expected."""
        sums = self._sums(body, md5, headers)
        try:
            answer = self.ask("PUT", "PUT", key, None, {**headers, **sums, **self._condition(expect)}, body)
        except Changed:
            # the first try may have been carried out, and only its answer lost
            there = self.head(key)
            if there is None or not _is_ours(there, headers, md5.hex(), sums):
                raise
            return Stored(there.etag, there.date)
        stored = self._stored(answer)
        if "content-md5" in sums and _is_kms(answer.headers):
            # KMS by the bucket's default: without a SHA-256 nobody could tell later what was stored
            return self.put(key, body, headers, md5, None if expect is None else stored.etag or None)
        return stored

    @staticmethod
    def _stored(answer: _s3_wire.Answer, etag: str = "") -> Stored:
        return Stored(
            etag or _s3_answers.bare(answer.headers.get("etag", "")), _s3_answers.when(answer.headers.get("date", ""))
        )

    def delete(self, items: list[tuple[str, str]]) -> list[tuple[str, str, str]]:
        """Delete up to 1,000 objects, each only while it has its ETag ('' = whatever it has); key, code, message of each that failed.

        Those for which S3 had no time are tried again.
        """
        odd = [(key, etag) for key, etag in items if _NO_XML.search(key)]
        if odd:
            items = [item for item in items if not _NO_XML.search(item[0])]
            return [
                *(self.delete(items) if items else []),
                *(told for key, etag in odd for told in self._delete_one(key, etag)),
            ]
        failed, began = self._delete_some(items), time.monotonic()
        for attempt in range(1, _DELETES):
            busy = {key for key, code, _message in failed if code in _AGAIN_CODES}
            again = [item for item in items if item[0] in busy]
            pause = _CHANCE.uniform(0, min(_LONGEST_PAUSE, 0.5 * 2**attempt))
            if not again or time.monotonic() - began + pause > self._again:
                break
            self._pause(pause)
            try:
                failed = [told for told in failed if told[0] not in busy] + self._delete_some(again)
            except S3Error:  # what is gone is told all the same
                break
        return failed

    def _delete_some(self, items: list[tuple[str, str]]) -> list[tuple[str, str, str]]:
        listed = "".join(
            f"<Object><Key>{_s3_answers.escape(key)}</Key>{f'<ETag>{_s3_answers.escape(etag)}</ETag>' if etag else ''}</Object>"
            for key, etag in items
        )
        body = f'<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{listed}<Quiet>true</Quiet></Delete>'
        data = body.encode("utf-8", "surrogateescape")
        md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        answer = self.ask("DELETE", "POST", "", {"delete": ""}, {"content-md5": md5}, data)
        try:
            return _s3_answers.failed_deletes(bytes(answer.body))
        except _s3_answers.Malformed as fault:
            raise S3Error(f"DELETE in {self.where.bucket}: {fault}") from fault

    def confirm(self, key: str, stored: Stored, size: int, etag: str, sha256: bytes | None) -> None:
        """Ask for an object that was just stored. Raises S3Error unless its size and what S3 keeps of its content are what was sent."""
        there = self.head(key)
        if there is None:
            raise S3Error(f"HEAD {self._shown(key)}: it is not there after it was stored: run it again")
        told = there.checksums.get("sha256", "")
        good = there.size == size and there.etag == stored.etag
        if sha256 is not None and told:
            good = good and told == base64.b64encode(sha256).decode()
        elif not (there.encryption or "").startswith("aws:kms"):
            good = good and there.etag == etag
        if not good:
            raise S3Error(
                f"HEAD {self._shown(key)}: {there.size} bytes with the ETag {there.etag} are there, and not the {size} bytes that were sent: "
                "run it again"
            )

    def _delete_one(self, key: str, etag: str) -> list[tuple[str, str, str]]:
        try:
            self.ask("DELETE", "DELETE", key, None, {"if-match": f'"{etag}"'} if etag else {}, fine=(404,))
        except S3Error as fault:
            return [(key, fault.code or "failed", str(fault))]
        return []

    def copy(self, key: str, etag: str, headers: dict, conditional: bool = True) -> Stored:
        """Give an object other headers, its bytes unchanged, while it has this ETag; its new one, "" when that is not known.

        conditional: also while it is stored, for S3 reads the source before; a server that says that it knows no such copies gets none.
        """
        source = f"/{self.where.bucket}/{_s3_sign.quote(key)}"
        sent = {
            **headers, "x-amz-copy-source": source, "x-amz-copy-source-if-match": f'"{etag}"',
            "x-amz-metadata-directive": "REPLACE",
        }  # fmt: skip
        if self._needs_sha256(headers):
            sent["x-amz-checksum-algorithm"] = "SHA256"
        conditional = conditional and self._copies
        try:
            answer = self.ask("COPY", "PUT", key, None, {**sent, **self._condition(etag if conditional else None)})
        except Changed:
            # the first try may have been carried out, and only its answer lost
            there = self.head(key)
            if there is None or any(there.headers.get(name) != headers.get(name) for name in _s3_answers.CONTENT):
                raise
            return Stored(there.etag if there.etag == etag else "", there.date)
        except S3Error as fault:
            if not conditional or fault.status != 501:
                raise
            self._copies = False
            return self.copy(key, etag, headers, conditional=False)
        text = bytes(answer.body).decode("utf-8", "replace")
        if "CopyObjectResult" not in text:
            raise S3Error(f"COPY {self._shown(key)}: S3 does not say what became of it: run it again")
        return self._stored(answer, _s3_answers.bare(_s3_answers.field(text, "ETag")))

    # large objects

    def begin(self, key: str, headers: dict) -> str:
        """Begin an upload in parts; its id."""
        sums = {}
        if self.checksum == "sha256" or self._needs_sha256(headers):
            sums = {"x-amz-checksum-algorithm": "SHA256"}
        elif self.checksum in ("auto", "crc32"):
            sums = {"x-amz-checksum-algorithm": "CRC32"}
        answer = self.ask("BEGIN", "POST", key, {"uploads": ""}, {**headers, **sums}, b"")
        found = _s3_answers.field(bytes(answer.body).decode("utf-8", "replace"), "UploadId")
        if not found:
            raise S3Error(f"BEGIN {self._shown(key)}: S3 gave no id for the upload")
        # KMS by the bucket's default
        if self.checksum in ("auto", "md5") and "SHA256" not in sums.values() and _is_kms(answer.headers):
            self.abort(key, found)
            return self.begin(key, headers)
        return found

    def put_part(self, key: str, upload: str, number: int, body, headers: dict) -> tuple[str, str]:
        """Store one part; its ETag, and what the end of the upload says of it."""
        sums = self._sums(body, None, headers)
        answer = self.ask("PART", "PUT", key, {"partNumber": str(number), "uploadId": upload}, sums, body)
        told = f"<ETag>{_s3_answers.escape(answer.headers.get('etag', ''))}</ETag>"
        for name, tag in (("x-amz-checksum-crc32", "ChecksumCRC32"), ("x-amz-checksum-sha256", "ChecksumSHA256")):
            if name in sums:
                told += f"<{tag}>{sums[name]}</{tag}>"
        etag = _s3_answers.bare(answer.headers.get("etag", ""))
        return etag, f"<Part><PartNumber>{number}</PartNumber>{told}</Part>"

    def copy_part(self, key: str, upload: str, number: int, etag: str, start: int, end: int) -> str:
        """Store one part out of the object itself."""
        sent = {
            "x-amz-copy-source": f"/{self.where.bucket}/{_s3_sign.quote(key)}", "x-amz-copy-source-if-match": f'"{etag}"',
            "x-amz-copy-source-range": f"bytes={start}-{end - 1}",
        }  # fmt: skip
        answer = self.ask("COPY", "PUT", key, {"partNumber": str(number), "uploadId": upload}, sent)
        text = bytes(answer.body).decode("utf-8", "replace")
        if "CopyPartResult" not in text:
            raise S3Error(f"COPY {self._shown(key)}: S3 does not say what became of a part: run it again")
        told = "".join(
            f"<{tag}>{_s3_answers.escape(_s3_answers.field(text, tag))}</{tag}>"
            for tag in ("ETag", "ChecksumCRC32", "ChecksumSHA256")
            if _s3_answers.field(text, tag)
        )
        return f"<Part><PartNumber>{number}</PartNumber>{told}</Part>"

    def finish(self, key: str, upload: str, parts: list[str], etags: list[str], expect: str | None) -> Stored:
        """End an upload in parts. Raises Changed when what is there is not what was expected."""
        body = f"<CompleteMultipartUpload>{''.join(parts)}</CompleteMultipartUpload>".encode()
        try:
            answer = self.ask("FINISH", "POST", key, {"uploadId": upload}, self._condition(expect), body)
        except S3Error as fault:
            # the first try may have been carried out, and only its answer lost; either may be said within a 200
            gone = fault.status == 404 or fault.code == "NoSuchUpload"
            there = self.head(key) if gone or isinstance(fault, Changed) else None
            if there is None or there.etag != parts_etag(etags):
                raise
            return Stored(there.etag, there.date)
        text = bytes(answer.body).decode("utf-8", "replace")
        if "CompleteMultipartUploadResult" not in text:
            there = self.head(key)
            if there is None or not etags or there.etag != parts_etag(etags):
                raise S3Error(f"FINISH {self._shown(key)}: S3 does not say what became of it: run it again")
        return self._stored(answer, _s3_answers.bare(_s3_answers.field(text, "ETag")))

    def abort(self, key: str, upload: str) -> None:
        """Give up an upload in parts; the bucket's lifecycle rule is for those that could not even be given up."""
        self.ask("ABORT", "DELETE", key, {"uploadId": upload}, fine=(404,))
