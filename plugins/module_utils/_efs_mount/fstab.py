# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""fstab: its lines as data, the mark of those that are ours, and how they are changed. Text in, text out."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

from . import nfs
from .spec import Wanted
from .tables import Options, escape, option_value, split_options, unescape
from .tunnel_unit import unit_name

PATH = "/etc/fstab"
MARK = "x-samefiles.aws"  # in the options of our lines; its value is the file system


@dataclasses.dataclass(frozen=True)
class Line:
    """A line that names a mount."""

    source: str
    path: str
    fstype: str
    options: Options

    def option(self, key: str) -> str | None:
        """The value of an option, "" for a flag, None when it is absent."""
        return option_value(self.options, key)

    @property
    def file_system(self) -> str | None:
        """The file system of a line of ours, None when it is not marked as ours."""
        return self.option(MARK)

    def render(self) -> str:
        """The line as it is written."""
        options = ",".join(key if value is None else f"{key}={value}" for key, value in self.options)
        return " ".join((escape(self.source), escape(self.path), self.fstype, options, "0", "0"))


@dataclasses.dataclass(frozen=True)
class Entry(Line):
    """An existing line; number counts the lines of the file from 0, raw is its text."""

    number: int = 0
    raw: str = ""


def _entries(lines: Sequence[str]) -> list[Entry]:
    """The lines that name a mount, in order. Comments, blank and broken lines are no entries."""
    entries = []
    for number, raw in enumerate(lines):
        fields = re.split("[ \t]+", raw.strip(" \t"))  # split() would also split at a no-break space
        if len(fields) < 3 or fields[0].startswith("#"):
            continue
        source, path, fstype = (unescape(field) for field in fields[:3])
        # fstab(5): trailing slashes do not make another mount point
        path = path.rstrip("/") or "/"
        options = split_options(fields[3]) if len(fields) > 3 else ()
        entries.append(Entry(source, path, fstype, options, number, raw))
    return entries


class Fstab:
    """The file, parsed once; entries are those of the text where they are known already."""

    def __init__(self, text: str = "", entries: list[Entry] | None = None):
        self.text = text
        self._lines = text.split("\n")
        self.entries = _entries(self._lines) if entries is None else entries

    def edited(self, changes: Mapping[int, Line | None], new: Sequence[Line]) -> Fstab:
        """The file with lines replaced or (None) removed by number, and new ones at its end; all other bytes stay."""
        lines = list(self._lines)
        # a file that ends with a newline leaves an empty last element, which is no line
        ending = [""] if lines and lines[-1] == "" else []
        if ending:
            lines.pop()
        known: dict[int, Line] = {entry.number: entry for entry in self.entries}
        texts: list[str] = []
        entries: list[Entry] = []
        for number, raw in enumerate([*lines, *(line.render() for line in new)]):
            line = changes.get(number, known.get(number)) if number < len(lines) else new[number - len(lines)]
            if number in changes and line is None:
                continue
            text = line.render() if line is not None and number in changes else raw
            if line is not None:
                entries.append(Entry(line.source, line.path, line.fstype, line.options, len(texts), text))
            texts.append(text)
        return Fstab("\n".join(texts + (ending if not new else [""])), entries)


def our_line(item: Wanted, port: int | None) -> Line:
    """The line of a mount as it should be; port is the tunnel's, for transport stunnel."""
    special: list[tuple[str, str | None]] = []
    if item.transport == "efs-utils":
        source, fstype = f"{item.file_system}:{item.directory}", "efs"
        special = [("tls", None), ("region", item.region)]
        special += [("iam", None)] if item.iam else []
        named = (("accesspoint", item.access_point), ("mounttargetip", item.mount_target), ("cafile", item.ca_file))
        special += [(key, value) for key, value in named if value]
    elif item.transport == "stunnel":
        source, fstype = f"127.0.0.1:{item.directory}", "nfs4"
        special = [("port", str(port)), ("x-systemd.after", unit_name(item.file_system))]
    else:
        host = f"[{item.host}]" if ":" in item.host else item.host
        source, fstype = f"{host}:{item.directory}", "nfs4"
    options = split_options(",".join((*nfs.nfs_options(item.options), *nfs.SYSTEM_OPTIONS)))
    count = len(options) - len(nfs.SYSTEM_OPTIONS)
    return Line(source, item.path, fstype, (*options[:count], *special, *options[count:], (MARK, item.file_system)))
