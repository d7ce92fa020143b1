# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Direct uploads: below incoming/ until they are confirmed, then checked and copied among the files."""

from __future__ import annotations

import logging
import time
from typing import Any, NamedTuple

from ansible_collections.samefiles.aws.plugins.module_utils._s3.errors import Changed, S3Error
from ansible_collections.samefiles.aws.plugins.module_utils._s3.responses import Head

from gallery import checksums, keys, media_types
from gallery.errors import Problem, missing, shown
from gallery.s3 import closed_uploads, objects, presign
from gallery.settings import Settings
from gallery.storage.base import Entry
from gallery.storage.s3 import S3

_LOG = logging.getLogger("gallery")


class Confirmed(NamedTuple):
    """A file that is published; new: by this very confirmation, as far as S3 has answered."""

    entry: Entry
    new: bool


class Incoming:
    """What has been asked for, and may have come."""

    def __init__(self, files: S3, settings: Settings) -> None:
        self.files, self._place, self._settings = files, files.place, settings

    def ticket(self, name: str, size: int, sha256: str) -> dict[str, Any]:
        """The right to upload one file under a new key."""
        settings = self._settings
        with self._place.explained("Signing"):
            key, signer = self.files.new_key(name), presign.Signer(*self._place.signer())
            endpoint = self._place.outside()
        place = self.files.incoming(key)
        return presign.ticket(
            endpoint, signer, place, key, size, sha256, settings.upload_url_ttl, settings.public_access
        )

    def confirm(self, key: str) -> Confirmed:
        """Publish what was uploaded by a ticket, when it is what it must be. May be asked again, and by several at once.

        The upload's place is left with an empty object on it, which keeps the ticket from being used again.
        """
        with self._place.explained("Publishing"):
            head = objects.head(self._place.bucket(), self.files.incoming(key))
            if head is None or not head.size:
                return self._published(key, head)
            try:
                self._judge(key, head)
                sha256 = self._copy(key, head)
            except Changed:
                published = self._published(key)  # somebody else was quicker, or the answer to our own copy was lost
                self._close(key, head)
                return published
            except Problem:
                self._close(key, head)
                raise
            self._close(key, head)
        return Confirmed(Entry(key, head.size, time.time(), sha256), True)

    def _published(self, key: str, head: Head | None = None) -> Confirmed:
        self._refuse_deleted(key, head)
        entry = self.files.find(key)
        if entry is None:
            raise Problem(404, f"Nothing was uploaded for {shown(key)}, or it was refused: upload it again.")
        return Confirmed(entry, False)

    def _refuse_deleted(self, key: str, head: Head | None) -> None:
        """Remove a copy that was made while its file was deleted: S3 saw a free key, and used it."""
        if head is not None and closed_uploads.is_deleted(head):
            objects.delete(self._place.bucket(), self.files.object(key))
            raise missing(key)

    def _judge(self, key: str, head: Head) -> None:
        """Refuse what must not be published. S3 has most of it from the ticket; this believes the object alone."""
        name, extension = shown(keys.name_of(key)), keys.extension_of(key)
        if head.size > self._settings.max_bytes:
            raise Problem(413, f"{name} is larger than {self._settings.max_bytes} bytes, the limit here.")
        if extension not in self._settings.allowed_extensions:
            raise Problem(415, f"Files like {name} are not accepted: upload another type.")
        if media_types.is_image(extension) and not media_types.fits(extension, self._first(key, head)):
            raise Problem(415, f"{name} is no {extension} picture inside: its first bytes differ.")

    def _first(self, key: str, head: Head) -> bytes:
        answer = objects.get(self._place.bucket(), self.files.incoming(key), media_types.HEAD)
        if answer is None or answer[0].etag != head.etag:
            raise Changed(f"GET {key}: somebody else was quicker")
        return answer[1]

    def _copy(self, key: str, head: Head) -> str:
        """Copy it to its place among the files; the SHA-256 if S3 knows it."""
        bucket, headers = self._place.bucket("patient"), self.files.headers(key, b"")
        try:
            sha256 = objects.copy(bucket, self.files.incoming(key), head.etag, self.files.object(key), headers)
        except Changed:
            raise
        except S3Error:
            self._check_deleted(key)
            raise
        return checksums.from_s3({"sha256": sha256}) or checksums.from_s3(head.checksums)

    def _check_deleted(self, key: str) -> None:
        """Remove the copy of a deleted file after a copy that failed: S3 may have made it. No error here hides the first."""
        try:
            self._refuse_deleted(key, objects.head(self._place.bucket(), self.files.incoming(key)))
        except Problem:
            pass  # the copy is removed; who asks again gets a 404, and what S3 ends later is removed as well
        except S3Error as fault:
            _LOG.warning("checking whether %s was deleted: %s", key, fault)

    def _close(self, key: str, head: Head) -> None:
        """Close the ticket. Until that works the upload itself lies there, and keeps it closed."""
        bucket, place = self._place.bucket(), self.files.incoming(key)
        try:
            closed_uploads.after_upload(bucket, place, head.etag)
        except Changed:
            self._refuse_deleted(key, objects.head(bucket, place))
        except S3Error as fault:
            _LOG.warning("cleaning up: %s", fault)
