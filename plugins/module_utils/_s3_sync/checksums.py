# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hashes by which S3 knows the content of an object, and whether a file has them."""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from typing import NamedTuple, Protocol

from .._s3.multipart import part_sizes
from .._s3.objects import Bucket
from .._s3.responses import Head
from . import tree

_MD5 = re.compile(r"[0-9a-f]{32}(-[0-9]+)?")


class Running(Protocol):
    """A hash that is fed bit by bit."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Feed it."""

    def digest(self) -> bytes:
        """What it is."""


class Sum(NamedTuple):
    """A hash as S3 reports it. part_count: of how many parts' own hashes it is made, 0 when it is that of the whole."""

    name: str  # md5, sha256, sha1 or crc32
    value: str
    part_count: int

    def running(self) -> Running:
        """A hash of this kind that is fed bit by bit."""
        if self.name == "crc32":
            return _Crc32()
        return hashlib.new(self.name, usedforsecurity=False)

    def is_of(self, digests: list[bytes]) -> bool:
        """Whether it is that of an object whose parts have these; of the whole there is but one."""
        whole = digests[0]
        if self.part_count:
            running = self.running()
            running.update(b"".join(digests))
            whole = running.digest()
        if self.name == "md5":
            return whole.hex() == self.value.partition("-")[0]
        return base64.b64encode(whole).decode() == self.value.partition("-")[0]

    def fits(self, descriptor: int, sizes: list[int]) -> bool:
        """Whether an open file has it, whose parts have these sizes."""
        digests, start = [], 0
        for size in sizes:
            running = self.running()
            for block in tree.blocks(descriptor, start, size):
                running.update(block)
            digests.append(running.digest())
            start += size
        return self.is_of(digests)


class _Crc32:
    """CRC32 as hashlib has the others."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes | memoryview, /) -> None:
        """Feed it."""
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        """What it is."""
        return self._value.to_bytes(4, "big")


def reported(head: Head) -> list[Sum]:
    """The hashes that S3 reports of an object's content, the strongest first; those that Python has no quick way to make are left out."""
    hashes = []
    match = _MD5.fullmatch(head.etag)
    part_count = int(match[1][1:]) if match and match[1] else 0
    if match and not (head.encryption or "").startswith("aws:kms"):
        hashes.append(Sum("md5", head.etag, part_count))
    for name in ("sha256", "sha1", "crc32"):
        value = head.checksums.get(name)
        if value:
            count = value.partition("-")[2]
            composite = head.checksum_type == "COMPOSITE" or count
            hashes.append(Sum(name, value, (int(count) if count.isdigit() else part_count) if composite else 0))
    return sorted(
        hashes, key=lambda item: (item.name == "crc32", item.part_count > 1)
    )  # that of the whole needs no sizes of parts


def cheapest(hashes: list[Sum]) -> Sum | None:
    """The one that bytes off the network, which nobody forges, are compared with at the least cost."""
    return min(hashes, key=lambda item: ("crc32", "sha256", "sha1", "md5").index(item.name), default=None)


def likely(bucket: Bucket, key: str, size: int, checksum: Sum) -> list[int]:
    """The sizes of the parts that a hash is made of, if all but the last are as large as the first; [] when they cannot be."""
    if checksum.part_count < 2:
        return [size]
    head = bucket.head(key, 1)
    first, rest = (head.size if head else 0), checksum.part_count - 1
    return [first] * rest + [size - first * rest] if 0 < size - first * rest <= first else []


def exactly(
    bucket: Bucket, key: str, etag: str, size: int, checksum: Sum, descriptor: int, tried: list[int]
) -> bool | None:
    """Whether a file that has not a hash by the sizes tried has it by those that S3 reports of each part; None when it reports none.

    A request for each part: parts may be of any sizes, and nothing else distinguishes an object of such from a file that differs.
    """
    sizes = part_sizes(bucket, key, etag, size, checksum.part_count) if checksum.part_count > 1 else tried
    if not sizes:
        return None
    return sizes != tried and checksum.fits(descriptor, sizes)


def has(
    bucket: Bucket, key: str, etag: str, size: int, checksum: Sum, descriptor: int, at_any_cost: bool = True
) -> bool | None:
    """Whether an open file of this size has a hash; None when S3 does not report its parts.

    Without at_any_cost parts are taken to be equal where the second and the last are as they would be then: who has changed a large
    file does not wait for a thousand requests, and at worst the file moves once more.
    """
    sizes = likely(bucket, key, size, checksum)
    if sizes and checksum.fits(descriptor, sizes):
        return True
    if not at_any_cost and len(sizes) > 3:
        heads = [(bucket.head(key, number), sizes[number - 1]) for number in (2, len(sizes))]
        if all(head and head.size == wanted for head, wanted in heads):
            return False
    return exactly(bucket, key, etag, size, checksum, descriptor, sizes)
