# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds out which files and objects of equal size have equal content, and which headers objects have, with as few requests as it can."""

from __future__ import annotations

import base64
import os
import re
import time
import zlib

from ansible_collections.samefiles.aws.plugins.module_utils import _tree_local
from ansible_collections.samefiles.aws.plugins.module_utils._s3_answers import Head, Listed
from ansible_collections.samefiles.aws.plugins.module_utils._s3_bucket import Bucket
from ansible_collections.samefiles.aws.plugins.module_utils._s3_crew import Crew
from ansible_collections.samefiles.aws.plugins.module_utils._tree_cache import Cache, Identity, trusted
from ansible_collections.samefiles.aws.plugins.module_utils._tree_local import Tree

_PLAIN = re.compile(r"[0-9a-f]{32}")
TRIES = 3  # readings of a file that changes meanwhile


class Look:
    """One sync's way to know. remote: the devices whose clock may not be the host's, None when that is not known of any."""

    def __init__(self, bucket: Bucket, prefix: str, tree: Tree, cache: Cache, crew: Crew, remote: set[str] | None):
        self._bucket, self._prefix, self._tree, self._cache, self._crew = bucket, prefix, tree, cache, crew
        self._remote = remote
        self._heads: dict[str, Head] = {}
        self._kinds: dict[str, Head] = {}

    def _local(self, device: int) -> bool:
        return self._remote is not None and f"{os.major(device)}:{os.minor(device)}" not in self._remote

    def remembered(self, path: str, now: Identity, etag: str) -> bool:
        """Whether the cache knows that a file is what an ETag stands for."""
        known = self._cache.file(path)
        return bool(known and etag in (known.md5, known.tag) and trusted(known, now, self._local(now.device)))

    def differing(
        self, paths: list[str], files: dict[str, Identity], there: dict[str, Listed]
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Of files and objects of equal size: those whose content differs, with the reason; those that cannot be told, too."""
        unknown = [path for path in paths if not self.remembered(path, files[path], there[path].etag)]
        differ, problems = {}, {}
        for path, outcome in self._crew.map(lambda path: self._compare(path, there[path]), unknown):
            if isinstance(outcome, Exception):
                problems[path] = f"{_tree_local.shown(path)}: {outcome}"
            elif isinstance(outcome, BaseException):
                raise outcome
            elif outcome:
                differ[path] = outcome
        return differ, problems

    def _compare(self, path: str, listed: Listed) -> str:
        """Why a file is not what an object is, "" when it is."""
        for attempt in range(TRIES):
            try:
                return self._compare_once(path, listed)
            except _tree_local.Unsteady:
                if attempt == TRIES - 1:
                    raise
                time.sleep(0.1)
        raise AssertionError  # not reached

    def _compare_once(self, path: str, listed: Listed) -> str:
        begin = time.time_ns()
        with self._tree.reading(path) as (descriptor, now):
            if now.size != listed.size:
                return f"{listed.size} -> {now.size} bytes"
            md5, same, why = self._judge(path, listed, descriptor, now)
        self._cache.remember_file(path, now, begin, md5=md5, tag=listed.etag if same else "")
        return why

    def _judge(self, path: str, listed: Listed, descriptor: int, now: Identity) -> tuple[str, bool, str]:
        known = self._cache.file(path)
        md5 = known.md5 if known and trusted(known, now, self._local(now.device)) else ""
        if _PLAIN.fullmatch(listed.etag):
            md5 = md5 or _tree_local.md5_of(descriptor, now.size)
            if md5 == listed.etag:
                return md5, True, ""
        head = self._head(path, listed)
        if head is None:
            return md5, False, "the object went while this ran"
        same = self._same(path, head, descriptor, now.size)
        if same is None:
            return md5, False, f"the object's ETag is no hash of its content ({head.encryption or 'of another server'})"
        return md5, same, "" if same else "other content"

    def _head(self, path: str, listed: Listed) -> Head | None:
        head = self._bucket.head(self._prefix + path)
        if head is not None and head.etag == listed.etag:
            self._heads[path] = self._kind(head)
            self._cache.remember_head(path, head, listed.modified)
        return head

    def _kind(self, head: Head) -> Head:
        """The headers of an object, as one for all objects that have the same: most of a site's have a few kinds."""
        told = Head(0, "", 0, 0.0, *head[4:9], {}, None)
        return self._kinds.setdefault(repr(told), told)

    def _same(self, path: str, head: Head, descriptor: int, size: int) -> bool | None:
        """Whether a file has an object's content, None when the object tells nothing that can be compared."""
        encrypted = (head.encryption or "").startswith("aws:kms")
        parts = "-" in head.etag
        if not encrypted:
            if not parts:
                return False  # its ETag is its MD5, and the file's is another
            part = self._bucket.head(self._prefix + path, 1)
            if part and part.size and _tree_local.md5_of(descriptor, size, part.size) == head.etag:
                return True
            if "sha256" not in head.checksums:
                return False
        told = head.checksums.get("sha256", "")
        if not told:
            return None
        if "-" not in told and head.checksum_type != "COMPOSITE":
            return base64.b64encode(_tree_local.sha256_of(descriptor, size)).decode() == told
        part = self._bucket.head(self._prefix + path, 1)
        if not part or not part.size:
            return None
        digest = base64.b64encode(_tree_local.sha256_of(descriptor, size, part.size)).decode()
        return digest == told.partition("-")[0]

    def headers(self, paths: list[str], there: dict[str, Listed]) -> tuple[dict[str, Head], list[str]]:
        """The headers of objects: out of the cache while the listing shows no change, else asked for. And what failed."""
        found, problems, unknown = {}, [], []
        for path in paths:
            head = self._heads.get(path) or self._cache.head(path, there[path].etag, there[path].modified)
            if head is None:
                unknown.append(path)
            else:
                found[path] = head
        for path, outcome in self._crew.map(lambda path: self._head(path, there[path]), unknown):
            if isinstance(outcome, Exception):
                problems.append(f"{_tree_local.shown(path)}: {outcome}")
            elif isinstance(outcome, BaseException):
                raise outcome
            elif outcome is None or outcome.etag != there[path].etag:
                problems.append(f"{_tree_local.shown(path)}: the object was changed by somebody else while this ran")
            else:
                found[path] = self._heads[path]
        return found, problems


def crc32_fits(told: str, descriptor: int, size: int, part: int) -> bool:
    """Whether a file has the CRC32 that an object was stored with; with a part size, that of the parts' own."""
    if not part:
        return base64.b64encode(_crc(descriptor, 0, size).to_bytes(4, "big")).decode() == told
    whole = 0
    for start in range(0, size, part):
        whole = zlib.crc32(_crc(descriptor, start, min(part, size - start)).to_bytes(4, "big"), whole)
    return base64.b64encode(whole.to_bytes(4, "big")).decode() == told.partition("-")[0]


def _crc(descriptor: int, start: int, size: int) -> int:
    value = 0
    for block in _tree_local.blocks(descriptor, start, size):
        value = zlib.crc32(block, value)
    return value
