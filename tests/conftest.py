"""For all tests: what each needs, the lab that some run on, and the figures that they print.

LAB=name says which lab (default: test); it is made when it is not there, and left running.
"""

from __future__ import annotations

import os
import pathlib
import sys

import pytest

pytest.register_assert_rewrite("tests.support")  # before anything imports it

from tests.support import ROOT  # noqa: E402
from tests.support.fleet import Fleet, sh  # noqa: E402

# What the tests of a directory need besides this machine; pytest alone leaves them out (pyproject.toml).
NEEDS = {"faults": "lab", "acceptance": "lab", "component/store": "docker"}
FIGURES: list[str] = []


@pytest.hookimpl(tryfirst=True)  # before pytest looks at -m
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with what it needs."""
    here = pathlib.Path(__file__).parent
    for item in items:
        for directory, marker in NEEDS.items():
            if here / directory in item.path.parents:
                item.add_marker(marker)
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")


@pytest.fixture(scope="session")
def lab() -> Fleet:
    """The running lab with two servers and a second file system."""
    name = os.environ.get("LAB", "test")
    sh([sys.executable, "-m", "lab", "--lab", name, "up", "--hosts", "2", "--transport", "stunnel"], 1800, cwd=ROOT)
    sh([sys.executable, "-m", "lab", "--lab", name, "file-system", "second"], 300, cwd=ROOT)
    fleet = Fleet(name)
    fleet.play("site.yml")
    return fleet


@pytest.fixture
def fleet(lab) -> Fleet:
    """The lab, healthy: what the last test left is repaired first."""
    lab.play("site.yml")
    return lab


@pytest.fixture
def web(lab):
    """The second server: the one that tests break."""
    return lab.servers[1]


@pytest.fixture
def figure(request):
    """A function that keeps a figure for the table at the end."""

    def keep(text: str) -> None:
        FIGURES.append(f"{request.node.name}: {text}")

    return keep


def pytest_terminal_summary(terminalreporter) -> None:
    """Print the figures."""
    if FIGURES:
        terminalreporter.section("figures")
        for line in FIGURES:
            terminalreporter.write_line(line)
