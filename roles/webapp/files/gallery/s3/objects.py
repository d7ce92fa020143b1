# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to the bucket that a sync has no need of: one page of a listing, the first bytes, a copy to another key."""

from __future__ import annotations

import re
from typing import NamedTuple

from ansible_collections.samefiles.aws.plugins.module_utils._s3 import responses, sigv4
from ansible_collections.samefiles.aws.plugins.module_utils._s3.errors import Changed, Denied, Malformed, S3Error
from ansible_collections.samefiles.aws.plugins.module_utils._s3.objects import Bucket
from ansible_collections.samefiles.aws.plugins.module_utils._s3.responses import Head, Page


class Unfinished(NamedTuple):
    """An upload in parts that is neither finished nor given up."""

    key: str
    name: str
    started: float  # seconds since the epoch


def page(bucket: Bucket, prefix: str, after: str, most: int, token: str = "") -> Page:
    """The first so many objects below a prefix that come after a key, which need not exist; "" for all of them.

    With the token of the page before it is the next one, which S3 may leave empty where much was deleted.
    """
    query = {"list-type": "2", "encoding-type": "url", "max-keys": str(most), "prefix": prefix}
    if token:
        query["continuation-token"] = token
    elif after:
        query["start-after"] = after
    for attempt in (1, 2):
        answer = bucket.ask("LIST", "GET", "", query)
        try:
            return responses.page(bytes(answer.body))
        except Malformed as fault:
            if attempt == 2:
                raise S3Error(f"LIST '{bucket.endpoint.bucket}/{prefix}': {fault}: ask again") from fault
    raise AssertionError  # not reached


def head(bucket: Bucket, key: str) -> Head | None:
    """What is known of an object, None when it is not there.

    Who may list only below a prefix gets 403 for what is not there, for a question about one object has no prefix that the
    policy could check. A listing of just this key decides then.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
    """
    try:
        return bucket.head(key)
    except Denied:
        if any(entry.key == key for entry in page(bucket, key, "", 1).objects):
            raise
        return None


def get(bucket: Bucket, key: str, size: int) -> tuple[Head, bytes] | None:
    """An object and its first bytes, at most so many; None when it is not there."""
    headers = {"range": f"bytes=0-{size - 1}"}
    try:
        answer = bucket.ask("GET", "GET", key, None, headers, fine=(206, 404, 416))
    except Denied:
        if head(bucket, key) is not None:
            raise
        return None
    if answer.status == 404:
        return None
    if answer.status == 416:  # an empty object has no first byte
        empty = head(bucket, key)
        return (empty, b"") if empty else None
    return responses.head(answer.headers), bytes(answer.body)


def copy(bucket: Bucket, source: str, etag: str, key: str, headers: dict[str, str]) -> str:
    """Copy an object, as long as it has this ETag, to a key that nobody has, with these headers; its SHA-256 if S3 sends it.

    Raises Changed when the key is taken or the source is another. S3 copies up to 5 GiB at once.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
    """
    sent = {
        **headers, "x-amz-copy-source": f"/{bucket.endpoint.bucket}/{sigv4.quote(source)}",
        "x-amz-copy-source-if-match": f'"{etag}"', "x-amz-metadata-directive": "REPLACE",
        "x-amz-checksum-algorithm": "SHA256", "if-none-match": "*",
    }  # fmt: skip
    answer = bucket.ask("COPY", "PUT", key, None, sent, fine=(404,))
    text = bytes(answer.body).decode("utf-8", "replace")
    if answer.status == 404:
        raise Changed(f"COPY '{bucket.endpoint.bucket}/{source}': it is gone", "NoSuchKey", 404)
    if "CopyObjectResult" not in text:
        raise S3Error(f"COPY '{bucket.endpoint.bucket}/{key}': S3 does not say what became of it: ask again")
    return responses.field(text, "ChecksumSHA256")


def delete(bucket: Bucket, key: str) -> None:
    """Remove an object, if it is there."""
    bucket.ask("DELETE", "DELETE", key, fine=(404,))


def uploads(bucket: Bucket, prefix: str) -> list[Unfinished]:
    """Up to 1,000 uploads in parts below a prefix that are under way or were left behind."""
    query = {"uploads": "", "prefix": prefix, "max-uploads": "1000", "encoding-type": "url"}
    text = bytes(bucket.ask("UPLOADS", "GET", "", query).body).decode("utf-8", "replace")
    if "ListMultipartUploadsResult" not in text:
        raise S3Error(f"LIST '{bucket.endpoint.bucket}/{prefix}': what came is no list of uploads: ask again")
    coded = "<EncodingType>url</EncodingType>" in text
    unfinished = []
    for entry in re.findall(r"<Upload>(.*?)</Upload>", text, re.DOTALL):
        key = responses.field(entry, "Key")
        key = responses.unquote(key) if coded else key
        started = responses.when(responses.field(entry, "Initiated"))
        unfinished.append(Unfinished(key, responses.field(entry, "UploadId"), started))
    return unfinished
