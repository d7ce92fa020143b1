"""Puts one file into a directory and dies by SIGKILL before its Nth system call: gallery_dying.py DIRECTORY N [half] [preview].

With `preview` a preview of it is put as well, as an upload does it. With `half` the Nth call, if it is a write, is done for
half of its bytes first. Prints the names of the calls.
"""

from __future__ import annotations

import os
import signal
import sys

from gallery import previews
from gallery.storage import efs
from gallery.storage.efs import Efs

BYTES = bytes(range(256)) * 40_000  # 10 MB, in two writes
PREVIEW = b"\xff\xd8\xff" + bytes(60_000)


class Dying:
    """The module os, whose calls are counted; the Nth never returns."""

    def __init__(self, number: int, half: bool) -> None:
        self._left = number
        self._half = half

    def __getattr__(self, name: str):
        real = getattr(os, name)
        if name in ("path", "strerror") or not callable(real) or isinstance(real, type):
            return real

        def call(*arguments, **keywords):
            self._left -= 1
            if self._left == 0:
                if self._half and name == "write":
                    real(arguments[0], arguments[1][: len(arguments[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            print(name, flush=True)
            return real(*arguments, **keywords)

        return call


def main(directory: str, number: str, *how: str) -> None:
    """Die, or finish when the number is larger than the number of calls."""
    efs.os = Dying(int(number), "half" in how)
    storage = Efs(directory)
    writer = storage.put("a.txt")
    writer.write(BYTES[: len(BYTES) // 2])
    writer.write(BYTES[len(BYTES) // 2 :])
    preview = previews.begin(storage.previews(), "a.txt", PREVIEW) if "preview" in how else None
    key = writer.publish().key
    if preview:
        previews.publish(storage, key, preview)


main(*sys.argv[1:])
