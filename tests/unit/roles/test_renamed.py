"""A variable that had another name before is refused with its new one, for nothing would read it."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
import yaml

from tests.support import ROOT

TABLES = {role: ROOT / f"roles/{role}/tasks/renamed.yml" for role in ("efs_mount", "webapp")}


def renamed(role: str) -> dict[str, str]:
    (task,) = yaml.safe_load(TABLES[role].read_text())
    return task["vars"][f"__{role}_renamed"]


def refuse(role: str, variables: dict[str, object]) -> str:
    """What ansible-playbook prints when a host has these variables and the role looks for former names."""
    play = [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "vars": variables,
            "tasks": [{"ansible.builtin.include_tasks": str(TABLES[role])}],
        }
    ]
    done = subprocess.run(
        ["ansible-playbook", "-i", "localhost,", "-c", "local", "/dev/stdin"],
        input=json.dumps(play),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        env={**os.environ, "ANSIBLE_LOCALHOST_WARNING": "false", "COLUMNS": "10000"},
    )
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.parametrize("role", TABLES)
def test_every_former_name_is_refused_with_its_new_one(role):
    said = refuse(role, dict.fromkeys(renamed(role), "x"))
    for former, new in renamed(role).items():
        assert f"{former} of localhost is called {new} now: rename it" in said


@pytest.mark.parametrize("role", TABLES)
def test_the_new_names_are_known_and_pass(role):
    known = yaml.safe_load((ROOT / f"roles/{role}/meta/argument_specs.yml").read_text())["argument_specs"]["main"][
        "options"
    ]
    assert set(renamed(role).values()) <= set(known)
    assert refuse(role, dict.fromkeys(renamed(role).values(), "x")) == ""
