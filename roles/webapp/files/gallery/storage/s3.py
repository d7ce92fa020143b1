# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The storage `s3`: files as objects of one bucket, under their keys; nothing else remembers them.

Keys sort newest first, and so does S3's listing of them. No object is ever replaced: each is stored on the condition that
its key is free (If-None-Match), so that a request may be sent again when its answer was lost.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time

from ansible_collections.samefiles.aws.plugins.module_utils._s3 import responses
from ansible_collections.samefiles.aws.plugins.module_utils._s3.errors import Changed, Denied, S3Error
from ansible_collections.samefiles.aws.plugins.module_utils._s3.multipart import MIN_PART_SIZE, Part, Upload
from ansible_collections.samefiles.aws.plugins.module_utils._s3.responses import Head

from gallery import checksums, file_headers, keys, media_types, previews
from gallery.errors import Problem, missing, shown, unavailable
from gallery.s3 import closed_uploads, objects, presign
from gallery.s3.bucket import Place
from gallery.settings import Settings
from gallery.storage.base import Entry, Page, Reader, Storage, Writer

_LOG = logging.getLogger("gallery")
_ROUNDS = 100  # pages of a listing without one file in them, after which something is wrong
_FIRST = previews.LARGEST  # bytes that come with the opening of a file: a preview is whole then


def _entry(key: str, head: Head, sha256: str = "") -> Entry:
    return Entry(key, head.size, float(head.modified), sha256 or checksums.from_s3(head.checksums))


class _Writer(Writer):
    """Small files in one request; what is larger in parts, as soon as there are enough bytes for one."""

    def __init__(self, storage: S3, name: str, key: str) -> None:
        self._storage = storage
        self._name = name
        self._key = key  # of an upload in parts, or given
        self._stored = ""  # the key that may be in the bucket already
        self._upload: Upload | None = None
        self._uploaded: list[Part] = []
        self._buffer = b""
        self._size = 0
        self._hash = hashlib.sha256()
        self._lock = threading.Lock()

    def write(self, block: bytes) -> None:
        with self._lock, self._storage.place.explained("Writing"):
            self._size += len(block)
            self._hash.update(block)
            self._buffer = self._buffer + block if self._buffer else block
            if len(self._buffer) >= MIN_PART_SIZE:
                self._part()

    def _part(self) -> None:
        if not self._upload:
            bucket = self._storage.place.bucket("steady")
            self._key = self._key or self._storage.new_key(self._name)
            headers = self._storage.headers(self._key, b"")
            self._upload = Upload.begin(bucket, self._storage.object(self._key), headers)
        self._uploaded.append(self._upload.put(len(self._uploaded) + 1, self._buffer))
        self._buffer = b""

    def end(self) -> None:
        with self._lock, self._storage.place.explained("Writing"):
            if self._buffer:
                self._part()

    def publish(self, key: str = "") -> Entry:
        with self._lock, self._storage.place.explained("Publishing"):
            if self._upload and key not in ("", self._key):
                raise AssertionError("a large file must be given its key at put()")
            self._stored = stored = key or self._key or self._storage.new_key(self._name)
            try:
                if self._upload:
                    self._finish(self._upload)
                else:
                    self._put()
            except Changed:
                self._stored = ""
                raise Problem(409, f"There is a file {shown(stored)} already: it is never replaced.") from None
            finally:
                self._storage.missed.forget(stored)
            return Entry(stored, self._size, time.time(), self._hash.hexdigest())

    def _put(self) -> None:
        md5 = hashlib.md5(self._buffer, usedforsecurity=False).digest()
        headers = self._storage.headers(self._stored, self._buffer)
        self._storage.place.bucket().put(self._storage.object(self._stored), self._buffer, headers, md5, "")

    def _finish(self, upload: Upload) -> None:
        if self._buffer:
            self._part()
        upload.finish(self._uploaded, "")
        self._upload = None

    def abort(self) -> None:
        with self._lock:
            self._buffer = b""
            upload, self._upload = self._upload, None
            stored, self._stored = self._stored, ""
            try:
                if upload:
                    Upload(self._storage.place.bucket(), upload.key, upload.name).abort()
                if stored:
                    objects.delete(self._storage.place.bucket(), self._storage.object(stored))
            except S3Error as fault:
                _LOG.warning("cleaning up: %s", fault)


class _Reader(Reader):
    """Its first 64 KiB came when it was opened; what is larger is asked for, and gone when it was deleted meanwhile."""

    def __init__(self, storage: S3, entry: Entry, etag: str, first: bytes) -> None:
        self.entry = entry
        self._storage, self._etag, self._first = storage, etag, first

    def read(self, offset: int, size: int) -> bytes:
        end = min(offset + size, self.entry.size)
        if end <= len(self._first) or offset >= end:
            return self._first[offset:end]
        with self._storage.place.explained("Reading"):
            place = self._storage.object(self.entry.key)
            return bytes(self._storage.place.bucket().get(place, self._etag, offset, end - offset).body)

    def close(self) -> None:
        self._first = b""


class S3(Storage):
    """Files below one prefix of a bucket."""

    block = MIN_PART_SIZE
    patience = 50.0  # nginx waits for us a minute

    def __init__(self, place: Place, settings: Settings, small: bool = False) -> None:
        self.place = place
        self._settings = settings
        self._small = small  # the previews
        self._own = settings.key_prefix.rstrip("/") + "/"
        files = settings.public_prefix.rstrip("/") + "/" if settings.public_prefix else f"{self._own}files/"
        self._prefix = f"{self._own}previews/" if small else files
        self._warned = False
        self.missed = previews.Missed()  # previews that were not there lately

    def object(self, key: str) -> str:
        """The object that holds a file."""
        return self._prefix + key

    def headers(self, key: str, data: bytes) -> dict[str, str]:
        """The headers that a file is stored with; data is all of a preview, whose type is not that of its name."""
        headers = file_headers.of_object(key, self._settings.public_access and not self._small)
        if self._small:
            headers["content-type"] = previews.media_type_of(data) or media_types.OTHER
        return headers

    def new_key(self, name: str) -> str:
        """A new key for a safe name, by S3's clock: the servers' own may differ by days, and the order of files with them."""
        return keys.new_key(name, self.place.bucket().now())

    def incoming(self, key: str) -> str:
        """Where the upload of a ticket lies until it is confirmed."""
        return f"{self._own}incoming/{key}"

    def put(self, name: str, key: str = "") -> Writer:
        """Begin a new file; key is the one that publish() will be given, which a large file must know at once."""
        return _Writer(self, name, key)

    def open(self, key: str) -> Reader:
        """Open a file."""
        with self.place.explained("Reading"):
            answer = objects.get(self.place.bucket(), self.object(key), _FIRST) if keys.is_key(key) else None
        if answer is None:
            raise missing(key)
        head, data = answer
        return _Reader(self, _entry(key, head), head.etag, data)

    def stat(self, key: str) -> Entry:
        """The entry of a file."""
        entry = self.find(key) if keys.is_key(key) else None
        if entry is None:
            raise missing(key)
        return entry

    def find(self, key: str, sha256: str = "") -> Entry | None:
        """The entry of a file, None when there is none; sha256 is what is known of it already."""
        with self.place.explained("Reading"):
            head = objects.head(self.place.bucket(), self.object(key))
        return _entry(key, head, sha256) if head else None

    def list(self, after: str, limit: int) -> Page:
        """Part of the listing, by one request unless strangers' objects lie among the files."""
        place = self.object(after) if after else ""
        entries: list[Entry] = []
        token = ""
        with self.place.explained("Listing"):
            for _round in range(_ROUNDS):
                page = objects.page(self.place.bucket(), self._prefix, place, limit, token)
                for item in page.objects:
                    key = item.key[len(self._prefix) :]
                    if keys.is_key(key):
                        entries.append(Entry(key, item.size, responses.when(item.modified)))
                if not page.token:
                    return Page(entries)
                if entries:
                    return Page(entries, entries[-1].key)
                token = page.token
        raise unavailable(
            "Listing failed: S3 has listed nothing that is a file, page after page; see what lies in the bucket."
        )

    def delete(self, key: str) -> None:
        """Remove a file, and what was uploaded for it and is not published yet. S3 itself does not say whether there was one."""
        if not self._small and keys.is_key(key):
            with self.place.explained("Deleting"):
                closed_uploads.for_good(self.place.bucket(), self.incoming(key))
        self.stat(key)
        with self.place.explained("Deleting"):
            objects.delete(self.place.bucket(), self.object(key))

    def previews(self) -> S3:
        """Objects below previews/."""
        made = S3(self.place, self._settings, True)
        made.missed = self.missed  # what is stored by one is found by the other
        return made

    def origin(self) -> str:
        """Where browsers find the bucket."""
        return self.place.origin()

    # for browsers

    def check(self) -> None:
        """Ask S3 whether files can be listed, for the readiness of this server."""
        with self.place.explained("Listing"):
            objects.page(self.place.bucket("watch"), self._prefix, "", 1)

    def link(self, method: str, key: str, download: bool = False) -> presign.Link:
        """An address by which browsers read a file, whether there is one or not; download: they keep it, also a picture."""
        with self.place.explained("Signing"):
            endpoint = self.place.outside()
            # nobody may ask for other headers without a signature
            if self._settings.public_access and not self._small and not download:
                return presign.Link(
                    presign.plain_url(endpoint, self.object(key)), int(self._settings.download_url_ttl / 2)
                )
            signer = presign.Signer(*self.place.signer())
        name = keys.name_of(key) if download else ""
        return presign.link(endpoint, signer, method, self.object(key), self._settings.download_url_ttl, name)

    # what was left behind

    def tidy(self, age: float) -> None:
        """Remove uploads that were never confirmed, what keeps their tickets closed, and uploads in parts that died."""
        if self._small:
            return
        with self.place.explained("Cleaning up"):
            self._tidy_incoming(age)
            self._tidy_multipart(age)

    def _tidy_incoming(self, age: float) -> None:
        bucket, prefix = self.place.bucket(), self.incoming("")
        # keys sort by their time: whatever sorts after this one is older, if the clock was right that made it
        page = objects.page(bucket, prefix, prefix + keys.time_part(bucket.now() - age), 1000)
        # S3's time decides, by its own clock, which may be known only since it answered. What keeps a ticket closed was
        # stored after the ticket was given, and so goes after the ticket's end; a time that cannot be read is 0
        before = bucket.now() - age
        old = [
            (item.key, "")
            for item in page.objects
            if keys.is_key(item.key[len(prefix) :]) and 0 < responses.when(item.modified) < before
        ]
        failed = bucket.delete(old) if old else []
        for key, _code, message in failed:
            _LOG.warning("cleaning up %s: %s", key, message)

    def _tidy_multipart(self, age: float) -> None:
        bucket = self.place.bucket()
        prefixes = [self._own] if self._prefix.startswith(self._own) else [self._own, self._prefix]
        try:
            for upload in (item for prefix in prefixes for item in objects.uploads(bucket, prefix)):
                if 0 < upload.started < bucket.now() - age:
                    Upload(bucket, upload.key, upload.name).abort()
        except Denied as fault:
            if not self._warned:
                _LOG.warning("uploads that died are left to the bucket's lifecycle rule: %s", fault)
            self._warned = True
