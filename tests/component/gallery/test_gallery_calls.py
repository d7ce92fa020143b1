"""A storage that hangs costs the threads of the pool and no more, and when it thaws everything works again."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from gallery.errors import Problem
from gallery.worker_threads import Calls

THREADS, TIMEOUT = 3, 0.5


@pytest.fixture
def frozen():
    """An event for which hanging calls wait; it comes at the end in any case."""
    event = threading.Event()
    yield event
    event.set()


async def attempt(calls, function, *arguments, **keywords):
    """The result of a call, or the status of its failure, and the seconds that it took."""
    began = time.monotonic()
    try:
        result = await calls.run(function, *arguments, **keywords)
    except Problem as problem:
        result = problem.status
    return result, time.monotonic() - began


async def thaw(calls, frozen):
    """Let the hanging calls go on, and wait until they have."""
    frozen.set()
    while (await attempt(calls, int))[0] != 0:
        await asyncio.sleep(0.01)


def test_a_call_gives_its_result_or_its_failure():
    async def main():
        calls = Calls(THREADS, TIMEOUT)
        assert await calls.run(divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await calls.run(divmod, 7, 0)

    asyncio.run(main())


def test_all_threads_hang(frozen):
    async def main():
        calls = Calls(THREADS, TIMEOUT)
        first = await asyncio.gather(*(attempt(calls, frozen.wait) for _ in range(THREADS)))
        assert all(result == 503 and TIMEOUT <= spent < 5 * TIMEOUT for result, spent in first)
        for _ in range(50):
            result, spent = await attempt(calls, int)
            assert result == 503
            assert spent < TIMEOUT
        assert len(calls._pool._threads) == THREADS
        await thaw(calls, frozen)
        assert await asyncio.gather(*(calls.run(int, str(number)) for number in range(20))) == list(range(20))
        assert len(calls._pool._threads) == THREADS

    asyncio.run(main())


def test_one_that_hangs_leaves_the_others_alone(frozen):
    async def main():
        calls = Calls(THREADS, TIMEOUT)
        hanging = asyncio.ensure_future(attempt(calls, frozen.wait))
        assert [(await attempt(calls, int, "5"))[0] for _ in range(30)] == [5] * 30
        assert (await hanging)[0] == 503
        assert (await attempt(calls, int, "5"))[0] == 5

    asyncio.run(main())


def test_a_call_that_waits_in_vain_is_never_made(frozen):
    async def main():
        calls, made = Calls(1, TIMEOUT), []
        hanging = asyncio.ensure_future(attempt(calls, frozen.wait))
        await asyncio.sleep(TIMEOUT / 4)
        assert (await attempt(calls, made.append, 1))[0] == 503
        await hanging
        await thaw(calls, frozen)
        assert await calls.run(made.append, 2) is None
        assert made == [2]

    asyncio.run(main())


@pytest.mark.parametrize("cancelled", [False, True])
def test_what_comes_too_late_is_undone(frozen, cancelled):
    async def main():
        calls, undone = Calls(THREADS, TIMEOUT), []
        late = asyncio.ensure_future(attempt(calls, lambda: frozen.wait() and "a file", undo=undone.append))
        await asyncio.sleep(TIMEOUT / 4)
        if cancelled:
            late.cancel()
        await asyncio.wait({late})
        frozen.set()
        until = time.monotonic() + 20
        while not undone and time.monotonic() < until:
            await asyncio.sleep(0.01)
        assert undone == ["a file"]

    asyncio.run(main())


def test_cleaning_up_waits_for_a_thread_but_its_caller_does_not(frozen):
    async def main():
        calls, done = Calls(1, TIMEOUT), []
        await attempt(calls, frozen.wait)
        began = time.monotonic()
        await calls.finish(lambda: done.append(1))
        assert time.monotonic() - began < 5 * TIMEOUT
        assert done == []
        await thaw(calls, frozen)
        assert done == [1]

    asyncio.run(main())
