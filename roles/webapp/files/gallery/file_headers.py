# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The response headers of files: media type, caching, attachment. What nginx serves of EFS has its own in files.conf.j2."""

from __future__ import annotations

from email.utils import formatdate

from gallery import keys, media_types
from gallery.storage.base import Entry

# a file never changes; deleted ones must not stay in caches that serve many people
_IMMUTABLE = "max-age=31536000, immutable"


def etag(entry: Entry) -> str:
    """The ETag, made as nginx makes it, so that both agree."""
    return f'"{int(entry.modified):x}-{entry.size:x}"'


def of_response(entry: Entry) -> dict[str, str]:
    """The headers with which gallery itself serves a file."""
    headers = {
        "Content-Type": media_types.media_type(entry.extension),
        "ETag": etag(entry),
        "Last-Modified": formatdate(entry.modified, usegmt=True),
        "Accept-Ranges": "bytes",
        "Cache-Control": f"private, {_IMMUTABLE}",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    if not entry.is_image:
        headers["Content-Disposition"] = f'attachment; filename="{entry.name}"'
    return headers


def of_object(key: str, public: bool = False) -> dict[str, str]:
    """The headers that an object is stored with in S3, which serves it with them."""
    extension = keys.extension_of(key)
    headers = {
        "content-type": media_types.media_type(extension),
        "cache-control": f"{'public' if public else 'private'}, {_IMMUTABLE}",
    }
    if not media_types.is_image(extension):
        headers["content-disposition"] = f'attachment; filename="{keys.name_of(key)}"'
    return headers
