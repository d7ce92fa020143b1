"""Fixtures of the tests of gallery."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import tempfile

import pytest
from gallery.storage.efs import Efs

from tests.support.browser import launch
from tests.support.gallery_nginx import Fronted, Own
from tests.support.gallery_s3_site import running, show
from tests.support.gallery_server import Server
from tests.support.gallery_storage import new_s3
from tests.support.needs import pytest_collection_finish  # noqa: F401  a hook
from tests.support.pictures import dozen
from tests.support.seaweedfs import Weed


@pytest.fixture(scope="session")
def weed():
    """S3 with a role for the servers."""
    store = Weed()
    yield store
    store.end()


@pytest.fixture(params=["efs", "s3"])
def storage(request, tmp_path, monkeypatch):
    """An empty storage of each kind."""
    if request.param == "efs":
        yield Efs(str(tmp_path / "files"))
        return
    with new_s3(request.getfixturevalue("weed"), monkeypatch) as made:
        yield made


@pytest.fixture(scope="module")
def start():
    """A function that starts a gallery in a directory of its own, behind the role's nginx where it is given variables of the
    role; all are ended after the module."""
    with contextlib.ExitStack() as after:

        def begin(*python: str, role: dict | None = None, **settings: str) -> Server:
            # unix sockets need a short path
            directory = pathlib.Path(tempfile.mkdtemp(prefix="gallery-"))
            after.callback(shutil.rmtree, directory)
            program = python or ("-m", "gallery")
            server = (
                Server(directory, program, **settings)
                if role is None
                else Fronted(directory, program, role, **settings)
            )
            after.callback(server.end)
            return server

        yield begin


@pytest.fixture(scope="module")
def start_own():
    """A function that starts an app of the user's own behind the role's nginx, with variables of the role."""
    with contextlib.ExitStack() as after:

        def begin(**role) -> Own:
            directory = pathlib.Path(tempfile.mkdtemp(prefix="own-"))
            after.callback(shutil.rmtree, directory)
            server = Own(directory, role)
            after.callback(server.end)
            return server

        yield begin


@pytest.fixture(scope="module")
def server(start):
    """A gallery that everybody may write to."""
    return start()


@pytest.fixture(scope="session")
def chromium():
    """A browser for all tests; each begins with refresh()."""
    with launch() as browser:
        yield browser


@pytest.fixture(scope="session")
def three(tmp_path_factory):
    """Three pictures on disk."""
    directory = tmp_path_factory.mktemp("pictures")
    paths = []
    for (name, data), _number in zip(dozen(120, 90), range(3)):
        (directory / name).write_bytes(data + bytes(60_000))
        paths.append(str(directory / name))
    return paths


@pytest.fixture(scope="session")
def site(weed):
    """A site with storage s3."""
    with running(weed) as started:
        yield started


@pytest.fixture
def page(chromium, site):
    """The page of a site with storage s3, empty; nothing may have gone wrong in it but what a test has asked for."""
    chromium.refresh()
    for proxy in (site.s3, site.inner, site.front):
        proxy.calm()
    for entry in site.servers[1].get("/files?limit=200").json["files"]:
        assert site.servers[1].request("DELETE", entry["url"]).status == 204
    show(chromium, site.front.address)
    yield chromium
    # that a request failed, or was refused, is what these tests are about
    assert chromium.complaints("Failed to load resource", "blocked by CORS policy") == []
    own = ("http://127.0.0.1:", "blob:http://127.0.0.1:")
    assert [url for url in chromium.requested() if not url.startswith(own)] == []
