# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries out the plan of a pull: objects into files, each whole or not at all, and checked against what S3 knows of it."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import time
import zlib
from typing import NamedTuple

from ansible_collections.samefiles.aws.plugins.module_utils import _s3_answers, _tree_local
from ansible_collections.samefiles.aws.plugins.module_utils._s3_answers import Head
from ansible_collections.samefiles.aws.plugins.module_utils._s3_bucket import Bucket, Changed, S3Error, Torn
from ansible_collections.samefiles.aws.plugins.module_utils._s3_crew import Crew, Progress
from ansible_collections.samefiles.aws.plugins.module_utils._s3_look import TRIES, crc32_fits
from ansible_collections.samefiles.aws.plugins.module_utils._s3_push import Done, by_size, explain
from ansible_collections.samefiles.aws.plugins.module_utils._tree_cache import Cache, Identity
from ansible_collections.samefiles.aws.plugins.module_utils._tree_local import Tree
from ansible_collections.samefiles.aws.plugins.module_utils._tree_rules import Rules, is_page
from ansible_collections.samefiles.aws.plugins.module_utils._trees import Delete, Fetch, Plan

_BATCH = 1000  # files that are given their names at a time
_TORN = "what arrived does not have the checksum that S3 stored"
_PLAIN = re.compile(r"[0-9a-f]{32}")


class Staged(NamedTuple):
    """A file that is fetched, but has not its name yet."""

    part: str
    begin: int
    md5: str
    etag: str


class Check(NamedTuple):
    """What a file must have: a hash of all of it or, with a part size, one of its parts' own. Without a name it needs nothing."""

    name: str  # crc32, sha256, md5 or ""
    told: str  # as S3 tells it
    part: int

    def sum(self, data) -> bytes:
        """The hash of a part."""
        if self.name == "crc32":
            return zlib.crc32(data).to_bytes(4, "big")
        return (
            hashlib.sha256(data).digest()
            if self.name == "sha256"
            else hashlib.md5(data, usedforsecurity=False).digest()
        )

    def fits_parts(self, sums: list[bytes]) -> bool:
        """Whether the hashes of the parts are those of the object."""
        whole = self.sum(b"".join(sums))
        if self.name == "md5":
            return f"{whole.hex()}-{len(sums)}" == self.told
        return base64.b64encode(whole).decode() == self.told.partition("-")[0]

    def fits(self, descriptor: int, size: int) -> bool:
        """Whether an open file has it."""
        if self.name == "crc32":
            return crc32_fits(self.told, descriptor, size, self.part)
        if self.name == "sha256":
            digest = _tree_local.sha256_of(descriptor, size, self.part)
            return base64.b64encode(digest).decode() == self.told.partition("-")[0]
        return not self.name or _tree_local.md5_of(descriptor, size, self.part) == self.told


class Pull:
    """Objects to files; mode is that of new files, None for what umask says; found: the files when the plan was made."""

    def __init__(
        self, bucket: Bucket, tree: Tree, rules: Rules, cache: Cache, crew: Crew, big: Crew, progress: Progress, mode: int | None,
        found: dict[str, Identity],
    ):  # fmt: skip
        self._bucket, self._tree, self._rules, self._cache = bucket, tree, rules, cache
        self._crew, self._big, self._progress, self._mode = crew, big, progress, mode
        self._found = found
        self._total = 0
        self.done = Done()
        self._staged: dict[str, Staged] = {}

    def run(self, plan: Plan) -> Done:
        """Assets, then pages, then deletes; the deletes only when all before succeeded."""
        self._total = len(plan.fetches)
        try:
            for pages in (False, True):
                if not (pages and self.done.problems):
                    self._fetches([item for item in plan.fetches if is_page(self._rules, item.path) is pages])
                    self._settle()
        except BaseException:  # ended from outside: what arrived whole stays, what did not leaves nothing
            self._settle()
            self._tree.sweep()
            raise
        if not self.done.problems:
            self._deletes(plan.deletes)
        self._tree.leave()
        return self.done

    def _took(self, item: Fetch, outcome) -> None:
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
        """Give what was fetched its names."""
        staged, self._staged = self._staged, {}
        if not staged:
            return
        for path, outcome in self._tree.settle([(path, one.part) for path, one in staged.items()], self._found):
            if isinstance(outcome, Exception):
                said = (
                    f"{_tree_local.shown(path)}: {outcome.strerror}" if isinstance(outcome, OSError) else str(outcome)
                )
                self.done.problems.append(said)
                continue
            one = staged[path]
            self._cache.remember_file(path, outcome, one.begin, md5=one.md5, tag=one.etag)
            self.done.fetched.append(path)

    def _fetches(self, items: list[Fetch]) -> None:
        for crew, some in by_size(items, self._crew, self._big, self._bucket.part):
            for item, outcome in crew.map(self._fetch, some):
                self._took(item, outcome)
        for item in items:
            if item.size > self._bucket.part:
                try:
                    outcome = self._again(self._fetch_large, item)
                except (S3Error, OSError) as fault:
                    outcome = fault
                self._took(item, outcome)

    @staticmethod
    def _again(work, item: Fetch) -> Staged:
        """What arrived torn is fetched again."""
        for attempt in range(TRIES):
            try:
                return work(item)
            except Torn:
                if attempt == TRIES - 1:
                    raise
        raise AssertionError  # not reached

    def _fetch(self, item: Fetch) -> Staged:
        return self._again(self._fetch_small, item)

    def _fetch_small(self, item: Fetch) -> Staged:
        answer = self._bucket.get(self._rules.prefix + item.path, item.etag, 0, item.size)
        md5 = hashlib.md5(answer.body, usedforsecurity=False).hexdigest()
        head = None if md5 == item.etag else _s3_answers.head(answer.headers)
        if head and _PLAIN.fullmatch(item.etag) and not (head.encryption or "").startswith("aws:kms"):
            raise Torn(f"what arrived has the MD5 {md5}, the object {item.etag}")

        def fill(descriptor: int) -> None:
            _write(descriptor, answer.body, 0)
            if head and not self._check(item, head).fits(descriptor, item.size):
                raise Torn(_TORN)

        begin = time.time_ns()
        return Staged(self._tree.stage(item.path, self._mode, item.path in self._found, fill), begin, md5, item.etag)

    def _fetch_large(self, item: Fetch) -> Staged:
        key = self._rules.prefix + item.path
        head = self._bucket.head(key)
        if head is None or head.etag != item.etag:
            raise Changed("it was replaced while this ran")
        check = self._check(item, head)
        # in the object's own parts where they are no larger than ours: then each is hashed as it comes
        inparts = 1 << 20 <= check.part <= self._bucket.part
        step, sums = check.part if inparts else self._bucket.part, {}

        def fill(descriptor: int) -> None:
            os.truncate(descriptor, item.size)

            def fetch(number: int) -> None:
                start = number * step
                answer = self._bucket.get(key, item.etag, start, min(step, item.size - start))
                if inparts:
                    sums[number] = check.sum(answer.body)
                _write(descriptor, answer.body, start)

            count = -(-item.size // step)
            for number, (_part, outcome) in enumerate(self._big.map(fetch, range(count))):
                if isinstance(outcome, BaseException):
                    raise outcome
                self._progress.count(f"fetching {item.path}", number + 1, count, (number + 1) * step)
            good = (
                check.fits_parts([sums[number] for number in range(count)])
                if inparts
                else check.fits(descriptor, item.size)
            )
            if not good:
                raise Torn(_TORN)

        begin = time.time_ns()
        return Staged(self._tree.stage(item.path, self._mode, item.path in self._found, fill), begin, "", item.etag)

    def _part(self, item: Fetch) -> int:
        """The size of an object's parts, 0 when they are not all of one size: then nothing can be made of them."""
        about = self._bucket.head(self._rules.prefix + item.path, 1)
        size, count = (about.size if about else 0), item.etag.rpartition("-")[2]
        return size if size and count.isdigit() and -(-item.size // size) == int(count) else 0

    def _check(self, item: Fetch, head: Head) -> Check:
        """The cheapest way to see that the bytes are the object's; where S3 tells nothing of them, their number must do."""
        name = next((name for name in ("crc32", "sha256") if name in head.checksums), "")
        told = head.checksums.get(name, "")
        if not told and (head.encryption or "").startswith("aws:kms"):
            return Check("", "", 0)
        inparts = head.checksum_type == "COMPOSITE" or "-" in told if told else "-" in item.etag
        part = self._part(item) if inparts else 0
        return Check("", "", 0) if inparts and not part else Check(name or "md5", told or item.etag, part)

    def _deletes(self, items: list[Delete]) -> None:
        for item in items:
            try:
                self._tree.remove(item.path, self._found.get(item.path))
                self._cache.forget_file(item.path)
                self.done.deleted.append(item.path)
            except FileNotFoundError:
                continue
            except _tree_local.Unsteady as fault:
                self.done.problems.append(str(fault))
            except OSError as fault:
                self.done.problems.append(f"{_tree_local.shown(item.path)} was not deleted: {fault.strerror}")


def _write(descriptor: int, data, start: int) -> None:
    with memoryview(data) as view:
        while len(view):
            count = os.pwrite(descriptor, view, start)
            view, start = view[count:], start + count
