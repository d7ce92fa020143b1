"""The conditions that name an ETag, asked of a real S3: what is not the upload that was seen is neither replaced nor copied."""

from __future__ import annotations

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._s3.errors import Changed
from gallery import keys
from gallery.s3 import closed_uploads, objects

from tests.support.gallery_storage import new_s3
from tests.support.seaweedfs import BUCKET


@pytest.fixture
def upload(weed, monkeypatch):
    """A storage, the key of an upload, the place where it lies, and its ETag before somebody wrote it anew."""
    with new_s3(weed, monkeypatch) as storage:
        key = keys.new_key("a.txt")
        place = storage.incoming(key)
        old = weed.client.put_object(Bucket=BUCKET, Key=place, Body=b"first")["ETag"].strip('"')
        weed.client.put_object(Bucket=BUCKET, Key=place, Body=b"second")
        yield storage, key, place, old


def bytes_of(weed, place: str) -> bytes:
    return weed.client.get_object(Bucket=BUCKET, Key=place)["Body"].read()


def test_a_ticket_is_closed_only_over_the_upload_that_was_seen(upload, weed):
    storage, _key, place, old = upload
    bucket = storage.place.bucket()
    with pytest.raises(Changed) as caught:
        closed_uploads.after_upload(bucket, place, old)
    assert (caught.value.status, bytes_of(weed, place)) == (412, b"second")
    closed_uploads.after_upload(bucket, place, objects.head(bucket, place).etag)
    assert bytes_of(weed, place) == b""


def test_only_the_upload_that_was_seen_is_copied(upload, weed):
    storage, key, place, old = upload
    bucket = storage.place.bucket()
    with pytest.raises(Changed) as caught:
        objects.copy(bucket, place, old, storage.object(key), storage.headers(key, b""))
    assert (caught.value.status, weed.keys(storage.object(key))) == (412, [])
    objects.copy(bucket, place, objects.head(bucket, place).etag, storage.object(key), storage.headers(key, b""))
    assert bytes_of(weed, storage.object(key)) == b"second"
