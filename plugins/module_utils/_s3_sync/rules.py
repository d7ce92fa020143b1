# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of a sync: which files take part, which of them are pages, and with which headers they are stored. Pure."""

from __future__ import annotations

import dataclasses
import functools
import re

# Our own table, for the host's differs from host to host. Text is UTF-8 on every web site of this century.
_TYPES = {
    "avif": "image/avif", "bmp": "image/bmp", "css": "text/css; charset=utf-8", "csv": "text/csv; charset=utf-8",
    "eot": "application/vnd.ms-fontobject", "epub": "application/epub+zip", "gif": "image/gif", "gz": "application/gzip",
    "htm": "text/html; charset=utf-8", "html": "text/html; charset=utf-8", "ico": "image/x-icon", "ics": "text/calendar; charset=utf-8",
    "jpeg": "image/jpeg", "jpg": "image/jpeg", "js": "text/javascript; charset=utf-8", "json": "application/json",
    "jsonld": "application/ld+json", "log": "text/plain; charset=utf-8", "map": "application/json", "md": "text/markdown; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8", "mov": "video/quicktime", "mp3": "audio/mpeg", "mp4": "video/mp4", "m4a": "audio/mp4",
    "oga": "audio/ogg", "ogg": "audio/ogg", "ogv": "video/ogg", "otf": "font/otf", "pdf": "application/pdf", "png": "image/png",
    "rss": "application/rss+xml; charset=utf-8", "atom": "application/atom+xml; charset=utf-8", "svg": "image/svg+xml",
    "tar": "application/x-tar", "tif": "image/tiff", "tiff": "image/tiff", "ttf": "font/ttf", "txt": "text/plain; charset=utf-8",
    "wasm": "application/wasm", "wav": "audio/wav", "weba": "audio/webm", "webm": "video/webm",
    "webmanifest": "application/manifest+json", "webp": "image/webp", "woff": "font/woff", "woff2": "font/woff2",
    "xhtml": "application/xhtml+xml; charset=utf-8", "xml": "application/xml; charset=utf-8", "yaml": "application/yaml",
    "yml": "application/yaml", "zip": "application/zip", "zst": "application/zstd", "br": "application/x-brotli",
    "doc": "application/msword", "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xls": "application/vnd.ms-excel", "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "ppt": "application/vnd.ms-powerpoint", "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "7z": "application/x-7z-compressed", "bz2": "application/x-bzip2", "xz": "application/x-xz", "rtf": "application/rtf",
}  # fmt: skip
_OTHER = "application/octet-stream"
_CODINGS = {"gz": "gzip", "br": "br", "zst": "zstd"}
# A file of these kinds names others, which must be there before it: it goes after them.
PAGES = (
    "*.html", "*.htm", "*.xhtml", "*.webmanifest", "manifest.json", "sw.js", "service-worker.js", "*.rss", "*.atom", "feed.xml",
    "sitemap*.xml", "robots.txt", "asset-manifest.json",
)  # fmt: skip
PART = ".samefiles-part-"  # what files are called while they are being written: on neither side they take part
FIELDS = ("content_type", "content_encoding", "cache_control", "content_disposition", "content_language")


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
    parts = trimmed.split("/") if trimmed else []
    if any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"key_prefix must be a path without empty parts, '.' and '..', got {text!r}")
    return f"{trimmed}/" if trimmed else ""


@functools.lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern:
    """A glob as a regular expression: * and ? stay within a name, ** does not; [abc], [!abc] as the shell has them."""
    pattern = f"{pattern}**" if pattern.endswith("/") else pattern  # a folder: all that is below it
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
        end = (
            pattern.find("]", place + 2 + not_in) if char == "[" else -1
        )  # one right behind the bracket is meant itself
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
    kinds: tuple[list[str], list[str]] = ([], [])
    for pattern in patterns:
        kinds["/" in pattern].append(f"(?:{_compiled(pattern.lstrip('/')).pattern})")
    name, whole = (re.compile("|".join(kind), re.DOTALL) if kind else None for kind in kinds)
    return name, whole


def fits_any(patterns: tuple[str, ...], path: str) -> bool:
    """Whether a file is meant by one of the patterns."""
    name, whole = _union(patterns)
    return bool((name and name.fullmatch(path.rpartition("/")[2])) or (whole and whole.fullmatch(path)))


def _shuts_out(pattern: str, path: str) -> bool:
    """Whether an exclude pattern means a file or a folder above it."""
    if "/" not in pattern:
        return any(_compiled(pattern).fullmatch(part) for part in path.split("/"))
    return fits(pattern, path) or bool(pattern.endswith("/") and f"{path}/".startswith(pattern.lstrip("/")))


def _shuts_all(pattern: str, folder: str) -> bool:
    """Whether an exclude pattern means all that a folder holds, whatever its names: it does for a folder of those that it means."""
    stem = pattern.lstrip("/").removesuffix("**")
    if not stem.endswith("/") or stem.endswith("//"):  # no path has an empty part
        return False
    meant = _compiled(stem[:-1])
    while folder:
        if meant.fullmatch(folder):
            return True
        folder = folder.rpartition("/")[0]
    return False


class Chooser:
    """Which paths take part; answers for a name or folder are kept, for a tree has few folders and many files."""

    def __init__(self, rules: Rules):
        self._all = rules.include in (("*",), ("**",))
        self._include, self._exclude = rules.include, rules.exclude
        self._names = [_compiled(pattern) for pattern in rules.exclude if "/" not in pattern]
        self._paths = [pattern for pattern in rules.exclude if "/" in pattern]
        self._folders: dict[str, bool] = {"": True}

    def _folder(self, folder: str) -> bool:
        """Whether no exclude pattern without a slash fits a folder or one above it."""
        found = self._folders.get(folder)
        if found is None:
            above, _slash, name = folder.rpartition("/")
            found = self._folder(above) and not any(pattern.fullmatch(name) for pattern in self._names)
            self._folders[folder] = found
        return found

    def takes(self, path: str) -> bool:
        """Whether a file or object takes part."""
        folder, _slash, name = path.rpartition("/")
        if name.startswith(PART):
            return False
        if not self._folder(folder) or any(pattern.fullmatch(name) for pattern in self._names):
            return False
        if self._paths and any(_shuts_out(pattern, path) for pattern in self._paths):
            return False
        return self._all or fits_any(self._include, path)

    def enters(self, folder: str) -> bool:
        """Whether anything in a folder can take part."""
        return self._folder(folder) and not any(_shuts_all(pattern, folder) for pattern in self._paths)


def is_page(rules: Rules, path: str) -> bool:
    """Whether a file goes after those that it names; compressed, a page still is one."""
    stem, _dot, extension = path.rpartition(".")
    return fits_any(rules.pages, path) or (extension in _CODINGS and fits_any(rules.pages, stem))


@functools.lru_cache(maxsize=16)
def _kinds(mime_map: tuple[tuple[str, str], ...]) -> tuple[dict[str, str], dict[str, str]]:
    own = {extension.lstrip(".").lower(): kind for extension, kind in mime_map}
    return {**_TYPES, **own}, own


def _usual(rules: Rules, path: str) -> dict[str, str]:
    """Type and encoding by the extensions: site.css.gz is CSS, compressed; backup.tar.gz is an archive."""
    name = path.rpartition("/")[2].lower()
    kinds, own = _kinds(rules.mime_map)
    stem, _dot, extension = name.rpartition(".")
    inner = stem.rpartition(".")[2] if "." in stem else ""
    if extension in _CODINGS and extension not in own and inner in kinds and inner != "tar":
        return {"content-type": kinds[inner], "content-encoding": _CODINGS[extension]}
    return {"content-type": kinds.get(extension if _dot else "", _OTHER)}


def told(rules: Rules, path: str) -> dict[str, str]:
    """What the rules say of a file's headers: names in lower case, metadata as x-amz-meta-NAME; "" for one it must not have."""
    found = _usual(rules, path)
    if rules.cache_control:
        found["cache-control"] = rules.cache_control
    for rule in rules.headers:
        if fits_any(rule.patterns, path):
            for name in FIELDS:
                value = getattr(rule, name)
                if value is not None:
                    found[name.replace("_", "-")] = value
            found.update((f"x-amz-meta-{name.lower()}", value) for name, value in rule.metadata)
    return found


def headers(rules: Rules, path: str) -> dict[str, str]:
    """The headers that a file is stored with."""
    return {name: value for name, value in told(rules, path).items() if value}
