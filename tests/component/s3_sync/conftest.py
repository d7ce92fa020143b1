"""What all tests of s3_sync use: a double of S3, and a tree."""

from __future__ import annotations

import os

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._s3 import objects
from ansible_collections.samefiles.aws.plugins.module_utils._s3_sync import tree as _tree

from tests.support.s3_server import Server
from tests.support.s3_sync_runs import write


@pytest.fixture
def server():
    """S3 over plain HTTP: bodies are hashed into the signature."""
    with Server() as double:
        yield double


@pytest.fixture
def secure():
    """S3 over TLS."""
    with Server(tls=True) as double:
        yield double


@pytest.fixture
def tree(tmp_path):
    """A directory of a site, its files a minute old."""
    root = tmp_path / "site"
    for name in ("index.html", "css/site.css", "img/a.png", "img/b.png", "robots.txt"):
        write(root / name, f"this is {name}\n".encode())
    return root


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No pauses between tries, no rest for files, and nothing of the environment's AWS settings."""
    monkeypatch.setattr(_tree, "REST", 0.0)
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    init = objects.Bucket.__init__
    monkeypatch.setattr(
        objects.Bucket, "__init__", lambda self, *a, **k: init(self, *a, **{"pause": lambda seconds: None, **k})
    )
