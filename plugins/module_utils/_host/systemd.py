# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where systemd keeps units, how it writes names, and what units wrote to the journal."""

from __future__ import annotations

import os

from . import process

UNIT_DIRECTORY = "/etc/systemd/system"


def wants_directory(target: str) -> str:
    """The directory of the links to the units that start with a target such as multi-user.target."""
    return f"{UNIT_DIRECTORY}/{target}.wants"


def enabled(target: str) -> set[str]:
    """The units that start with a target."""
    try:
        return set(os.listdir(wants_directory(target)))
    except FileNotFoundError:
        return set()


def unit_path(unit: str) -> str:
    """The path of a unit of ours."""
    return f"{UNIT_DIRECTORY}/{unit}"


def escape_path(path: str) -> str:
    """A path as systemd writes it in unit names (systemd-escape --path)."""
    trimmed = path.strip("/")
    out = []
    for number, byte in enumerate(trimmed.encode("utf-8", "surrogateescape")):
        char = chr(byte)
        if char == "/":
            out.append("-")
        elif (char.isascii() and char.isalnum()) or char in ":_" or (char == "." and number):
            out.append(char)
        else:
            out.append(f"\\x{byte:02x}")
    return "".join(out)


def last_log_lines(unit: str) -> str:
    """The last lines that the processes of a unit wrote to the journal."""
    argv = ["journalctl", f"_SYSTEMD_UNIT={unit}", "--lines", "3", "--output", "cat", "--no-pager"]
    return process.run(argv, 10).said()
