"""The module and the role as Ansible runs them, on the controller."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest

from tests.support import ROOT
from tests.support.s3_server import SECRET
from tests.support.s3_sync_runs import content, files, write, writes

PLAY = """
- hosts: web
  gather_facts: false
  roles:
    - role: samefiles.aws.s3_sync
"""


def ansible(tmp_path, program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Run a program of Ansible on this collection."""
    variables = {**os.environ, "HOME": str(tmp_path), "ANSIBLE_HOME": str(tmp_path / "ansible"), **environment}
    variables["ANSIBLE_COLLECTIONS_PATH"] = str(ROOT / ".ansible/collections")
    variables.update(dict.fromkeys(("ANSIBLE_LOCALHOST_WARNING", "ANSIBLE_INVENTORY_UNPARSED_WARNING"), "false"))
    path = pathlib.Path(sys.executable).parent / program
    return subprocess.run([path, *arguments], env=variables, capture_output=True, text=True, timeout=120, cwd=tmp_path)


def module(tmp_path, server, *flags: str, **options) -> tuple[dict, str]:
    """Run the module; its result, and all that was printed."""
    arguments = {key: value for key, value in server.options(**options).items() if value is not None}
    done = ansible(tmp_path, "ansible", "localhost", "-m", "samefiles.aws.s3_sync", "-a", json.dumps(arguments), *flags)
    text = done.stdout + done.stderr
    return json.loads(done.stdout[done.stdout.index("=> {") + 3 :]), text


def test_push_check_diff_and_no_secret(server, tree, tmp_path):
    planned, shown = module(tmp_path, server, "--check", "--diff", file_root=str(tree), key_prefix="web")
    assert planned["changed"]
    assert planned["uploaded"] == 5
    assert "index.html: new (19 bytes)" in shown
    assert writes(server) == []
    done, shown = module(tmp_path, server, "-vvv", file_root=str(tree), key_prefix="web")
    assert done["actions"] == planned["actions"]
    assert len(content(server)) == 5
    assert SECRET not in shown
    assert "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" in shown
    again, _shown = module(tmp_path, server, file_root=str(tree), key_prefix="web")
    assert not again["changed"]


def test_bad_input_is_one_sentence(server, tree, tmp_path):
    result, shown = module(tmp_path, server, file_root=str(tree), key_prefix="a/../b")
    assert result["msg"] == "key_prefix must be a path without empty parts, '.' and '..', got 'a/../b'"
    assert "Traceback" not in shown
    assert not result["changed"]
    assert writes(server) == []


def role(tmp_path, server, *syncs: dict, flags: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
    """Run the role on two hosts, which are this one."""
    write(tmp_path / "play.yml", PLAY.encode())
    connection = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    variables = {
        "s3_sync_packages": [], "s3_sync_bucket": "bkt", "s3_sync_endpoint_url": server.url, "s3_sync_region": "eu-central-1",
        "s3_sync_syncs": syncs,
    }  # fmt: skip
    hosts = {"web-01": connection, "web-02": connection}
    write(tmp_path / "hosts.yml", json.dumps({"web": {"hosts": hosts, "vars": variables}}).encode())
    keys = {"AWS_ACCESS_KEY_ID": "AKIDOUBLE", "AWS_SECRET_ACCESS_KEY": SECRET}
    arguments = ("ansible-playbook", "-i", str(tmp_path / "hosts.yml"), str(tmp_path / "play.yml"), "-vvv", *flags)
    return ansible(tmp_path, *arguments, **keys)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"exlude": ["*.env"]}, "exlude"),
        ({"max_delete": {"percnt": 5}}, "percnt"),
        ({"permission": "public-read"}, "permission is 'public-read', but no ACL is ever sent"),
        ({"secret_key": "hidden-key", "access_key": "A"}, "secret_key"),
        ({"session_token": "hidden-key"}, "session_token"),
        ({"schedule": {"when": "daily"}}, "site has side controller and a schedule, but timers run on hosts"),
        ({"schedule": {"wen": "daily"}}, "wen"),
    ],
)
@pytest.mark.parametrize("check", [True, False])
def test_the_role_passes_nothing_over(server, tree, tmp_path, more, said, check):
    item = {"name": "site", "side": "controller", "file_root": str(tree), "cache": "none", **more}
    done = role(tmp_path, server, item, flags=("--check",) if check else ())
    assert done.returncode != 0
    assert said in done.stdout
    assert "hidden-key" not in done.stdout + done.stderr
    assert content(server) == {}


@pytest.mark.parametrize("word", ["aws_secret_key", "access_key", "security_token"])
def test_a_schedule_with_a_key_is_refused_and_the_key_not_shown(tmp_path, word):
    arguments = {
        "schedules": [
            {
                "name": "a",
                "bucket": "b",
                "file_root": "/x",
                word: "hidden-key",
                "schedule": {"when": "daily"},
            }
        ]
    }
    done = ansible(
        tmp_path, "ansible", "localhost", "-m", "samefiles.aws.s3_schedule", "-a", json.dumps(arguments), "-vvv"
    )
    name = {"aws_secret_key": "secret_key", "security_token": "session_token"}.get(word, word)
    assert f"schedules[0].{name} must be left out" in done.stdout
    assert "hidden-key" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"file_mode": 0o644}, "file_mode must be an octal number in quotes such as '0644', got '420'"),
        ({"file_root": ""}, "file_root must be the path of a tree, got ''"),
        ({"file_root": "logs"}, "file_root must be absolute, for a timer runs in no directory of its own, got 'logs'"),
    ],
)
def test_a_schedule_that_no_run_could_follow_is_refused_before_one(tmp_path, change, said):
    item = {"name": "a", "bucket": "b", "file_root": "/x", "mode": "pull", "schedule": {"when": "daily"}, **change}
    argv = [
        "ansible",
        "localhost",
        "-m",
        "samefiles.aws.s3_schedule",
        "--check",
        "-a",
        json.dumps({"schedules": [item]}),
    ]
    assert f"schedules[0]: {said}" in ansible(tmp_path, *argv).stdout


def test_the_role_syncs_once_for_the_fleet_and_on_each_host(server, tree, tmp_path):
    write(tmp_path / "logs/a.log", b"log")
    syncs = (
        {
            "name": "site",
            "side": "controller",
            "file_root": str(tree),
            "key_prefix": "www",
            "delete": True,
            "cache": "none",
        },
        {
            "name": "logs",
            "file_root": str(tmp_path / "logs"),
            "key_prefix": "hosts/{{ inventory_hostname }}",
            "cache": "none",
        },
    )
    # molecule tests the timers of hosts: no schedule is listed here, so that systemd need not run
    done = role(tmp_path, server, *syncs, flags=("--check",))
    assert done.returncode == 0, done.stdout
    assert content(server) == {}
    done = role(tmp_path, server, *syncs)
    assert done.returncode == 0, done.stdout
    assert content(server) == {
        **{f"www/{path}": data for path, data in files(tree).items()}, "hosts/web-01/a.log": b"log", "hosts/web-02/a.log": b"log",
    }  # fmt: skip
    assert SECRET not in done.stdout + done.stderr
    assert server.counts["PUT"] == 7
    done = role(tmp_path, server, *syncs)
    assert "changed=0" in done.stdout
    assert "changed=1" not in done.stdout


@pytest.mark.parametrize("broken", ["", "unreadable", "incomplete"])
def test_the_restore_drill_of_the_readme(server, tmp_path, broken):
    """It must fail when the second step cannot compare, and when the restored files differ."""
    text = (ROOT / "roles/s3_sync/README.md").read_text()
    (block,) = [part for part in text.split("```") if "Restore the logs" in part]
    play = block.removeprefix("yaml\n").replace("/var/tmp/drill", str(tmp_path / "drill"))
    play = play.replace("example-site", "bkt").replace("  tasks:\n", "  gather_facts: false\n  tasks:\n")
    if broken:  # between the two steps
        step = {
            "unreadable": f"file: {{path: '{tmp_path}/drill', state: absent}}",
            "incomplete": f"file: {{path: '{tmp_path}/drill/0.log', state: absent}}",
        }[broken]
        play = play.replace("    - name: Compare both", f"    - ansible.builtin.{step}\n\n    - name: Compare both")
    for number in range(6):
        server.seed(f"hosts/web-01/log/{number}.log", b"x", content_type="text/plain; charset=utf-8")
    write(tmp_path / "play.yml", play.encode())
    hosts = {"web-01": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}}
    write(tmp_path / "hosts.yml", json.dumps({"web": {"hosts": hosts}}).encode())
    keys = {"AWS_ACCESS_KEY_ID": "AKIDOUBLE", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_ENDPOINT_URL_S3": server.url}
    done = ansible(tmp_path, "ansible-playbook", "-i", str(tmp_path / "hosts.yml"), str(tmp_path / "play.yml"), **keys)
    assert (done.returncode == 0) is (not broken), done.stdout
    assert len(content(server)) == 6
    assert "Restore the logs" in done.stdout
    assert "changed: [web-01]" in done.stdout
