"""Tables captured on real machines; see data/README.md."""

from __future__ import annotations

import pathlib

DATA = pathlib.Path(__file__).parent / "data"


def data(name: str) -> str:
    """A captured file as the module reads it."""
    return (DATA / name).read_text(encoding="utf-8", errors="surrogateescape")
