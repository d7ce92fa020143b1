"""The steps that several modules use, carried out and rolled back on a real disk."""

from __future__ import annotations

import os
import stat

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._host import process
from ansible_collections.samefiles.aws.plugins.module_utils._host.executor import Executor, Failed
from ansible_collections.samefiles.aws.plugins.module_utils._host.steps import EnableUnit, RemoveFile, Step, WriteFile


def modes(path) -> dict[str, tuple[str, int]]:
    """The text and mode of every file below a directory, and the mode of every directory."""
    return {
        str(item.relative_to(path)): (item.read_text() if item.is_file() else "", stat.S_IMODE(item.stat().st_mode))
        for item in sorted(path.rglob("*"))
    }


@pytest.fixture
def broken(monkeypatch) -> EnableUnit:
    """A step that fails."""
    monkeypatch.setattr(process, "run", lambda argv, _seconds: process.Done(1, "", "no such unit"))
    return EnableUnit("enable x", "x.service")


def test_files_are_written_whole_with_the_mode_that_is_asked_for_or_was_there(tmp_path):
    (tmp_path / "kept").write_text("old")
    (tmp_path / "kept").chmod(0o600)
    Executor(5).run(
        [
            WriteFile("", str(tmp_path / "kept"), "new"),
            WriteFile("", str(tmp_path / "a/b/new"), "text"),
            WriteFile("", str(tmp_path / "run"), "#!", 0o755),
        ]
    )
    assert modes(tmp_path) == {
        "a": ("", 0o755),
        "a/b": ("", 0o755),
        "a/b/new": ("text", 0o644),
        "kept": ("new", 0o600),
        "run": ("#!", 0o755),
    }


def test_a_failed_run_leaves_what_was_there(tmp_path, broken):
    for name, mode in (("kept", 0o600), ("moded", 0o640), ("gone", 0o644)):
        (tmp_path / name).write_text(name)
        (tmp_path / name).chmod(mode)
    before = modes(tmp_path)
    steps = [
        WriteFile("", str(tmp_path / "kept"), "new"),
        WriteFile("", str(tmp_path / "moded"), "new", 0o755),
        WriteFile("", str(tmp_path / "a/b/new"), "text"),
        RemoveFile("", str(tmp_path / "gone")),
        broken,
    ]
    with pytest.raises(Failed) as fault:
        Executor(5).run(steps)
    # what could not be undone of the unit is said; all else is as before
    assert str(fault.value).startswith("systemctl enable --quiet --no-reload x.service failed: no such unit; something")
    assert modes(tmp_path) == before


def test_a_link_to_a_file_that_is_written_is_replaced_and_not_followed(tmp_path):
    os.symlink("/dev/null", tmp_path / "masked.service")
    Executor(5).run([WriteFile("", str(tmp_path / "masked.service"), "[Unit]\n")])
    assert not (tmp_path / "masked.service").is_symlink()


def test_a_step_that_nobody_knows_is_a_fault_of_the_program():
    with pytest.raises(TypeError, match="cannot do Step"):
        Executor(5).run([Step("think")])
