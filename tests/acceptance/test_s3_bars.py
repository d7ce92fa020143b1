"""s3_sync with many and with large files: its memory, and whether its time grows no faster than the work."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import time

import pytest

from tests.support.s3_server import Server

BAR = 150  # MB
RUN = """
import json, sys, time
sys.path[:0] = json.loads(sys.argv[1])
from ansible_collections.samefiles.aws.plugins.module_utils._s3_sync import converge
begin, cpu = time.monotonic(), time.process_time()
result = converge.sync({**json.loads(sys.argv[2]), "diff": False})  # as the module without --diff
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024 / 1e6
print(json.dumps({"result": {k: result[k] for k in ("uploaded", "downloaded", "changed", "requests")},
                  "seconds": time.monotonic() - begin, "cpu": time.process_time() - cpu, "peak": peak}))
"""


def run(options: dict) -> dict:
    """One sync in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(sys.path), json.dumps(options)],
        capture_output=True, text=True, timeout=1800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def many(root: pathlib.Path, count: int) -> None:
    """A tree of small files, a thousand in a directory."""
    for number in range(count):
        if number % 1000 == 0:
            (root / f"{number // 1000:03}").mkdir(parents=True)
        (root / f"{number // 1000:03}/{number}.txt").write_bytes(b"%d" % number)


def test_100_000_objects(tmp_path, figure):
    took = {}
    for count in (25_000, 100_000):
        root = tmp_path / f"{count}"
        many(root, count)
        with Server() as server:
            options = server.options(file_root=str(root), delete=True, cache=str(tmp_path / f"cache-{count}"))
            rows = [run(options)]
            time.sleep(3)  # what was stored within two seconds of being looked at is looked at again
            rows += [run(options), run(options)]
            back = run({**options, "file_root": str(tmp_path / f"back-{count}"), "mode": "pull", "delete": False})
        assert [row["result"]["changed"] for row in rows] == [True, False, False]
        assert (rows[0]["result"]["uploaded"], back["result"]["downloaded"]) == (count, count)
        assert rows[2]["result"]["requests"] == {"LIST": count // 1000}
        took[count] = [*(row["cpu"] for row in rows), back["cpu"]]
        peak = max(row["peak"] for row in (*rows, back))
        figure(
            f"{count} objects: up {rows[0]['seconds']:.0f} s, no-op {rows[2]['seconds']:.1f} s, down {back['seconds']:.0f} s, peak {peak:.0f} MB (bar: {BAR})"
        )
        assert peak < BAR
    ratios = [large / small for small, large in zip(took[25_000], took[100_000])]
    figure(
        f"four times the objects cost {', '.join(f'{ratio:.1f}' for ratio in ratios)} times the CPU (up, headers, no-op, down)"
    )
    assert max(ratios) < 5


def test_many_files_of_just_one_part(tmp_path, figure):
    for number in range(48):
        (tmp_path / "tree").mkdir(exist_ok=True)
        (tmp_path / f"tree/{number}.bin").write_bytes(os.urandom(1 << 20) * 8)
    with Server(tls=True) as server:
        options = server.options(file_root=str(tmp_path / "tree"))
        up, down = run(options), run({**options, "file_root": str(tmp_path / "back"), "mode": "pull"})
    assert (up["result"]["uploaded"], down["result"]["downloaded"]) == (48, 48)
    figure(f"48 files of 8 MiB: peak {up['peak']:.0f} MB up, {down['peak']:.0f} MB down (bar: {BAR})")
    assert max(up["peak"], down["peak"]) < BAR


@pytest.fixture
def place(lab):
    """S3 of the lab: a client and the options of a sync."""
    from lab import s3, state
    from lab.settings import Lab

    properties = Lab(lab.name, state.load(lab.name).index)
    client = s3.client(properties)
    yield client, {
        "bucket": properties.bucket, "region": "eu-central-1", "endpoint_url": properties.s3_endpoint, "key_prefix": "large",
        "access_key": s3.ACCESS_KEY, "secret_key": s3.SECRET_KEY, "aws_ca_bundle": str(properties.state / "tls/ca.pem"),
        "cache": "none",
    }  # fmt: skip
    for item in client.list_object_versions(Bucket=properties.bucket, Prefix="large/").get("Versions", []):
        client.delete_object(Bucket=properties.bucket, Key=item["Key"], VersionId=item["VersionId"])
    client.close()


def test_5_gib_up_and_down(place, tmp_path, figure):
    _client, options = place
    block, size = os.urandom(1 << 24), 5 << 30
    (tmp_path / "up").mkdir()
    with open(tmp_path / "up/large.bin", "wb") as file:
        for number in range(size >> 24):
            file.write(number.to_bytes(8, "big") + block[8:])
    up = run({**options, "file_root": str(tmp_path / "up")})
    assert up["result"]["uploaded"] == 1
    down = run({**options, "file_root": str(tmp_path / "down"), "mode": "pull"})
    assert subprocess.run(["cmp", tmp_path / "up/large.bin", tmp_path / "down/large.bin"], check=False).returncode == 0
    peak = max(up["peak"], down["peak"])
    figure(f"5 GiB up in {up['seconds']:.0f} s, down in {down['seconds']:.0f} s, peak {peak:.0f} MB (bar: {BAR})")
    assert peak < BAR
