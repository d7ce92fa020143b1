# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of one bucket: listed, read, stored, copied and deleted, each whole."""

from __future__ import annotations

import base64
import hashlib
import re
import time
import zlib
from collections.abc import Iterator

from . import connection, responses, retries, sigv4
from .client import Client, InFlight, is_kms
from .errors import Changed, ContentMismatch, Malformed, S3Error
from .responses import Head, Listed, Stored

_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")  # not even as an entity (XML 1.0, production 2)
# within Bucket, list is a method
_Items = list[tuple[str, str]]  # keys and ETags
_Failures = list[tuple[str, str, str]]  # key, code and message


def _is_ours(current: Head, headers: dict[str, str], md5: str, checksum_headers: dict[str, str]) -> bool:
    """Whether an object is what we sent: its bytes, by its MD5 or the checksum sent with them, and its headers."""
    same = current.etag == md5 or any(
        checksum_headers.get(f"x-amz-checksum-{name}") == value for name, value in current.checksums.items()
    )
    return same and _has_headers(current, headers)


def _has_headers(current: Head, headers: dict[str, str]) -> bool:
    """Whether an object has these headers and metadata, and no others."""
    content = {name: value for name, value in headers.items() if name in responses.CONTENT}
    metadata = {name[11:]: value for name, value in headers.items() if name.startswith("x-amz-meta-")}
    return current.headers == content and current.metadata == metadata


def condition(expect: str | None) -> dict[str, str]:
    """'' = the object must not exist, an ETag = it must still have that one, None = whatever it is."""
    if expect is None:
        return {}
    return {"if-match": f'"{expect}"'} if expect else {"if-none-match": "*"}


def stored(answer: connection.Answer, etag: str = "") -> Stored:
    """What an answer reports of the object that a request stored; etag is for an answer that holds it in its body."""
    return Stored(
        etag or responses.bare(answer.headers.get("etag", "")), responses.when(answer.headers.get("date", ""))
    )


class Bucket(Client):
    """A bucket, with the arguments of its client; its methods may be called by several threads."""

    # reading

    def list(self, prefix: str) -> Iterator[Listed]:
        """All objects whose key begins with a prefix, in the order of the server. Raises S3Error for a listing cut short."""
        token, tries = "", 0
        seen: set[str] = set()
        while True:
            query = {"list-type": "2", "encoding-type": "url", "max-keys": "1000", "prefix": prefix}
            if token:
                query["continuation-token"] = token
            answer = self.ask("LIST", "GET", "", query)
            try:
                page = responses.page(bytes(answer.body))
            except Malformed as fault:
                tries += 1
                if tries >= retries.PAGE_ATTEMPTS:
                    raise S3Error(f"LIST {self.shown(prefix)}: {fault}: what is missing there is unknown") from fault
                continue
            tries = 0
            yield from page.objects
            if not page.token:
                return
            token = page.token
            if token in seen:
                raise S3Error(f"LIST {self.shown(prefix)}: S3 gives the same page again and again")
            seen.add(token)

    def head(self, key: str, part: int = 0) -> Head | None:
        """What is known of an object, None when there is none; with a part's number, size is that part's."""
        query = {"partNumber": str(part)} if part else None
        answer = self.ask("HEAD", "HEAD", key, query, {"x-amz-checksum-mode": "ENABLED"}, fine=(404,))
        if answer.status == 404:
            return None
        head = responses.head(answer.headers)
        return head._replace(size=int(answer.headers.get("content-length", "0"))) if part else head

    @staticmethod
    def _span(etag: str, start: int | None, size: int) -> dict[str, str]:
        headers = {"if-match": f'"{etag}"', "x-amz-checksum-mode": "ENABLED"}
        if start is not None:  # S3 gives the checksum of a whole object only with the whole object
            headers["range"] = f"bytes={start}-{start + size - 1}"
        return headers

    def begin_get(self, key: str, etag: str, size: int, place: int) -> InFlight:
        """Send the request of get() for a whole object ahead, over one of this thread's connections, by number."""
        skew, headers = self._discovered.skew, self._span(etag, None, size)
        head = self._head("GET", key, "", headers, None, sigv4.EMPTY)
        self._connection(place).send(head)
        return InFlight(head, headers, skew, place)

    def get(
        self, key: str, etag: str, start: int | None, size: int, in_flight: InFlight | None = None,
        into: connection.Receiver | None = None,
    ) -> connection.Answer:  # fmt: skip
        """Bytes of an object as long as it has this ETag, all of them where start is None.

        Raises Changed when it has another one, ContentMismatch when some bytes are missing.
        """
        headers = in_flight.headers if in_flight else self._span(etag, start, size)
        answer = self.ask("GET", "GET", key, None, headers, fine=(206, 404), in_flight=in_flight, into=into)
        if answer.status == 404:
            raise Changed(f"GET {self.shown(key)}: it went while this ran", "NoSuchKey", 404)
        came = into.came if into else len(answer.body)
        if came != size:
            raise ContentMismatch(f"GET {self.shown(key)}: {came} bytes came instead of {size}")
        place = answer.headers.get("content-range", "")
        if place and not place.startswith(f"bytes {start or 0}-{(start or 0) + size - 1}/"):
            raise ContentMismatch(f"GET {self.shown(key)}: {place} came, and not from byte {start}")
        received = answer.headers.get("etag", etag)
        if received != headers["if-match"] and responses.bare(received) != etag:
            raise Changed(f"GET {self.shown(key)}: it was replaced while it was read", "PreconditionFailed", 412)
        return answer

    # writing

    def needs_sha256(self, headers: dict[str, str]) -> bool:
        """Whether an object gets a SHA-256 because KMS encrypts it: an MD5 is kept in the ETag alone, and with KMS the ETag is none."""
        return self.checksum in ("auto", "md5") and (self._kms or is_kms(headers))

    def checksum_headers(self, body: bytes | memoryview, md5: bytes | None, headers: dict[str, str]) -> dict[str, str]:
        """The headers with the checksum of a body."""
        how = "sha256" if self.needs_sha256(headers) else self.checksum
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

    def put(self, key: str, body: bytes, headers: dict[str, str], md5: bytes, expect: str | None) -> Stored:
        """Store an object whole. Raises Changed when the present object is not the expected one."""
        checksum_headers = self.checksum_headers(body, md5, headers)
        try:
            answer = self.ask("PUT", "PUT", key, None, {**headers, **checksum_headers, **condition(expect)}, body)
        except Changed:
            # the first try may have been carried out, and only its answer lost
            current = self.head(key)
            if current is None or not _is_ours(current, headers, md5.hex(), checksum_headers):
                raise
            return Stored(current.etag, current.date)
        now = stored(answer)
        if "content-md5" in checksum_headers and is_kms(answer.headers):
            # KMS by the bucket's default: without a SHA-256 nobody could later know what was stored
            return self.put(key, body, headers, md5, None if expect is None else now.etag or None)
        return now

    def delete(self, items: _Items) -> _Failures:
        """Delete up to 1,000 objects, each only while it has its ETag ('' = whatever it has); key, code, message of each that failed.

        Deletes that S3 was too busy for are repeated.
        """
        odd = [(key, etag) for key, etag in items if _NO_XML.search(key)]
        if odd:
            items = [item for item in items if not _NO_XML.search(item[0])]
            return [
                *(self.delete(items) if items else []),
                *(failure for key, etag in odd for failure in self._delete_single(key, etag)),
            ]
        failed, began = self._delete_some(items), time.monotonic()
        for attempt in range(1, retries.DELETE_ATTEMPTS):
            busy = {key for key, code, _message in failed if code in retries.CODES}
            again = [item for item in items if item[0] in busy]
            if not again or not self._waited(attempt + 1, 0.0, began):
                break
            try:
                failed = [failure for failure in failed if failure[0] not in busy] + self._delete_some(again)
            except S3Error:  # the failures of the first try are reported all the same
                break
        return failed

    def _delete_some(self, items: _Items) -> _Failures:
        listed = "".join(
            f"<Object><Key>{responses.escape(key)}</Key>{f'<ETag>{responses.escape(etag)}</ETag>' if etag else ''}</Object>"
            for key, etag in items
        )
        body = f'<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{listed}<Quiet>true</Quiet></Delete>'
        data = body.encode("utf-8", "surrogateescape")
        md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        answer = self.ask("DELETE", "POST", "", {"delete": ""}, {"content-md5": md5}, data)
        try:
            return responses.failed_deletes(bytes(answer.body))
        except Malformed as fault:
            raise S3Error(f"DELETE in {self.endpoint.bucket}: {fault}") from fault

    def confirm(self, key: str, was: Stored, size: int, etag: str, sha256: bytes | None) -> None:
        """Read the headers of an object that was just stored. Raises S3Error unless its size and its checksum at S3 are those of what was sent."""
        current = self.head(key)
        if current is None:
            raise S3Error(f"HEAD {self.shown(key)}: it is not there after it was stored: run it again")
        stored_sha256 = current.checksums.get("sha256", "")
        good = current.size == size and current.etag == was.etag
        if sha256 is not None and stored_sha256:
            good = good and stored_sha256 == base64.b64encode(sha256).decode()
        elif not (current.encryption or "").startswith("aws:kms"):
            good = good and current.etag == etag
        if not good:
            raise S3Error(
                f"HEAD {self.shown(key)}: {current.size} bytes with the ETag {current.etag} are there, and not the {size} bytes that were sent: "
                "run it again"
            )

    def _delete_single(self, key: str, etag: str) -> _Failures:
        try:
            self.ask("DELETE", "DELETE", key, None, {"if-match": f'"{etag}"'} if etag else {}, fine=(404,))
        except S3Error as fault:
            return [(key, fault.code or "failed", str(fault))]
        return []

    def copy(self, key: str, etag: str, headers: dict[str, str], conditional: bool = True) -> Stored:
        """Give an object other headers, its bytes unchanged, while it has this ETag; its new one, "" when that is not known.

        conditional: also while it is stored, for S3 reads the source before; a server that does not support such copies gets plain ones.
        """
        source = f"/{self.endpoint.bucket}/{sigv4.quote(key)}"
        sent = {
            **headers, "x-amz-copy-source": source, "x-amz-copy-source-if-match": f'"{etag}"',
            "x-amz-metadata-directive": "REPLACE",
        }  # fmt: skip
        if self.needs_sha256(headers):
            sent["x-amz-checksum-algorithm"] = "SHA256"
        conditional = conditional and self._copies
        try:
            answer = self.ask("COPY", "PUT", key, None, {**sent, **condition(etag if conditional else None)})
        except Changed as fault:
            # the first try may have been carried out, and only its answer lost; a first try that meets this lost to another writer
            current = self.head(key) if fault.again else None
            if current is None or not _has_headers(current, headers):
                raise
            return Stored(current.etag if current.etag == etag else "", current.date)
        except S3Error as fault:
            if not conditional or fault.status != 501:
                raise
            self._copies = False
            return self.copy(key, etag, headers, conditional=False)
        text = bytes(answer.body).decode("utf-8", "replace")
        if "CopyObjectResult" not in text:
            raise S3Error(f"COPY {self.shown(key)}: S3 does not say what became of it: run it again")
        return stored(answer, responses.bare(responses.field(text, "ETag")))
