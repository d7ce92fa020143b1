# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors: an HTTP status for programs, and one sentence for people."""

from __future__ import annotations


class Problem(Exception):
    """A request that cannot be done: the HTTP status that says so, and one sentence that says why.

    Its text is what the log gets: whole, where the sentence leaves out what is not for visitors.
    """

    def __init__(self, status: int, sentence: str, headers: dict[str, str] | None = None, whole: str = "") -> None:
        super().__init__(whole or sentence)
        self.status = status
        self.sentence = sentence
        self.headers = headers or {}


def missing(key: str) -> Problem:
    """No file has this key."""
    return Problem(404, f"There is no file {shown(key)}: it was deleted, or it never existed.")


def unavailable(sentence: str, whole: str = "") -> Problem:
    """The storage cannot be used now; the sentence says why, and whole is for the log."""
    return Problem(503, sentence, {"Retry-After": "5"}, whole)


def shown(text: str) -> str:
    """A stranger's text as it may stand in a sentence: printable, in quotes and short."""
    printable = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return f'"{printable[:60]}…"' if len(printable) > 60 else f'"{printable}"'
