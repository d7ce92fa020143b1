"""The storage contract: every back end passes the same suite."""

from __future__ import annotations

import hashlib
import time

import pytest
from gallery import keys

from tests.support.gallery_storage import listed, put, read, refused


@pytest.mark.parametrize("size", [1, 999, 1000, 1001, 3_000_000])
def test_what_was_put_is_there(storage, size):
    data = bytes(number % 251 for number in range(size))
    entry = put(storage, data, "some-name.png")
    assert keys.is_key(entry.key)
    assert (entry.name, entry.size, entry.sha256) == ("some-name.png", size, hashlib.sha256(data).hexdigest())
    assert read(storage, entry.key) == data
    assert abs(entry.made_at - time.time()) < 10
    current = storage.stat(entry.key)
    assert (current.key, current.size) == (entry.key, size)
    assert abs(current.modified - time.time()) < 10
    assert [(item.key, item.size) for item in storage.list("", 10).entries] == [(entry.key, size)]


def test_a_reader_reads_anywhere(storage):
    reader = storage.open(put(storage, b"0123456789").key)
    assert [reader.read(*place) for place in ((3, 4), (8, 9), (10, 5), (0, 1))] == [b"3456", b"89", b"", b"0"]
    reader.close()


def test_nothing_is_seen_before_it_is_published(storage):
    writer = storage.put("a.txt")
    writer.write(b"half")
    assert listed(storage) == []
    writer.abort()
    assert listed(storage) == []


def test_abort_withdraws_what_was_published(storage):
    kept, writer = put(storage), storage.put("a.txt")
    writer.write(b"x")
    entry = writer.publish()
    writer.abort()
    writer.abort()
    assert listed(storage) == [kept.key]
    assert refused(storage.open, entry.key).status == 404


def test_newest_first_and_page_by_page(storage):
    made = [put(storage, name=f"n{number}.txt").key for number in range(7)][::-1]
    assert listed(storage) == made
    seen, after = [], ""
    for expected in (3, 3, 1):
        page = storage.list(after, 3)
        assert len(page.entries) == expected
        seen += [entry.key for entry in page.entries]
        after = page.after
    assert (seen, after) == (made, "")
    assert storage.list("", 7).after == ""  # exactly one page: no more
    assert listed(storage, made[-1]) == []


def test_a_page_goes_on_after_a_key_that_is_gone(storage):
    made = [put(storage).key for _ in range(4)][::-1]
    storage.delete(made[1])
    assert listed(storage, made[1]) == made[2:]


def test_deleted_is_gone_but_open_files_go_on(storage):
    first, second = put(storage, b"first"), put(storage, b"second")
    reader = storage.open(first.key)
    storage.delete(first.key)
    assert reader.read(0, 9) == b"first"
    reader.close()
    assert listed(storage) == [second.key]
    for call in (storage.open, storage.stat, storage.delete):
        problem = refused(call, first.key)
        assert problem.status == 404
        assert first.key in problem.sentence
    storage.delete(second.key)
    assert listed(storage) == []
    assert read(storage, put(storage, b"third").key) == b"third"


@pytest.mark.parametrize("key", ["", "x", "../x", "/etc/passwd", keys.new_key("a.txt") + "/..", ".tmp", "a\0b"])
@pytest.mark.parametrize("call", ["open", "stat", "delete"])
def test_what_is_no_key_is_no_file(storage, call, key):
    put(storage)
    assert refused(getattr(storage, call), key).status == 404


def test_an_empty_storage(storage):
    assert listed(storage) == []
    storage.tidy(0)
    assert refused(storage.open, keys.new_key("a.txt")).status == 404


def test_the_same_name_twice_is_two_files(storage):
    first, second = put(storage, b"first", "same.txt"), put(storage, b"second", "same.txt")
    assert (read(storage, first.key), read(storage, second.key)) == (b"first", b"second")


def test_tidy_removes_old_rubbish_only(storage):
    kept, unfinished = put(storage), storage.put("a.txt")
    unfinished.write(b"half" * 2_000_000)  # as much as S3 takes as a part
    storage.tidy(3600)
    unfinished.write(b", not yet")
    storage.tidy(-1)
    assert refused(unfinished.publish).status == 503
    unfinished.abort()
    assert listed(storage) == [kept.key]
    assert read(storage, kept.key) == b"bytes"


def test_previews_lie_beside_the_files_under_the_same_keys(storage):
    first, second = put(storage, b"first"), put(storage, b"second")
    beside = storage.previews()
    for entry in (first, second):
        writer = beside.put("a.txt")
        writer.write(b"small " + read(storage, entry.key))
        assert listed(storage.previews()) == ([] if entry is first else [first.key])
        assert writer.publish(entry.key).key == entry.key
    assert listed(storage) == listed(storage.previews()) == [second.key, first.key]
    assert read(storage.previews(), first.key) == b"small first"
    assert read(storage, first.key) == b"first"
    storage.delete(first.key)
    assert (listed(storage), listed(beside)) == ([second.key], [second.key, first.key])
    beside.delete(first.key)
    assert read(beside, second.key) == b"small second"


def test_a_key_that_is_taken_is_not_given_again(storage):
    entry, writer = put(storage, b"first"), storage.put("a.txt")
    writer.write(b"second")
    problem = refused(writer.publish, entry.key)
    assert (problem.status, entry.key in problem.sentence) == (409, True)
    writer.abort()
    assert read(storage, entry.key) == b"first"
