"""A site with storage s3 over a real S3: two servers, proxies that can make trouble, and actions on its page."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from types import SimpleNamespace
from typing import NamedTuple

from ansible_collections.samefiles.aws.plugins.module_utils._bucket.spec import cors_rule

from tests.support.browser import Browser
from tests.support.browser_proxy import Proxy
from tests.support.gallery_server import Server, free_port
from tests.support.pictures import small
from tests.support.seaweedfs import BUCKET, Weed, environment

SAID = "document.querySelector('#said').textContent"
FACTS = "document.querySelector('.busy .facts')?.textContent"
IDLE = "!document.querySelector('.busy') && running === 0"


class Site(NamedTuple):
    """Two servers, and the proxies in front of them and of S3."""

    store: Weed
    prefix: str
    s3: Proxy  # from browsers
    inner: Proxy  # from the servers
    front: Proxy  # to the first server
    servers: tuple[Server, Server]

    @property
    def names(self) -> list[str]:
        """The files that the second server shows, which took no upload."""
        return sorted(entry["name"] for entry in self.servers[1].get("/files?limit=200").json["files"])

    def sent(self) -> list[tuple[int, int]]:
        """Status and size of each upload to S3."""
        return [(passed.status, passed.size) for passed in self.s3.of("PUT")]


@contextlib.contextmanager
def server(weed: Weed, prefix: str, s3: Proxy, inner: Proxy, **more: str) -> Iterator[Server]:
    """A gallery over the bucket, with temporary credentials of the servers' role."""
    settings = weed.settings(KEY_PREFIX=prefix, ENDPOINT_URL=inner.address, BROWSER_ENDPOINT_URL=s3.address)
    settings.update(TITLE="Shared pictures", PROBE_INTERVAL="0.3", PROBE_TIMEOUT="2", PORT=str(free_port()))
    directory = pathlib.Path(tempfile.mkdtemp(prefix="gallery-"))
    try:
        started = Server(directory, aws=environment(weed.role()), **settings, **more)
        yield started
        started.end()
    finally:
        shutil.rmtree(directory)


def admit(weed: Weed, *origins: str) -> None:
    """Let the pages of some origins use the bucket, as playbooks/bucket.yml does."""
    rule = {**cors_rule(SimpleNamespace(origins=origins)), "MaxAgeSeconds": 0}
    weed.client.put_bucket_cors(Bucket=BUCKET, CORSConfiguration={"CORSRules": [rule]})


@contextlib.contextmanager
def running(weed: Weed) -> Iterator[Site]:
    """A site over a bucket that lets only its own pages in."""
    with contextlib.ExitStack() as after:
        s3, inner = (after.enter_context(contextlib.closing(Proxy(weed.port))) for _end in range(2))
        prefix, servers = weed.prefix(), []
        for name in ("web-01", "web-02"):
            servers.append(after.enter_context(server(weed, prefix, s3, inner, NAME=name)))
        front = after.enter_context(contextlib.closing(Proxy(servers[0].port)))
        admit(weed, front.address)
        yield Site(weed, prefix, s3, inner, front, tuple(servers))


def show(page: Browser, address: str) -> None:
    """Open the page, which must not wait long before it tries again."""
    page.open(f"{address}/")
    page.run("for (const waits of [WAITS, BACK]) waits.splice(0, 9, 100, 300, 600)")


def file(directory: pathlib.Path, name: str, size: int = 0) -> str:
    """A picture, or what its name says, of at least so many bytes on disk."""
    data = small(len(name)) if name.endswith(".png") else b"some text\n"
    (directory / name).write_bytes(data + os.urandom(max(0, size - len(data))))
    return str(directory / name)


def digest(data: bytes) -> str:
    """The SHA-256."""
    return hashlib.sha256(data).hexdigest()
