# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The headers that S3 serves files with: media type, caching, attachment. Others: responses.py, and nginx's files.conf.j2."""

from __future__ import annotations

from gallery import keys, media_types

# a file never changes; deleted ones must not stay in caches that serve many people
IMMUTABLE = "max-age=31536000, immutable"


def of_object(key: str, public: bool = False) -> dict[str, str]:
    """The headers that an object is stored with in S3, which serves it with them."""
    extension = keys.extension_of(key)
    headers = {
        "content-type": media_types.media_type(extension),
        "cache-control": f"{'public' if public else 'private'}, {IMMUTABLE}",
    }
    if not media_types.is_image(extension):
        headers["content-disposition"] = f'attachment; filename="{keys.name_of(key)}"'
    return headers
