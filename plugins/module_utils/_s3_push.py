# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries out the plan of a push: files into objects, whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import time

from ansible_collections.samefiles.aws.plugins.module_utils import _s3_bucket, _tree_local, _trees
from ansible_collections.samefiles.aws.plugins.module_utils._s3_bucket import Bucket, Changed, S3Error
from ansible_collections.samefiles.aws.plugins.module_utils._s3_crew import Crew, Progress
from ansible_collections.samefiles.aws.plugins.module_utils._s3_look import TRIES
from ansible_collections.samefiles.aws.plugins.module_utils._tree_cache import Cache
from ansible_collections.samefiles.aws.plugins.module_utils._tree_local import Tree
from ansible_collections.samefiles.aws.plugins.module_utils._tree_rules import Rules, is_page
from ansible_collections.samefiles.aws.plugins.module_utils._trees import Delete, Plan, Reheader, Send

_BATCH = 1000  # keys in one request that deletes
_SMALL = 1 << 20  # bytes; sixteen at a time of such files are little memory


class Done:
    """What was done, and a sentence for each thing that failed."""

    def __init__(self):
        self.sent: list[str] = []
        self.fetched: list[str] = []
        self.reheaded: list[str] = []
        self.deleted: list[str] = []
        self.problems: list[str] = []
        self.bytes = 0


def explain(path: str, fault: Exception) -> str:
    """A failure as one sentence."""
    if isinstance(fault, Changed):
        return f"{_tree_local.shown(path)} was changed in the bucket by somebody else while this ran: run it again"
    return f"{_tree_local.shown(path)}: {fault}"


def by_size(items: list, crew: Crew, big: Crew, part: int) -> list[tuple[Crew, list]]:
    """Who takes which of the items that are sent or fetched whole: fewer at a time of the larger ones, for each is in memory."""
    small = [item for item in items if item.size <= _SMALL]
    return [(crew, small), (big, [item for item in items if _SMALL < item.size <= part])]


class Push:
    """Files to objects."""

    def __init__(
        self, bucket: Bucket, tree: Tree, rules: Rules, cache: Cache, crew: Crew, big: Crew, progress: Progress
    ):
        self._bucket, self._tree, self._rules, self._cache = bucket, tree, rules, cache
        self._crew, self._big, self._progress = crew, big, progress
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

    def _took(self, path: str, size: int, outcome, verb: str, total: int, into: list[str]) -> None:
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
        for crew, some in by_size(items, self._crew, self._big, self._bucket.part):
            for item, outcome in crew.map(self._send, some):
                self._took(item.path, item.size, outcome, "sent", self._total, self.done.sent)
        for item in items:
            if item.size > self._bucket.part:
                try:
                    outcome = self._send_large(item)
                except (S3Error, _tree_local.Unsteady, OSError) as fault:
                    outcome = fault
                self._took(item.path, item.size, outcome, "sent", self._total, self.done.sent)

    def _send(self, item: Send) -> None:
        for attempt in range(TRIES):
            begin = time.time_ns()
            try:
                with self._tree.reading(item.path) as (descriptor, now):
                    if now.size > 2 * self._bucket.part:
                        raise _tree_local.Unsteady(f"{_tree_local.shown(item.path)} grew while this ran")
                    data = _tree_local.read_at(descriptor, 0, now.size)
                break
            except _tree_local.Unsteady:
                if attempt == TRIES - 1:
                    raise
                time.sleep(0.1)
        md5 = hashlib.md5(data, usedforsecurity=False)
        headers = _trees.put_headers(self._rules, item.path)
        key = self._rules.prefix + item.path
        stored = self._bucket.put(key, data, headers, md5.digest(), item.expect)
        if self._rules.verify:
            self._bucket.confirm(key, stored, len(data), md5.hexdigest(), hashlib.sha256(data).digest())
        self._cache.remember_file(item.path, now, begin, md5=md5.hexdigest(), tag=stored.etag)

    def _send_large(self, item: Send) -> None:
        for _attempt in range(TRIES - 1):
            try:
                self._send_parts(item)
                return
            except _tree_local.Unsteady:
                time.sleep(0.1)
        self._send_parts(item)

    def _send_parts(self, item: Send) -> None:
        key, headers, begin = self._rules.prefix + item.path, _trees.put_headers(self._rules, item.path), time.time_ns()
        with self._tree.reading(item.path) as (descriptor, now):
            if now.size > _s3_bucket.LARGEST:
                raise S3Error(f"{now.size} bytes are more than S3 stores in one object (5 TiB): split it")
            step = _s3_bucket.part_size(now.size, self._bucket.part)
            # parts that had to be larger are fewer at a time: each is in memory
            fewer = max(1, self._big.size * self._bucket.part // step)
            crew = self._big if fewer >= self._big.size else Crew(fewer)
            upload = self._bucket.begin(key, headers)

            def send(number: int) -> tuple[str, str]:
                start = number * step
                body = _tree_local.read_at(descriptor, start, min(step, now.size - start))
                return self._bucket.put_part(key, upload, number + 1, body, headers)

            try:
                parts: dict[int, tuple[str, str]] = {}
                for number, outcome in crew.map(send, range(-(-now.size // step))):
                    if isinstance(outcome, BaseException):
                        raise outcome
                    parts[number] = outcome
                    self._progress.count(f"sending {item.path}", len(parts), -(-now.size // step), len(parts) * step)
                _tree_local.steady(descriptor, now, item.path)
                told = [parts[number] for number in sorted(parts)]
                stored = self._bucket.finish(
                    key, upload, [xml for _etag, xml in told], [etag for etag, _xml in told], item.expect
                )
                if self._rules.verify:
                    self._bucket.confirm(
                        key, stored, now.size, _s3_bucket.parts_etag([etag for etag, _xml in told]), None
                    )
            except BaseException:
                with contextlib.suppress(S3Error):
                    self._bucket.abort(key, upload)
                raise
            finally:
                if crew is not self._big:
                    crew.close()
        self._cache.remember_file(item.path, now, begin, tag=stored.etag)

    # headers

    def _reheaders(self, items: list[Reheader]) -> None:
        for item, outcome in self._crew.map(self._rehead, items):
            self._took(item.path, 0, outcome, "headers set", len(items), self.done.reheaded)

    def _rehead(self, item: Reheader) -> None:
        key = self._rules.prefix + item.path
        small = item.size <= _s3_bucket.LARGEST_COPY
        stored = self._bucket.copy(key, item.etag, item.headers) if small else self._copy_parts(key, item)
        known = self._cache.file(item.path)
        if (
            stored.etag and known and item.etag in (known.md5, known.tag)
        ):  # the copy has the same bytes, perhaps another ETag
            self._cache.remember_file(item.path, known.identity, known.hashed, tag=stored.etag)

    def _copy_parts(self, key: str, item: Reheader) -> _s3_bucket.Stored:
        step = _s3_bucket.part_size(item.size, 1 << 30)
        upload = self._bucket.begin(key, item.headers)
        try:
            xml = [
                self._bucket.copy_part(key, upload, number + 1, item.etag, start, min(start + step, item.size))
                for number, start in enumerate(range(0, item.size, step))
            ]
            return self._bucket.finish(key, upload, xml, [], item.etag if self._rules.conditional else None)
        except BaseException:
            with contextlib.suppress(S3Error):
                self._bucket.abort(key, upload)
            raise

    # deleting

    def _deletes(self, items: list[Delete]) -> None:
        keys = {self._rules.prefix + item.path: item for item in items}
        names = list(keys)
        batches = [names[start : start + _BATCH] for start in range(0, len(names), _BATCH)]

        def work(batch: list[str]) -> list[tuple[str, str, str]]:
            conditional = self._rules.conditional
            return self._bucket.delete([(key, keys[key].etag if conditional else "") for key in batch])

        for batch, outcome in self._crew.map(work, batches):
            if isinstance(outcome, Exception):
                self.done.problems.append(str(outcome))
                continue
            if isinstance(outcome, BaseException):
                raise outcome
            failed = {key: f"{code} {message}".strip() for key, code, message in outcome}
            for key, told in failed.items():
                self.done.problems.append(f"{_tree_local.shown(key)} was not deleted: {told}")
            self.done.deleted += [keys[key].path for key in batch if key not in failed]
            self._progress.count("deleted", len(self.done.deleted), len(items), 0)
