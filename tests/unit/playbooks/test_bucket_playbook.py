"""playbooks/bucket.yml: the bucket of a site, set up once for the group."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from tests.support import ROOT


@pytest.fixture
def play(moto, tmp_path):
    """Runs playbooks/bucket.yml in check mode for two servers of a group with these variables; returns its output."""

    def run(variables: dict, *flags: str) -> str:
        site = {
            "webapp_storage": "s3",
            "webapp_bucket": "example-site",
            "webapp_endpoint_url": moto,
            "webapp_region": "eu-central-1",
            "bucket_create": True,
            "site_url": "https://a.example/",
        }
        hosts = {"web-01": {}, "web-02": {}}
        (tmp_path / "hosts.yml").write_text(json.dumps({"web": {"hosts": hosts, "vars": {**site, **variables}}}))
        argv = ["ansible-playbook", "-i", str(tmp_path / "hosts.yml"), "playbooks/bucket.yml", "--check", *flags]
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(tmp_path), "ANSIBLE_NOCOLOR": "1", "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ACCESS_KEY_ID": "AKIDOUBLE", "AWS_SECRET_ACCESS_KEY": "of-nobody",
        }  # fmt: skip
        done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=60)
        said = " ".join((done.stdout + done.stderr).split())
        assert done.returncode == (2 if "failed=1" in said else 0), said
        return said

    return run


@pytest.mark.parametrize(
    ("variables", "flags", "pages"),
    [
        ({}, (), "https://a.example"),
        ({}, ("--limit", "web-02"), "https://a.example"),
        ({"bucket_origins": ["https://c.example", "https://b.example"]}, (), "https://b.example, https://c.example"),
    ],
)
def test_the_bucket_of_the_group_is_set_up_once(play, variables, flags, pages):
    said = play(variables, *flags)
    assert f"for pages of {pages} proof:" in said
    assert said.count("make the bucket example-site") == 1


def test_a_site_without_a_bucket_is_refused(play):
    said = play({"webapp_bucket": ""})
    assert "No webapp_bucket is set for the group web, so nothing can be set up" in said


def test_a_bucket_of_a_site_on_efs_needs_no_origin(play):
    assert "make the bucket example-site" in play({"webapp_storage": "efs", "site_url": ""})


@pytest.mark.parametrize(
    ("settings", "empty"),
    [
        ({"site_url": ""}, "site_url"),
        ({}, "site_url"),
        ({"site_url": "https://a.example", "bucket_origins": []}, "bucket_origins"),
    ],
)
def test_a_bucket_that_no_browser_could_upload_to_is_not_set_up(tmp_path, settings, empty):
    variables = {"webapp_storage": "s3", "webapp_bucket": "example-site", "webapp_region": "eu-central-1", **settings}
    (tmp_path / "hosts.yml").write_text(json.dumps({"web": {"hosts": {"web-01": variables, "web-02": variables}}}))
    argv = ["ansible-playbook", "-i", str(tmp_path / "hosts.yml"), "playbooks/bucket.yml"]
    # were it set up, it would fail in other words
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path)}
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=60)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 2
    assert f"{empty} is empty, so no browser could upload to the bucket example-site: name" in said
