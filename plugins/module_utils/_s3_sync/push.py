# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries out the plan of a push: files into objects, whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator

from .._s3 import multipart
from .._s3.errors import Changed, S3Error
from .._s3.multipart import Part, Upload
from .._s3.objects import Bucket
from .._s3.responses import Stored
from . import headers, scan
from . import plan as _plan
from . import tree as _tree
from .cache import Cache
from .compare import TRIES
from .plan import Delete, Plan, Reheader, Send
from .result import Done
from .rules import Rules, is_page
from .tree import Tree
from .workers import Progress, WorkerPool, in_turn

_BATCH = 1000  # keys in one request that deletes
_SMALL = 1 << 20  # bytes; sixteen such files at a time need little memory


def explain(path: str, fault: Exception) -> str:
    """A failure as one sentence."""
    if isinstance(fault, Changed):
        return f"{scan.shown(path)} was changed in the bucket by somebody else while this ran: run it again"
    return f"{scan.shown(path)}: {fault}"


def by_size(items: list, pool: WorkerPool, big: WorkerPool, part: int) -> list[tuple[WorkerPool, list]]:
    """Which pool takes which of the items that are transferred whole: fewer of the larger ones at a time, for each is in memory."""
    small = [item for item in items if item.size <= _SMALL]
    return [(pool, small), (big, [item for item in items if _SMALL < item.size <= part])]


@contextlib.contextmanager
def _aborted_on_failure(upload: Upload) -> Iterator[Upload]:
    """An upload that is aborted when the block fails."""
    try:
        yield upload
    except BaseException:
        with contextlib.suppress(S3Error):
            upload.abort()
        raise


class Push:
    """Files to objects."""

    def __init__(
        self,
        bucket: Bucket,
        tree: Tree,
        rules: Rules,
        cache: Cache,
        pool: WorkerPool,
        big: WorkerPool,
        progress: Progress,
    ):
        self._bucket, self._tree, self._rules, self._cache = bucket, tree, rules, cache
        self._pool, self._big, self._progress = pool, big, progress
        self._total = 0
        self.done = Done()

    def run(self, plan: Plan) -> Done:
        """Assets, then pages, then deletes; the deletes only when all before succeeded."""
        self._total = len(plan.sends)
        for pages in (False, True):
            if pages and self.done.problems:
                break  # a page must not name what is not there
            self._sends([item for item in plan.sends if is_page(self._rules, item.path) is pages])
            self._reheaders([item for item in plan.reheaders if is_page(self._rules, item.path) is pages])
        if not self.done.problems:
            self._deletes(plan.deletes)
        return self.done

    def _took(
        self, path: str, size: int, outcome: BaseException | Stored | None, verb: str, total: int, into: list[str]
    ) -> None:
        if isinstance(outcome, Exception):
            self.done.problems.append(explain(path, outcome))
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            into.append(path)
            self.done.bytes += size
        self._progress.count(verb, len(into), total, self.done.bytes)

    # sending

    def _sends(self, items: list[Send]) -> None:
        for pool, some in by_size(items, self._pool, self._big, self._bucket.part):
            for item, outcome in pool.map(self._send, some):
                self._took(item.path, item.size, outcome, "sent", self._total, self.done.sent)
        for item, outcome in in_turn(self._send_large, [item for item in items if item.size > self._bucket.part]):
            self._took(item.path, item.size, outcome, "sent", self._total, self.done.sent)

    def _send(self, item: Send) -> None:
        for attempt in range(TRIES):
            begin = time.time_ns()
            try:
                with self._tree.reading(item.path) as (descriptor, now):
                    if now.size > 2 * self._bucket.part:
                        raise _tree.Unsteady(f"{scan.shown(item.path)} grew while this ran")
                    data = _tree.read_at(descriptor, 0, now.size)
                break
            except _tree.Unsteady:
                if attempt == TRIES - 1:
                    raise
                time.sleep(0.1)
        md5 = hashlib.md5(data, usedforsecurity=False)
        sent = headers.put_headers(self._rules, item.path)
        key = self._rules.prefix + item.path
        stored = self._bucket.put(key, data, sent, md5.digest(), item.expect)
        if self._rules.verify:
            self._bucket.confirm(key, stored, len(data), md5.hexdigest(), hashlib.sha256(data).digest())
        self._cache.remember_file(item.path, now, begin, md5=md5.hexdigest(), tag=stored.etag)

    def _send_large(self, item: Send) -> None:
        for _attempt in range(TRIES - 1):
            try:
                self._send_multipart(item)
                return
            except _tree.Unsteady:
                time.sleep(0.1)
        self._send_multipart(item)

    def _send_multipart(self, item: Send) -> None:
        key, begin = self._rules.prefix + item.path, time.time_ns()
        sent = headers.put_headers(self._rules, item.path)
        with contextlib.ExitStack() as undo:
            with self._tree.reading(item.path) as (descriptor, now):
                if now.size > multipart.LARGEST:
                    raise S3Error(f"{now.size} bytes are more than S3 stores in one object (5 TiB): split it")
                upload = undo.enter_context(_aborted_on_failure(Upload.begin(self._bucket, key, sent)))
                uploaded = self._put_all(item.path, upload, descriptor, now.size)
            # from here on the file may change: what was read of it is one state, and all of it is sent
            stored = upload.finish(uploaded, item.expect)
        if self._rules.verify:
            self._bucket.confirm(key, stored, now.size, multipart.multipart_etag(uploaded), None)
        self._cache.remember_file(item.path, now, begin, tag=stored.etag)

    def _put_all(self, path: str, upload: Upload, descriptor: int, size: int) -> list[Part]:
        """Send an open file in parts."""
        step = multipart.part_size(size, self._bucket.part)
        count = -(-size // step)
        # parts that had to be larger are fewer at a time: each is in memory
        fewer = max(1, self._big.size * self._bucket.part // step)
        pool = self._big if fewer >= self._big.size else WorkerPool(fewer)

        def send(number: int) -> Part:
            start = number * step
            return upload.put(number + 1, _tree.read_at(descriptor, start, min(step, size - start)))

        uploaded: dict[int, Part] = {}
        try:
            for number, outcome in pool.map(send, range(count)):
                if isinstance(outcome, BaseException):
                    raise outcome
                uploaded[number] = outcome
                self._progress.count(f"sending {path}", len(uploaded), count, len(uploaded) * step)
        finally:
            if pool is not self._big:
                pool.close()
        return [uploaded[number] for number in sorted(uploaded)]

    # headers

    def _reheaders(self, items: list[Reheader]) -> None:
        for item, outcome in self._pool.map(self._rehead, items):
            self._took(item.path, 0, outcome, "headers set", len(items), self.done.reheaded)

    def _rehead(self, item: Reheader) -> None:
        key, conditional = self._rules.prefix + item.path, self._rules.conditional
        small = item.size <= multipart.LARGEST_COPY
        stored = (
            self._bucket.copy(key, item.etag, item.headers, conditional) if small else self._copy_multipart(key, item)
        )
        known = self._cache.file(item.path)
        if (
            stored.etag and known and item.etag in (known.md5, known.tag)
        ):  # the copy has the same bytes, perhaps another ETag
            self._cache.remember_file(item.path, known.identity, known.hashed, tag=stored.etag)

    def _copy_multipart(self, key: str, item: Reheader) -> Stored:
        step = multipart.part_size(item.size, 1 << 30)
        with _aborted_on_failure(Upload.begin(self._bucket, key, item.headers)) as upload:
            uploaded = [
                upload.copy(number + 1, item.etag, start, min(start + step, item.size))
                for number, start in enumerate(range(0, item.size, step))
            ]
            return upload.finish(uploaded, item.etag if self._rules.conditional else None)

    # deleting

    def _deletes(self, items: list[Delete]) -> None:
        keys = {self._rules.prefix + item.path: item for item in items}
        names = list(keys)
        batches = [names[start : start + _BATCH] for start in range(0, len(names), _BATCH)]

        def work(batch: list[str]) -> list[tuple[str, str, str]]:
            # the scan may be hours old
            kept = [(key, "", why) for key in batch if (why := self._kept(keys[key].path))]
            stay = {key for key, _code, _why in kept}
            go = [(key, keys[key].etag if self._rules.conditional else "") for key in batch if key not in stay]
            return kept + (self._bucket.delete(go) if go else [])

        for batch, outcome in self._pool.map(work, batches):
            if isinstance(outcome, Exception):
                self.done.problems.append(str(outcome))
                continue
            if isinstance(outcome, BaseException):
                raise outcome
            failed = {key: f"{code} {message}".strip() for key, code, message in outcome}
            for key, reason in failed.items():
                self.done.problems.append(f"{scan.shown(key)} was not deleted: {reason}")
            self.done.deleted += [keys[key].path for key in batch if key not in failed]
            self._progress.count("deleted", len(self.done.deleted), len(items), 0)

    def _kept(self, path: str) -> str:
        """Why an object must not be deleted after all, "" when it may be."""
        if _plan.unsafe(path):
            return ""  # no file of this tree can have such a name
        try:
            return "its file is there now: run it again" if self._tree.has(path) else ""
        except OSError as fault:
            return f"its file cannot be looked at ({fault.strerror})"
