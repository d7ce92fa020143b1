"""What the tests of s3_sync share: a double of S3, a tree, and a sync between them."""

from __future__ import annotations

import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from ansible_collections.samefiles.aws.plugins.module_utils import _s3_bucket, _s3_sync
from server import Server


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
    """A folder of a site, its files a minute old."""
    root = tmp_path / "site"
    for name in ("index.html", "css/site.css", "img/a.png", "img/b.png", "robots.txt"):
        write(root / name, f"this is {name}\n".encode())
    return root


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No pauses between tries, and nothing of the environment's AWS settings."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    init = _s3_bucket.Bucket.__init__
    monkeypatch.setattr(
        _s3_bucket.Bucket, "__init__", lambda self, *a, **k: init(self, *a, **{"pause": lambda seconds: None, **k})
    )


def write(path, data: bytes, age: float = 60.0) -> None:
    """Write a file that was last changed some seconds ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    then = os.stat(path).st_mtime - age
    os.utime(path, (then, then))


def sync(server, root, check: bool = False, **options) -> dict:
    """One sync; what the module would tell."""
    return _s3_sync.sync(server.options(file_root=str(root), **options), check)


def refused(server, root, **options) -> _s3_sync.Refused:
    """The refusal of a sync that must be refused."""
    with pytest.raises(_s3_sync.Refused) as caught:
        sync(server, root, **options)
    return caught.value


def content(server) -> dict[str, bytes]:
    """What the bucket holds."""
    return {key: thing.data for key, thing in server.things.items()}


def files(root) -> dict[str, bytes]:
    """What a tree holds."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def writes(server) -> list[str]:
    """The requests that changed something, or tried to."""
    reads = ("LIST", "HEAD", "GET", "HEADBUCKET")
    return [operation for operation, _key, _status in server.log if operation not in reads]
