"""Shows that a long step is alive."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator


@contextlib.contextmanager
def step(text: str, every: float = 10.0) -> Iterator[None]:
    """Print what is being done, how long it has taken so far, and how long it took.

    On a terminal the seconds count on one line; elsewhere (a log) a line comes every EVERY seconds.
    A step of under half a second prints nothing.
    """
    begin = time.monotonic()
    done = threading.Event()
    live = sys.stderr.isatty()

    def show(word: str, end: str = "") -> None:
        line = f"  {text} … {word}{time.monotonic() - begin:.0f} s"
        sys.stderr.write(f"\r{line}{end}" if live else f"{line}\n")
        sys.stderr.flush()

    def tick() -> None:
        if done.wait(0.5):
            return
        show("")
        while not done.wait(1.0 if live else every):
            show("")

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        if time.monotonic() - begin >= 0.5:
            show("done in ", "\n")


def say(text: str) -> None:
    """Print one line about what was done."""
    sys.stderr.write(f"  {text}\n")
    sys.stderr.flush()
