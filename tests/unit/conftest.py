"""What the unit tests share: data files, and a model of a host on which plans can be carried out."""

from __future__ import annotations

import pathlib

import pytest

DATA = pathlib.Path(__file__).parent / "data"


def data(name: str) -> str:
    """A captured file as the module reads it."""
    return (DATA / name).read_text(encoding="utf-8", errors="surrogateescape")


@pytest.fixture(params=["debian12", "ubuntu2404", "al2023", "rhel9", "odd", "lab-converged"])
def fstab(request) -> str:
    """The fstab of each distribution, and two more."""
    return data(f"fstab.{request.param}")
