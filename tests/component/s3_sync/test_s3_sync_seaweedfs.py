"""s3_sync against a real S3 server, SeaweedFS, which judges its signatures, conditions and checksums by itself."""

from __future__ import annotations

import json
import pathlib
import shutil
import socket
import subprocess
import sys
import time

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._s3_sync import converge

from tests.support.s3_sync_runs import files, write

WEED = pathlib.Path(sys.executable).parent / "weed"
KEYS = {"access_key": "labkey000", "secret_key": "labsecret000"}
ALL = {"count": 99, "percent": 100}


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on; weed puts its gRPC ports 10,000 above."""
    found: list[int] = []
    for port in range(21000, 29000, 7):
        try:
            for one in (port, port + 10000):
                socket.create_server(("127.0.0.1", one)).close()
        except OSError:
            continue
        found.append(port)
        if len(found) == count:
            break
    return found


@pytest.fixture(scope="module")
def weed(tmp_path_factory):
    """A SeaweedFS with one bucket; its endpoint."""
    boto3 = pytest.importorskip("boto3")
    folder = tmp_path_factory.mktemp("weed")
    identity = {
        "name": "lab",
        "credentials": [{"accessKey": KEYS["access_key"], "secretKey": KEYS["secret_key"]}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    write(folder / "s3.json", json.dumps({"identities": [identity]}).encode())
    master, volume, filer, s3 = free_ports(4)
    argv = [
        WEED, "-logtostderr", "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-master.port={master}",
        f"-volume.port={volume}", f"-filer.port={filer}", "-master.peers=none", "-master.telemetry=false",
        "-master.volumeSizeLimitMB=64", "-volume.max=0", "-volume.preStopSeconds=0", "-filer.disableHttp", "-s3",
        f"-s3.port={s3}", f"-s3.config={folder / 's3.json'}", "-s3.autoCreateBucket=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
    ]  # fmt: skip
    environment = {
        "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1",
        "GOMEMLIMIT": "400MiB",
        "HOME": str(folder),
        "PATH": "/usr/bin:/bin",
    }
    log = (folder / "log").open("wb")
    process = subprocess.Popen(argv, env=environment, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{s3}"
    client = boto3.client(
        "s3", endpoint_url=url, region_name="eu-central-1", aws_access_key_id=KEYS["access_key"], aws_secret_access_key=KEYS["secret_key"]
    )  # fmt: skip
    try:
        for _try in range(120):
            try:
                client.create_bucket(Bucket="bkt")
                break
            except Exception:
                assert process.poll() is None, (folder / "log").read_text()[-2000:]
                time.sleep(0.25)
        client.put_bucket_versioning(Bucket="bkt", VersioningConfiguration={"Status": "Enabled"})
        yield url
    finally:
        client.close()
        process.kill()  # SIGTERM takes 16 s, and may hang
        process.wait()
        log.close()
        shutil.rmtree(folder)


def sync(weed, root, **options) -> dict:
    told = {"bucket": "bkt", "endpoint_url": weed, "region": "eu-central-1", "cache": "none", **KEYS, **options}
    return converge.sync({**told, "file_root": str(root)})


def test_both_ways(weed, tree, tmp_path):
    write(tree / "a b", b"in folder order this comes after a/b")
    write(tree / "a/b", b"below")
    write(tree / 'ü +%&<>"', b"odd")
    write(tree / "empty", b"")
    write(tree / "large.bin", bytes(range(256)) * 80_000)
    options = {"key_prefix": "both", "delete": True, "max_delete": ALL}
    assert sync(weed, tree, **options)["uploaded"] == 10
    assert not sync(weed, tree, **options)["changed"]
    assert sync(weed, tree, cache_control="no-cache", **options)["updated_headers"] == 10
    assert not sync(weed, tree, cache_control="no-cache", **options)["changed"]
    write(tree / "css/site.css", b"new")
    (tree / "img/a.png").unlink()
    told = sync(weed, tree, cache_control="no-cache", **options)
    assert (told["uploaded"], told["deleted"]) == (1, 1)
    sync(weed, tmp_path / "back", mode="pull", key_prefix="both")
    assert files(tmp_path / "back") == files(tree)


def test_more_than_a_page(weed, tmp_path):
    for number in range(1100):
        write(tmp_path / f"many/{number % 10}/{number}", b"%d" % number)
    assert sync(weed, tmp_path / "many", key_prefix="many")["uploaded"] == 1100
    told = sync(weed, tmp_path / "many", key_prefix="many", delete=True, phase="assets")
    assert not told["changed"]
    assert told["requests"] == {"LIST": 2}


def test_a_wrong_key_is_refused(weed, tree):
    with pytest.raises(
        converge.Refused, match="cannot be listed, so nothing was changed: LIST 'bkt/': 403 SignatureDoesNotMatch"
    ):
        sync(weed, tree, secret_key="another")


def test_a_missing_source_deletes_nothing(weed, tree, tmp_path):
    sync(weed, tree, key_prefix="safe")
    with pytest.raises(converge.Refused, match="is not there: nothing was changed"):
        sync(weed, tmp_path / "typo", key_prefix="safe", delete=True, max_delete=ALL)
    assert not sync(weed, tree, key_prefix="safe", delete=True)["changed"]
