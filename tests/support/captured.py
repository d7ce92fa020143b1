"""Tables captured on real machines; see the README.md beside them."""

from __future__ import annotations

from tests.support import ROOT

DATA = ROOT / "tests/unit/plugins/module_utils/_efs_mount/data"


def data(name: str) -> str:
    """A captured file as the module reads it."""
    return (DATA / name).read_text(encoding="utf-8", errors="surrogateescape")
