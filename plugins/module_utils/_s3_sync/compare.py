# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds out which files and objects of equal size have equal content, and which headers objects have, with few requests."""

from __future__ import annotations

import os
import re
import time

from .._s3.objects import Bucket
from .._s3.responses import Head, Listed, when
from . import checksums, scan
from . import tree as _tree
from .cache import Cache, Identity, Known, trusted
from .tree import Tree
from .workers import WorkerPool

_PLAIN = re.compile(r"[0-9a-f]{32}")
TRIES = 3  # readings of a file that changes meanwhile


class Comparer:
    """Compares the files and objects of one sync.

    remote: the devices whose clock may not be the host's, each with whether it keeps a change time; None when nothing is known of any.
    """

    def __init__(
        self, bucket: Bucket, prefix: str, tree: Tree, cache: Cache, pool: WorkerPool, remote: dict[str, bool] | None
    ):
        self._bucket, self._prefix, self._tree, self._cache, self._pool = bucket, prefix, tree, cache, pool
        self._remote = remote
        self._heads: dict[str, Head] = {}
        self._distinct: dict[str, Head] = {}

    def _trusted(self, known: Known | None, now: Identity, opened: bool = True) -> bool:
        """Whether what is remembered of a file still holds."""
        if known is None or self._remote is None:
            return False
        keeps = self._remote.get(f"{os.major(now.device)}:{os.minor(now.device)}")
        if keeps is None:
            return trusted(known, now, local=True)
        return keeps and opened and trusted(known, now, local=False)

    def remembered(self, path: str, now: Identity, etag: str, opened: bool) -> bool:
        """Whether the cache knows that a file is what an ETag stands for.

        opened: whether its state was seen through an open file. A network file system's client may report another one for a
        closed file, out of its cache.
        """
        known = self._cache.file(path)
        return known is not None and etag in (known.md5, known.tag) and self._trusted(known, now, opened)

    def differing(
        self, paths: list[str], files: dict[str, Identity], listing: dict[str, Listed]
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Of files and objects of equal size: those whose content differs, with the reason; those that cannot be compared, too."""
        unknown = [path for path in paths if not self.remembered(path, files[path], listing[path].etag, opened=False)]
        differ, problems = {}, {}
        for path, outcome in self._pool.map(lambda path: self._compare(path, listing[path]), unknown):
            if isinstance(outcome, Exception):
                problems[path] = f"{scan.shown(path)}: {outcome}"
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
            except _tree.Unsteady:
                if attempt == TRIES - 1:
                    raise
                time.sleep(0.1)
        raise AssertionError  # not reached

    def _compare_once(self, path: str, listed: Listed) -> str:
        begin = time.time_ns()
        with self._tree.reading(path) as (descriptor, now):
            if now.size != listed.size:
                return f"{listed.size} -> {now.size} bytes"
            if self.remembered(path, now, listed.etag, opened=True):
                return ""
            md5, same, why = self._judge(path, listed, descriptor, now)
        self._cache.remember_file(path, now, begin, md5=md5, tag=listed.etag if same else "")
        return why

    def _judge(self, path: str, listed: Listed, descriptor: int, now: Identity) -> tuple[str, bool, str]:
        known = self._cache.file(path)
        md5 = known.md5 if known and self._trusted(known, now) else ""
        if _PLAIN.fullmatch(listed.etag):
            md5 = md5 or _tree.md5_of(descriptor, now.size)
            if md5 == listed.etag:
                return md5, True, ""
        if (
            known and known.md5 and known.tag == listed.etag
        ):  # what this ETag stands for has that MD5, whatever the file is by now
            md5 = md5 or _tree.md5_of(descriptor, now.size)
            return md5, md5 == known.md5, "" if md5 == known.md5 else "other content"
        head = self._head(path, listed)
        if head is None:
            return md5, False, "the object went while this ran"
        if head.etag != listed.etag:  # what it is now says nothing of what the listing's ETag stands for
            return md5, False, "the object was replaced while this ran"
        same = self._same(path, head, descriptor, now.size)
        if same is None:
            return md5, False, f"the object's ETag is no hash of its content ({head.encryption or 'of another server'})"
        return md5, same, "" if same else "other content"

    def _head(self, path: str, listed: Listed) -> Head | None:
        head = self._bucket.head(self._prefix + path)
        if head is not None and head.etag == listed.etag:
            self._heads[path] = self._unique(head)
            if head.modified == when(listed.modified):  # else these are the headers of a later state
                self._cache.remember_head(path, head, listed.modified)
        return head

    def _unique(self, head: Head) -> Head:
        """The headers of an object, as one for all objects that have the same: most of a site's have a few kinds."""
        bare = Head(0, "", 0, 0.0, *head[4:9], {}, None)
        return self._distinct.setdefault(repr(bare), bare)

    def _same(self, path: str, head: Head, descriptor: int, size: int) -> bool | None:
        """Whether a file has an object's content, None when the object has nothing that can be compared."""
        for checksum in checksums.reported(head):
            if checksum.name == "md5" and not checksum.part_count:
                return False  # the file's was seen to be another
            same = checksums.has(
                self._bucket, self._prefix + path, head.etag, size, checksum, descriptor, at_any_cost=False
            )
            if same is not None:
                return same
        return None

    def headers(self, paths: list[str], listing: dict[str, Listed]) -> tuple[dict[str, Head], list[str]]:
        """The headers of objects: out of the cache while the listing shows no change, else asked for. And what failed."""
        known, unknown = {}, []
        for path in paths:
            head = self._heads.get(path) or self._cache.head(path, listing[path].etag, listing[path].modified)
            if head is None:
                unknown.append(path)
            else:
                known[path] = head
        asked, problems = self.ask(unknown, listing)
        return {**known, **asked}, problems

    def asked(self, path: str) -> bool:
        """Whether the headers of an object are known from S3 itself, and not from an earlier run."""
        return path in self._heads

    def ask(self, paths: list[str], listing: dict[str, Listed]) -> tuple[dict[str, Head], list[str]]:
        """The headers of objects as S3 reports them now. And what failed."""
        heads, problems = {}, []
        for path, outcome in self._pool.map(lambda path: self._head(path, listing[path]), paths):
            if isinstance(outcome, Exception):
                problems.append(f"{scan.shown(path)}: {outcome}")
            elif isinstance(outcome, BaseException):
                raise outcome
            elif outcome is None or outcome.etag != listing[path].etag:
                problems.append(f"{scan.shown(path)}: the object was changed by somebody else while this ran")
            else:
                heads[path] = self._heads[path]
        return heads, problems
