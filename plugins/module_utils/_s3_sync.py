# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One sync of a directory tree and a key prefix: read both, make the plan, carry it out, tell what was done."""

from __future__ import annotations

import contextlib
import gc
import os
import re
import signal
import threading

from ansible_collections.samefiles.aws.plugins.module_utils import _s3_login, _tree_local, _tree_rules, _trees
from ansible_collections.samefiles.aws.plugins.module_utils._s3_bucket import Bucket, S3Error
from ansible_collections.samefiles.aws.plugins.module_utils._s3_crew import Crew, Progress
from ansible_collections.samefiles.aws.plugins.module_utils._s3_look import Look
from ansible_collections.samefiles.aws.plugins.module_utils._s3_pull import Pull
from ansible_collections.samefiles.aws.plugins.module_utils._s3_push import Done, Push
from ansible_collections.samefiles.aws.plugins.module_utils._s3_wire import Untrusted
from ansible_collections.samefiles.aws.plugins.module_utils._tree_cache import Cache, Identity, remote_devices
from ansible_collections.samefiles.aws.plugins.module_utils._tree_local import Found, Tree
from ansible_collections.samefiles.aws.plugins.module_utils._tree_rules import HeaderRule, Rules
from ansible_collections.samefiles.aws.plugins.module_utils._trees import Plan

CACHE = "~/.cache/samefiles/s3_sync"
_BIG = 6  # parts in flight: with 8 MiB each, memory stays below 150 MB
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, 5.6.2
_TOLD = 10  # failures that a sentence names


class Refused(Exception):
    """Why a sync was not made, or not wholly, as one sentence; result is what was done nevertheless."""

    def __init__(self, text: str, result: dict | None = None):
        super().__init__(text)
        self.result = result or {}


# options


def _patterns(options: dict, name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    given = options.get(name)
    if given is None:
        return default
    words = given if isinstance(given, list) else given.split(",")
    found = tuple(word.strip() for word in words if word.strip())
    for word in found:
        try:
            _tree_rules.fits(word, "x")
        except re.error:
            raise Refused(f"{name} must be a list of globs such as '*.css' or 'img/**', got {word!r}") from None
    return found


def _header(name: str, value: str | None) -> None:
    """Refuse what no header can hold, or what S3 would answer otherwise than it was sent."""
    if value and not (value.isascii() and value.isprintable() and value == value.strip()):
        raise Refused(f"{name} must be printable ASCII without blanks at its ends, as a header is, got {value!r}")


def _header_rules(options: dict) -> tuple[HeaderRule, ...]:
    told = []
    for number, item in enumerate(options.get("headers") or []):
        patterns = _patterns(item, "patterns", ())
        if not patterns:
            raise Refused(f"headers[{number}].patterns must name at least one glob, got {item.get('patterns')!r}")
        values = {name: item.get(name) for name in _tree_rules.FIELDS}
        if values["content_encoding"]:
            values["content_encoding"] = values["content_encoding"].replace(" ", "")  # as S3 tells it
        metadata = tuple(sorted((str(k), str(v)) for k, v in (item.get("metadata") or {}).items()))
        for name, value in values.items():
            _header(f"headers[{number}].{name}", value)
        for name, value in metadata:
            if not _TOKEN.fullmatch(name):
                raise Refused(
                    f"headers[{number}].metadata must have names of letters, digits and -_.!#$%&'*+^`|~, as headers have, got {name!r}"
                )
            _header(f"headers[{number}].metadata.{name}", value)
        told.append(HeaderRule(patterns, **values, metadata=metadata))
    return tuple(told)


def rules_of(options: dict) -> Rules:
    """The rules that options make. Raises Refused."""
    if options.get("permission"):
        raise Refused(
            f"permission is {options['permission']!r}, but no ACL is ever sent: leave it out, and open a key prefix to the public "
            "by the bucket's policy if it must be"
        )
    limit = options.get("max_delete") or {}
    count, percent = limit.get("count"), limit.get("percent")
    count, percent = 100 if count is None else count, 25.0 if percent is None else percent
    if count < 0 or not 0 <= percent <= 100:
        raise Refused(
            f"max_delete must have a count of 0 or more and a percent from 0 to 100, got {count} and {percent:g}"
        )
    encryption, mime_map = options.get("encryption"), options.get("mime_map") or {}
    for name in ("cache_control", "kms_key_id"):
        _header(name, options.get(name))
    for extension, kind in mime_map.items():
        _header(f"mime_map[{str(extension)!r}]", str(kind))
    if options.get("kms_key_id") and encryption != "aws:kms":
        raise Refused(f"kms_key_id needs encryption: aws:kms, got {encryption!r}")
    if re.match(r"(arn:.*:)?alias/", options.get("kms_key_id") or ""):
        raise Refused(
            f"kms_key_id is the alias {options['kms_key_id']!r}, by which S3 names the key of no object: give the key's "
            "id or ARN"
        )
    try:
        prefix = _tree_rules.prefix(options.get("key_prefix") or "")
    except ValueError as fault:
        raise Refused(str(fault)) from fault
    conditional = options.get("conditional_writes")
    return Rules(
        prefix=prefix, include=_patterns(options, "include", ("*",)), exclude=_patterns(options, "exclude", (".*",)),
        pages=_patterns(options, "pages", _tree_rules.PAGES), phase=options.get("phase") or "all",
        delete=bool(options.get("delete")), most_deletes=count, most_percent=percent,
        force=options.get("file_change_strategy") == "force",
        mime_map=tuple(sorted((str(k), str(v)) for k, v in mime_map.items())),
        cache_control=options.get("cache_control") or None, headers=_header_rules(options),
        storage_class=options.get("storage_class"), encryption=encryption, kms_key=options.get("kms_key_id"),
        conditional=conditional is None or bool(conditional), verify=bool(options.get("verify")),
    )  # fmt: skip


def mode_of(options: dict) -> int | None:
    """The mode of new files, None for what umask says. Raises Refused."""
    given = options.get("file_mode")
    if given is None:
        return None
    # 0644 without quotes arrives as 420, which is octal as well
    if not re.fullmatch(r"0[0-7]{3}", str(given)):
        raise Refused(
            f"file_mode must be an octal number in quotes such as '0644', got {given!r}: without quotes YAML makes 0644 the "
            "number 420, so quote it, with its leading 0"
        )
    return int(str(given), 8)


def root_of(options: dict) -> str:
    """The tree, as an absolute path. Raises Refused."""
    given = options["file_root"]
    # of a variable that is not set; to the system it would be the folder that this happens to run in
    if not given.strip():
        raise Refused(f"file_root must be the path of a tree, got {given!r}: give a path")
    if "\0" in given:
        raise Refused(f"file_root must be a path, which holds no NUL byte, got {given!r}")
    return os.path.abspath(os.path.expanduser(given))


# the sync


class Sync:
    """One sync; options are those of the module s3_sync."""

    def __init__(self, options: dict):
        self._options, self.rules = options, rules_of(options)
        root = root_of(options)
        self._pull, self._mode = options.get("mode") == "pull", mode_of(options)
        try:
            where, keys = _s3_login.login(options["bucket"], options)
            checksum = options.get("checksum") or "auto"
            self.bucket = Bucket(where, keys, checksum=checksum)
        except (_s3_login.LoginError, Untrusted) as fault:
            raise Refused(str(fault)) from fault
        threads = 16 if options.get("concurrency") is None else options["concurrency"]
        if not 1 <= threads <= 64:
            raise Refused(f"concurrency must be from 1 to 64, got {threads}")
        self._crew, self._big = Crew(threads), Crew(min(threads, _BIG))
        links = "skip" if self._pull else options.get("symlinks") or "follow"
        self._choose = _tree_rules.Chooser(self.rules)
        self.tree = Tree(root, links, self._choose)
        self.where = f"s3://{options['bucket']}/{self.rules.prefix}"
        self._cache = self._remember(root, where)
        self._warnings: list[str] = []
        self._found: dict[str, Identity] = {}

    def _remember(self, root: str, where) -> Cache:
        given = self._options.get("cache")
        folder = None if given == "none" else os.path.expanduser(given or CACHE)
        return Cache(folder, (where.header, where.bucket, self.rules.prefix, root))

    def close(self) -> None:
        """End the threads, close the connections."""
        self._crew.close()
        self._big.close()
        self.bucket.close()

    def _listing(self) -> dict:
        only = self.tree.single  # one file says nothing about its neighbours
        try:
            listed = self.bucket.list(self.rules.prefix + only)
            if only:
                return {
                    item.key[len(self.rules.prefix) :]: item for item in listed if item.key == self.rules.prefix + only
                }
            return _trees.objects(listed, self.rules)
        except S3Error as fault:
            raise Refused(f"{self.where} cannot be listed, so nothing was changed: {fault}") from fault

    def _look(self) -> Look:
        try:
            with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
                remote = remote_devices(file.read())
        except FileNotFoundError:  # no Linux: nothing is known of any clock
            remote = None
        return Look(self.bucket, self.rules.prefix, self.tree, self._cache, self._crew, remote)

    def run(self, check: bool) -> dict:
        """Make the sync, or with check only its plan. Raises Refused."""
        return self._run_pull(check) if self._pull else self._run_push(check)

    # push

    def _run_push(self, check: bool) -> dict:
        try:
            self.tree.check()
        except _tree_local.SourceError as fault:
            raise Refused(str(fault)) from fault
        found, there = self.tree.scan(), self._listing()
        if not found.files and self.rules.delete and not self._options.get("allow_empty_source"):
            raise Refused(
                f"file_root {_tree_local.shown(self._options['file_root'])} holds no file that takes part, and delete is on: nothing "
                "was changed; mend the path or the patterns, or set allow_empty_source"
            )
        sizes = {path: now.size for path, now in found.files.items()}
        told = _trees.sort_out(sizes, {path: item.size for path, item in there.items()})
        told.extra = [path for path in told.extra if path not in found.went and not _below(path, found.others)]
        look = self._look()
        # assets only adds, and force sends all: neither asks what is the same
        unasked = self.rules.force or self.rules.phase == "assets"
        differ, failed = look.differing([] if unasked else told.open, found.files, there)
        equal = [path for path in told.open if path not in differ and path not in failed]
        heads, more = ({}, []) if unasked else look.headers(equal, there)
        told.open = [path for path in told.open if path not in failed]
        plan = _trees.push(told, sizes, there, self.rules, differ, heads)
        problems = [*found.problems, *failed.values(), *more]
        self._warnings = found.skipped
        self._judge(told.extra, len(there), check)
        return self._finish(plan, problems, check, found.files, there, self._push_work)

    def _push_work(self, plan: Plan, progress: Progress) -> Done:
        return Push(self.bucket, self.tree, self.rules, self._cache, self._crew, self._big, progress).run(plan)

    # pull

    def _run_pull(self, check: bool) -> dict:
        there, found = self._listing(), self._local()
        self._found = found.files
        if not there and self.rules.delete and not self._options.get("allow_empty_source"):
            raise Refused(
                f"{self.where} holds no object that takes part, and delete is on: nothing was changed; mend the prefix or the "
                "patterns, or set allow_empty_source"
            )
        # as a push that follows links leaves it: what they lead to has a place of its own
        inner = self._leading(found, there)
        there = {path: item for path, item in there.items() if not _below(path, inner)}
        self._warnings = found.skipped
        blocked = _trees.blocked(there)
        blocked.update((path, why) for path in there if path not in blocked and (why := _in_the_way(path, found)))
        sizes = {path: now.size for path, now in found.files.items()}
        source = {path: item.size for path, item in there.items() if path not in blocked}
        told = _trees.sort_out(source, sizes)
        told.extra = [path for path in told.extra if path not in blocked]
        differ, failed = self._look().differing([] if self.rules.force else told.open, found.files, there)
        told.open = [path for path in told.open if path not in failed]
        plan = _trees.pull(told, sizes, there, self.rules, differ, blocked)
        problems = [
            *found.problems, *(f"the key {_tree_local.shown(self.rules.prefix + path)} cannot be a file here: {why}"
                               for path, why in sorted(blocked.items())), *failed.values(),
        ]  # fmt: skip
        self._judge(told.extra, len(sizes), check)
        return self._finish(plan, problems, check, {**found.files, **source}, there, self._pull_work)

    def _local(self) -> Found:
        root = self.tree.root
        if os.path.lexists(root):
            if not os.path.isdir(root):
                raise Refused(
                    f"file_root {_tree_local.shown(root)} is no folder: give the folder that the files are to come to"
                )
            return self.tree.scan()
        if not os.path.isdir(os.path.dirname(root)):
            raise Refused(
                f"file_root {_tree_local.shown(root)}: the folder above it is not there: make it, or mend the path"
            )
        return Found()

    def _leading(self, found: Found, there: dict) -> set[str]:
        """The links that lead within the tree, to what is there when this pull is done."""
        if not found.links:
            return set()
        coming = _trees.folders(there).union(there)
        going = _trees.folders(found.files).union(found.files) - coming if self.rules.delete else set()
        to = {path: self.tree.leads(path) for path in found.links}
        stays = {path for path in to if os.path.exists(f"{self.tree.root}/{path}") and to[path] not in going}
        return {path for path, at in to.items() if at is not None and (at in coming or path in stays)}

    def _pull_work(self, plan: Plan, progress: Progress) -> Done:
        if not os.path.isdir(self.tree.root):
            try:
                os.mkdir(self.tree.root)
            except OSError as fault:
                raise Refused(
                    f"file_root {_tree_local.shown(self.tree.root)} cannot be made ({fault.strerror}): nothing was changed; make it, or "
                    "mend the path"
                ) from fault
        self.tree.sweep()
        return Pull(
            self.bucket, self.tree, self.rules, self._cache, self._crew, self._big, progress, self._mode, self._found
        ).run(plan)  # fmt: skip

    # both

    def _judge(self, extra: list[str], total: int, check: bool) -> None:
        """Refuse too many deletes, in every phase: when those come last, a fleet has been changed already."""
        wanted = _trees.too_many(extra, total, self.rules)
        if wanted:
            if not check:
                self._cache.save()  # what was read need not be read again
            raise Refused(wanted)

    def _finish(self, plan: Plan, problems: list[str], check: bool, files: dict, objects: dict, work) -> dict:
        if problems:
            plan.deletes = []  # what could not be seen is not missing
        destination = self.tree.root if self._pull else self.where
        if check or plan.empty():
            if not plan.empty():
                _see_progress(self._options.get("progress_file"))
            done = _as_planned(plan)
        else:
            progress = _progress(self._options.get("progress_file"))
            try:
                done = work(plan, progress)
            finally:
                progress.close()
        self._cache.keep_only(files, objects)
        note = "" if check else self._cache.save()
        result = self._result(plan, done, destination)
        if note:
            self._warnings.append(note)
        if self._warnings:
            result["warnings"] = self._warnings
        problems = problems + done.problems
        if problems:
            shown = "; ".join(problems[:_TOLD]) + (
                f"; and {len(problems) - _TOLD} more" if len(problems) > _TOLD else ""
            )
            kept = ". Nothing was deleted" if self.rules.delete and not done.deleted else ""
            raise Refused(f"{shown}{kept}", result)
        return result

    def _result(self, plan: Plan, done: Done, destination: str) -> dict:
        sent, fetched, gone, heads = (set(paths) for paths in (done.sent, done.fetched, done.deleted, done.reheaded))
        made = Plan(
            [item for item in plan.sends if item.path in sent], [item for item in plan.fetches if item.path in fetched],
            [item for item in plan.reheaders if item.path in heads], [item for item in plan.deletes if item.path in gone],
        )  # fmt: skip
        told = {
            "changed": not made.empty(), "actions": _trees.actions(made, destination), "uploaded": len(sent),
            "downloaded": len(fetched), "deleted": len(gone), "updated_headers": len(heads), "bytes": done.bytes,
            "requests": dict(sorted(self.bucket.requests.items())),
        }  # fmt: skip
        if self._options.get("diff", True):
            told["diff"] = _trees.diff(made, destination)
        if self._options.get("report") == "full":
            told["files"] = {
                "uploaded": sorted(sent), "downloaded": sorted(fetched), "deleted": sorted(gone), "updated_headers": sorted(heads),
            }  # fmt: skip
        return told


def _as_planned(plan: Plan) -> Done:
    done = Done()
    done.sent, done.fetched = [item.path for item in plan.sends], [item.path for item in plan.fetches]
    done.reheaded, done.deleted = [item.path for item in plan.reheaders], [item.path for item in plan.deletes]
    done.bytes = sum(item.size for item in plan.sends + plan.fetches)
    return done


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


def _in_the_way(path: str, found: Found) -> str:
    if path in found.folders:
        return "a folder is in its place"
    if path in found.others:
        return "something that is no file is in its place"
    above = path.rpartition("/")[0]
    while above:
        if above in found.files or above in found.others:
            return f"{_tree_local.shown(above)} is no folder"
        above = above.rpartition("/")[0]
    return ""


class _Ended(BaseException):
    """Somebody, or a deadline, ends this process."""


def _end(_number: int, _frame) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: giving up what was begun must not be broken off
    raise _Ended


@contextlib.contextmanager
def _ending():
    """SIGTERM, as systemd sends it at a deadline, ends a sync in order: uploads are given up, part files removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _end)
    try:
        yield
    except _Ended:
        raise Refused(
            "the sync was ended by SIGTERM, at its deadline or by somebody: what it stored is whole, the rest is missing; run it again"
        ) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def sync(options: dict, check: bool = False) -> dict:
    """Make one sync; the result is the module's. Raises Refused."""
    made, collects = Sync(options), gc.isenabled()
    gc.disable()  # a hundred thousand files are a million objects without a cycle, looked through again and again
    try:
        with _ending():
            return made.run(check)
    except OSError as fault:  # of a place where nobody awaits one
        raise Refused(
            f"the sync was broken off ({fault}): what it stored is whole, the rest is missing; run it again"
        ) from fault
    finally:
        made.close()
        if collects:
            gc.enable()
