"""The action group s3: every option of the documentation fragment s3 reaches each of its modules through module_defaults."""

from __future__ import annotations

import json
import os
import re
import subprocess

import pytest
import yaml
from ansible_collections.samefiles.aws.plugins.doc_fragments import s3

from tests.support import ROOT

GROUP = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())["action_groups"]["s3"]
OPTIONS = yaml.safe_load(s3.ModuleDocFragment.DOCUMENTATION)["options"]
VALUES = {
    **{name: f"value-of-{name}" for name in OPTIONS},
    "addressing_style": "path",
    "use_fips_endpoint": True,
    "use_dualstack_endpoint": True,
    "validate_certs": False,
    "aws_ca_bundle": "/value/of/aws_ca_bundle",
}
# Enough for the module to start; what it then misses does not matter here.
NEEDED = {"bucket": {"bucket": "B"}, "s3_sync": {"bucket": "B", "file_root": "/nowhere"}}


@pytest.fixture(scope="module")
def received(tmp_path_factory) -> dict[tuple[str, str], str]:
    """What each module says that it was called with, for each option set alone for the group."""
    tasks = [
        {
            "block": [{"name": f"{module} {option}", f"samefiles.aws.{module}": NEEDED[module], "ignore_errors": True}],
            "module_defaults": {"group/samefiles.aws.s3": {option: VALUES[option]}},
        }
        for module in GROUP
        for option in OPTIONS
    ]
    book = tmp_path_factory.mktemp("play") / "play.yml"
    book.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    done = subprocess.run(
        ["ansible-playbook", "-vvv", "--check", "-i", "localhost,", "-c", "local", str(book)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
        env={**os.environ, "ANSIBLE_CALLBACK_RESULT_FORMAT": "json", "ANSIBLE_NOCOLOR": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    texts = re.split(r"^TASK \[(.*?)\] \**$", done.stdout, flags=re.MULTILINE)[1:]
    return {tuple(name.split()): text for name, text in zip(texts[::2], texts[1::2])}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("module", GROUP)
def test_an_option_of_the_group_reaches_the_module(received, module, option):
    match = re.search(rf'"{option}": (.*?),?$', received[module, option], re.MULTILINE)
    assert match, received[module, option]
    hidden = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
    assert json.loads(match[1]) == (hidden if option in ("secret_key", "session_token") else VALUES[option])


def test_the_group_holds_the_modules_that_document_these_options():
    documented = {
        path.stem
        for path in (ROOT / "plugins/modules").glob("*.py")
        if re.search(r"^extends_documentation_fragment: .*\bsamefiles\.aws\.s3\b", path.read_text(), re.MULTILINE)
    }
    assert set(GROUP) == documented
