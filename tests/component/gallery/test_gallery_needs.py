"""Under `make gallery` no test may be skipped for want of a browser or a web server: that would go unseen."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.support import ROOT

HOOK = """
import sys
sys.path.insert(0, {root!r})
from tests.support.needs import pytest_collection_finish
"""
TEST = """
from tests.support.needs import needs
pytestmark = needs({available}, "Chromium")
def test_it():
    pass
"""


@pytest.mark.parametrize(
    ("available", "asked", "flags", "code", "said"),
    [
        (True, "all", (), 0, "1 passed"),
        (False, "", (), 0, "1 skipped"),
        (
            False,
            "all",
            (),
            pytest.ExitCode.USAGE_ERROR,
            "Chromium is missing, and GALLERY_TESTS=all lets no test be skipped.",
        ),
        # a deselected test needs nothing
        (False, "all", ("-k", "not test_it"), pytest.ExitCode.NO_TESTS_COLLECTED, "1 deselected"),
    ],
)
def test_what_is_missing_fails_make_and_nothing_else(tmp_path, available, asked, flags, code, said):
    (tmp_path / "conftest.py").write_text(HOOK.format(root=str(ROOT)))
    (tmp_path / "test_it.py").write_text(TEST.format(available=available))
    environment = {**os.environ, "GALLERY_TESTS": asked}
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", "/dev/null", *flags, str(tmp_path)]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stdout + done.stderr


def test_make_asks_for_all_of_them():
    text = (ROOT / "Makefile").read_text()
    assert re.search("^gallery: app pages ", text, re.MULTILINE)
    recipes = [re.search(f"^{target}:.*\n((\t.*\n)+)", text, re.MULTILINE)[1] for target in ("app", "pages")]
    # the browser's tests alone, and all that pytest leaves in without -m
    assert recipes == [f"\tGALLERY_TESTS=all pytest{flag} tests/component/gallery\n" for flag in ("", " -m browser")]
