"""What some tests cannot do without."""

from __future__ import annotations

import os

import pytest


def needs(there: bool, what: str) -> pytest.MarkDecorator:
    """Skip tests on a machine where something is missing. Under `make gallery` that is an error: what was skipped proves
    nothing, and nobody looks."""
    if not there and os.environ.get("GALLERY_TESTS") == "all":
        raise pytest.UsageError(f"{what} is missing, and GALLERY_TESTS=all lets no test be skipped.")
    return pytest.mark.skipif(not there, reason=f"{what} is missing")
