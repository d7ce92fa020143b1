# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs many tasks concurrently, in threads that stay (each keeps its connection), and reports progress every few seconds."""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

PATIENCE = 10.0  # seconds that an end waits for running tasks
_Item = TypeVar("_Item")
_GIVE_UP = 20  # failures of the kind that awaits all, without one success between, after which the rest is not tried
_NOT_TRIED = "not tried, for S3 did not answer before"


class Stopped(Exception):
    """Not tried, because the server does not answer."""


def _used() -> float:
    """Seconds that the threads of this process had a processor, or were ready for one that others had: neither was a wait for S3."""
    waited = 0
    with contextlib.suppress(OSError, IndexError, ValueError):  # no Linux, or a thread that ended just now
        for task in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{task}/schedstat", "rb") as file:
                waited += int(file.read().split()[1])
    return time.process_time() + waited / 1e9


class WorkerPool:
    """Up to a number of threads, started when they are needed.

    Two at first, more while the processor waits for the network: threads that have no wait to fill only take Python's one lock from
    each other, at twice the processor time (make bench-s3).
    """

    INTERVAL = 0.05  # seconds from one check of the processor to the next
    _AHEAD = 8  # tasks for each thread that wait in the queue
    _IN_FLIGHT = 4  # items that a thread begins ahead
    _BATCH = 32  # items in a task where there are many: threads that wake each other for every item pay for it
    BUSY = 0.75  # of one processor: more threads would not help

    def __init__(self, size: int):
        self.size = size
        self._slots = threading.Semaphore(size)
        self._tasks: queue.SimpleQueue = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def _start(self, wanted: int) -> None:
        while len(self._threads) < min(self.size, wanted):
            thread = threading.Thread(target=self._serve, daemon=True)
            thread.start()
            self._threads.append(thread)

    def _serve(self) -> None:
        while (task := self._tasks.get()) is not None:
            work, items, done, stopped, begin = task
            if begin:
                done.put(self._overlapped(work, items, stopped, begin))
            else:
                done.put([(item, self._call(work, stopped, item)) for item in items])

    def _overlapped(self, work: Callable, items: list, stopped: threading.Event, begin: Callable) -> list[tuple]:
        """What work gave or raised for each item, some of them begun ahead; no more than size are under way in all threads."""
        self._slots.acquire()
        depth, wanted = 1, min(self._IN_FLIGHT, self.size // max(1, len(self._threads)))
        while depth < wanted and self._slots.acquire(blocking=False):
            depth += 1
        try:
            return self._ahead(work, items, stopped, begin, depth)
        finally:
            self._slots.release(depth)

    def _ahead(self, work: Callable, items: list, stopped: threading.Event, begin: Callable, depth: int) -> list[tuple]:
        outcomes = []
        in_flight = [self._early(begin, item, place) for place, item in enumerate(items[:depth])]
        for number, item in enumerate(items):
            outcomes.append((item, self._call(work, stopped, item, in_flight[number])))
            if number + depth < len(items) and not stopped.is_set():
                in_flight.append(self._early(begin, items[number + depth], number % depth))
            else:
                in_flight.append(None)
        return outcomes

    @staticmethod
    def _early(begin: Callable, item: Any, place: int) -> Any:
        try:
            return begin(item, place)
        except BaseException:  # work fails in the same way, and reports it
            return None

    @staticmethod
    def _call(work: Callable, stopped: threading.Event, *arguments: Any) -> Any:
        if stopped.is_set():
            return Stopped(_NOT_TRIED)
        try:
            return work(*arguments)
        except BaseException as fault:  # handed to the one who waits, whatever it is
            return fault

    def map(self, work: Callable, items: Iterable[_Item], begin: Callable | None = None) -> Iterator[tuple[_Item, Any]]:
        """(item, what work gave or raised) for each item, as they are done.

        All are given up once nothing but failures come that await every item: those whose attribute unavailable is true. With
        begin, a thread begins some items ahead, as begin(item, place), and work gets what that gave as well: so a thread has no wait.
        """
        todo, stopped = list(items), threading.Event()
        done: queue.SimpleQueue[list[tuple]] = queue.SimpleQueue()
        step = max(1, min(self._BATCH, len(todo) // (self.size * self._AHEAD)))
        waiting = (todo[start : start + step] for start in range(0, len(todo), step))
        out = unavailable = 0
        # a few at a time: a hundred thousand tasks would be as much memory as what they are about
        for some in itertools.islice(waiting, self._AHEAD * self.size):
            self._tasks.put((work, some, done, stopped, begin))
            out += 1
        # with items begun ahead one thread fills a processor alone, and a second one costs more than it gives
        self._start(min(1 if begin else 2, out))
        wall, used = time.monotonic(), _used()
        try:
            while out:
                outcomes = self._next(done, out, wall, used)
                out -= 1
                more = next(waiting, None)
                if more:
                    self._tasks.put((work, more, done, stopped, begin))
                    out += 1
                if len(self._threads) < self.size and time.monotonic() - wall > self.INTERVAL:
                    wall, used = time.monotonic(), _used()
                for outcome in outcomes:
                    unavailable = _unavailable(unavailable, outcome[1])
                    if unavailable >= _GIVE_UP:
                        stopped.set()
                    yield outcome
        finally:
            stopped.set()
            self._drain(done, out)

    @staticmethod
    def _drain(done: queue.SimpleQueue, out: int) -> None:
        """Wait for what is under way when a map ends early: after an upload is given up, none of its parts may still arrive."""
        until = time.monotonic() + PATIENCE
        for _task in range(out):
            try:
                done.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return

    def _next(self, done: queue.SimpleQueue, left: int, wall: float, used: float) -> list[tuple]:
        """The next outcomes; while it is waited for, or the processor is idle, more threads are started."""
        while True:
            passed = time.monotonic() - wall
            if len(self._threads) < self.size and passed > self.INTERVAL and _used() - used < self.BUSY * passed:
                self._start(min(len(self._threads) + 2, left))
            try:
                return done.get(timeout=self.INTERVAL if len(self._threads) < self.size else None)
            except queue.Empty:
                continue

    def close(self, seconds: float | None = None) -> None:
        """End the threads once they have done what they are at; those that take longer than some seconds are left behind."""
        for _thread in self._threads:
            self._tasks.put(None)
        until = None if seconds is None else time.monotonic() + seconds
        for thread in self._threads:
            thread.join(None if until is None else max(0.0, until - time.monotonic()))
        self._threads = []


def in_turn(work: Callable, items: Iterable[_Item]) -> Iterator[tuple[_Item, Any]]:
    """As WorkerPool.map, but in this thread: what is large has a pool for its parts."""
    unavailable = 0
    for item in items:
        if unavailable >= _GIVE_UP:
            yield item, Stopped(_NOT_TRIED)
            continue
        try:
            outcome = work(item)
        except Exception as fault:  # handed to the one who waits, whatever it is
            outcome = fault
        unavailable = _unavailable(unavailable, outcome)
        yield item, outcome


def _unavailable(before: int, outcome: Any) -> int:
    """How many failures of the kind that awaits all there were since the last success."""
    return before + getattr(outcome, "unavailable", False) if isinstance(outcome, BaseException) else 0


class Progress:
    """A line every few seconds in a file, for Ansible shows no output of a running module."""

    EVERY = 3.0

    def __init__(self, path: str | None, now: Callable[[], float] = time.monotonic):
        self._file = None
        if path:
            self._file = open(path, "a", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115 - close() does
        self._now, self._next = now, now() + self.EVERY

    def say(self, text: str) -> None:
        """Write a line."""
        if self._file:
            self._file.write(f"{time.strftime('%H:%M:%S')} {text}\n")
            self._file.flush()

    def count(self, verb: str, done: int, total: int, size: int) -> None:
        """Write how far something is, unless the last such line was just now."""
        if self._file and self._now() >= self._next:
            self._next = self._now() + self.EVERY
            self.say(f"{verb}: {done} of {total}, {size / 1e6:.1f} MB")

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()
