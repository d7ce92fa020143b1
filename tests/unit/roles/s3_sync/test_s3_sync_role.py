"""The contract of role s3_sync: every option of the module but keys, of the same type, and every one of them passed on."""

from __future__ import annotations

import json
import os
import subprocess

import yaml
from ansible_collections.samefiles.aws.plugins.module_utils._s3_sync.arguments import ARGUMENTS

from tests.support import ROOT

ROLE = ROOT / "roles/s3_sync"
KEYS = {"access_key", "secret_key", "session_token"}
OWN = {"name", "side", "schedule"}


def contract() -> dict:
    return yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]


def bare(options: dict) -> dict:
    """Options without words and defaults, which are the module's to give."""
    kept = ("type", "elements", "choices", "options")
    specs = {name: {key: spec[key] for key in kept if key in spec} for name, spec in options.items()}
    for spec in specs.values():
        if "options" in spec:
            spec["options"] = bare(spec["options"])
    return specs


def test_the_contract_is_the_module_s():
    documented = {name: spec for name, spec in contract()["s3_sync_syncs"]["options"].items() if name not in OWN}
    wanted = bare({name: spec for name, spec in ARGUMENTS.items() if name not in KEYS})
    wanted["file_root"]["type"] = wanted["progress_file"]["type"] = wanted["aws_ca_bundle"]["type"] = "str"
    documented = bare(documented)
    documented["progress_file"]["type"] = documented["aws_ca_bundle"]["type"] = "str"
    assert documented == wanted


def test_every_option_is_passed_on():
    tasks = yaml.safe_load((ROLE / "tasks/main.yml").read_text())
    for task in tasks:
        if "samefiles.aws.s3_sync" in task:
            assert set(task["samefiles.aws.s3_sync"]) == set(ARGUMENTS) - KEYS


def test_each_side_has_its_syncs_whatever_they_are_called():
    syncs = [
        {"name": "web", "side": "controller"},
        {"name": "web", "side": "host"},
        {"name": "logs"},
        {"name": "logs", "schedule": {"when": "daily"}},
        {"name": "late", "side": "controller", "schedule": {"when": "daily"}},
    ]
    names = ["__s3_sync_of_controller", "__s3_sync_of_host", "__s3_sync_now", "__s3_sync_both_sides"]
    shown = "{{ [" + ", ".join(names) + "] | to_json }}"
    argv = [
        "ansible",
        "localhost",
        "-m",
        "ansible.builtin.debug",
        "-a",
        f"msg='{shown}'",
        "-e",
        f"@{ROLE}/vars/main.yml",
    ]
    argv += ["-e", json.dumps({"s3_sync_syncs": syncs, "s3_sync_phase": "assets"})]
    done = subprocess.run(
        argv, env={**os.environ, "ANSIBLE_CALLBACK_RESULT_FORMAT": "json", "ANSIBLE_FORCE_COLOR": "0"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    answer = json.loads(json.loads(done.stdout[done.stdout.index("{") :])["msg"])
    assert answer == [[syncs[0], syncs[4]], syncs[1:4], syncs[1:3], ["late"]]
