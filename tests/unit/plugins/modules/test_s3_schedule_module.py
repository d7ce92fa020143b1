"""The module s3_schedule as Ansible runs it: its options, its documentation, and the files of a sync."""

from __future__ import annotations

import json

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.samefiles.aws.plugins.doc_fragments.s3 import ModuleDocFragment as Connection
from ansible_collections.samefiles.aws.plugins.doc_fragments.s3_sync import ModuleDocFragment as Sync
from ansible_collections.samefiles.aws.plugins.module_utils._host import process
from ansible_collections.samefiles.aws.plugins.module_utils._s3_schedule import apply
from ansible_collections.samefiles.aws.plugins.module_utils._s3_schedule import plan as _plan
from ansible_collections.samefiles.aws.plugins.module_utils._s3_sync.arguments import ARGUMENTS
from ansible_collections.samefiles.aws.plugins.modules import s3_schedule


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the module in check mode, on a host without any schedule and with a systemd that takes any time; its result."""
    monkeypatch.setenv("HOME", "/home/web")
    monkeypatch.setattr(apply, "read", lambda *_arguments: _plan.Facts())
    monkeypatch.setattr(process, "run", lambda *_arguments: process.Done(0, "", ""))

    def module(**given) -> dict:
        arguments = {"_ansible_check_mode": True, "_ansible_diff": True, **given}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            s3_schedule.main()
        return json.loads(capsys.readouterr().out)

    return module


def written(result: dict, name: str = "logs") -> str:
    """The configuration of a sync that a run writes."""
    (text,) = (
        part["after"] for part in result["diff"] if part.get("after_header") == f"/etc/samefiles/s3_sync/{name}.json"
    )
    return text


SERVICE = "/etc/systemd/system/samefiles-s3-sync-logs.service"
ITEM = {"name": "logs", "bucket": "backups", "file_root": "/var/log", "schedule": {"when": "daily"}}
PUSH = {
    "name": "logs", "side": "host", "key_prefix": "hosts/web-01/log", "file_root": "/var/log", "include": "*.gz, *.log.1",
    "exclude": ["a b", "c"], "delete": "yes", "max_delete": {"percent": "12.5"}, "mime_map": {"md": "text/markdown"},
    "headers": [
        {"patterns": "*.html,*.htm", "cache_control": "no-cache", "metadata": {"Owner": "ops", "n": 1}},
        {"patterns": ["**"], "content_type": "text/plain"},
    ],
    "concurrency": "8", "validate_certs": "no", "ec2_region": "eu-west-1", "s3_url": None, "cache": "none", "mode": "push",
    "storage_class": "STANDARD_IA", "pages": ["\u00fcn\u00ef.html"], "verify": 0, "profile": None, "allow_empty_source": True,
    "schedule": {"when": "Mon *-*-* 03:00", "delay": "900", "timeout": "60", "user": "backup"},
}  # fmt: skip
PULL = {
    "name": "restore", "bucket": "other", "file_root": "~/restore/", "mode": "pull", "file_mode": "0640", "symlinks": "skip",
    "cache_control": "no-store", "encryption": "aws:kms", "kms_key_id": "abcd", "conditional_writes": False, "checksum": "auto",
    "region": "us-east-1", "endpoint_url": None, "progress_file": "/run/p", "report": "full", "use_fips_endpoint": "true",
    "addressing_style": "path", "max_delete": {"count": "7"}, "schedule": {"when": "hourly"},
}  # fmt: skip
PUSH_TEXT = """\
{
  "allow_empty_source": true,
  "aws_ca_bundle": "/home/web/ca.pem",
  "bucket": "backups",
  "cache": "none",
  "concurrency": 8,
  "delete": true,
  "exclude": [
    "a b",
    "c"
  ],
  "file_root": "/var/log",
  "headers": [
    {
      "cache_control": "no-cache",
      "content_disposition": null,
      "content_encoding": null,
      "content_language": null,
      "content_type": null,
      "metadata": {
        "Owner": "ops",
        "n": 1
      },
      "patterns": [
        "*.html",
        "*.htm"
      ]
    },
    {
      "cache_control": null,
      "content_disposition": null,
      "content_encoding": null,
      "content_language": null,
      "content_type": "text/plain",
      "metadata": null,
      "patterns": [
        "**"
      ]
    }
  ],
  "include": [
    "*.gz",
    " *.log.1"
  ],
  "key_prefix": "hosts/web-01/log",
  "max_delete": {
    "count": 100,
    "percent": 12.5
  },
  "mime_map": {
    "md": "text/markdown"
  },
  "pages": [
    "\u00fcn\u00ef.html"
  ],
  "region": "eu-west-1",
  "storage_class": "STANDARD_IA",
  "validate_certs": false
}
"""
PULL_TEXT = """\
{
  "addressing_style": "path",
  "aws_ca_bundle": "/home/web/ca.pem",
  "bucket": "other",
  "cache": "/var/cache/samefiles-s3-sync/restore",
  "cache_control": "no-store",
  "conditional_writes": false,
  "encryption": "aws:kms",
  "file_mode": "0640",
  "file_root": "/home/web/restore/",
  "kms_key_id": "abcd",
  "max_delete": {
    "count": 7,
    "percent": 25.0
  },
  "mode": "pull",
  "progress_file": "/run/p",
  "region": "us-east-1",
  "report": "full",
  "symlinks": "skip",
  "use_fips_endpoint": true
}
"""


def test_only_what_is_not_the_default_is_written(run):
    """Aliases resolved, types converted; the text must not change without need, for a host would report a change."""
    common = {
        "bucket": "backups",
        "aws_ca_bundle": "~/ca.pem",
        "region": "eu-central-1",
        "endpoint_url": "https://s3.example",
    }
    done = run(schedules=[PUSH, PULL, {"name": "old", "schedule": {"state": "absent"}}], **common)
    assert written(done) == PUSH_TEXT
    assert written(done, "restore") == PULL_TEXT
    (service,) = (part["after"] for part in done["diff"] if part.get("after_header") == SERVICE)
    assert "\nUser=backup\n" in service
    assert "\nTimeoutStartSec=60\n" in service


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, {"region": "eu-central-1", "endpoint_url": "https://s3.example"}),
        ({"aws_region": "eu-west-1"}, {"region": "eu-west-1", "endpoint_url": "https://s3.example"}),
        # Amazon's own endpoint, though the other syncs use another server
        ({"endpoint_url": None}, {"region": "eu-central-1"}),
        ({"s3_url": None, "region": None}, {}),
    ],
)
def test_what_a_sync_does_not_set_is_the_same_for_all(run, given, wanted):
    done = run(schedules=[{**ITEM, **given}], region="eu-central-1", endpoint_url="https://s3.example", bucket="unused")
    options = json.loads(written(done))
    assert {key: options[key] for key in ("region", "endpoint_url") if key in options} == wanted
    assert options["bucket"] == "backups"


def test_absent_needs_nothing_but_the_name(run):
    done = run(schedules=[{"name": "logs", "schedule": {"state": "absent"}}])
    assert done["actions"] == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"exlude": ["*.env"]}, "schedules.exlude. Supported parameters include: access_key, "),
        ({"max_delete": {"percnt": 5}}, "schedules.max_delete.percnt. Supported parameters include: count, percent."),
        ({"schedule": {"wen": "daily"}}, "schedules.schedule.wen. Supported parameters include: delay, "),
        ({"schedule": {"when": "daily", "state": "gone"}}, "value of state must be one of: present, absent, got: gone"),
        ({"mode": "both"}, "value of mode must be one of: push, pull, got: both found in schedules"),
        ({"name": ...}, "missing required arguments: name found in schedules"),
        ({"bucket": ..., "file_root": ...}, "schedules[0]: missing required arguments: bucket, file_root"),
        ({"bucket": None}, "schedules[0]: missing required arguments: bucket"),
        (
            {"schedule": ...},
            "schedules[0].schedule.when must be a time as systemd's OnCalendar= takes it, such as daily, got ''",
        ),
        (
            {"schedule": None},
            "schedules[0].schedule.when must be a time as systemd's OnCalendar= takes it, such as daily, got ''",
        ),
        ({"side": "controller"}, "schedules[0].side must be host, for timers run on hosts, got 'controller'"),
        ({"permission": "public-read"}, "schedules[0]: permission is 'public-read', but no ACL is ever sent"),
        ({"key_prefix": "a/../b"}, "schedules[0]: key_prefix must be a path"),
        ({"aws_secret_key": "hidden"}, "schedules[0].secret_key must be left out: no key is written to a host"),
        ({"access_key": "hidden"}, "schedules[0].access_key must be left out: no key is written to a host"),
        ({"security_token": "hidden"}, "schedules[0].session_token must be left out: no key is written to a host"),
        ({"secret_key": "hidden", "exlude": "x"}, "schedules.exlude"),
    ],
)
def test_what_no_run_could_follow_is_refused(run, change, said):
    item = {key: value for key, value in {**ITEM, **change}.items() if value is not ...}
    done = run(schedules=[item])
    assert done["failed"]
    assert said in done["msg"]
    assert "hidden" not in json.dumps(done)


def documented(options: dict) -> dict:
    """Options as the documentation has them, without words."""
    result = {}
    for name, spec in options.items():
        result[name] = {key: value for key, value in spec.items() if key not in ("description", "suboptions")}
        if "suboptions" in spec:
            result[name]["options"] = documented(spec["suboptions"])
    return result


def specified(options: dict) -> dict:
    """Options as Ansible checks them, without what the documentation does not say."""
    result = {}
    for name, spec in options.items():
        result[name] = {key: value for key, value in spec.items() if key not in ("no_log", "apply_defaults")}
        if "options" in spec:
            result[name]["options"] = specified(spec["options"])
    return result


def test_the_documentation_is_what_is_checked():
    sync = {**yaml.safe_load(Sync.DOCUMENTATION)["options"], **yaml.safe_load(Connection.DOCUMENTATION)["options"]}
    assert documented(sync) == specified(ARGUMENTS)
    schedule = yaml.safe_load(Sync.SCHEDULES)["options"]["schedules"]["suboptions"]
    assert documented(schedule) == specified(s3_schedule.SCHEDULE)
    assert [name for name, spec in schedule.items() if spec.get("required")] == ["name"]
    for name, spec in sync.items():
        text = (
            json.dumps(schedule[name])
            .replace("O(schedules[].", "O(")
            .replace("RV(samefiles.aws.s3_sync#module:", "RV(")
        )
        assert json.loads(text) == {key: value for key, value in spec.items() if key != "required"}


def test_every_key_is_hidden():
    assert all(s3_schedule.SCHEDULE[key]["no_log"] for key in _plan.SECRETS)
    # and nothing else: what is hidden is hidden in every text that holds it
    assert {key for key, spec in s3_schedule.SCHEDULE.items() if spec.get("no_log")} == set(_plan.SECRETS)
