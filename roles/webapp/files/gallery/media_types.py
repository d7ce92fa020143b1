# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Media types: which files are pictures that browsers show, by extension and first bytes; others are attachments."""

from __future__ import annotations

from collections.abc import Callable

IMAGES = {
    "avif": "image/avif",
    "gif": "image/gif",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
}
"""What a browser shows and cannot run. Everything else is an attachment of type OTHER, whatever its name says."""
OTHER = "application/octet-stream"
HEAD = 64  # bytes from the start of a file that fits() checks

_MAGIC: dict[str, Callable[[bytes], bool]] = {
    "image/gif": lambda head: head[:6] in (b"GIF87a", b"GIF89a"),
    "image/jpeg": lambda head: head[:3] == b"\xff\xd8\xff",
    "image/png": lambda head: head[:8] == b"\x89PNG\r\n\x1a\n",
    "image/webp": lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP",
    # the brand may stand first, or among those that the file is compatible with
    "image/avif": lambda head: head[4:8] == b"ftyp" and (b"avif" in head[8:] or b"avis" in head[8:]),
}


def media_type(extension: str) -> str:
    """The Content-Type with which files of an extension are served."""
    return IMAGES.get(extension, OTHER)


def is_image(extension: str) -> bool:
    """True for what is shown inline."""
    return extension in IMAGES


def fits(extension: str, head: bytes) -> bool:
    """False for a picture whose first HEAD bytes are not those of its type. Other files may hold anything."""
    return not is_image(extension) or _MAGIC[IMAGES[extension]](head[:HEAD])
