# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does many things at a time, in threads that stay (each keeps its connection), and says every few seconds how far it is."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator

_PATIENCE = 10.0  # seconds that an end waits for what is under way
_GIVE_UP = 20  # failures of the kind that awaits all, without one success, after which the rest is not tried


class Stopped(Exception):
    """Not tried, because the server does not answer."""


class Crew:
    """Up to a number of threads, started when they are needed.

    Two at first, more while the processor waits for the network: threads that have no wait to fill only take Python's one lock from
    each other, at twice the processor time (make bench-s3).
    """

    LOOK = 0.02  # seconds from one look at the processor to the next
    _AHEAD = 8  # tasks for each thread that wait in the queue
    _BATCH = 8  # items in a task where there are many: threads that wake each other for every item pay for it
    BUSY = 0.75  # of one processor: more threads would not help

    def __init__(self, size: int):
        self.size = size
        self._tasks: queue.SimpleQueue = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def _start(self, wanted: int) -> None:
        while len(self._threads) < min(self.size, wanted):
            thread = threading.Thread(target=self._serve, daemon=True)
            thread.start()
            self._threads.append(thread)

    def _serve(self) -> None:
        while (task := self._tasks.get()) is not None:
            work, items, done, stopped = task
            done.put([(item, self._one(work, item, stopped)) for item in items])

    @staticmethod
    def _one(work: Callable, item, stopped: threading.Event):
        if stopped.is_set():
            return Stopped("not tried, for S3 did not answer before")
        try:
            return work(item)
        except BaseException as fault:  # told to the one who waits, whatever it is
            return fault

    def map(self, work: Callable, items: Iterable) -> Iterator[tuple]:
        """(item, what work gave or raised) for each item, as they are done.

        All are given up when nothing but failures come that await every item: those whose attribute away is true.
        """
        todo, done, stopped = list(items), queue.SimpleQueue(), threading.Event()
        step = self._BATCH if len(todo) >= self.size * self._AHEAD * self._BATCH else 1
        waiting = (todo[start : start + step] for start in range(0, len(todo), step))
        out = good = bad = 0
        # a few at a time: a hundred thousand tasks would be as much memory as what they are about
        for some in itertools.islice(waiting, self._AHEAD * self.size):
            self._tasks.put((work, some, done, stopped))
            out += 1
        self._start(min(2, out))
        wall, used = time.monotonic(), time.process_time()
        try:
            while out:
                outcomes = self._next(done, out, wall, used)
                out -= 1
                some = next(waiting, None)
                if some:
                    self._tasks.put((work, some, done, stopped))
                    out += 1
                if time.monotonic() - wall > self.LOOK:
                    wall, used = time.monotonic(), time.process_time()
                for outcome in outcomes:
                    good += not isinstance(outcome[1], BaseException)
                    bad += getattr(outcome[1], "away", False)
                    if not good and bad >= _GIVE_UP:
                        stopped.set()
                    yield outcome
        finally:
            stopped.set()
            self._drain(done, out)

    @staticmethod
    def _drain(done: queue.SimpleQueue, out: int) -> None:
        """Wait for what is under way when a map ends early: after an upload is given up, none of its parts may still arrive."""
        until = time.monotonic() + _PATIENCE
        for _task in range(out):
            try:
                done.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return

    def _next(self, done: queue.SimpleQueue, left: int, wall: float, used: float) -> list[tuple]:
        """The next outcomes; while it is waited for, or the processor is idle, more threads are started."""
        while True:
            passed = time.monotonic() - wall
            if passed > self.LOOK and time.process_time() - used < self.BUSY * passed:
                self._start(min(len(self._threads) + 2, left))
            try:
                return done.get(timeout=self.LOOK if len(self._threads) < self.size else None)
            except queue.Empty:
                continue

    def close(self) -> None:
        """End the threads once they have done what they are at."""
        for _thread in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []


class Progress:
    """A line every few seconds in a file, for Ansible shows nothing of a module that still runs."""

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
