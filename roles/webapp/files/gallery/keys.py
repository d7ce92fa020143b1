# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys: the names under which files are stored. The server makes them; nothing of a client's text is trusted.

A key is TIME RANDOM - NAME: 11 base-32 digits of the inverted time in microseconds, so that byte order is newest
first; 16 base-32 digits (80 bits) that cannot be guessed; a safe form of the name with one extension.
"""

from __future__ import annotations

import re
import secrets
import time
import unicodedata
from collections.abc import Collection

from gallery.errors import Problem, shown

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"  # in byte order
_TIME, _RANDOM = 11, 16  # digits; 55 bits of microseconds last until the year 3111
_LAST = 32**_TIME - 1
_STEM, _EXTENSION = 64, 8  # characters

_DIGIT = "[0-9a-hjkmnp-tv-z]"
PATTERN = (
    f"(?P<outer>{_DIGIT}{{3}})(?P<inner>{_DIGIT}{{2}}){_DIGIT}{{22}}"
    "-(?P<name>[A-Za-z0-9][A-Za-z0-9_-]{0,63}[.](?P<extension>[a-z0-9]{1,8}))"
)
"""Every key, and nothing else, matches this from end to end; Python and nginx read it alike.

The file lies at DIRECTORY/outer/inner/KEY: an outer directory spans 12.7 days, an inner one 18 minutes. nginx:
location ~ "^/files/(?P<key>PATTERN)$" { alias DIRECTORY/$outer/$inner/$key; }
"""
OUTER, INNER = re.compile(f"{_DIGIT}{{3}}"), re.compile(f"{_DIGIT}{{2}}")
_KEY = re.compile(PATTERN)


def is_key(text: str) -> bool:
    """True for what this module may have made."""
    return _KEY.fullmatch(text) is not None


def _base32(number: int, width: int) -> str:
    digits = []
    for _place in range(width):
        number, digit = divmod(number, 32)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))


def new_key(name: str, at: float | None = None) -> str:
    """A key nobody has yet, for a safe name; at is the time in seconds since 1970 (default: now)."""
    microseconds = time.time_ns() // 1000 if at is None else int(at * 1_000_000)
    return f"{_base32(_LAST - microseconds, _TIME)}{_base32(secrets.randbits(5 * _RANDOM), _RANDOM)}-{name}"


def made_at(key: str) -> float:
    """When a key was made, in seconds since 1970."""
    number = 0
    for digit in key[:_TIME]:
        number = 32 * number + _DIGITS.index(digit)
    return (_LAST - number) / 1_000_000


def time_part(at: float) -> str:
    """What the keys of a moment, in seconds since 1970, begin with: older keys sort behind it."""
    return _base32(_LAST - int(at * 1_000_000), _TIME)


def directories(key: str) -> tuple[str, str]:
    """The outer and the inner directory that hold a key."""
    return key[:3], key[3:5]


def name_of(key: str) -> str:
    """The safe name that a key ends with."""
    return key[_TIME + _RANDOM + 1 :]


def extension_of(key: str) -> str:
    """The extension of a key, without the dot."""
    return key.rpartition(".")[2]


def safe_name(filename: str, allowed: Collection[str]) -> str:
    """The safe form of a client's file name, whose extension must be one of those allowed."""
    if any(unicodedata.category(char) == "Cc" for char in filename):
        raise Problem(400, f"The file name {shown(filename)} holds a control character: rename the file.")
    base = re.split(r"[/\\]", filename)[-1].strip()
    if not base:
        raise Problem(400, f"The file name {shown(filename)} is empty: choose a file.")
    stem, dot, extension = base.rpartition(".")
    if not dot or extension.lower() not in allowed:
        raise Problem(415, f"Files like {shown(base)} are not accepted: allowed are {', '.join(sorted(allowed))}.")
    letters = (char for char in unicodedata.normalize("NFKD", stem) if not unicodedata.combining(char))
    # no dot is left in the stem: of "x.php.png" a careless web server could run the first extension
    plain = re.sub("[^A-Za-z0-9_]+", "-", "".join(letters)).strip("-_")
    return f"{plain[:_STEM].rstrip('-_') or 'file'}.{extension.lower()}"
