# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a release the same or another one: its id, and the checksum of the archive that it comes from."""

from __future__ import annotations

import gzip
import hashlib
import json
import re

RELEASE = re.compile("[0-9a-f]{12}")


def identity(archive: str, environment: dict[str, str], units: dict[str, str]) -> str:
    """The id of a release: the same app, environment and units give the same id, any change another one.

    archive is the SHA-256 of what the app's archive holds. Since a change of the environment makes a release too, it goes live as
    new code does, without a broken request.
    """
    content = json.dumps([archive, sorted(environment.items()), sorted(units.items())])
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def checksum(path: str, unpacked: bool = False) -> str:
    """The SHA-256 of a file; unpacked: of what it holds when it is packed by gzip, which every machine packs in its own way."""
    total = hashlib.sha256()
    with open(path, "rb") as file:
        packed = unpacked and file.read(2) == b"\x1f\x8b"
        file.seek(0)
        with gzip.GzipFile(fileobj=file) if packed else file as stream:
            for block in iter(lambda: stream.read(1 << 20), b""):
                total.update(block)
    return total.hexdigest()
