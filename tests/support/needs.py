"""What some tests cannot do without."""

from __future__ import annotations

import os

import pytest

_MISSING: set[str] = set()  # the reasons for which tests are skipped on this machine


def needs(available: bool, what: str) -> pytest.MarkDecorator:
    """Skip tests on a machine where something is missing. Under `make gallery` that is an error: what was skipped proves
    nothing, and nobody notices."""
    reason = f"{what} is missing"
    if not available:
        _MISSING.add(reason)
    return pytest.mark.skipif(not available, reason=reason)


def pytest_collection_finish(session: pytest.Session) -> None:
    """The error, for a conftest.py: only tests that are to run count, not those that -m leaves out."""
    if os.environ.get("GALLERY_TESTS") != "all":
        return
    for reason in (mark.kwargs.get("reason") for item in session.items for mark in item.iter_markers("skipif")):
        if reason in _MISSING:
            raise pytest.UsageError(f"{reason}, and GALLERY_TESTS=all lets no test be skipped.")
