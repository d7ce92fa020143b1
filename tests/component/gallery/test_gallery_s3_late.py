"""Confirmations that take long: one at a time for a key, whoever asks; a client that waits too long is asked to come again."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from gallery import keys

from tests.support import s3_server
from tests.support.gallery_server import check
from tests.support.gallery_tickets import confirm, listed
from tests.support.seaweedfs import environment

TOGETHER = 8  # confirmations at once


class Slow:
    """The double of S3; copies of what is `delayed` wait for `go`, and so does the end of a ticket among `closes`."""

    def __init__(self, server) -> None:
        self.server, self.fault = server, s3_server.Fault
        self.aws = environment({"AccessKeyId": s3_server.KEY, "SecretAccessKey": s3_server.SECRET})
        self.delayed: set[str] = set()
        self.closes: set[str] = set()
        self.go = threading.Event()
        server.hook = self._hold

    def _hold(self, request) -> None:
        key = request.key.rpartition("/")[2]
        if request.operation == "COPY" and key in self.delayed:
            self.go.wait(20)
        elif request.operation == "PUT" and key in self.closes:
            self.closes.discard(key)
            self.go.wait(20)

    def uploaded(self, delayed: bool) -> str:
        """A file that waits for its confirmation; its key."""
        key = keys.new_key("a.txt")
        self.server.seed(f"gallery/incoming/{key}", b"bytes")
        if delayed:
            self.delayed.add(key)
        return key

    def asked(self, operation: str, count: int) -> None:
        """Wait until something has been asked for so often."""
        until = time.monotonic() + 10
        while self.server.counts[operation] < count:
            assert time.monotonic() < until
            time.sleep(0.02)


@pytest.fixture
def s3():
    """S3 that can be slow to copy."""
    with s3_server.Server() as server:
        made = Slow(server)
        yield made
        made.go.set()


@pytest.fixture
def begin(start, s3):
    """A function that starts a gallery over it, whose clients wait so many seconds."""

    def start_gallery(patience: float):
        settings = {"STORAGE": "s3", "BUCKET": "bkt", "REGION": "eu-central-1", "ENDPOINT_URL": s3.server.url}
        return start("-m", "tests.support.gallery_hasty", str(patience), aws=s3.aws, **settings)

    return start_gallery


@pytest.fixture
def pool():
    """Clients."""
    with ThreadPoolExecutor(32) as clients:
        yield clients


def test_a_key_is_confirmed_once_however_many_ask(s3, begin, pool):
    server, key = begin(60), s3.uploaded(delayed=True)
    jobs = [pool.submit(confirm, server, key) for _job in range(20)]
    s3.asked("COPY", 1)
    # they take one slot among them
    assert {confirm(server, s3.uploaded(delayed=False)).status for _other in range(3)} == {201}
    assert not any(job.done() for job in jobs)
    s3.go.set()
    responses = [job.result() for job in jobs]
    assert {answer.status for answer in responses} == {201}
    assert len({answer.body for answer in responses}) == 1
    assert [request[0] for request in s3.server.log if request[1].endswith(key)] == ["HEAD", "COPY", "PUT"]


def test_what_is_deleted_before_its_copy_is_made_is_not_published(s3, begin, pool):
    server, key = begin(60), s3.uploaded(delayed=True)
    job = pool.submit(confirm, server, key)
    s3.asked("COPY", 1)
    check(server.request("DELETE", f"/files/{key}"), 404, "There is no file")
    s3.go.set()
    assert job.result().status == 404
    check(confirm(server, key), 404, "it was deleted")
    assert listed(server) == []


def test_a_copy_that_ends_after_its_file_was_deleted_is_withdrawn(s3, begin, pool):
    server, key = begin(60), s3.uploaded(delayed=False)
    s3.closes.add(key)
    job = pool.submit(confirm, server, key)
    s3.asked("PUT", 1)
    assert server.request("DELETE", f"/files/{key}").status == 204
    s3.server.seed(f"gallery/files/{key}", b"bytes")  # S3 has found the key free before, and writes now
    s3.go.set()
    check(job.result(), 404, "it was deleted")
    assert listed(server) == []
    s3.server.seed(f"gallery/files/{key}", b"bytes")  # the same, and the server died before its check
    check(confirm(server, key), 404, "it was deleted")
    assert listed(server) == []


def test_who_was_not_quick_enough_leaves_what_another_server_published(s3, begin, pool):
    server, key = begin(60), s3.uploaded(delayed=True)
    job = pool.submit(confirm, server, key)
    s3.asked("COPY", 1)
    s3.server.seed(f"gallery/files/{key}", b"bytes")
    s3.server.seed(f"gallery/incoming/{key}", b"")
    s3.go.set()
    assert job.result().status == 201
    assert listed(server) == [key]


def test_a_client_that_waits_too_long_is_asked_to_come_again(s3, begin, pool):
    server, key = begin(1), s3.uploaded(delayed=True)
    began = time.monotonic()
    for _time in range(2):
        answer = confirm(server, key)
        check(answer, 503, 'S3 is still storing "a.txt"')
        assert answer.headers["Retry-After"] == "5"
    assert 2 <= time.monotonic() - began < 4
    assert s3.server.counts["COPY"] == 1
    third = pool.submit(confirm, server, key)
    time.sleep(0.3)
    s3.go.set()
    assert third.result().status == 201
    assert confirm(server, key).status == 201
    assert s3.server.counts["COPY"] == 1
    assert listed(server) == [key]


def test_a_failure_that_comes_too_late_for_its_client_is_in_the_log(s3, begin):
    server, key = begin(1), s3.uploaded(delayed=True)
    s3.server.faults.append(s3.fault("403", "COPY", value="AccessDenied"))
    check(confirm(server, key), 503, "still storing")
    s3.go.set()
    until = time.monotonic() + 20
    while "too late for who asked first: Publishing failed" not in server.log.read_text():
        assert time.monotonic() < until, server.log.read_text()
        time.sleep(0.05)
    assert "Traceback" not in server.log.read_text()
    assert confirm(server, key).status == 201


def test_a_failure_is_shared_too_and_not_kept(s3, begin, pool):
    server, key = begin(60), s3.uploaded(delayed=True)
    s3.server.faults.append(s3.fault("403", "COPY", value="AccessDenied"))
    jobs = [pool.submit(confirm, server, key) for _job in range(5)]
    s3.asked("COPY", 1)
    time.sleep(0.3)
    s3.go.set()
    assert {job.result().status for job in jobs} == {503}
    assert s3.server.counts["COPY"] == 1
    assert confirm(server, key).status == 201


def test_when_all_slots_are_taken(s3, begin, pool):
    server, waiting = begin(2), s3.uploaded(delayed=False)
    delayed = [s3.uploaded(delayed=True) for _slot in range(TOGETHER)]
    jobs = [pool.submit(confirm, server, key) for key in delayed]
    s3.asked("COPY", TOGETHER)
    check(confirm(server, waiting), 503, "Many uploads are under way")
    assert {job.result().status for job in jobs} == {503}
    assert confirm(server, waiting).status == 503  # the clients have gone, and their copies go on
    s3.go.set()
    assert {confirm(server, key).status for key in (*delayed, waiting)} == {201}
    assert s3.server.counts["COPY"] == TOGETHER + 1
    # each slot is free again
    assert {job.result().status for job in [pool.submit(confirm, server, key) for key in delayed * 3]} == {201}
    assert len(listed(server)) == TOGETHER + 1
