"""`. lab/env`, and the tools that people have work on the lab's S3 unchanged: sync both ways, delete, presign."""

from __future__ import annotations

import filecmp
import os
import pathlib
import ssl
import subprocess
import urllib.request

import pytest

NAMES = ["index.html", "a b", "a/b", "a/c/d.txt", "ü/é.txt", "big.bin"]


@pytest.fixture
def tree(tmp_path) -> pathlib.Path:
    """A few files; in directory order `a/b` would come before `a b`."""
    root = tmp_path / "tree"
    for number, name in enumerate(NAMES):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(bytes([number]) * (12_000_000 if name == "big.bin" else 1000 + number))
    return root


def commands(tools: dict[str, str], bucket: str) -> dict[str, dict[str, list[str]]]:
    """How each tool pushes (and deletes what is gone), pulls, and presigns."""
    aws, s5cmd, rclone = ([tools[name]] for name in ("aws", "s5cmd", "rclone"))
    url = f"s3://{bucket}/tools"
    return {
        "aws": {
            "push": [*aws, "s3", "sync", "--delete", "TREE", f"{url}/aws"],
            "pull": [*aws, "s3", "sync", f"{url}/aws", "BACK"],
            "presign": [*aws, "s3", "presign", f"{url}/aws/a b"],
        },
        "s5cmd": {
            "push": [*s5cmd, "sync", "--delete", "TREE/", f"{url}/s5cmd/"],
            "pull": [*s5cmd, "sync", f"{url}/s5cmd/*", "BACK/"],
            "presign": [*s5cmd, "presign", f"{url}/s5cmd/a b"],
        },
        "rclone": {
            "push": [*rclone, "sync", "TREE", f"lab:{bucket}/tools/rclone"],
            "pull": [*rclone, "copy", f"lab:{bucket}/tools/rclone", "BACK"],
            "presign": [*rclone, "link", f"lab:{bucket}/tools/rclone/a b"],
        },
    }


def same(left: pathlib.Path, right: pathlib.Path) -> None:
    def names(root: pathlib.Path) -> list[str]:
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

    assert names(left) == names(right)
    assert filecmp.cmpfiles(left, right, names(left), shallow=False)[1:] == ([], [])


def opened(lab, url: str) -> bytes:
    context = ssl.create_default_context(cafile=lab.state / "tls/ca.pem")
    return urllib.request.urlopen(url, context=context, timeout=20).read()


@pytest.mark.parametrize("tool", ["aws", "s5cmd", "rclone"])
def test_a_tool_works_unchanged(lab, tools, environment, client, tree, tmp_path, tool):
    back = tmp_path / "back"
    back.mkdir()

    def run(what: str) -> str:
        words = [
            word.replace("TREE", str(tree)).replace("BACK", str(back))
            for word in commands(tools, lab.bucket)[tool][what]
        ]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def stored() -> list[str]:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=lab.bucket, Prefix=f"tools/{tool}/")
        return [item["Key"].removeprefix(f"tools/{tool}/") for page in pages for item in page.get("Contents", [])]

    run("push")
    assert stored() == sorted(NAMES, key=str.encode)
    run("push")  # nothing good is deleted by the second run
    assert stored() == sorted(NAMES, key=str.encode)
    run("pull")
    same(tree, back)
    (tree / "a/b").unlink()
    run("push")
    assert stored() == sorted(set(NAMES) - {"a/b"}, key=str.encode)
    assert opened(lab, run("presign")) == (tree / "a b").read_bytes()


@pytest.fixture
def sourced(environment, monkeypatch) -> None:
    """`. lab/env` in this very process."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)


def test_boto3_works_unchanged(lab, sourced, tmp_path):
    import boto3

    s3 = boto3.session.Session().client("s3")
    (tmp_path / "big").write_bytes(bytes(range(256)) * 80_000)
    s3.upload_file(str(tmp_path / "big"), lab.bucket, "tools/boto3/big")
    s3.download_file(lab.bucket, "tools/boto3/big", str(tmp_path / "again"))
    assert filecmp.cmp(tmp_path / "big", tmp_path / "again", shallow=False)
    url = s3.generate_presigned_url("get_object", {"Bucket": lab.bucket, "Key": "tools/boto3/big"}, ExpiresIn=60)
    assert opened(lab, url) == (tmp_path / "big").read_bytes()
    s3.delete_object(Bucket=lab.bucket, Key="tools/boto3/big")
    assert "Contents" not in s3.list_objects_v2(Bucket=lab.bucket, Prefix="tools/boto3/")
    s3.close()


def test_our_own_module_works_unchanged(lab, sourced, tree, tmp_path):
    from ansible_collections.samefiles.aws.plugins.module_utils._s3_sync import converge

    options = {"bucket": lab.bucket, "key_prefix": "tools/ours", "cache": "none"}
    push = {**options, "file_root": str(tree), "delete": True}
    assert converge.sync(push)["uploaded"] == len(NAMES)
    assert not converge.sync(push)["changed"]
    converge.sync({**options, "file_root": str(tmp_path / "back"), "mode": "pull"})
    same(tree, tmp_path / "back")
