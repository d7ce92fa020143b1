"""Fixtures of the unit tests."""

from __future__ import annotations

import pytest

from tests.support.captured import data


@pytest.fixture(params=["debian12", "ubuntu2404", "al2023", "rhel9", "odd", "lab-converged"])
def fstab(request) -> str:
    """The fstab of each distribution, and two more."""
    return data(f"fstab.{request.param}")
