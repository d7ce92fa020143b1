"""playbooks/bucket.yml: one bucket for several servers and sites."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from tests.support import ROOT


@pytest.fixture
def play(moto, tmp_path):
    """Runs playbooks/bucket.yml in check mode for two servers that use the same bucket; returns its output."""

    def run(first: dict, second: dict, *flags: str) -> str:
        words = {
            "webapp_bucket": "shared-site",
            "webapp_endpoint_url": moto,
            "bucket_create": True,
            "webapp_region": "eu-central-1",
        }
        hosts = {"w1": {"site_url": "https://a.example/", **first}, "w2": {"site_url": "https://b.example", **second}}
        (tmp_path / "hosts.yml").write_text(
            json.dumps({"web": {"hosts": hosts, "vars": {"webapp_storage": "s3", **words}}})
        )
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


KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"
BOTH = "for pages of https://a.example, https://b.example"


@pytest.mark.parametrize(
    ("first", "second", "flags", "pages"),
    [
        ({}, {}, (), BOTH),
        ({}, {}, ("--limit", "w2"), BOTH),
        ({}, {"site_url": "https://a.example"}, (), "for pages of https://a.example proof:"),
        ({}, {"bucket_origins": ["https://b.example", "https://a.example"]}, (), BOTH),
        ({"bucket_origins": ["https://a.example"]}, {}, ("--limit", "w1"), BOTH),
    ],
)
def test_pages_of_all_sites_of_a_bucket_may_upload(play, first, second, flags, pages):
    said = play(first, second, *flags)
    assert pages in said
    assert said.count("make the bucket shared-site") == 1


@pytest.mark.parametrize(
    "second",
    [
        {
            "webapp_key_prefix": "gallery", "webapp_public_prefix": "", "webapp_public_access_confirmed": False, "bucket_encryption": None,
            "bucket_kms_key_id": "", "bucket_versioning": True, "bucket_keep_deleted_days": 30, "webapp_browser_endpoint_url": "",
        },
        {
            "webapp_key_prefix": "gallery/", "webapp_public_access_confirmed": "no", "bucket_versioning": "true", "bucket_create": "yes",
            "bucket_keep_deleted_days": "30",
        },
    ],
)  # fmt: skip
def test_a_default_that_is_said_is_no_other_value(play, second):
    assert BOTH in play({}, second)


def test_servers_of_one_bucket_must_have_the_same_settings(play):
    other = {
        "webapp_key_prefix": "other", "webapp_public_prefix": "public", "webapp_public_access_confirmed": True, "bucket_versioning": False,
        "bucket_keep_deleted_days": 0, "bucket_encryption": "aws:kms", "bucket_kms_key_id": KEY, "webapp_region": "eu-west-1",
        "bucket_create": False, "webapp_browser_endpoint_url": "https://s3.example",
    }  # fmt: skip
    differ = "w1, w2 use the same bucket shared-site, but have different values: set it for the whole group"
    said = play({}, other, "--limit", "w2")
    for name in other:
        assert f"{name}: {differ}" in said
    assert f"bucket_endpoint_url, or webapp_endpoint_url where there is none: {differ}" in play(
        {}, {"webapp_endpoint_url": "https://s3.example"}
    )


def test_servers_may_each_have_their_own_way_to_a_bucket(play, moto):
    assert BOTH in play(
        {"bucket_endpoint_url": moto}, {"bucket_endpoint_url": moto, "webapp_endpoint_url": "https://s3.example"}
    )


def test_no_site_is_left_without_uploads_by_the_other_one(play):
    said = play({}, {"site_url": ""})
    assert "site_url of w2 is empty, so that no browser could upload to the bucket shared-site" in said
    assert "for pages of https://a.example proof:" in play({}, {"site_url": "", "webapp_storage": "efs"})


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
    assert f"{empty} of web-01 is empty, so that no browser could upload to the bucket example-site: name" in said
