"""S3 of a lab from its servers: credentials of the instance role, backups and their restore, and no key anywhere."""

from __future__ import annotations

import json
import pathlib
import subprocess

import pytest

from lab import s3, state
from lab.settings import Lab
from tests.support import ROOT
from tests.support.fleet import DISK, granted


@pytest.fixture(scope="module")
def place(lab) -> Lab:
    """The lab, as its own program knows it."""
    return Lab(lab.name, state.load(lab.name).index)


@pytest.fixture(scope="module")
def client(place):
    """The lab's own user."""
    s3_client = s3.client(place)
    yield s3_client
    s3_client.close()


def keys(client, place, prefix: str) -> list[str]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=place.bucket, Prefix=prefix)
    return [item["Key"].removeprefix(prefix) for page in pages for item in page.get("Contents", [])]


def test_static_files_are_in_the_bucket(fleet, place, client):
    pages = sorted(str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*") if path.is_file())
    assert keys(client, place, "www/") == pages
    head = client.head_object(Bucket=place.bucket, Key="www/gallery.png")
    assert (head["ContentType"], head["ServerSideEncryption"]) == ("image/png", "AES256")


def test_each_server_is_known_by_its_address(fleet):
    assert [granted(server)["id"] for server in fleet.servers] == [
        host["instance_id"] for host in fleet.status["hosts"]
    ]


def test_backups_and_a_restore_drill(fleet, place, client):
    for server in fleet.servers:
        server.run("systemctl start samefiles-s3-sync-logs", timeout=300)
        status = json.loads(server.run("cat /var/lib/samefiles-s3-sync/logs/last.json"))
        assert status["ok"] is True
        assert "front.log" in keys(client, place, f"hosts/{server.name}/log/")
    server = fleet.servers[0]
    prefix = f"hosts/{server.name}/drill"
    context = {
        "bucket": place.bucket,
        "region": "eu-central-1",
        "endpoint_url": place.s3_endpoint,
        "key_prefix": prefix,
    }
    server.run(
        "mkdir -p /var/tmp/kept/sub && date >/var/tmp/kept/a && head -c 20000000 /dev/urandom >/var/tmp/kept/sub/big"
    )
    result = fleet.module(server.name, "samefiles.aws.s3_sync", {**context, "file_root": "/var/tmp/kept"})
    assert result["uploaded"] == 2
    server.run("rm -rf /var/tmp/drill")
    back = {**context, "file_root": "/var/tmp/drill"}
    assert fleet.module(server.name, "samefiles.aws.s3_sync", {**back, "mode": "pull"})["downloaded"] == 2
    assert server.run("cd /var/tmp && diff -r kept drill && echo same") == "same"
    drill = {**back, "delete": True, "cache": "none"}
    assert not fleet.module(server.name, "samefiles.aws.s3_sync", drill, check_mode=True)["changed"]


def test_a_server_may_use_its_prefixes_only(fleet, place, client):
    server = fleet.servers[0]
    server.run("mkdir -p /var/tmp/kept && date >/var/tmp/kept/a")
    before = keys(client, place, "www/")
    options = {
        "bucket": place.bucket,
        "region": "eu-central-1",
        "endpoint_url": place.s3_endpoint,
        "file_root": "/var/tmp/kept",
    }
    result = fleet.module(server.name, "samefiles.aws.s3_sync", {**options, "key_prefix": "www", "delete": True})
    assert "403 AccessDenied" in result["msg"]
    assert result["failed"]
    assert keys(client, place, "www/") == before


def test_no_key_in_any_output_or_on_any_disk(fleet, place, client):
    secrets = [s3.SECRET_KEY, json.loads((place.state / "s3/store.json").read_text())["signing_key"]]
    for server in fleet.servers:
        server.run("systemctl start samefiles-s3-sync-logs", timeout=300)
        credentials = granted(server)
        secrets += [credentials["SecretAccessKey"], credentials["Token"]]
    pathlib.Path(ROOT / "docs/.samefiles-test").write_text("another")  # so that the run has something to send
    try:
        play = subprocess.run(
            ["ansible-playbook", "-i", fleet.inventory, "site.yml", "-vvv", "--diff"],
            cwd=ROOT, capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip
    finally:
        pathlib.Path(ROOT / "docs/.samefiles-test").unlink()
    assert play.returncode == 0, play.stdout[-3000:]
    assert "PUT" in play.stdout or "upload" in play.stdout
    assert [word for word in secrets if word in play.stdout + play.stderr] == []
    for server in fleet.servers:
        # the words come by standard input: sudo writes each command into the journal
        argv = [*server.ssh, "sudo", "grep", "-rlF", "--devices=skip", "-f", "-", *DISK]
        matches = subprocess.run(
            argv, input="\n".join(secrets), capture_output=True, text=True, timeout=300, check=False
        ).stdout
        assert matches == ""
    fleet.play("site.yml")
