"""What only the storage efs promises: directories, strange files, lost answers, mounts, and 100,000 files."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import threading
import time

import pytest
from gallery import keys, mounts
from gallery.errors import Problem
from gallery.storage import efs

from tests.support.gallery_storage import listed, put, read, refused


@pytest.fixture
def storage(tmp_path):
    return efs.Efs(str(tmp_path / "files"))


def place(tmp_path, key):
    return tmp_path / "files" / key[:3] / key[3:5] / key


def test_the_path_follows_from_the_key(storage, tmp_path):
    entry = put(storage, b"here")
    assert place(tmp_path, entry.key).read_bytes() == b"here"
    assert place(tmp_path, entry.key).stat().st_nlink == 1
    assert os.listdir(tmp_path / "files" / ".tmp") == []


def test_empty_directories_go_with_the_last_file(storage, tmp_path):
    first, second = put(storage), put(storage)
    storage.delete(first.key)
    assert place(tmp_path, second.key).exists()
    storage.delete(second.key)
    assert os.listdir(tmp_path / "files") == [".tmp"]


def test_abort_leaves_no_directory_either(storage, tmp_path):
    writer = storage.put("a.txt")
    writer.write(b"x")
    writer.publish()
    writer.abort()
    assert os.listdir(tmp_path / "files") == [".tmp"]


def test_strange_files_are_left_alone(storage, tmp_path):
    entry = put(storage)
    home, directory = tmp_path / "files", place(tmp_path, entry.key).parent
    other = keys.new_key("a.txt", 1_000_000_000)
    older = [keys.new_key(f"{what}.txt", entry.made_at - 1) for what in ("pipe", "link", "socket", "directory")]
    strange = [home / "README", home / "zzz", directory / ".nfs0001", directory / "notes.txt", directory / other]
    for path in strange:
        path.write_text("strange")
    for name in ("000", "zz0", "lost+found"):
        (home / name).mkdir()
    (home / "000" / "zz").mkdir()
    for key in older:
        place(tmp_path, key).parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(place(tmp_path, older[0]))
    place(tmp_path, older[1]).symlink_to("/etc/passwd")
    os.mknod(place(tmp_path, older[2]), stat.S_IFSOCK)
    place(tmp_path, older[3]).mkdir()
    (home / ".tmp" / "notes").write_text("strange")
    os.utime(home / ".tmp" / "notes", (0, 0))
    storage.tidy(0)
    assert listed(storage) == [entry.key]
    assert [refused(storage.open, key).status for key in older] == [404] * 4
    storage.delete(entry.key)
    assert all(path.exists() for path in (*strange, home / ".tmp" / "notes"))


def failing(function, number, failures, at=lambda path: True):
    """The function, failing by this error so many times where at(path) is true."""
    left = [failures]

    def call(path, *rest, **more):
        if left[0] and at(str(path)):
            left[0] -= 1
            raise OSError(number, os.strerror(number))
        return function(path, *rest, **more)

    return call


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ESTALE, errno.EIO])
def test_attributes_do_not_decide_what_is_listed(storage, monkeypatch, number):
    """The client's cache may say that a file is not there, or of another type; opening it asks the server."""
    entry = put(storage, b"here")
    monkeypatch.setattr(os, "lstat", failing(os.lstat, number, 99))
    assert [(item.key, item.size) for item in storage.list("", 10).entries] == [(entry.key, 4)]
    assert abs(storage.list("", 10).entries[0].modified - time.time()) < 10


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ESTALE])
@pytest.mark.parametrize("depth", ["outer", "inner", "file"])
def test_what_another_server_has_just_removed_is_no_fault(storage, monkeypatch, depth, number):
    kept = put(storage)
    older = keys.new_key("a.txt", kept.made_at - 40 * 86400)
    directory = os.path.dirname(storage.path(older))
    os.makedirs(directory)
    os.link(storage.path(kept.key), storage.path(older))
    at = {"outer": os.path.dirname(directory), "inner": directory, "file": storage.path(older)}[depth]
    for name in ("listdir", "lstat", "open"):
        monkeypatch.setattr(os, name, failing(getattr(os, name), number, 99, at.__eq__))
    assert listed(storage) == [kept.key]


def test_a_directory_that_was_removed_and_made_again_is_read(storage, monkeypatch):
    entry = put(storage)
    monkeypatch.setattr(os, "listdir", failing(os.listdir, errno.ESTALE, 3))
    assert listed(storage) == [entry.key]


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EIO, errno.EACCES])
def test_a_storage_that_cannot_be_read_is_not_empty(storage, tmp_path, monkeypatch, number):
    put(storage)
    monkeypatch.setattr(os, "listdir", failing(os.listdir, number, 99, str(tmp_path / "files").__eq__))
    assert refused(storage.list, "", 10).status == 503


def test_an_answer_that_was_lost_is_no_failure(storage, monkeypatch):
    """NFS repeats a call whose answer was lost; the second time our own link is in the way."""
    link = os.link

    def twice(source, target):
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", twice)
    # the first try makes the directories, the second one finds its own link
    entry = put(storage, b"once")
    assert read(storage, entry.key) == b"once"
    assert listed(storage) == [entry.key]


def test_a_file_is_never_replaced(storage, monkeypatch):
    first = put(storage, b"first")
    made = iter([first.key, first.key, keys.new_key("a.txt")])
    monkeypatch.setattr(keys, "new_key", lambda name: next(made))
    second = put(storage, b"second")
    assert second.key != first.key
    assert read(storage, first.key) == b"first"
    assert read(storage, second.key) == b"second"


def test_deletes_that_remove_directories_do_not_disturb_puts(storage, tmp_path):
    faults = []

    def work():
        try:
            for _ in range(150):
                storage.delete(put(storage).key)
        except Exception as fault:
            faults.append(fault)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert os.listdir(tmp_path / "files") == [".tmp"]


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [
        (errno.ENOSPC, 507, "full"),
        (errno.EDQUOT, 507, "full"),
        (errno.EIO, 503, "Input/output error"),
        (errno.ESTALE, 503, "Stale file handle"),
        (errno.EROFS, 503, "Read-only file system"),
    ],
)
@pytest.mark.parametrize("call", ["open", "write", "fsync", "close", "link"])
def test_a_failing_system_call_is_a_sentence_and_leaves_nothing(
    storage, tmp_path, monkeypatch, call, number, status, said
):
    put(storage)

    def fail(*_arguments, **_keywords):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        with pytest.raises(Problem) as caught:
            if call == "open":
                patch.setattr(os, call, fail)
            writer = storage.put("a.txt")
            patch.setattr(os, call, fail)
            writer.write(b"x")
            writer.publish()
        if call != "open":
            writer.abort()
    assert caught.value.status == status
    assert said in caught.value.sentence
    assert os.listdir(tmp_path / "files" / ".tmp") == []
    assert len(listed(storage)) == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_close_that_fails_keeps_no_temporary_file(storage, tmp_path, monkeypatch, number):
    """NFS reports at close() what it could not write; the descriptor is gone all the same."""
    really_close = os.close

    def close(descriptor):
        really_close(descriptor)
        raise OSError(number, os.strerror(number))

    writer = storage.put("a.txt")
    writer.write(b"x")
    with monkeypatch.context() as patch:
        patch.setattr(os, "close", close)
        writer.abort()
    assert os.listdir(tmp_path / "files" / ".tmp") == []


MOUNTINFO = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
60 22 0:50 / /srv/files rw,relatime shared:30 - nfs4 10.0.0.9:/ rw,vers=4.1,hard
61 22 0:51 / /srv/my\\040files rw - nfs4 10.0.0.9:/ rw
62 22 0:52 / /srv/old rw - nfs4 10.0.0.9:/ rw
63 22 0:53 / /srv/old rw - tmpfs tmpfs rw
64 22 0:54 / /mnt/local rw master:1 propagate_from:2 - ext4 /dev/vdb rw
"""


@pytest.mark.parametrize(
    ("path", "fs_type"),
    [
        ("/srv/files", "nfs4"),
        ("/srv/my files", "nfs4"),
        ("/srv/old", "tmpfs"),
        ("/mnt/local", "ext4"),
        ("/srv", ""),
        ("/srv/files/gallery", ""),
    ],
)
def test_what_is_mounted(path, fs_type):
    assert mounts.mounted_type(path, MOUNTINFO) == fs_type


@pytest.mark.parametrize("call", ["put", "open", "stat", "list", "delete", "tidy"])
def test_nothing_is_done_without_the_mount(tmp_path, call):
    storage = efs.Efs(str(tmp_path / "files"), str(tmp_path))
    arguments = {"put": ["a.txt"], "list": ["", 1], "tidy": [0]}.get(call, [keys.new_key("a.txt")])
    problem = refused(getattr(storage, call), *arguments)
    assert problem.status == 503
    assert f"nothing is mounted at {tmp_path}" in problem.sentence
    assert os.listdir(tmp_path) == []


def test_a_mount_of_another_kind_is_refused():
    assert "type proc is mounted at /proc" in refused(efs.Efs("/proc/files", "/proc").list, "", 1).sentence


NOW = 1_800_000_000
SHAPES = {"one year": 365 * 86400, "one burst": 600}
MANY = 100_000


@pytest.fixture(scope="module", params=SHAPES)
def many(request, tmp_path_factory):
    """100,000 empty files over a year, or all in one directory; yields the storage and the keys in order."""
    home = tmp_path_factory.mktemp("many") / "files"
    made = []
    for number in range(MANY):
        key = keys.new_key("a.txt", NOW + SHAPES[request.param] * number / MANY)
        path = os.path.join(home, key[:3], key[3:5], key)
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
        os.close(descriptor)
        made.append(key)
    yield efs.Efs(str(home)), made[::-1]
    shutil.rmtree(home)


@pytest.mark.parametrize("start", [0, 1, 50_000, 99_950])
def test_a_page_of_100000_opens_only_what_it_shows(many, start, monkeypatch, capsys):
    storage, made = many
    opened, read_directories = [], []
    really_open, really_list = os.open, os.listdir
    monkeypatch.setattr(os, "open", lambda path, *rest, **more: opened.append(path) or really_open(path, *rest, **more))
    examined, really_lstat = [], os.lstat
    monkeypatch.setattr(os, "lstat", lambda path, **more: examined.append(path) or really_lstat(path, **more))
    monkeypatch.setattr(os, "listdir", lambda path: read_directories.append(path) or really_list(path))
    after = made[start - 1] if start else ""
    began = time.process_time()
    page = storage.list(after, 60)
    spent = time.process_time() - began
    expected = made[start : start + 60]
    assert [entry.key for entry in page.entries] == expected
    needed = {key[:3] for key in expected} | {key[:5] for key in made[start : start + 61]}
    assert len(opened) + len(examined) <= 62
    assert len(examined) >= 50  # else it uses another call, which this test does not count
    assert len(read_directories) <= len(needed) + 3  # the root, and where the page before ended
    with capsys.disabled():
        print(f"\n  100,000 files, from {start}: {spent * 1000:.1f} ms CPU, {len(read_directories)} directories")
