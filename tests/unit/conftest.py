"""Fixtures of the unit tests."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def moto():
    """AWS as moto has it: its endpoint."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()
