"""What tests, benches and molecule's scenarios import: doubles, starters of real programs, models, proxies.

Always as `from tests.support.NAME import ...`; the root of the repository is on the path (pyproject.toml for pytest). Nothing
here is a test.
"""

from __future__ import annotations

import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]  # of the repository
