# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Closes upload tickets: an empty object where the upload was, so that S3 takes no second one there.

It also records why. A server that is still copying the upload, while others have published the file and somebody has deleted
it, learns so that its copy must go too; also when the copy fails. One case is left: the file was deleted, and S3 ends a copy
that the server has given up by then. That copy stays, unless somebody asks for the confirmation again.
"""

from __future__ import annotations

from ansible_collections.samefiles.aws.plugins.module_utils._s3.objects import Bucket
from ansible_collections.samefiles.aws.plugins.module_utils._s3.responses import Head

from gallery import media_types
from gallery.s3 import objects

_HEADERS = {"content-type": media_types.OTHER}
_WHY = "closed"  # S3's name for it is x-amz-meta-closed, which no ticket signs
_DELETED = "deleted"


def after_upload(bucket: Bucket, place: str, etag: str) -> None:
    """What was uploaded is published or refused. Raises Changed when something else lies there by now."""
    bucket.ask("PUT", "PUT", place, None, {**_HEADERS, "if-match": f'"{etag}"'}, b"")


def for_good(bucket: Bucket, place: str) -> None:
    """The file is to be deleted: a confirmation that is under way must not publish it any more."""
    head = objects.head(bucket, place)
    if head is not None and not is_deleted(head):
        bucket.ask("PUT", "PUT", place, None, {**_HEADERS, f"x-amz-meta-{_WHY}": _DELETED}, b"")


def is_deleted(head: Head) -> bool:
    """Whether the file of this upload was deleted."""
    return not head.size and head.metadata.get(_WHY) == _DELETED
