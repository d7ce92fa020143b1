# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects in parts: how large each is, and an upload of them."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from . import responses, sigv4
from .client import is_kms
from .errors import Changed, S3Error
from .objects import Bucket, condition, stored
from .responses import Stored

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
MAX_PART_COUNT = 10_000
MIN_PART_SIZE = 5 << 20
LARGEST_COPY = 5 << 30
LARGEST = 5 << 40


class Part(NamedTuple):
    """A part that is stored: its ETag, and its element in the request that completes the upload."""

    etag: str
    xml: str


def part_size(size: int, wanted: int) -> int:
    """Bytes of each part of a large object: as wanted, larger where 10,000 of them are too few."""
    least = -(-size // MAX_PART_COUNT)
    return max(wanted, MIN_PART_SIZE, -(-least // (1 << 20)) * (1 << 20) if least > wanted else 0)


def multipart_etag(uploaded: list[Part]) -> str:
    """The ETag of an object in parts, made from those of its parts; "" when they are no MD5s."""
    try:
        whole = b"".join(bytes.fromhex(part.etag) for part in uploaded)
    except ValueError:
        return ""
    return f"{hashlib.md5(whole, usedforsecurity=False).hexdigest()}-{len(uploaded)}"


def part_sizes(bucket: Bucket, key: str, etag: str, size: int, count: int) -> list[int]:
    """The sizes of the parts of an object with this ETag, [] when S3 does not report them; a request for each. Raises Changed."""
    sizes: list[int] = []
    try:
        while len(sizes) < count <= MAX_PART_COUNT and sum(sizes) <= size:
            part = bucket.head(key, len(sizes) + 1)
            if part is None or part.etag != etag:
                raise Changed(f"HEAD {bucket.shown(key)}: it was replaced while this ran", "PreconditionFailed", 412)
            sizes.append(part.size)
    except S3Error as fault:
        if fault.status not in (400, 416, 501):  # from a server without part numbers, or with other ones
            raise
    return sizes if len(sizes) == count and sum(sizes) == size else []


class Upload:
    """An upload in parts under a name that S3 gave it; several threads may store parts of it. headers: those that it began with."""

    def __init__(self, bucket: Bucket, key: str, name: str, headers: dict[str, str] | None = None):
        self._bucket, self.key, self.name, self._headers = bucket, key, name, headers or {}

    @classmethod
    def begin(cls, bucket: Bucket, key: str, headers: dict[str, str]) -> Upload:
        """Begin one. Raises S3Error."""
        checksum_headers = {}
        if bucket.checksum == "sha256" or bucket.needs_sha256(headers):
            checksum_headers = {"x-amz-checksum-algorithm": "SHA256"}
        elif bucket.checksum in ("auto", "crc32"):
            checksum_headers = {"x-amz-checksum-algorithm": "CRC32"}
        answer = bucket.ask("BEGIN", "POST", key, {"uploads": ""}, {**headers, **checksum_headers}, b"")
        upload_id = responses.field(bytes(answer.body).decode("utf-8", "replace"), "UploadId")
        if not upload_id:
            raise S3Error(f"BEGIN {bucket.shown(key)}: S3 gave no id for the upload")
        made = cls(bucket, key, upload_id, headers)
        # KMS by the bucket's default
        if bucket.checksum in ("auto", "md5") and "SHA256" not in checksum_headers.values() and is_kms(answer.headers):
            made.abort()
            return cls.begin(bucket, key, headers)
        return made

    def put(self, number: int, body: bytes | memoryview) -> Part:
        """Store one part."""
        checksum_headers = self._bucket.checksum_headers(body, None, self._headers)
        answer = self._bucket.ask("PART", "PUT", self.key, self._query(number), checksum_headers, body)
        xml = f"<ETag>{responses.escape(answer.headers.get('etag', ''))}</ETag>"
        for name, tag in (("x-amz-checksum-crc32", "ChecksumCRC32"), ("x-amz-checksum-sha256", "ChecksumSHA256")):
            if name in checksum_headers:
                xml += f"<{tag}>{checksum_headers[name]}</{tag}>"
        return self._part(number, answer.headers.get("etag", ""), xml)

    def copy(self, number: int, etag: str, start: int, end: int) -> Part:
        """Copy one part from the object itself, while it has this ETag."""
        sent = {
            "x-amz-copy-source": f"/{self._bucket.endpoint.bucket}/{sigv4.quote(self.key)}",
            "x-amz-copy-source-if-match": f'"{etag}"', "x-amz-copy-source-range": f"bytes={start}-{end - 1}",
        }  # fmt: skip
        answer = self._bucket.ask("COPY", "PUT", self.key, self._query(number), sent)
        text = bytes(answer.body).decode("utf-8", "replace")
        if "CopyPartResult" not in text:
            raise S3Error(f"COPY {self._bucket.shown(self.key)}: S3 does not say what became of a part: run it again")
        fields = {tag: responses.field(text, tag) for tag in ("ETag", "ChecksumCRC32", "ChecksumSHA256")}
        xml = "".join(f"<{tag}>{responses.escape(value)}</{tag}>" for tag, value in fields.items() if value)
        return self._part(number, fields["ETag"], xml)

    def _query(self, number: int) -> dict[str, str]:
        return {"partNumber": str(number), "uploadId": self.name}

    @staticmethod
    def _part(number: int, etag: str, xml: str) -> Part:
        return Part(responses.bare(etag), f"<Part><PartNumber>{number}</PartNumber>{xml}</Part>")

    def finish(self, uploaded: list[Part], expect: str | None) -> Stored:
        """Complete it. Raises Changed when the object is not the expected one."""
        xml = "".join(part.xml for part in uploaded)
        body = f"<CompleteMultipartUpload>{xml}</CompleteMultipartUpload>".encode()
        try:
            answer = self._bucket.ask("FINISH", "POST", self.key, {"uploadId": self.name}, condition(expect), body)
        except S3Error as fault:
            # the first try may have been carried out, and only its answer lost; either may be reported within a 200
            gone = fault.status == 404 or fault.code == "NoSuchUpload"
            current = self._bucket.head(self.key) if gone or isinstance(fault, Changed) else None
            if current is None or current.etag != multipart_etag(uploaded):
                raise
            return Stored(current.etag, current.date)
        text = bytes(answer.body).decode("utf-8", "replace")
        if "CompleteMultipartUploadResult" not in text:
            current = self._bucket.head(self.key)
            if current is None or current.etag != multipart_etag(uploaded):
                raise S3Error(f"FINISH {self._bucket.shown(self.key)}: S3 does not say what became of it: run it again")
        return stored(answer, responses.bare(responses.field(text, "ETag")))

    def abort(self) -> None:
        """Abort it; the bucket's lifecycle rule removes those whose abort failed."""
        self._bucket.ask("ABORT", "DELETE", self.key, {"uploadId": self.name}, fine=(404,))
