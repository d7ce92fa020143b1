"""The settings of a store: /s3/store.json, written by lab/s3.py."""

from __future__ import annotations

import json
import pathlib
from typing import NamedTuple

from ansible_collections.samefiles.aws.plugins.module_utils._s3.endpoint import Keys

DIRECTORY = pathlib.Path("/s3")
DATA = pathlib.Path("/data")
ACCOUNT = "000000000000"  # the one that SeaweedFS knows
PLAIN, SECURE = 8333, 8334  # where SeaweedFS takes requests, as they came over HTTP and over TLS
FRONT = 8400


class Settings(NamedTuple):
    """The store's settings."""

    region: str
    bucket: str
    prefixes: list[str]  # of the bucket, those that the servers' role may use
    role: str
    access_key: str
    secret_key: str
    signing_key: str  # of session tokens, in base64
    encryption_key: str  # of objects, 64 hexadecimal digits
    instances: dict[str, dict[str, str]]  # {"id", "zone", "name"} by address

    @property
    def keys(self) -> Keys:
        """The lab's own credentials."""
        return Keys(self.access_key, self.secret_key)


def read() -> Settings:
    """Read the settings; the instances may have changed since."""
    return Settings(**json.loads((DIRECTORY / "store.json").read_text()))
