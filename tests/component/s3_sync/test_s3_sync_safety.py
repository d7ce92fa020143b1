"""What must never be lost, whatever goes wrong: sources, limits, partial failures, kills."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import mmap
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._s3 import objects, responses
from ansible_collections.samefiles.aws.plugins.module_utils._s3_schedule import runner
from ansible_collections.samefiles.aws.plugins.module_utils._s3_sync import cache as _cache
from ansible_collections.samefiles.aws.plugins.module_utils._s3_sync import converge
from ansible_collections.samefiles.aws.plugins.module_utils._s3_sync import scan as _scan
from ansible_collections.samefiles.aws.plugins.module_utils._s3_sync import tree as _tree

from tests.support.s3_server import SECRET, Fault, Refusal
from tests.support.s3_sync_runs import content, files, refused, sync, write, writes

THEIRS = {"web/a.txt": b"a", "web/b.txt": b"b", "web2/c.txt": b"c", "d.txt": b"d"}
ALL = {"count": 1000, "percent": 100}


@pytest.fixture
def seeded(server):
    """A bucket with a few objects."""
    for key, data in THEIRS.items():
        server.seed(key, data, content_type="text/plain; charset=utf-8")
    return server


# the source


def missing(root):
    return root / "typo"


def a_pipe(root):
    root.mkdir()
    os.mkfifo(root / "pipe")
    return root / "pipe"


def empty(root):
    root.mkdir()
    return root


def all_excluded(root):
    write(root / ".hidden", b"x")
    return root


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (missing, "is not there: nothing was changed; fix the path, or mount what belongs there"),
        (a_pipe, "is neither a directory nor a file"),
        (empty, "holds no file that takes part, and delete is on: nothing was changed"),
        (all_excluded, "holds no file that takes part, and delete is on"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "web"])
def test_a_source_that_is_not_there_deletes_nothing(seeded, tmp_path, make, said, prefix):
    fault = refused(seeded, make(tmp_path / "site"), key_prefix=prefix, delete=True, max_delete=ALL)
    assert said in str(fault)
    assert content(seeded) == THEIRS
    assert writes(seeded) == []


def test_a_source_that_cannot_be_read_deletes_nothing(seeded, tmp_path, monkeypatch):
    write(tmp_path / "site/a.txt", b"a")
    write(tmp_path / "site/secret/b.txt", b"b")
    scan = os.scandir

    def denied(path):  # these tests may run as root, who may read everything
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", denied)
    fault = refused(seeded, tmp_path / "site", key_prefix="web", delete=True, max_delete=ALL)
    assert "'secret' cannot be read (Permission denied)" in str(fault)
    assert content(seeded) == THEIRS


def test_an_empty_source_may_be_meant(seeded, tmp_path):
    (tmp_path / "site").mkdir()
    result = sync(seeded, tmp_path / "site", key_prefix="web", delete=True, max_delete=ALL, allow_empty_source=True)
    assert result["deleted"] == 2
    assert set(content(seeded)) == {"web2/c.txt", "d.txt"}


def test_an_empty_prefix_empties_no_directory(seeded, tmp_path):
    write(tmp_path / "back/x", b"x")
    fault = refused(seeded, tmp_path / "back", mode="pull", key_prefix="typo", delete=True, max_delete=ALL)
    assert "s3://bkt/typo/ holds no object that takes part, and delete is on: nothing was changed" in str(fault)
    assert files(tmp_path / "back") == {"x": b"x"}


@pytest.mark.parametrize("what", ["cut", "no-token", "500", "drop-before"])
@pytest.mark.parametrize("mode", ["push", "pull"])
def test_a_listing_cut_short_deletes_nothing(seeded, tree, what, mode):
    before = files(tree)
    seeded.faults.append(Fault(what, "LIST", count=99))
    fault = refused(seeded, tree, mode=mode, delete=True, max_delete=ALL)
    assert "cannot be listed, so nothing was changed" in str(fault)
    assert content(seeded) == THEIRS
    assert files(tree) == before
    assert writes(seeded) == []


@pytest.mark.parametrize("options", [{"bucket": "other"}, {"secret_key": "wrong"}, {"access_key": "AKIDNOBODY"}])
def test_a_bucket_that_cannot_be_read(seeded, tree, options):
    fault = refused(seeded, tree, delete=True, max_delete=ALL, **options)
    assert "cannot be listed" in str(fault)
    assert "wrong" not in str(fault)
    assert content(seeded) == THEIRS


# local files that somebody else writes meanwhile


@pytest.mark.parametrize("exists", [True, False])
def test_a_pull_replaces_nothing_that_was_written_meanwhile(server, tmp_path, exists):
    server.seed("a.txt", b"from the bucket")
    path = tmp_path / "site/a.txt"
    write(tmp_path / "site/b.txt", b"b")
    if exists:
        write(path, b"old")

    def edit(request):
        if request.operation == "GET":
            path.write_bytes(b"edited here just now")

    server.hook = edit
    fault = refused(server, tmp_path / "site", mode="pull")
    assert "'a.txt' was changed here by somebody else while this ran: run it again" in str(fault)
    assert files(tmp_path / "site") == {"a.txt": b"edited here just now", "b.txt": b"b"}


def test_a_pull_deletes_nothing_that_was_written_meanwhile(server, tmp_path):
    server.seed("a.txt", b"a")
    path = tmp_path / "site/old.txt"
    write(path, b"old")
    server.hook = lambda request: path.write_bytes(b"just now") if request.operation == "GET" else None
    fault = refused(server, tmp_path / "site", mode="pull", delete=True, max_delete=ALL)
    assert "'old.txt' was changed here by somebody else" in str(fault)
    assert files(tmp_path / "site") == {"a.txt": b"a", "old.txt": b"just now"}


@pytest.mark.parametrize("number", [2, 20])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_disk_that_does_not_take_what_was_pulled_is_reported(server, tmp_path, monkeypatch, number, when):
    for place in range(number):
        server.seed(f"f{place:02}", b"x")
    files_first, asked = 1 if number > 16 else number, []

    def failing(descriptor):
        asked.append(descriptor)
        if (when == "before") == (len(asked) <= files_first):
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", failing)
    monkeypatch.setattr(_tree, "_sync_all", failing)
    fault = refused(server, tmp_path / "back", mode="pull")
    assert "': Input/output error" in str(fault)
    assert fault.result["downloaded"] == 0
    # a file that was not synced has no name; a file whose directory was not synced may have one
    assert len(files(tmp_path / "back")) == (number if when == "after" else 0)


@pytest.mark.parametrize(("code", "raised"), [(errno.EIO, True), (errno.ENOSYS, False)])
def test_what_syncfs_says_is_heard(monkeypatch, code, raised):
    class Library:
        def __init__(self, *_arguments, **_more):
            pass

        @staticmethod
        def syncfs(_descriptor):
            ctypes.set_errno(code)
            return -1

    done = []
    monkeypatch.setattr(ctypes, "CDLL", Library)
    monkeypatch.setattr(os, "sync", lambda: done.append(True))
    if raised:
        with pytest.raises(OSError, match="Input/output error"):
            _tree._sync_all(0)
    else:
        _tree._sync_all(0)
    assert done == ([] if raised else [True])


def test_where_libc_cannot_be_asked_all_is_synced(monkeypatch):
    def failing(*_arguments, **_more):
        raise OSError("no dynamic libraries here")

    done = []
    monkeypatch.setattr(ctypes, "CDLL", failing)
    monkeypatch.setattr(os, "sync", lambda: done.append(True))
    _tree._sync_all(0)
    assert done == [True]


def test_each_file_system_of_a_tree_is_synced(server, tmp_path, monkeypatch):
    for number in range(20):
        server.seed(f"{'ab'[number % 2]}/{number:02}", b"x")
    synced, fstat = [], os.fstat

    def elsewhere(descriptor):
        stat = fstat(descriptor)
        if not os.readlink(f"/proc/self/fd/{descriptor}").endswith("/b"):
            return stat
        return os.stat_result((*stat[:2], stat.st_dev + 1, *stat[3:]))

    monkeypatch.setattr(os, "fstat", elsewhere)
    monkeypatch.setattr(
        _tree, "_sync_all", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    )
    assert sync(server, tmp_path / "back", mode="pull")["downloaded"] == 20
    assert sorted(path.rpartition("/")[2] for path in synced) == [
        "a",
        "a",
        "b",
        "b",
    ]  # the files, then their directories


@pytest.mark.parametrize("number", [2, 20])
def test_a_directory_that_goes_while_a_pull_runs_costs_what_is_in_it(server, tmp_path, monkeypatch, number):
    for place in range(number):
        server.seed(f"b/{place:02}", b"x")
    server.seed("a/x", b"x")
    settle = _tree.Tree.settle

    def went(self, *arguments):
        shutil.rmtree(tmp_path / "back/a")
        return settle(self, *arguments)

    monkeypatch.setattr(_tree.Tree, "settle", went)
    fault = refused(server, tmp_path / "back", mode="pull")
    assert str(fault) == "'a/x': No such file or directory"
    assert fault.result["downloaded"] == number
    assert set(files(tmp_path / "back")) == {f"b/{place:02}" for place in range(number)}


@pytest.mark.parametrize("mode", ["push", "pull"])
def test_a_tree_that_fails_under_a_sync_is_one_sentence(server, tree, monkeypatch, mode):
    def failing(*_arguments):
        raise OSError(5, "Input/output error", "img")

    monkeypatch.setattr(_tree.Tree, "scan", failing)
    assert "was broken off ([Errno 5] Input/output error: 'img'): what it stored is whole" in str(
        refused(server, tree, mode=mode)
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_that_is_replaced_keeps_owner_and_mode(server, tmp_path):
    path = tmp_path / "site/a.txt"
    write(path, b"old")
    os.chown(path, 1234, 2345)
    path.chmod(0o640)
    server.seed("a.txt", b"from the bucket")
    sync(server, path.parent, mode="pull")
    stat = path.stat()
    assert (path.read_bytes(), stat.st_uid, stat.st_gid, stat.st_mode & 0o7777) == (
        b"from the bucket",
        1234,
        2345,
        0o640,
    )


def test_a_directory_that_cannot_be_made(server):
    server.seed("a.txt", b"a")
    fault = refused(server, "/proc/self/fd/nowhere", mode="pull")
    assert "file_root '/proc/self/fd/nowhere' cannot be made (" in str(fault)


def test_names_of_half_written_files_take_part_on_neither_side(server, tmp_path):
    server.seed(".samefiles-part-x", b"theirs")
    write(tmp_path / "site/a/.samefiles-part-y", b"ours")
    write(tmp_path / "site/b", b"b")
    sync(server, tmp_path / "site", exclude=[], delete=True, max_delete=ALL)
    assert set(content(server)) == {".samefiles-part-x", "b"}
    assert not sync(server, tmp_path / "site", exclude=[], mode="pull", delete=True)["changed"]
    assert (tmp_path / "site/a/.samefiles-part-y").exists()


def test_keys_that_xml_cannot_hold_are_deleted_one_by_one(server, tmp_path):
    for key in ("a\x01b", "a\x01c", "plain"):
        server.seed(key)
    write(tmp_path / "site/new", b"new")
    result = sync(server, tmp_path / "site", delete=True, max_delete=ALL)
    assert result["deleted"] == 3
    assert set(content(server)) == {"new"}
    assert (server.counts["DELETE"], server.counts["DELETEONE"]) == (1, 2)


# limits


@pytest.mark.parametrize(
    ("limit", "goes"),
    [
        ({"count": 2, "percent": 100}, True),
        ({"count": 1, "percent": 100}, False),
        ({"count": 9, "percent": 49}, False),
        (None, False),
    ],
)
def test_too_many_deletes_change_nothing_at_all(seeded, tmp_path, limit, goes):
    for name in ("new.txt", "new2.txt"):
        write(tmp_path / "site" / name, b"new")
    if goes:
        result = sync(seeded, tmp_path / "site", key_prefix="web", delete=True, max_delete=limit)
        assert (result["uploaded"], result["deleted"]) == (2, 2)
        return
    fault = refused(seeded, tmp_path / "site", key_prefix="web", delete=True, max_delete=limit)
    assert "2 of 2 would be deleted (100 %, 'a.txt', 'b.txt')" in str(fault)
    assert content(seeded) == THEIRS
    assert writes(seeded) == []


@pytest.mark.parametrize("mode", ["push", "pull"])
def test_the_limit_speaks_before_a_fleet_is_changed(server, tmp_path, mode):
    """The first phase refuses too, though only the last phase deletes."""
    write(tmp_path / "site/new.txt", b"new")
    for name in "abc":
        server.seed(name)
    for name in "xyz" if mode == "pull" else "":
        write(tmp_path / "site" / name, b"here")
    before = content(server), files(tmp_path / "site")
    fault = refused(server, tmp_path / "site", mode=mode, phase="assets", delete=True, max_delete={"count": 2})
    assert f"{4 if mode == 'pull' else 3} of {4 if mode == 'pull' else 3} would be deleted" in str(fault)
    assert (content(server), files(tmp_path / "site")) == before
    assert sync(server, tmp_path / "site", mode=mode, phase="assets")["changed"]


def test_what_was_pushed_through_links_can_be_pulled_again(server, tmp_path):
    write(tmp_path / "site/a.txt", b"a")
    write(tmp_path / "site/directory/c.txt", b"c")
    (tmp_path / "site/b.txt").symlink_to("a.txt")
    (tmp_path / "site/linked").symlink_to("directory")
    assert sync(server, tmp_path / "site")["uploaded"] == 4
    server.seed("linked/c.txt", b"changed there")
    result = sync(server, tmp_path / "site", mode="pull", delete=True)
    assert result["changed"] is False
    assert sorted(result["warnings"]) == ["'b.txt' is a link", "'linked' is a link"]
    assert (tmp_path / "site/directory/c.txt").read_bytes() == b"c"


def test_a_link_to_what_a_pull_brings_or_takes_away(server, tmp_path):
    for key in ("now", "new/index.html"):
        server.seed(key, b"new")
    root = tmp_path / "site"
    write(root / "old/index.html", b"old")
    (root / "now").symlink_to("new/index.html")
    assert sync(server, root, mode="pull", delete=True, max_delete=ALL)["actions"] == [
        f"fetch 'new/index.html', 3 B, new, into {root}", f"delete 'old/index.html', 3 B, from {root}",
    ]  # fmt: skip
    assert (root / "now").read_bytes() == b"new"
    assert sync(server, root, mode="pull", delete=True)["changed"] is False
    # a pull that would break the link fails, because the next one would fail too
    server.things.pop("new/index.html")
    assert "the key 'now' cannot be a file here" in str(refused(server, root, mode="pull", delete=True, max_delete=ALL))
    assert (root / "now").read_bytes() == b"new"
    # patterns may match what is below the link, and not the link
    server.seed("theme/x.css", b"new")
    server.seed("themes/blue/x.css", b"new")
    (root / "theme").symlink_to("themes/blue")
    assert sync(server, root, mode="pull", include=["*.css"])["downloaded"] == 1
    assert sync(server, root, mode="pull", include=["*.css"])["changed"] is False
    # a link to itself has no target
    server.seed("round", b"new")
    (root / "round").symlink_to("round")
    assert "the key 'round' cannot be a file here" in str(refused(server, root, mode="pull"))


def test_excluded_is_untouched_on_both_sides(seeded, tmp_path):
    write(tmp_path / "site/a.txt", b"a")
    write(tmp_path / "site/x.log", b"x")
    write(tmp_path / "site/.git/config", b"x")
    seeded.seed("web/y.log", b"theirs")
    seeded.seed("web/cache/z.bin", b"theirs")
    result = sync(
        seeded, tmp_path / "site", key_prefix="web", delete=True, max_delete=ALL, exclude=[".*", "*.log", "cache/**"]
    )
    assert (result["uploaded"], result["deleted"]) == (0, 1)  # web/b.txt
    assert set(content(seeded)) == {"web/a.txt", "web/y.log", "web/cache/z.bin", "web2/c.txt", "d.txt"}
    write(tmp_path / "back/k.log", b"mine")
    sync(seeded, tmp_path / "back", mode="pull", key_prefix="web", delete=True, max_delete=ALL, exclude=["*.log"])
    assert set(files(tmp_path / "back")) == {"a.txt", "cache/z.bin", "k.log"}


# check mode


@pytest.mark.parametrize("mode", ["push", "pull"])
def test_check_mode_is_the_plan_and_writes_nothing(seeded, tree, mode):
    options = {"mode": mode, "key_prefix": "web", "delete": True, "max_delete": ALL}
    seeded.things["web/a.txt"].headers["content-type"] = "wrong/type"
    write(tree / "a.txt", b"a")
    bucket_before, files_before = content(seeded), files(tree)
    planned = sync(seeded, tree, check=True, **options)
    assert (content(seeded), files(tree), writes(seeded)) == (bucket_before, files_before, [])
    done = sync(seeded, tree, **options)
    same = ("changed", "actions", "uploaded", "downloaded", "deleted", "updated_headers", "bytes", "diff")
    assert {name: planned[name] for name in same} == {name: done[name] for name in same}
    assert done["changed"]
    assert not sync(seeded, tree, **options)["changed"]


# partial failure


def test_one_key_that_is_denied(server, tree):
    server.seed("old.txt", b"old")
    server.faults.append(Fault("403", "PUT", "img/a.png", count=99, value="AccessDenied"))
    fault = refused(server, tree, delete=True, max_delete=ALL)
    assert "'img/a.png': PUT 'bkt/img/a.png': 403 AccessDenied" in str(fault)
    assert "allow it to the role or user that runs this" in str(fault)
    # the other assets are there; no page, which may name the missing one; nothing is deleted
    assert set(content(server)) == {"css/site.css", "img/b.png", "old.txt"}
    server.faults.clear()
    result = sync(server, tree, delete=True, max_delete=ALL)
    assert (result["uploaded"], result["deleted"]) == (3, 1)


def test_a_server_that_does_not_answer_is_given_up(server, tmp_path):
    for number in range(500):
        write(tmp_path / f"site/{number}", b"x")
    server.faults.append(Fault("drop-before", "PUT", count=99999))
    fault = refused(server, tmp_path / "site")
    assert server.counts["PUT"] < 8 * 100
    assert "and 490 more" in str(fault)


def test_a_server_that_goes_away_after_a_few_is_given_up_too(server, tmp_path):
    for number in range(500):
        write(tmp_path / f"site/{number}", b"x")
    server.faults.append(Fault("drop-before", "PUT", count=99999, skip=3))
    fault = refused(server, tmp_path / "site")
    assert len(content(server)) == 3
    assert server.counts["PUT"] < 8 * 100
    assert "and 487 more" in str(fault)


@pytest.mark.parametrize(("mode", "operation"), [("push", "BEGIN"), ("pull", "HEAD")])
def test_a_server_that_goes_away_is_given_up_for_large_files_too(server, tmp_path, monkeypatch, mode, operation):
    init, size = objects.Bucket.__init__, (1 << 20) + 1
    monkeypatch.setattr(objects.Bucket, "__init__", lambda *a, **k: init(*a, **{**k, "part": 1 << 20}))
    root = tmp_path / "site"
    root.mkdir()
    for number in range(40):
        if mode == "push":
            with (root / f"{number:02}").open("wb") as file:
                file.truncate(size)
        else:
            server.seed(f"{number:02}", bytes(size))
    server.faults.append(Fault("drop-before", operation, count=99999, skip=3))
    fault = refused(server, root, mode=mode)
    assert fault.result["uploaded"] + fault.result["downloaded"] == 3
    assert server.counts[operation] < 8 * 22


@pytest.mark.parametrize("why", ["denied", "unreadable"])
def test_many_that_fail_first_keep_nothing_from_the_rest(server, tmp_path, monkeypatch, why):
    for number in range(25):
        write(tmp_path / f"site/a/{number}", b"x")
    for number in range(200):
        write(tmp_path / f"site/b/{number}", b"x")
    if why == "denied":
        server.faults.append(Fault("403", "PUT", "a/.*", count=9999, value="AccessDenied"))
    else:
        opened = os.open

        def denied(path, *arguments, **more):
            if "/site/a/" in str(path):
                raise PermissionError(13, "Permission denied")
            return opened(path, *arguments, **more)

        monkeypatch.setattr(os, "open", denied)
    assert "and 15 more" in str(refused(server, tmp_path / "site"))
    assert len(content(server)) == 200


def test_what_was_read_too_soon_is_never_trusted_later(server, tmp_path, monkeypatch):
    """A write in the same tick as the read, which no time shows; then a run that compares, but may not send."""
    page, frozen = tmp_path / "site/index.html", {}
    write(page, b"before")
    write(tmp_path / "site/a.png", b"asset")
    real = _cache.identity

    def ticks(stat):
        current = real(stat)
        if stat.st_ino == page.stat().st_ino:
            return frozen.setdefault("page", current)
        return current

    for module in (_tree, _scan):
        monkeypatch.setattr(module, "identity", ticks)
    frozen["page"] = real(page.stat())._replace(mtime=time.time_ns(), ctime=time.time_ns())
    cache = {"cache": str(tmp_path / "cache")}
    sync(server, page.parent, **cache)
    page.write_bytes(b"AFTER!")
    time.sleep(2.2)
    write(tmp_path / "site/b.png", b"another asset")
    server.faults.append(Fault("403", "PUT", "b.png", value="AccessDenied"))
    refused(server, page.parent, **cache)  # the page waits for its asset
    assert content(server)["index.html"] == b"before"
    sync(server, page.parent, **cache)
    assert content(server)["index.html"] == b"AFTER!"


@pytest.mark.parametrize("network", [True, False])
def test_what_a_network_file_system_says_of_a_closed_file_is_not_trusted(server, tmp_path, monkeypatch, network):
    """Its client answers stat out of a cache of attributes, and asks the server when a file is opened."""
    monkeypatch.setattr(_cache, "RACE", 0.0)
    path = tmp_path / "site/a.txt"
    device = os.stat(tmp_path).st_dev
    remote = {f"{os.major(device)}:{os.minor(device)}": True} if network else {}
    monkeypatch.setattr(converge, "remote_devices", lambda _mounts: remote)
    write(path, b"before")
    options, opened = {"cache": str(tmp_path / "cache")}, []
    sync(server, path.parent, **options)
    reading, scan = _tree.Tree.reading, _tree.Tree.scan
    monkeypatch.setattr(_tree.Tree, "reading", lambda *arguments: opened.append(arguments) or reading(*arguments))
    hashed = _tree.md5_of
    monkeypatch.setattr(_tree, "md5_of", lambda *_arguments: pytest.fail("read again"))
    assert not sync(server, path.parent, **options)["changed"]
    assert len(opened) == network
    monkeypatch.setattr(_tree, "md5_of", hashed)
    stale = {}
    monkeypatch.setattr(_tree.Tree, "scan", lambda self: stale.setdefault("found", scan(self)))
    sync(server, path.parent, **options)
    path.write_bytes(b"after!")
    assert sync(server, path.parent, **options)["uploaded"] == network


@pytest.mark.parametrize("mode", ["push", "pull"])
def test_an_object_that_is_replaced_after_the_listing_teaches_the_cache_nothing(server, tmp_path, monkeypatch, mode):
    """The new object equals the file, and the ETag of the listing belongs to another content."""
    monkeypatch.setattr(_cache, "RACE", 0.0)
    path, data = tmp_path / "site/big.bin", {word: word * (9 << 20) for word in (b"o", b"n")}
    write(path, data[b"o"])
    sync(server, path.parent)
    old = server.things["big.bin"]
    write(path, data[b"n"])
    sync(server, path.parent)
    new, server.things["big.bin"] = server.things["big.bin"], old

    def replace(request):
        if request.operation == "HEAD":
            server.things["big.bin"] = new

    server.hook = replace
    options = {"cache": str(tmp_path / "cache"), "mode": mode}
    if mode == "pull":
        said = str(refused(server, path.parent, **options))
        assert "'big.bin' was changed in the bucket by somebody else while this ran: run it again" in said
    else:  # the new object already has the content of the file
        assert "the object was replaced while this ran" in sync(server, path.parent, **options)["actions"][0]
    server.hook = None
    server.things["big.bin"] = old
    result = sync(server, path.parent, **options)
    assert (result["uploaded"], result["downloaded"]) == ((1, 0) if mode == "push" else (0, 1))
    assert path.read_bytes() == server.things["big.bin"].data


def test_headers_that_are_changed_after_the_listing_are_not_remembered_as_those_of_before(server, tree, tmp_path):
    options = {"cache": str(tmp_path / "cache")}
    server.skew = -60
    sync(server, tree)
    server.skew = 0
    thing = server.things["index.html"]
    before = dict(thing.headers), thing.modified

    def change(request):
        if (request.operation, request.key) == ("HEAD", "index.html"):
            thing.headers["content-type"], thing.modified = "text/theirs", server.now() - 10

    server.hook = change
    assert sync(server, tree, **options)["updated_headers"] == 1
    server.hook = None
    thing.headers, thing.modified = before
    server.things["index.html"] = thing
    assert not sync(server, tree, **options)["changed"]


def test_a_root_that_its_reader_may_not_enter(seeded):
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        os.chmod(directory, 0o755)
        root = pathlib.Path(directory) / "site"
        write(root / "a.txt", b"a")
        root.chmod(0)
        nobody = 65534
        if os.geteuid() == 0:
            os.seteuid(nobody)
        try:
            fault = refused(seeded, root, key_prefix="web", delete=True, max_delete=ALL)
        finally:
            if os.geteuid() == nobody:
                os.seteuid(0)
            root.chmod(0o755)
    assert "cannot be read (Permission denied): nothing was changed" in str(fault)
    assert content(seeded) == THEIRS
    assert writes(seeded) == []


def test_deletes_that_fail_are_named(seeded, tmp_path):
    write(tmp_path / "site/new.txt", b"new")
    seeded.faults.append(Fault("delete-error", "never", "web/a.txt"))
    fault = refused(seeded, tmp_path / "site", key_prefix="web", delete=True, max_delete=ALL)
    assert "'web/a.txt' was not deleted: AccessDenied no" in str(fault)
    assert fault.result["deleted"] == 1


@pytest.mark.parametrize("code", ["SlowDown", "InternalError", "ServiceUnavailable"])
@pytest.mark.parametrize(("times", "fails"), [(2, 0), (99, 1), (99, 2)])
def test_a_delete_that_s3_puts_off_is_tried_again(server, tmp_path, code, times, fails):
    """In a request for a thousand keys S3 may be too busy for one of them, and reports that within the 200."""
    (tmp_path / "site").mkdir()
    for name in ("a", "b", "c & d"):
        server.seed(name, b"x")
    busy, asked, delete = [times], [], server._delete

    def some(request):
        asked.append(request.body.count(b"<Key>"))
        busy[0] -= 1
        if fails == 2 and len(asked) == 2:
            raise Refusal(403, "AccessDenied")
        if busy[0] < 0:
            return delete(request)
        request.body = request.body.replace(b"<Object><Key>c &amp; d</Key>", b"<Gone><Key>c</Key>")
        status, headers, body = delete(request)
        error = f"<Error><Key>c &amp; d</Key><Code>{code}</Code><Message>m</Message></Error></DeleteResult>".encode()
        return status, headers, body.replace(b"</DeleteResult>", error)

    server._delete = some
    options = {"delete": True, "allow_empty_source": True, "max_delete": ALL}
    if fails:
        fault = refused(server, tmp_path / "site", **options)
        assert f"'c & d' was not deleted: {code} m" in str(fault)
        assert fault.result["deleted"] == 2
        assert set(content(server)) == {"c & d"}
        assert len(asked) == (5 if fails == 1 else 2)
    else:
        assert sync(server, tmp_path / "site", **options)["deleted"] == 3
        assert asked == [3, 1, 1]


def test_an_object_that_changed_is_not_deleted(seeded, tmp_path):
    write(tmp_path / "site/new.txt", b"new")

    def change(request):
        if request.operation == "DELETE":
            seeded.seed("web/a.txt", b"written just now")

    seeded.hook = change
    fault = refused(seeded, tmp_path / "site", key_prefix="web", delete=True, max_delete=ALL)
    assert "'web/a.txt' was not deleted: PreconditionFailed" in str(fault)
    assert content(seeded)["web/a.txt"] == b"written just now"


def test_a_file_that_came_after_the_scan_keeps_its_object(seeded, tmp_path):
    root = tmp_path / "site"
    write(root / "new.txt", b"new")

    def come(request):
        if request.operation == "PUT":
            write(root / "a.txt", b"a")

    seeded.hook = come
    fault = refused(seeded, root, key_prefix="web", delete=True, max_delete=ALL)
    assert "'web/a.txt' was not deleted: its file is there now: run it again" in str(fault)
    assert "Nothing was deleted" not in str(fault)  # b.txt was
    assert set(content(seeded)) == {*THEIRS, "web/new.txt"} - {"web/b.txt"}
    seeded.hook = None
    assert not sync(seeded, root, key_prefix="web", delete=True, max_delete=ALL)["deleted"]


def test_a_file_that_cannot_be_looked_at_before_a_delete_keeps_its_object(seeded, tmp_path, monkeypatch):
    write(tmp_path / "site/new.txt", b"new")
    lstat = os.lstat

    def failing(path, **more):
        if str(path).endswith("/site/a.txt"):
            raise OSError(5, "Input/output error")
        return lstat(path, **more)

    monkeypatch.setattr(os, "lstat", failing)
    fault = refused(seeded, tmp_path / "site", key_prefix="web", delete=True, max_delete=ALL)
    assert "'web/a.txt' was not deleted: its file cannot be looked at (Input/output error)" in str(fault)
    assert "web/a.txt" in content(seeded)


@pytest.mark.parametrize("again", [True, False])
def test_a_file_that_is_replaced_during_the_scan_is_not_missing(server, tmp_path, monkeypatch, again):
    """As editors and git do it: unlink, then create. In between a scan lists the file, and lstat fails."""
    path = tmp_path / "site/b.txt"
    for name in ("a.txt", "b.txt"):
        write(tmp_path / "site" / name, b"before")
    sync(server, path.parent)
    scan_entry, lstat = _scan.Scan._entry, os.lstat

    def replaced(self, entry, name, *rest):
        if name != "b.txt":
            return scan_entry(self, entry, name, *rest)
        path.unlink()
        try:
            return scan_entry(self, entry, name, *rest)
        finally:
            write(path, b"after!")

    def later(what, **more):
        if again and str(what) == str(path) and not path.exists():
            write(path, b"after!")
        return lstat(what, **more)

    monkeypatch.setattr(_scan.Scan, "_entry", replaced)
    monkeypatch.setattr(os, "lstat", later)
    result = sync(server, path.parent, delete=True, max_delete=ALL)
    assert (result["uploaded"], result["deleted"]) == (int(again), 0)
    assert content(server)["b.txt"] == (b"after!" if again else b"before")


def test_an_object_that_a_directory_took_the_place_of_is_deleted(server, tmp_path):
    for key in ("directory", "linked", "../out", "/etc/passwd"):
        server.seed(key, b"old")
    for path in ("site/directory/a", "site/b", "out"):
        write(tmp_path / path, b"new")
    (tmp_path / "site/linked").symlink_to("directory")
    assert sync(server, tmp_path / "site", delete=True, max_delete=ALL, exclude=[])["deleted"] == 4
    assert set(content(server)) == {"directory/a", "linked/a", "b"}


def test_a_file_that_is_being_written_is_waited_for(server, tmp_path, monkeypatch):
    """A write sets the time when it begins. With mmap only the first write to a page does."""
    monkeypatch.setattr(_tree, "REST", 0.5)
    write(tmp_path / "site/a", b"old " * 1000)
    with open(tmp_path / "site/a", "r+b") as file, mmap.mmap(file.fileno(), 4000) as page:
        page[:2000] = b"new " * 500
        late = threading.Timer(0.2, page.__setitem__, (slice(2000, 4000), b"new " * 500))
        late.start()
        sync(server, tmp_path / "site")
        late.join()
    assert content(server) == {"a": b"new " * 1000}


@contextlib.contextmanager
def busy(work):
    """Do something every few milliseconds meanwhile."""
    ended = threading.Event()

    def again():
        while not ended.wait(0.005):
            work()

    thread = threading.Thread(target=again)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_file_without_a_pause_between_writes(server, tmp_path, monkeypatch):
    monkeypatch.setattr(_tree, "REST", 0.2)
    for name in ("log", "over"):
        write(tmp_path / f"site/{name}", b"line\n")
    with (
        open(tmp_path / "site/log", "ab", 0) as log, open(tmp_path / "site/over", "r+b", 0) as over,
        busy(lambda: (log.write(b"line\n"), os.pwrite(over.fileno(), os.urandom(5), 0))),
    ):  # fmt: skip
        fault = refused(server, tmp_path / "site")
    assert str(fault) == "'over': 'over' is being written to without a pause"
    # appending changes nothing that was read
    assert set(content(server)["log"].split()) == {b"line"}
    assert set(content(server)) == {"log"}


@pytest.mark.parametrize(
    ("local", "key", "why"),
    [
        ("k/y", "k", "a directory is in its place: move that away"),
        ("docs", "docs/x.css", "'docs' is no directory: move that away"),
    ],
)
@pytest.mark.parametrize("include", [["*"], ["*.css", "k"]])
def test_what_stands_in_the_way_of_a_pull_is_named_by_check_mode_too(server, tmp_path, local, key, why, include):
    write(tmp_path / "tree" / local, b"here")
    server.seed(key, b"there")
    server.seed("b.css", b"b")
    said = set()
    for check in (True, False):
        with pytest.raises(converge.Refused) as caught:
            sync(server, tmp_path / "tree", check, mode="pull", include=include)
        said.add(str(caught.value))
        assert caught.value.result["downloaded"] == 1
    assert said == {f"the key '{key}' cannot be a file here: {why}"}
    assert files(tmp_path / "tree") == {local: b"here", "b.css": b"b"}


# order


def test_assets_then_pages_then_deletes(server, tree):
    server.seed("old.css", b"old")
    sync(server, tree, delete=True, max_delete=ALL)
    order = [key for operation, key, _status in server.log if operation in ("PUT", "DELETE")]
    assert sorted(order[:3]) == ["css/site.css", "img/a.png", "img/b.png"]
    assert sorted(order[3:5]) == ["index.html", "robots.txt"]
    assert order[5:] == [""]  # DeleteObjects


def test_the_phases_of_a_fleet(server, tree):
    server.seed("css/site.css", b"old")
    server.seed("old.css", b"old")
    result = sync(server, tree, phase="assets", delete=True, max_delete=ALL)
    assert result["uploaded"] == 2
    assert content(server) == {
        "css/site.css": b"old", "old.css": b"old", "img/a.png": b"this is img/a.png\n", "img/b.png": b"this is img/b.png\n",
    }  # fmt: skip
    assert not sync(server, tree, phase="assets", delete=True, max_delete=ALL)["changed"]
    result = sync(server, tree, phase="rest", delete=True, max_delete=ALL)
    assert (result["uploaded"], result["deleted"]) == (3, 1)
    assert content(server) == files(tree)


# headers


def test_headers_by_pattern_and_a_change_without_upload(server, tree):
    write(tree / "css/big.css.gz", b"zipped")
    options = {"cache_control": "no-cache", "mime_map": {".png": "image/x-png"},
               "headers": [{"patterns": ["css/**"], "cache_control": "max-age=9", "metadata": {"Owner": "us"}}]}  # fmt: skip
    sync(server, tree, **options)
    stored = {key: thing.headers for key, thing in server.things.items()}
    assert stored["index.html"] == {"content-type": "text/html; charset=utf-8", "cache-control": "no-cache"}
    assert stored["img/a.png"]["content-type"] == "image/x-png"
    assert stored["css/big.css.gz"] == {
        "content-type": "text/css; charset=utf-8", "content-encoding": "gzip", "cache-control": "max-age=9", "x-amz-meta-owner": "us",
    }  # fmt: skip
    server.things["index.html"].headers["x-amz-meta-mtime"] = "of another tool"
    server.log.clear()
    changed = sync(server, tree, **{**options, "cache_control": "no-store"})
    assert (changed["uploaded"], changed["updated_headers"]) == (0, 4)
    assert "cache-control 'no-cache' -> 'no-store'" in changed["actions"][0]
    assert set(writes(server)) == {"COPY"}
    assert server.things["index.html"].headers["x-amz-meta-mtime"] == "of another tool"
    assert not sync(server, tree, **{**options, "cache_control": "no-store"})["changed"]


def test_a_coding_as_http_writes_lists_is_no_drift(server, tree):
    options = {"headers": [{"patterns": ["*.css"], "content_encoding": "gzip, br"}]}
    sync(server, tree, **options)
    assert server.things["css/site.css"].headers["content-encoding"] == "gzip,br"
    assert not sync(server, tree, **options)["changed"]


def test_an_empty_text_takes_metadata_away(server, tree):
    sync(server, tree, headers=[{"patterns": ["*.css"], "metadata": {"Owner": "us", "By": "me"}}])
    result = sync(server, tree, headers=[{"patterns": ["*.css"], "metadata": {"Owner": ""}}])
    assert (result["uploaded"], result["updated_headers"]) == (0, 1)
    assert "x-amz-meta-owner 'us' -> 'none'" in result["actions"][0]
    kept = {name: value for name, value in server.things["css/site.css"].headers.items() if "meta" in name}
    assert kept == {"x-amz-meta-by": "me"}
    assert not sync(server, tree, headers=[{"patterns": ["*.css"], "metadata": {"Owner": ""}}])["changed"]


def test_a_file_mode_in_quotes(server, tmp_path):
    server.seed("a", b"a")
    sync(server, tmp_path / "back", mode="pull", file_mode="0604")
    assert (tmp_path / "back/a").stat().st_mode & 0o7777 == 0o604


@pytest.mark.parametrize("size", [6, 9 << 20])
@pytest.mark.parametrize(
    ("before", "mode", "during", "after"),
    [(None, "0600", 0o600, 0o600), (0o600, None, 0o600, 0o600), (None, "0644", 0o600, 0o644), (0o640, None, 0o600, 0o640),
     (0o600, "0644", 0o600, 0o644), (None, None, 0o644, 0o644)],
)  # fmt: skip
def test_what_is_half_written_is_open_to_nobody_who_may_not_read_the_file(
    server, tmp_path, monkeypatch, size, before, mode, during, after
):
    server.seed("a", bytes(size))
    path, seen, write_at = tmp_path / "site/a", set(), os.pwrite
    if before:
        write(path, b"before")
        path.chmod(before)

    def record_mode(descriptor, *arguments):
        seen.add(os.fstat(descriptor).st_mode & 0o7777)
        return write_at(descriptor, *arguments)

    monkeypatch.setattr(os, "pwrite", record_mode)
    umask = os.umask(0o022)
    try:
        sync(server, path.parent, mode="pull", file_mode=mode, file_change_strategy="force")
    finally:
        os.umask(umask)
    assert (seen, path.stat().st_mode & 0o7777) == ({during}, after)


def test_no_acl_is_ever_sent(server, tree):
    assert "permission is 'public-read', but no ACL is ever sent" in str(
        refused(server, tree, permission="public-read")
    )
    sync(server, tree)
    assert not any("-acl" in thing.headers for thing in server.things.values())


def test_storage_class_and_encryption(secure, tree):
    sync(secure, tree, storage_class="STANDARD_IA", encryption="AES256")
    headers = secure.things["img/a.png"].headers
    assert headers["x-amz-storage-class"] == "STANDARD_IA"
    assert headers["x-amz-server-side-encryption"] == "AES256"
    assert not sync(secure, tree, storage_class="STANDARD_IA", encryption="AES256")["changed"]
    result = sync(secure, tree, storage_class="GLACIER", encryption="aws:kms", kms_key_id="k")
    assert (result["uploaded"], result["updated_headers"]) == (0, 5)
    assert secure.things["img/a.png"].headers["x-amz-storage-class"] == "STANDARD_IA"  # left to lifecycle rules


def test_what_a_lifecycle_rule_did_to_an_object_stays(server, tree, tmp_path):
    """Neither its ETag nor its time shows it, so that what is remembered of the object is not true any more."""
    cache = {"cache": str(tmp_path / "cache")}
    for server.skew in (-30, 0):
        sync(server, tree, **cache)
    server.things["robots.txt"].headers["x-amz-storage-class"] = "GLACIER_IR"
    assert sync(server, tree, **cache)["requests"] == {"LIST": 1}
    result = sync(server, tree, cache_control="no-cache", **cache)
    assert (result["updated_headers"], result["requests"]) == (5, {"COPY": 5, "HEAD": 5, "LIST": 1})
    assert server.things["robots.txt"].headers["x-amz-storage-class"] == "GLACIER_IR"
    assert server.things["robots.txt"].headers["cache-control"] == "no-cache"


# requests


def test_a_warm_cache_needs_listings_alone(server, tmp_path):
    server.page = 10
    for number in range(95):
        write(tmp_path / f"site/{number}.txt", b"x%d" % number)
    cache = str(tmp_path / "cache")
    server.skew = -30
    sync(server, tmp_path / "site", cache=cache)
    server.skew = 0
    assert sync(server, tmp_path / "site", cache=cache)["requests"] == {"HEAD": 95, "LIST": 10}
    assert sync(server, tmp_path / "site", cache=cache)["requests"] == {"LIST": 10}
    thing = server.things["7.txt"]
    thing.headers["cache-control"], thing.modified = "theirs", server.now() - 10
    result = sync(server, tmp_path / "site", cache=cache)
    assert (result["updated_headers"], result["requests"]) == (1, {"COPY": 1, "HEAD": 1, "LIST": 10})


@pytest.mark.parametrize(
    "harm", ["{", '{"version": 1}', "[]", '{"version":1,"about":[],"files":[],"objects":1,"sets":2}', ""]
)
def test_a_broken_cache_costs_work_and_nothing_else(server, tree, tmp_path, harm):
    cache = tmp_path / "cache"
    sync(server, tree, cache=str(cache))
    (path,) = cache.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text(harm)
    assert not sync(server, tree, cache=str(cache))["changed"]


def test_a_cache_that_cannot_be_written_is_a_warning(server, tree, tmp_path):
    write(tmp_path / "file", b"")
    result = sync(server, tree, cache=str(tmp_path / "file"))
    assert "cannot be written" in result["warnings"][0]
    assert result["uploaded"] == 5


# one file, progress, report


@pytest.mark.parametrize("name", ["index.html", ".htaccess", "[a]*?.txt"])
def test_a_single_file_says_nothing_about_its_neighbours(server, tree, name):
    server.seed(f"web/{name}.old", b"theirs")
    server.seed("web/other", b"theirs")
    write(tree / name, b"one")
    options = {"key_prefix": "web", "delete": True, "max_delete": ALL}
    assert sync(server, tree / name, **options)["uploaded"] == 1
    assert not sync(server, tree / name, **options)["changed"]
    assert set(content(server)) == {f"web/{name}", f"web/{name}.old", "web/other"}


def test_a_pull_keeps_no_setuid_on_other_bytes(server, tmp_path):
    write(tmp_path / "back/tool", b"before")
    (tmp_path / "back/tool").chmod(0o4750)
    server.seed("tool", b"after!")
    sync(server, tmp_path / "back", mode="pull")
    assert (tmp_path / "back/tool").stat().st_mode & 0o7777 == 0o750


def test_report_and_progress(server, tree, tmp_path, monkeypatch):
    from ansible_collections.samefiles.aws.plugins.module_utils._s3_sync import workers

    monkeypatch.setattr(workers.Progress, "EVERY", 0.0)
    sync(server, tree, check=True, progress_file=str(tmp_path / "progress"))
    assert not (tmp_path / "progress").exists()
    result = sync(server, tree, report="full", progress_file=str(tmp_path / "progress"))
    assert result["files"]["uploaded"] == sorted(files(tree))
    assert "sent: 5 of 5" in (tmp_path / "progress").read_text()


# kill -9, then converge

CODE = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
from ansible_collections.samefiles.aws.plugins.module_utils._s3_sync import converge, pull
pull._BATCH = 4  # else a pull this small renames all files at its end
converge.sync(json.loads(sys.argv[2]))
"""


@pytest.mark.parametrize("mode", ["push", "pull"])
def test_killed_at_any_moment_it_converges(server, tmp_path, mode):
    chance = random.Random(7)
    root, before = tmp_path / "tree", {}
    for number in range(60):
        data = os.urandom(chance.choice([10, 5000, 200_000]))
        if mode == "push":
            write(root / f"{number % 5}/{number}", data)
        else:
            server.seed(f"{number % 5}/{number}", data)
            before[f"{number % 5}/{number}"] = b"old content"
            write(root / f"{number % 5}/{number}", b"old content")
    server.hook = lambda request: time.sleep(0.01)
    options = server.options(file_root=str(root), mode=mode, cache=str(tmp_path / "cache"))
    operation, halfway = {"push": "PUT", "pull": "GET"}[mode], 0
    for number in range(6):
        server.counts.clear()
        process = subprocess.Popen([sys.executable, "-c", CODE, json.dumps(sys.path), json.dumps(options)])
        # the first at the beginning, the others later and later into the transfer
        until = time.monotonic() + 30
        while server.counts[operation] < 2 * number and process.poll() is None and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(chance.random() / 100)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if mode == "push":
            assert all(files(root)[key] == data for key, data in content(server).items())
            done = len(content(server))
        else:
            now = {path: data for path, data in files(root).items() if ".samefiles-part-" not in path}
            assert all(data in (before[path], content(server)[path]) for path, data in now.items())
            assert set(now) == set(before)
            done = sum(data != before[path] for path, data in now.items())
        halfway += process.returncode == -signal.SIGKILL and 0 < done < 60
    assert halfway
    server.hook = None
    converge.sync(options)
    assert files(root) == content(server)
    assert not converge.sync(options)["changed"]


def test_a_timer_s_result_can_be_read_by_who_collects_it(server, tree, tmp_path, monkeypatch):
    """Its unit has UMask=0027, and the collector of Prometheus is another user."""
    conf, state = tmp_path / "conf.json", tmp_path / "state"
    conf.write_text(json.dumps(server.options(file_root=str(tree))))
    state.mkdir()
    before = os.umask(0o027)
    try:
        assert runner.run("site", str(conf), str(state)) == 0
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in state.iterdir()}
    assert modes == {"last.json": 0o644, "s3_sync.prom": 0o644}


ENDED = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
from ansible_collections.samefiles.aws.plugins.module_utils._s3_sync import converge
try:
    converge.sync(json.loads(sys.argv[2]))
except converge.Refused as fault:
    sys.exit(str(fault))
"""


def ended(server, so_far, **options) -> str:
    """The message of a sync that gets a SIGTERM at this point."""
    settings = server.options(**options)
    process = subprocess.Popen(
        [sys.executable, "-c", ENDED, json.dumps(sys.path), json.dumps(settings)], stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 30
    while not so_far() and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 1, said
    return said


def test_ended_by_systemd_an_upload_is_given_up(server, tmp_path):
    write(tmp_path / "tree/big", os.urandom(80 << 20))
    server.hook = lambda request: time.sleep(0.1)
    assert "was ended by SIGTERM" in ended(server, lambda: server.counts["PART"] >= 2, file_root=str(tmp_path / "tree"))
    assert server.counts["PART"] < 10
    assert (server.counts["ABORT"], server.unfinished()) == (1, 0)


def test_ended_by_systemd_a_pull_leaves_whole_files(server, tmp_path):
    for number in range(200):
        server.seed(f"{number % 5}/{number}", os.urandom(1000))
    server.hook = lambda request: time.sleep(0.02)
    root = tmp_path / "tree"
    assert "was ended by SIGTERM" in ended(server, lambda: server.counts["GET"] >= 30, file_root=str(root), mode="pull")
    pulled, wanted = files(root), content(server)
    assert 10 < len(pulled) < 200
    assert all(wanted[path] == data for path, data in pulled.items())


@contextlib.contextmanager
def first_alone(port: int):
    """A relay for the first connection to a server; later ones get no answer. Its port, and the later connections."""
    deaf, kept, late = socket.create_server(("127.0.0.1", 0)), [], []

    def carry(source, sink):
        with contextlib.suppress(OSError):
            while block := source.recv(1 << 16):
                sink.sendall(block)

    def take():
        with contextlib.suppress(OSError):
            kept.extend((deaf.accept()[0], socket.create_connection(("127.0.0.1", port))))
            for pair in (kept, kept[::-1]):
                threading.Thread(target=carry, args=pair, daemon=True).start()
            while True:
                link = deaf.accept()[0]
                link.recv(1, socket.MSG_PEEK)  # the client sent something and waits for an answer
                late.append(link)

    threading.Thread(target=take, daemon=True).start()
    try:
        yield deaf.getsockname()[1], late
    finally:
        deaf.shutdown(socket.SHUT_RDWR)
        for end in (deaf, *kept, *late):
            end.close()


def test_ended_by_systemd_while_a_handshake_hangs(secure, tmp_path):
    """The waiting thread has no connection yet that could be closed."""
    for number in range(4):
        write(tmp_path / f"site/{number}", b"new")
    with first_alone(secure.port) as (port, late):
        options = {"endpoint_url": f"https://127.0.0.1:{port}", "file_root": str(tmp_path / "site")}
        began = time.monotonic()
        assert "was ended by SIGTERM" in ended(secure, lambda: late, **options)
        assert 5 < time.monotonic() - began < 20


def test_ended_by_systemd_while_a_disk_hangs(server, tmp_path, monkeypatch):
    """Nothing can interrupt a thread that waits for a disk."""
    mark = tmp_path / "hangs"
    for number in range(4):
        write(tmp_path / f"site/{number}", b"same")
        server.seed(str(number), b"same")
    hang = f"def hang(*_): open({str(mark)!r}, 'w').close(); time.sleep(60)\n"
    slow = f"import time\n{hang}converge.tree.md5_of = hang\n"
    monkeypatch.setitem(globals(), "ENDED", ENDED.replace("try:\n", f"{slow}try:\n"))
    began = time.monotonic()
    assert "was ended by SIGTERM" in ended(server, mark.exists, file_root=str(tmp_path / "site"))
    assert 5 < time.monotonic() - began < 28


def test_ended_by_systemd_while_the_server_hangs(server, tmp_path):
    """A process that waits for an answer that never comes would be killed after 90 s, with its upload left behind."""
    write(tmp_path / "tree/big", os.urandom(30 << 20))
    asked = threading.Event()
    server.hook = lambda request: request.operation == "PART" and not asked.wait(60)
    began = time.monotonic()
    try:
        assert "was ended by SIGTERM" in ended(
            server, lambda: server.counts["PART"] >= 2, file_root=str(tmp_path / "tree")
        )
        assert time.monotonic() - began < 25
        assert (server.counts["ABORT"], server.unfinished()) == (1, 0)
    finally:
        asked.set()


@pytest.mark.parametrize(
    ("host", "pid", "age", "stays"),
    [
        ("here", "gone", 0, False), ("here", "1", 0, True), ("here", "1", 999_999, True),
        ("other", "gone", 0, True), ("other", "1", 90_000, False), ("", "gone", 0, True), ("", "gone", 90_000, True),
    ],
)  # fmt: skip
def test_only_what_nobody_writes_is_swept(server, tmp_path, host, pid, age, stays):
    server.seed("a", b"a")
    gone = subprocess.Popen(["true"])
    gone.wait()
    mark = {"here": f"{_tree._host()}-", "other": "0123abcd-", "": ""}[host]
    part = tmp_path / f"root/sub/{_tree.PART}{mark}{gone.pid if pid == 'gone' else pid}-{'0' * 16}"
    write(part, b"half", age)
    sync(server, tmp_path / "root", mode="pull")
    assert part.exists() is stays


def test_a_host_without_proc_trusts_no_clock(server, tree, tmp_path, monkeypatch):
    options = {"cache": str(tmp_path / "cache")}
    sync(server, tree, **options)
    opened = open

    def without(path, *words, **named):
        if path == "/proc/self/mountinfo":
            raise FileNotFoundError(path)
        return opened(path, *words, **named)

    monkeypatch.setattr("builtins.open", without)
    assert not sync(server, tree, **options)["changed"]


def test_headers_that_threads_remember_at_a_time_stay_those_of_their_objects(tmp_path):
    class Slow(list):
        def append(self, item):
            time.sleep(0.02)
            super().append(item)

    cache = _cache.Cache(None, ())
    cache._sets = Slow()
    heads = {
        f"{number}": responses.Head(
            1, "e", 0, 9.0, {"content-type": f"t/{number}"}, {}, "STANDARD", None, None, {}, None
        )
        for number in range(8)
    }
    threads = [threading.Thread(target=cache.remember_head, args=(path, head, "then")) for path, head in heads.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {path: cache.head(path, "e", "then").headers for path in heads} == {
        path: heads[path].headers for path in heads
    }


@pytest.mark.parametrize(
    ("fstype", "keeps"),
    [
        ("nfs4", True), ("nfs", True), ("fuse.sshfs", False), ("virtiofs", False), ("prl_fs", False), ("vfat", False), ("exfat", False),
        ("9p", False), ("cifs", False), ("ext4", None), ("overlay", None),
    ],
)  # fmt: skip
def test_whose_clock_is_the_host_s_and_who_keeps_a_change_time(fstype, keeps):
    row = f"36 35 98:0 / /srv rw,noatime master:1 - {fstype} /dev/root rw,errors=continue"
    assert _cache.remote_devices(row).get("98:0") is keeps


@pytest.mark.parametrize("known", [True, False])
def test_where_no_change_time_is_kept_each_run_reads(server, tmp_path, monkeypatch, known):
    """sshfs, vfat: cp -p and rsync -t of other bytes of the same size leave no trace in stat."""
    monkeypatch.setattr(_cache, "RACE", 0.0)
    real = _cache.identity
    for module in (_tree, _scan):
        monkeypatch.setattr(module, "identity", lambda stat: real(stat)._replace(ctime=stat.st_mtime_ns))
    path = tmp_path / "site/a.txt"
    write(path, b"before", age=3600)
    device = os.stat(path).st_dev
    remote = {f"{os.major(device)}:{os.minor(device)}": False} if known else None
    if known:
        monkeypatch.setattr(converge, "remote_devices", lambda _mounts: remote)
    else:
        original = converge.Comparer
        monkeypatch.setattr(converge, "Comparer", lambda *arguments: original(*arguments[:-1], None))
    options = {"cache": str(tmp_path / "cache")}
    for _run in range(2):
        sync(server, path.parent, **options)
    stat = os.stat(path)
    path.write_bytes(b"after!")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert sync(server, path.parent, **options)["uploaded"] == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"file_root": "a\0b"}, "file_root must be a path"),
        ({"file_root": ""}, "file_root must be the path of a tree, got ''"),
        ({"file_root": " "}, "file_root must be the path of a tree, got ' '"),
        ({"file_root": "", "mode": "pull", "delete": True}, "file_root must be the path of a tree, got ''"),
        ({"progress_file": "/nowhere/progress"}, "progress_file '/nowhere/progress' cannot be written"),
        ({"file_root": "/typo"}, "file_root '/typo' is not there: nothing was changed"),
        ({"permission": "public-read"}, "no ACL is ever sent"),
        ({"key_prefix": "a/../b"}, "key_prefix must be a path without empty parts, '.' and '..', got 'a/../b'"),
        ({"bucket": "No_Bucket"}, "bucket must be 3-63 of a-z"),
        ({"max_delete": {"count": -1}}, "max_delete must have a count of 0 or more"),
        ({"kms_key_id": "k"}, "kms_key_id needs encryption: aws:kms, got None"),
        (
            {"encryption": "aws:kms", "kms_key_id": "alias/site"},
            "kms_key_id is the alias 'alias/site', by which S3 names the key of no object: give the key's id or ARN",
        ),
        ({"encryption": "aws:kms", "kms_key_id": "arn:aws:kms:eu-central-1:1:alias/site"}, "give the key's id or ARN"),
        ({"concurrency": 0}, "concurrency must be from 1 to 64, got 0"),
        ({"headers": [{"patterns": []}]}, "headers[0].patterns must name at least one glob"),
        (
            {"headers": [{"patterns": ["*"], "cache_control": "a\nb"}]},
            "headers[0].cache_control must be printable ASCII",
        ),
        (
            {"headers": [{"patterns": ["*"], "content_type": ""}]},
            "headers[0].content_type is empty, but S3 gives each object a type",
        ),
        ({"mime_map": {".x": ""}}, "mime_map['.x'] must be a type such as text/plain, got ''"),
        ({"mime_map": {".x": None}}, "mime_map['.x'] must be a type such as text/plain, got None"),
        ({"headers": [{"patterns": ["*"], "content_type": "a "}]}, "headers[0].content_type must be printable ASCII"),
        ({"headers": [{"patterns": ["*"], "metadata": {"a": " b"}}]}, "headers[0].metadata.a must be printable ASCII"),
        (
            {"headers": [{"patterns": ["*"], "metadata": {"a\n": "b"}}]},
            "headers[0].metadata must have names of letters",
        ),
        ({"headers": [{"patterns": ["*"], "metadata": {"a:b": "b"}}]}, "as headers have, got 'a:b'"),
        ({"headers": [{"patterns": ["*"], "metadata": {"": "b"}}]}, "as headers have, got ''"),
        ({"cache_control": "max-age=60\n"}, "cache_control must be printable ASCII without blanks at its ends"),
        ({"cache_control": "max-age=60\r\nx-amz-acl: public-read"}, "cache_control must be printable ASCII"),
        ({"mime_map": {".x": "text/x\n"}}, "mime_map['.x'] must be printable ASCII"),
        ({"encryption": "aws:kms", "kms_key_id": "k\n"}, "kms_key_id must be printable ASCII"),
        ({"include": ["[z-a]"]}, "include must be a list of globs"),
        ({"file_mode": "rw"}, "file_mode must be an octal number in quotes"),
        ({"file_mode": "420"}, "such as '0644', got '420': without quotes YAML makes 0644 the number 420"),
        ({"file_mode": "644"}, "such as '0644', got '644'"),
        ({"endpoint_url": "s3.example.com"}, "endpoint_url must be http:// or https://"),
        ({"access_key": None}, "secret_key needs access_key"),
        ({"secret_key": "wrong"}, "403 SignatureDoesNotMatch"),
    ],
)
def test_bad_input_is_one_sentence(server, tree, options, said):
    settings = {**server.options(), "file_root": str(tree), **options}
    for check in (True, False):
        with pytest.raises(converge.Refused) as caught:
            converge.sync(settings, check)
        assert said in str(caught.value)
        assert SECRET not in str(caught.value)
    assert writes(server) == []
