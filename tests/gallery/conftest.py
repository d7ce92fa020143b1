"""What the tests of gallery share."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import tempfile

import pytest
from front import Fronted, Own
from gallery.efs import Efs
from serving import Server


@pytest.fixture(params=["efs"])
def storage(request, tmp_path):
    """An empty storage of each kind."""
    return {"efs": lambda: Efs(str(tmp_path / "files"))}[request.param]()


@pytest.fixture(scope="module")
def start():
    """A function that starts a gallery in a folder of its own, behind the role's nginx where it is given variables of the
    role; all are ended after the module."""
    with contextlib.ExitStack() as after:

        def begin(*python: str, role: dict | None = None, **settings: str) -> Server:
            # unix sockets need a short path
            folder = pathlib.Path(tempfile.mkdtemp(prefix="gallery-"))
            after.callback(shutil.rmtree, folder)
            program = python or ("-m", "gallery")
            server = Server(folder, program, **settings) if role is None else Fronted(folder, program, role, **settings)
            after.callback(server.end)
            return server

        yield begin


@pytest.fixture(scope="module")
def start_own():
    """A function that starts an app of the user's own behind the role's nginx, with variables of the role."""
    with contextlib.ExitStack() as after:

        def begin(**role) -> Own:
            folder = pathlib.Path(tempfile.mkdtemp(prefix="own-"))
            after.callback(shutil.rmtree, folder)
            server = Own(folder, role)
            after.callback(server.end)
            return server

        yield begin


@pytest.fixture(scope="module")
def server(start):
    """A gallery that everybody may write to."""
    return start()
