# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries out the plan of a pull: objects into files, each whole or not at all, and checked against what S3 knows of it."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable
from typing import NamedTuple

from .._s3 import responses
from .._s3.client import InFlight
from .._s3.errors import Changed, ContentMismatch
from .._s3.objects import Bucket
from . import checksums, scan
from . import tree as _tree
from .cache import Cache, Identity
from .checksums import Sum
from .compare import TRIES
from .plan import Delete, Fetch, Plan
from .push import by_size, explain
from .result import Done
from .rules import Rules, is_page
from .tree import Tree
from .workers import Progress, WorkerPool, in_turn

_BATCH = 1000  # files that are renamed at a time
_AHEAD = 1 << 16  # bytes; a smaller body waits in the buffer of the socket and does not block the server
_MISMATCH = "what arrived does not have the checksum that S3 stored"
_PLAIN = re.compile(r"[0-9a-f]{32}")


class Staged(NamedTuple):
    """A file that is downloaded, but not yet renamed."""

    part: str
    begin: int
    md5: str
    etag: str


class _Span:
    """Takes a span of an object as it comes, and writes it; check: hashes it too."""

    def __init__(self, descriptor: int, start: int, size: int, check: Sum | None):
        self._descriptor, self._start, self.size, self._check = descriptor, start, size, check
        self.begin()

    def begin(self) -> None:
        """From its beginning: it may come a second time."""
        self.came = 0
        self.fault: OSError | None = None
        self.hash = self._check.running() if self._check else None

    def take(self, block: memoryview) -> None:
        """The next bytes. What fails here is no fault of the connection: it is kept for the one who asked."""
        if self.hash:
            self.hash.update(block)
        try:
            _write(self._descriptor, block, self._start + self.came)
        except OSError as fault:
            self.fault = self.fault or fault
        self.came += len(block)


class Pull:
    """Objects to files; mode is that of new files, None for what umask says; local_files: the files when the plan was made."""

    def __init__(
        self, bucket: Bucket, tree: Tree, rules: Rules, cache: Cache, pool: WorkerPool, big: WorkerPool,
        progress: Progress, mode: int | None, local_files: dict[str, Identity],
    ):  # fmt: skip
        self._bucket, self._tree, self._rules, self._cache = bucket, tree, rules, cache
        self._pool, self._big, self._progress, self._mode = pool, big, progress, mode
        self._local_files = local_files
        self._total = 0
        self.done = Done()
        self._staged: dict[str, Staged] = {}

    def run(self, plan: Plan) -> Done:
        """Assets, then pages, then deletes; the deletes only when all before succeeded."""
        self._total = len(plan.fetches)
        try:
            pages = [item for item in plan.fetches if is_page(self._rules, item.path)]
            paths = {item.path for item in pages}
            self._fetches([item for item in plan.fetches if item.path not in paths])
            self._settle()
            if not self.done.problems:
                self._fetches(pages)
                self._settle()
        except BaseException:  # ended from outside: what arrived whole stays, what did not leaves nothing
            self._settle()
            self._tree.sweep()
            raise
        if not self.done.problems:
            self._deletes(plan.deletes)
        self._tree.leave()
        return self.done

    def _took(self, item: Fetch, outcome: Staged | BaseException) -> None:
        if isinstance(outcome, Exception):
            self.done.problems.append(explain(item.path, outcome))
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            self._staged[item.path] = outcome
            self.done.bytes += item.size
        if len(self._staged) >= _BATCH:
            self._settle()
        self._progress.count("fetched", len(self.done.fetched) + len(self._staged), self._total, self.done.bytes)

    def _settle(self) -> None:
        """Rename the downloaded files."""
        staged, self._staged = self._staged, {}
        if not staged:
            return
        for path, outcome in self._tree.settle(
            [(path, item.part) for path, item in staged.items()], self._local_files
        ).items():
            if isinstance(outcome, Exception):
                said = f"{scan.shown(path)}: {outcome.strerror}" if isinstance(outcome, OSError) else str(outcome)
                self.done.problems.append(said)
                continue
            item = staged[path]
            self._cache.remember_file(path, outcome, item.begin, md5=item.md5, tag=item.etag)
            self.done.fetched.append(path)

    def _fetches(self, items: list[Fetch]) -> None:
        for pool, some in by_size(items, self._pool, self._big, self._bucket.part):
            few = [item for item in some if item.size <= _AHEAD]
            for item, outcome in pool.map(self._fetch, few, self._begin):
                self._took(item, outcome)
            for item, outcome in pool.map(self._fetch, [item for item in some if item.size > _AHEAD]):
                self._took(item, outcome)
        large = [item for item in items if item.size > self._bucket.part]
        for item, outcome in in_turn(lambda item: self._again(self._fetch_large, item), large):
            self._took(item, outcome)

    @staticmethod
    def _again(work: Callable[..., Staged], item: Fetch, *in_flight: InFlight | None) -> Staged:
        """What arrived damaged is fetched again; in_flight: what the first try has already."""
        for attempt in range(TRIES):
            try:
                return work(item, *in_flight)
            except ContentMismatch:
                if attempt == TRIES - 1:
                    raise
            in_flight = ()
        raise AssertionError  # not reached

    def _begin(self, item: Fetch, place: int) -> InFlight:
        return self._bucket.begin_get(self._rules.prefix + item.path, item.etag, item.size, place)

    def _fetch(self, item: Fetch, in_flight: InFlight | None = None) -> Staged:
        return self._again(self._fetch_small, item, in_flight)

    def _fetch_small(self, item: Fetch, in_flight: InFlight | None = None) -> Staged:
        key = self._rules.prefix + item.path
        answer = self._bucket.get(key, item.etag, None, item.size, in_flight)
        md5 = hashlib.md5(answer.body, usedforsecurity=False).hexdigest()
        head = None if md5 == item.etag else responses.head(answer.headers)
        if head and _PLAIN.fullmatch(item.etag) and not (head.encryption or "").startswith("aws:kms"):
            raise ContentMismatch(f"what arrived has the MD5 {md5}, the object {item.etag}")

        def fill(descriptor: int) -> None:
            _write(descriptor, answer.body, 0)
            checksum = checksums.cheapest(checksums.reported(head)) if head else None
            if checksum and checksums.has(self._bucket, key, item.etag, item.size, checksum, descriptor) is False:
                raise ContentMismatch(_MISMATCH)

        begin = time.time_ns()
        return Staged(
            self._tree.stage(item.path, self._mode, item.path in self._local_files, fill), begin, md5, item.etag
        )

    def _fetch_large(self, item: Fetch) -> Staged:
        key = self._rules.prefix + item.path
        head = self._bucket.head(key)
        if head is None or head.etag != item.etag:
            raise Changed("it was replaced while this ran")
        # where S3 reports no hash of the content, its size must do
        checksum = checksums.cheapest(checksums.reported(head))
        sizes = checksums.likely(self._bucket, key, item.size, checksum) if checksum else []
        # in the object's own parts where they are no larger than ours: then each is hashed as it comes
        inparts = bool(sizes) and 1 << 20 <= sizes[0] <= self._bucket.part
        step, digests, md5 = sizes[0] if inparts else self._bucket.part, {}, ""

        def fill(descriptor: int) -> None:
            nonlocal md5
            os.truncate(descriptor, item.size)

            def fetch(number: int) -> None:
                start = number * step
                span = _Span(descriptor, start, min(step, item.size - start), checksum if inparts else None)
                self._bucket.get(key, item.etag, start, span.size, into=span)
                if span.fault:
                    raise span.fault
                digests[number] = span.hash.digest() if span.hash else b""

            count = -(-item.size // step)
            for number, (_part, outcome) in enumerate(self._big.map(fetch, range(count))):
                if isinstance(outcome, BaseException):
                    raise outcome
                self._progress.count(f"fetching {item.path}", number + 1, count, (number + 1) * step)
            good: bool | None = False
            if checksum and inparts:
                good = checksum.is_of([digests[number] for number in range(count)])
            elif checksum and sizes:
                good = checksum.fits(descriptor, sizes)
            if checksum and not good:
                good = checksums.exactly(self._bucket, key, item.etag, item.size, checksum, descriptor, sizes)
                if good is False:
                    raise ContentMismatch(_MISMATCH)
            if not good:
                # S3 reports nothing to compare; by this alone a later run sees that nothing has changed
                md5 = _tree.md5_of(descriptor, item.size)

        begin = time.time_ns()
        return Staged(
            self._tree.stage(item.path, self._mode, item.path in self._local_files, fill), begin, md5, item.etag
        )

    def _deletes(self, items: list[Delete]) -> None:
        for item in items:
            try:
                self._tree.remove(item.path, self._local_files.get(item.path))
                self._cache.forget_file(item.path)
                self.done.deleted.append(item.path)
            except FileNotFoundError:
                continue
            except _tree.Unsteady as fault:
                self.done.problems.append(str(fault))
            except OSError as fault:
                self.done.problems.append(f"{scan.shown(item.path)} was not deleted: {fault.strerror}")


def _write(descriptor: int, data: bytes | bytearray | memoryview, start: int) -> None:
    count = os.pwrite(descriptor, data, start)
    while count < len(data):
        with memoryview(data) as view:
            count += os.pwrite(descriptor, view[count:], start + count)
