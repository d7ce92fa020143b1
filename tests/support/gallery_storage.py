"""What tests do with a storage of gallery: write, read, list, be refused; and an empty storage in S3."""

from __future__ import annotations

import contextlib

import pytest
from gallery.errors import Problem
from gallery.s3.bucket import Place
from gallery.settings import from_environment
from gallery.storage.s3 import S3

from tests.support.seaweedfs import Weed, environment, forget_aws


def put(storage, data=b"bytes", name="a.txt"):
    writer = storage.put(name)
    for start in range(0, len(data), 1000):
        writer.write(data[start : start + 1000])
    return writer.publish()


def read(storage, key):
    reader = storage.open(key)
    try:
        return reader.read(0, reader.entry.size + 1)
    finally:
        reader.close()


def listed(storage, after="", limit=100):
    return [entry.key for entry in storage.list(after, limit).entries]


def refused(call, *arguments):
    with pytest.raises(Problem) as caught:
        call(*arguments)
    return caught.value


@contextlib.contextmanager
def new_s3(weed: Weed, monkeypatch, **more: str):
    """An empty storage in S3, used with the role's temporary credentials."""
    forget_aws(monkeypatch)
    for name, text in environment(weed.role(name="tidy")).items():
        monkeypatch.setenv(name, text)
    variables = {"NAME": "web-01", "PUBLIC_UPLOADS": "true", **weed.settings(**more)}
    settings = from_environment({f"GALLERY_{name}": text for name, text in variables.items()})
    place = Place(settings)
    yield S3(place, settings)
    place.close()
