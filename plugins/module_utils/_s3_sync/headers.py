# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The headers of objects: those that a file is stored with, and those to set anew on an object that is there already. Pure."""

from __future__ import annotations

import functools

from .._s3.responses import Head
from .rules import CODINGS, Rules, fits_any

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
_CONTENT = ("content-type", "content-encoding", "cache-control", "content-disposition", "content-language")
FIELDS = ("content_type", "content_encoding", "cache_control", "content_disposition", "content_language")


@functools.lru_cache(maxsize=16)
def _types(mime_map: tuple[tuple[str, str], ...]) -> tuple[dict[str, str], dict[str, str]]:
    own = {extension.lstrip(".").lower(): media_type for extension, media_type in mime_map}
    return {**_TYPES, **own}, own


def _usual(rules: Rules, path: str) -> dict[str, str]:
    """Type and encoding by the extensions: site.css.gz is CSS, compressed; backup.tar.gz is an archive."""
    name = path.rpartition("/")[2].lower()
    types, own = _types(rules.mime_map)
    stem, _dot, extension = name.rpartition(".")
    inner = stem.rpartition(".")[2] if "." in stem else ""
    if extension in CODINGS and extension not in own and inner in types and inner != "tar":
        return {"content-type": types[inner], "content-encoding": CODINGS[extension]}
    return {"content-type": types.get(extension if _dot else "", _OTHER)}


def rule_headers(rules: Rules, path: str) -> dict[str, str]:
    """What the rules say of a file's headers: names in lower case, metadata as x-amz-meta-NAME; "" for one it must not have."""
    result = _usual(rules, path)
    if rules.cache_control:
        result["cache-control"] = rules.cache_control
    for rule in rules.headers:
        if fits_any(rule.patterns, path):
            for name in FIELDS:
                value = getattr(rule, name)
                if value is not None:
                    result[name.replace("_", "-")] = value
            result.update((f"x-amz-meta-{name.lower()}", value) for name, value in rule.metadata)
    return result


def headers(rules: Rules, path: str) -> dict[str, str]:
    """The headers that a file is stored with."""
    return {name: value for name, value in rule_headers(rules, path).items() if value}


def encryption_headers(rules: Rules) -> dict[str, str]:
    """What asks for encryption; without a rule the bucket's own setting holds."""
    if not rules.encryption:
        return {}
    made = {"x-amz-server-side-encryption": rules.encryption}
    if rules.kms_key:
        made["x-amz-server-side-encryption-aws-kms-key-id"] = rules.kms_key
    return made


def put_headers(rules: Rules, path: str) -> dict[str, str]:
    """All headers that a new object is stored with."""
    made = {**headers(rules, path), **encryption_headers(rules)}
    if rules.storage_class and rules.storage_class != "STANDARD":
        made["x-amz-storage-class"] = rules.storage_class
    return made


def drift(rules: Rules, path: str, head: Head) -> tuple[dict[str, str], str]:
    """The headers to set on an object whose content is right, and why; empty when they are as they are to be.

    Content headers are all ours. Of the metadata only what the rules name is: what other tools wrote there stays. The storage
    class is left as it is, for lifecycle rules change it.
    """
    wished = rule_headers(rules, path)
    wanted = {name: value for name, value in wished.items() if value}
    now = {name: head.headers[name] for name in _CONTENT if name in head.headers}
    now.update((f"x-amz-meta-{name}", value) for name, value in head.metadata.items())
    differs = [name for name in _CONTENT if wanted.get(name) != now.get(name)]
    differs += [name for name in wished if name.startswith("x-amz-meta-") and wished[name] != now.get(name, "")]
    encryption = encryption_headers(rules)
    if rules.encryption and head.encryption != rules.encryption:
        differs.append("encryption")
    elif rules.kms_key and rules.kms_key not in (head.kms_key, (head.kms_key or "").rpartition("/")[2]):
        differs.append("encryption key")
    if not differs:
        return {}, ""
    kept = {name: value for name, value in now.items() if name.startswith("x-amz-meta-") and name not in wished}
    other = {name: value for name, value in head.headers.items() if name not in _CONTENT}
    if head.storage_class != "STANDARD":
        other["x-amz-storage-class"] = head.storage_class
    if not encryption and head.encryption:
        encryption = {"x-amz-server-side-encryption": head.encryption}
        if head.kms_key:
            encryption["x-amz-server-side-encryption-aws-kms-key-id"] = head.kms_key
    why = ", ".join(_change(name, now, wanted) for name in differs)
    return {**other, **kept, **wanted, **encryption}, why


def _change(name: str, now: dict, wanted: dict) -> str:
    if name.startswith("encryption"):
        return name
    return f"{name} {now.get(name, 'none')!r} -> {wanted.get(name, 'none')!r}"
