# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One sync of a directory tree and a key prefix: read both, make the plan, carry it out, report what was done."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from .._s3 import session
from .._s3.endpoint import Endpoint
from .._s3.errors import S3Error, SessionError, Untrusted
from .._s3.objects import Bucket
from . import plan as _plan
from . import rules, scan, tree
from .cache import Cache, Identity, remote_devices
from .compare import Comparer
from .options import Refused, mode_of, root_of, rules_of
from .plan import Plan
from .pull import Pull
from .push import Push
from .result import Done, as_planned, result
from .scan import ScanResult
from .tree import Tree
from .workers import PATIENCE, Progress, WorkerPool

CACHE = "~/.cache/samefiles/s3_sync"
_BIG = 6  # parts in flight: with 8 MiB each, memory stays below 150 MB
_MAX_SHOWN = 10  # failures that a sentence names


class Sync:
    """One sync; options are those of the module s3_sync."""

    def __init__(self, options: dict):
        self._options, self.rules = options, rules_of(options)
        root = root_of(options)
        self._pull, self._mode = options.get("mode") == "pull", mode_of(options)
        try:
            endpoint, keys = session.resolve(options["bucket"], options)
            checksum = options.get("checksum") or "auto"
            self.bucket = Bucket(endpoint, keys, checksum=checksum)
        except (SessionError, Untrusted) as fault:
            raise Refused(str(fault)) from fault
        threads = 16 if options.get("concurrency") is None else options["concurrency"]
        if not 1 <= threads <= 64:
            raise Refused(f"concurrency must be from 1 to 64, got {threads}")
        self._pool, self._big = WorkerPool(threads), WorkerPool(min(threads, _BIG))
        links = "skip" if self._pull else options.get("symlinks") or "follow"
        self._choose = rules.Chooser(self.rules)
        self.tree = Tree(root, links, self._choose)
        self.url = f"s3://{options['bucket']}/{self.rules.prefix}"
        self._cache = self._remember(root, endpoint)
        self._warnings: list[str] = []
        self._local_files: dict[str, Identity] = {}
        self.ended = False  # by SIGTERM

    def _remember(self, root: str, endpoint: Endpoint) -> Cache:
        given = self._options.get("cache")
        directory = None if given == "none" else os.path.expanduser(given or CACHE)
        return Cache(directory, (endpoint.header, endpoint.bucket, self.rules.prefix, root))

    def close(self) -> None:
        """End the threads, close the connections. Whoever was ended waits a moment for them: one may read a disk that hangs."""
        seconds = PATIENCE / 2 if self.ended else None
        self._pool.close(seconds)
        self._big.close(seconds)
        self.bucket.close()

    def _listing(self) -> dict:
        only = self.tree.single  # one file says nothing about its neighbours
        try:
            listed = self.bucket.list(self.rules.prefix + only)
            if only:
                return {
                    item.key[len(self.rules.prefix) :]: item for item in listed if item.key == self.rules.prefix + only
                }
            return _plan.objects(listed, self.rules)
        except S3Error as fault:
            raise Refused(f"{self.url} cannot be listed, so nothing was changed: {fault}") from fault

    def _comparer(self) -> Comparer:
        try:
            with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
                remote = remote_devices(file.read())
        except FileNotFoundError:  # no Linux: nothing is known of any clock
            remote = None
        return Comparer(self.bucket, self.rules.prefix, self.tree, self._cache, self._pool, remote)

    def run(self, check: bool) -> dict:
        """Make the sync, or with check only its plan. Raises Refused."""
        return self._run_pull(check) if self._pull else self._run_push(check)

    # push

    def _run_push(self, check: bool) -> dict:
        try:
            self.tree.check()
        except tree.SourceError as fault:
            raise Refused(str(fault)) from fault
        local, listing = self.tree.scan(), self._listing()
        if not local.files and self.rules.delete and not self._options.get("allow_empty_source"):
            raise Refused(
                f"file_root {scan.shown(self._options['file_root'])} holds no file that takes part, and delete is on: nothing "
                "was changed; fix the path or the patterns, or set allow_empty_source"
            )
        sizes = {path: now.size for path, now in local.files.items()}
        sides = _plan.sort_out(sizes, {path: item.size for path, item in listing.items()})
        sides.extra = [path for path in sides.extra if path not in local.went and not _below(path, local.others)]
        comparer = self._comparer()
        # assets only adds, and force sends all: neither asks what is the same
        unasked = self.rules.force or self.rules.phase == "assets"
        differ, failed = comparer.differing([] if unasked else sides.open, local.files, listing)
        equal = [path for path in sides.open if path not in differ and path not in failed]
        heads, more = ({}, []) if unasked else comparer.headers(equal, listing)
        sides.open = [path for path in sides.open if path not in failed]
        plan = _plan.push(sides, sizes, listing, self.rules, differ, heads)
        stale = [item.path for item in plan.reheaders if not comparer.asked(item.path)]
        if stale:  # a lifecycle rule moves an object to another class without a trace in the listing
            current, failures = comparer.ask(stale, listing)
            heads = {path: head for path, head in heads.items() if path not in set(stale)} | current
            plan = _plan.push(sides, sizes, listing, self.rules, differ, heads)
            more += failures
        problems = [*local.problems, *failed.values(), *more]
        self._warnings = local.skipped
        self._judge(sides.extra, len(listing), check)
        return self._finish(plan, problems, check, local.files, listing, self._push_work)

    def _push_work(self, plan: Plan, progress: Progress) -> Done:
        return Push(self.bucket, self.tree, self.rules, self._cache, self._pool, self._big, progress).run(plan)

    # pull

    def _run_pull(self, check: bool) -> dict:
        listing, local = self._listing(), self._local()
        self._local_files = local.files
        if not listing and self.rules.delete and not self._options.get("allow_empty_source"):
            raise Refused(
                f"{self.url} holds no object that takes part, and delete is on: nothing was changed; fix the prefix or the "
                "patterns, or set allow_empty_source"
            )
        # as a push that follows links leaves it: what they point to has a place of its own
        inner = self._inner_links(local, listing)
        listing = {path: item for path, item in listing.items() if not _below(path, inner)}
        self._warnings = local.skipped
        blocked = _plan.blocked(listing)
        local.others |= self.tree.walls(
            _plan.directories(path for path in listing if path not in blocked) - local.directories
        )
        blocked.update((path, why) for path in listing if path not in blocked and (why := _in_the_way(path, local)))
        sizes = {path: now.size for path, now in local.files.items()}
        source = {path: item.size for path, item in listing.items() if path not in blocked}
        sides = _plan.sort_out(source, sizes)
        sides.extra = [path for path in sides.extra if path not in blocked]
        differ, failed = self._comparer().differing([] if self.rules.force else sides.open, local.files, listing)
        sides.open = [path for path in sides.open if path not in failed]
        plan = _plan.pull(sides, sizes, listing, self.rules, differ, blocked)
        problems = [
            *local.problems, *(f"the key {scan.shown(self.rules.prefix + path)} cannot be a file here: {why}"
                               for path, why in sorted(blocked.items())), *failed.values(),
        ]  # fmt: skip
        self._judge(sides.extra, len(sizes), check)
        return self._finish(plan, problems, check, {**local.files, **source}, listing, self._pull_work)

    def _local(self) -> ScanResult:
        root = self.tree.root
        if os.path.lexists(root):
            if not os.path.isdir(root):
                raise Refused(
                    f"file_root {scan.shown(root)} is no directory: give the directory that the files are to come to"
                )
            return self.tree.scan()
        if not os.path.isdir(os.path.dirname(root)):
            raise Refused(
                f"file_root {scan.shown(root)}: the directory above it is not there: make it, or fix the path"
            )
        return ScanResult()

    def _inner_links(self, local: ScanResult, listing: dict) -> set[str]:
        """The links that point within the tree, to what exists when this pull is done."""
        if not local.links:
            return set()
        coming = _plan.directories(listing).union(listing)
        going = _plan.directories(local.files).union(local.files) - coming if self.rules.delete else set()
        to = {path: self.tree.link_target(path) for path in local.links}
        stays = {path for path in to if os.path.exists(f"{self.tree.root}/{path}") and to[path] not in going}
        return {path for path, at in to.items() if at is not None and (at in coming or path in stays)}

    def _pull_work(self, plan: Plan, progress: Progress) -> Done:
        if not os.path.isdir(self.tree.root):
            try:
                os.mkdir(self.tree.root)
            except OSError as fault:
                raise Refused(
                    f"file_root {scan.shown(self.tree.root)} cannot be made ({fault.strerror}): nothing was changed; make it, or "
                    "fix the path"
                ) from fault
        self.tree.sweep()
        return Pull(
            self.bucket, self.tree, self.rules, self._cache, self._pool, self._big, progress, self._mode, self._local_files
        ).run(plan)  # fmt: skip

    # both

    def _judge(self, extra: list[str], total: int, check: bool) -> None:
        """Refuse too many deletes, in every phase: when those come last, a fleet has been changed already."""
        wanted = _plan.too_many(extra, total, self.rules)
        if wanted:
            if not check:
                self._cache.save()  # what was read need not be read again
            raise Refused(wanted)

    def _finish(
        self,
        plan: Plan,
        problems: list[str],
        check: bool,
        files: dict,
        objects: dict,
        work: Callable[[Plan, Progress], Done],
    ) -> dict:
        if problems:
            plan.deletes = []  # what could not be seen is not missing
        destination = self.tree.root if self._pull else self.url
        if check or plan.empty():
            if not plan.empty():
                _see_progress(self._options.get("progress_file"))
            done = as_planned(plan)
        else:
            progress = _progress(self._options.get("progress_file"))
            try:
                done = work(plan, progress)
            finally:
                progress.close()
        self._cache.keep_only(files, objects)
        note = "" if check else self._cache.save()
        with_diff, with_files = self._options.get("diff", True), self._options.get("report") == "full"
        report = result(plan, done, destination, self.bucket.request_counts, with_diff, with_files)
        if note:
            self._warnings.append(note)
        if self._warnings:
            report["warnings"] = self._warnings
        problems = problems + done.problems
        if problems:
            shown = "; ".join(problems[:_MAX_SHOWN]) + (
                f"; and {len(problems) - _MAX_SHOWN} more" if len(problems) > _MAX_SHOWN else ""
            )
            kept = ". Nothing was deleted" if self.rules.delete and not done.deleted else ""
            raise Refused(f"{shown}{kept}", report)
        return report


def _progress(path: str | None) -> Progress:
    try:
        return Progress(path)
    except OSError as fault:
        raise Refused(f"progress_file {path!r} cannot be written ({fault.strerror}): nothing was changed") from fault


def _see_progress(path: str | None) -> None:
    """What _progress() would say, without making the file."""
    if path and not os.access(path if os.path.lexists(path) else os.path.dirname(os.path.abspath(path)), os.W_OK):
        raise Refused(f"progress_file {path!r} cannot be written: nothing would be changed")


def _below(path: str, those: set[str]) -> bool:
    """Whether a path is one of those, or below one."""
    while path:
        if path in those:
            return True
        path = path.rpartition("/")[0]
    return False


def _in_the_way(path: str, local: ScanResult) -> str:
    if path in local.directories:
        return "a directory is in its place: move that away"
    if path in local.others:
        return "something that is no file is in its place: move that away"
    above = path.rpartition("/")[0]
    while above:
        if above in local.files or above in local.others:
            return f"{scan.shown(above)} is no directory: move that away"
        above = above.rpartition("/")[0]
    return ""


class _Ended(BaseException):
    """Somebody, or a timeout, ends this process."""


@contextlib.contextmanager
def _ending(made: Sync) -> Iterator[None]:
    """SIGTERM, as systemd sends it at a timeout, ends a sync in order: uploads are given up, part files removed.

    What is under way has a moment; then it is cut off, for a server that hangs must not hold up the end until SIGKILL comes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    late = threading.Timer(PATIENCE - 1, made.bucket.end)  # before an upload is given up: no part may still arrive then
    late.daemon = True

    def end(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: giving up what was begun must not be broken off
        late.start()
        made.ended = True
        raise _Ended

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except _Ended:
        raise Refused(
            "the sync was ended by SIGTERM, at its timeout or by somebody: what it stored is whole, the rest is missing; run it again"
        ) from None
    finally:
        late.cancel()
        signal.signal(signal.SIGTERM, before)


def sync(options: dict, check: bool = False) -> dict:
    """Make one sync; the result is the module's. Raises Refused."""
    made, collects = Sync(options), gc.isenabled()
    gc.disable()  # a hundred thousand files are a million objects without a cycle, looked through again and again
    try:
        with _ending(made):
            try:
                return made.run(check)
            finally:
                made.close()
    except OSError as fault:  # of a place where nobody awaits one
        raise Refused(
            f"the sync was broken off ({fault}): what it stored is whole, the rest is missing; run it again"
        ) from fault
    finally:
        if collects:
            gc.enable()
