"""What the tests of s3_sync do over and over: write a file, sync, look at both sides."""

from __future__ import annotations

import os

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._s3_sync import converge


def write(path, data: bytes, age: float = 60.0) -> None:
    """Write a file that was last changed some seconds ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    then = os.stat(path).st_mtime - age
    os.utime(path, (then, then))


def sync(server, root, check: bool = False, **options) -> dict:
    """One sync; what the module would report."""
    return converge.sync(server.options(file_root=str(root), **options), check)


def refused(server, root, **options) -> converge.Refused:
    """The refusal of a sync that must be refused."""
    with pytest.raises(converge.Refused) as caught:
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
