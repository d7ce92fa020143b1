"""A lab of the tests' own, converged before each test. LAB=name uses another one; it is left running."""

from __future__ import annotations

import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from fleet import Fleet, sh


@pytest.fixture(scope="session")
def lab() -> Fleet:
    """The running lab with two servers and a second file system; made when it is not there."""
    name = os.environ.get("LAB", "test")
    root = pathlib.Path(__file__).parents[2]
    sh([sys.executable, "-m", "lab", "--lab", name, "up"], timeout=900, cwd=root)
    sh([sys.executable, "-m", "lab", "--lab", name, "file-system", "second"], timeout=300, cwd=root)
    fleet = Fleet(name)
    fleet.play("site.yml")
    return fleet


@pytest.fixture
def fleet(lab) -> Fleet:
    """The lab, healthy: what the last test left is mended first."""
    lab.play("site.yml")
    return lab


@pytest.fixture
def web(fleet):
    """The second server: the one that tests break."""
    return fleet.servers[1]
