"""What the tests of gallery share."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import tempfile

import pytest
from gallery.efs import Efs
from serving import Server


@pytest.fixture(params=["efs"])
def storage(request, tmp_path):
    """An empty storage of each kind."""
    return {"efs": lambda: Efs(str(tmp_path / "files"))}[request.param]()


@pytest.fixture(scope="module")
def start():
    """A function that starts a gallery in a folder of its own; all are ended after the module."""
    with contextlib.ExitStack() as after:

        def begin(*python: str, **settings: str) -> Server:
            # unix sockets need a short path
            folder = pathlib.Path(tempfile.mkdtemp(prefix="gallery-"))
            after.callback(shutil.rmtree, folder)
            server = Server(folder, python or ("-m", "gallery"), **settings)
            after.callback(server.process.wait)
            after.callback(server.process.kill)
            return server

        yield begin


@pytest.fixture(scope="module")
def server(start):
    """A gallery that everybody may write to."""
    return start()
