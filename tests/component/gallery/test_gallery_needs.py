"""Under `make gallery` no test may be skipped for want of a browser or a web server: that would go unseen."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.support import ROOT

TEST = """
import sys
sys.path.insert(0, {root!r})
from tests.support.needs import needs
pytestmark = needs({there}, "Chromium")
def test_it():
    pass
"""


@pytest.mark.parametrize(
    ("there", "asked", "code", "said"),
    [
        (True, "all", 0, "1 passed"),
        (False, "", 0, "1 skipped"),
        (False, "all", 1, "Chromium is missing, and GALLERY_TESTS=all lets no test be skipped."),
    ],
)
def test_what_is_missing_fails_make_and_nothing_else(tmp_path, there, asked, code, said):
    (tmp_path / "test_it.py").write_text(TEST.format(root=str(ROOT), there=there))
    environment = {**os.environ, "GALLERY_TESTS": asked}
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", "/dev/null", str(tmp_path)]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode != 0) is bool(code), done.stdout
    assert said in done.stdout + done.stderr


def test_make_asks_for_all_of_them():
    recipe = re.search("^gallery:.*\n((\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    assert "GALLERY_TESTS=all pytest -m '' tests/component/gallery" in recipe
    assert "|| true" not in recipe
