# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of a sync: which files take part, which of them are pages, and all other settings. Pure."""

from __future__ import annotations

import dataclasses
import functools
import re

CODINGS = {"gz": "gzip", "br": "br", "zst": "zstd"}
# Such a file refers to others, which must exist before it: it is transferred after them.
PAGES = (
    "*.html", "*.htm", "*.xhtml", "*.webmanifest", "manifest.json", "sw.js", "service-worker.js", "*.rss", "*.atom", "feed.xml",
    "sitemap*.xml", "robots.txt", "asset-manifest.json",
)  # fmt: skip
PART = ".samefiles-part-"  # prefix of files that are being written; neither side includes them


@dataclasses.dataclass(frozen=True)
class HeaderRule:
    """Headers of the files that one of the patterns fits; None leaves a header to the rules before."""

    patterns: tuple[str, ...]
    content_type: str | None = None
    content_encoding: str | None = None
    cache_control: str | None = None
    content_disposition: str | None = None
    content_language: str | None = None
    metadata: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class Rules:
    """What a sync is to do; prefix ends with a slash unless it is empty."""

    prefix: str = ""
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = (".*",)
    pages: tuple[str, ...] = PAGES
    phase: str = "all"
    delete: bool = False
    most_deletes: int = 100
    most_percent: float = 25.0
    force: bool = False
    mime_map: tuple[tuple[str, str], ...] = ()
    cache_control: str | None = None
    headers: tuple[HeaderRule, ...] = ()
    storage_class: str | None = None
    encryption: str | None = None
    kms_key: str | None = None
    conditional: bool = True
    verify: bool = False


def prefix(text: str) -> str:
    """A key prefix as a path: with one slash at its end, none at its beginning. Raises ValueError with a sentence."""
    trimmed = text.strip("/")
    segments = trimmed.split("/") if trimmed else []
    if any(segment in ("", ".", "..") for segment in segments):
        raise ValueError(f"key_prefix must be a path without empty parts, '.' and '..', got {text!r}")
    return f"{trimmed}/" if trimmed else ""


@functools.lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern:
    """A glob as a regular expression: * and ? stay within a name, ** does not; [abc], [!abc] as the shell has them."""
    pattern = f"{pattern}**" if pattern.endswith("/") else pattern  # a directory: all that is below it
    out, place = [], 0
    while place < len(pattern):
        char = pattern[place]
        if pattern.startswith("**/", place):
            out.append("(?:.*/)?")
            place += 3
            continue
        if pattern.startswith("**", place):
            out.append(".*")
            place += 2
            continue
        not_in = pattern.startswith("[!", place)
        end = pattern.find("]", place + 2 + not_in) if char == "[" else -1  # a ] right after the bracket is literal
        if char == "*":
            out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif end > 0:
            inside = re.sub(r"([\\^\[\]&|~])", r"\\\1", pattern[place + 1 + not_in : end])
            out.append(f"[^/{inside}]" if not_in else f"[{inside}]")
            place = end
        else:
            out.append(re.escape(char))
        place += 1
    return re.compile("".join(out), re.DOTALL)


def fits(pattern: str, path: str) -> bool:
    """Whether a file is meant: a pattern without a slash means its name, one with a slash its whole path."""
    if "/" in pattern:
        return bool(_compiled(pattern.lstrip("/")).fullmatch(path))
    return bool(_compiled(pattern).fullmatch(path.rpartition("/")[2]))


@functools.lru_cache(maxsize=128)
def _union(patterns: tuple[str, ...]) -> tuple[re.Pattern | None, re.Pattern | None]:
    """All patterns that mean names, and all that mean paths, each as one."""
    groups: tuple[list[str], list[str]] = ([], [])
    for pattern in patterns:
        groups["/" in pattern].append(f"(?:{_compiled(pattern.lstrip('/')).pattern})")
    name, whole = (re.compile("|".join(group), re.DOTALL) if group else None for group in groups)
    return name, whole


def fits_any(patterns: tuple[str, ...], path: str) -> bool:
    """Whether a file is meant by one of the patterns."""
    name, whole = _union(patterns)
    return bool((name and name.fullmatch(path.rpartition("/")[2])) or (whole and whole.fullmatch(path)))


def _shuts_out(pattern: str, path: str) -> bool:
    """Whether an exclude pattern means a file or a directory above it."""
    if "/" not in pattern:
        return any(_compiled(pattern).fullmatch(part) for part in path.split("/"))
    return fits(pattern, path) or bool(pattern.endswith("/") and f"{path}/".startswith(pattern.lstrip("/")))


def _shuts_all(pattern: str, directory: str) -> bool:
    """Whether an exclude pattern means all that a directory holds, whatever its names: it does for a directory of those that it means."""
    stem = pattern.lstrip("/").removesuffix("**")
    if not stem.endswith("/") or stem.endswith("//"):  # no path has an empty part
        return False
    meant = _compiled(stem[:-1])
    while directory:
        if meant.fullmatch(directory):
            return True
        directory = directory.rpartition("/")[0]
    return False


class Chooser:
    """Which paths take part; answers for a name or directory are kept, for a tree has few directories and many files."""

    def __init__(self, rules: Rules):
        self._all = rules.include in (("*",), ("**",))
        self._include, self._exclude = rules.include, rules.exclude
        self._names = [_compiled(pattern) for pattern in rules.exclude if "/" not in pattern]
        self._paths = [pattern for pattern in rules.exclude if "/" in pattern]
        self._directories: dict[str, bool] = {"": True}

    def _directory(self, directory: str) -> bool:
        """Whether no exclude pattern without a slash fits a directory or one above it."""
        allowed = self._directories.get(directory)
        if allowed is None:
            above, _slash, name = directory.rpartition("/")
            allowed = self._directory(above) and not any(pattern.fullmatch(name) for pattern in self._names)
            self._directories[directory] = allowed
        return allowed

    def takes(self, path: str) -> bool:
        """Whether a file or object takes part."""
        directory, _slash, name = path.rpartition("/")
        if name.startswith(PART):
            return False
        if not self._directory(directory) or any(pattern.fullmatch(name) for pattern in self._names):
            return False
        if self._paths and any(_shuts_out(pattern, path) for pattern in self._paths):
            return False
        return self._all or fits_any(self._include, path)

    def enters(self, directory: str) -> bool:
        """Whether anything in a directory can take part."""
        return self._directory(directory) and not any(_shuts_all(pattern, directory) for pattern in self._paths)


def is_page(rules: Rules, path: str) -> bool:
    """Whether a file goes after those that it names; compressed, a page still is one."""
    stem, _dot, extension = path.rpartition(".")
    return fits_any(rules.pages, path) or (extension in CODINGS and fits_any(rules.pages, stem))
