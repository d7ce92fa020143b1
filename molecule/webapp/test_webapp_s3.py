# Copyright: samefiles.aws contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The web app with its files in S3, on a host without any mount: units, the path of the bytes, and a change of the storage."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import subprocess
import time

import boto3
import pytest

NAME = "samefiles-molecule-webapp-s3"
ROOT = pathlib.Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
LAB = pathlib.Path.home() / ".local/state/samefiles/webapp"
BUCKET = "samefiles-webapp-site"
EFS = {"webapp_storage": "efs", "webapp_mount": "", "webapp_directory": "/var/lib/gallery"}
# files of a host that keeps its uploads on a file system
MOUNT_FILES = (
    "/etc/systemd/system/webapp-files.service",
    "/etc/systemd/system/webapp-probe.service",
    "/etc/webapp/files.conf",
    "/opt/webapp/probe",
)

# Sends requests, each on a new connection, until its file is removed; prints the failures.
LOOP = r"""
import json, os, time, urllib.request
done, failed = 0, []
open("/run/loop-runs", "w").close()
while os.path.exists("/run/loop-runs"):
    for path in ("/", "/files", "/healthz"):
        try:
            with urllib.request.urlopen("http://127.0.0.1" + path, timeout=20) as answer:
                answer.read()
            done += 1
        except OSError as fault:
            failed.append(f"{path}: {fault}")
    time.sleep(0.05)
json.dump([done, failed], open("/run/loop-done", "w"))
"""
# Uploads a file in a form, or deletes one; prints the answer.
ASK = r"""
import base64, sys, urllib.request
method, path, size = sys.argv[1:]
body, head = None, {"Accept": "application/json"}
head["Authorization"] = "Basic " + base64.b64encode(b"a:open sesame 42").decode()
if int(size):
    text = (b"sixteen letters\n" * (int(size) // 16))
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="big.txt"\r\n\r\n' + text + b"\r\n--x--\r\n"
    head["Content-Type"] = "multipart/form-data; boundary=x"
print(urllib.request.urlopen(urllib.request.Request("http://127.0.0.1" + path, body, head, method=method), timeout=120).read().decode())
"""
# Reads a file through the front, and waits in the middle until its file is removed.
SLOW = r"""
import hashlib, json, os, sys, time, urllib.request
answer = urllib.request.urlopen("http://127.0.0.1/files/" + sys.argv[1], timeout=600)
total = hashlib.sha256(answer.read(1 << 20))
open("/run/slow-reads", "w").close()
while os.path.exists("/run/slow-reads"):
    time.sleep(0.1)
try:
    for block in iter(lambda: answer.read(1 << 20), b""):
        total.update(block)
    said = total.hexdigest()
except Exception as fault:
    said = repr(fault)
json.dump(said, open("/run/slow-done", "w"))
"""


@pytest.fixture
def host(server):
    return server("webapp-s3")


@pytest.fixture(scope="module")
def s3():
    """boto3 as the lab's own user: the witness."""
    account = json.loads((LAB / "s3/store.json").read_text())
    session = boto3.session.Session(account["access_key"], account["secret_key"], region_name=account["region"])
    client = session.client("s3", endpoint_url="https://10.77.15.6", verify=str(LAB / "tls/ca.pem"))
    yield client
    client.close()


def ask(host, method: str, path: str, size: int = 0):
    """A request with the host's own Python; with a size an upload of so many bytes."""
    body = host.check_output("python3 -c %s %s %s %s", ASK, method, path, str(size))
    return json.loads(body) if body else None


def until(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.3)


def start(host, code: str, sign: str, *arguments: str) -> None:
    """Run a program in the background, and wait until it has made its file."""
    host.check_output("rm -f /run/loop-done /run/slow-done")
    host.check_output("systemd-run --quiet --collect python3 -c %s %s", code, *(arguments or [""]))
    until(lambda: host.file(sign).exists)


def outcome(host, sign: str, file: str):
    """Let the program go on, and read its result."""
    host.check_output("rm -f %s", sign)
    until(lambda: host.run("grep -q . %s", file).rc == 0)
    return json.loads(host.check_output("cat %s", file))


@contextlib.contextmanager
def visitors(host):
    """Requests all the while; none of them may fail."""
    start(host, LOOP, "/run/loop-runs")
    yield
    done, failed = outcome(host, "/run/loop-runs", "/run/loop-done")
    assert failed == []
    assert done > 20


def converge_with(converge, settings: dict, *options: str):
    return converge("--extra-vars", json.dumps(settings), *options, hosts=NAME)[NAME]


def test_nothing_on_the_host_reads_a_mount(host):
    release = host.check_output("readlink /opt/webapp/current").rpartition("/")[2]
    for unit in ("webapp-front", f"webapp@{release}"):
        assert host.service(unit).is_running, unit
        assert host.service(unit).is_enabled, unit
    assert [path for path in MOUNT_FILES if host.file(path).exists] == []
    assert host.run("systemctl list-units --all --no-legend 'webapp-files*' 'webapp-probe*'").stdout.strip() == ""
    assert host.run("grep -rl -e files.sock /etc/webapp").stdout == ""
    assert host.check_output("ps -o user= -C nginx | sort -u") == "webapp"


def test_the_site_is_ready_when_s3_is(host):
    assert ask(host, "GET", "/healthz") == {"ok": True}
    until(lambda: host.run("python3 -c %s", "import urllib.request as u; u.urlopen('http://127.0.0.1/readyz')").rc == 0)


def test_no_setting_is_a_key(host):
    text = host.check_output("cat /opt/webapp/current/environment")
    assert f'GALLERY_BUCKET="{BUCKET}"' in text
    assert not re.search("GALLERY_(DIRECTORY|MOUNT|STATUS)|SECRET|ACCESS_KEY|TOKEN", text)


def test_what_is_uploaded_lies_in_the_bucket_and_goes_with_its_file(host, s3):
    key = ask(host, "POST", "/files", 160_000)[0]["key"]
    stored = s3.get_object(Bucket=BUCKET, Key=f"gallery/files/{key}")
    assert stored["Body"].read() == b"sixteen letters\n" * 10_000
    assert (stored["ContentType"], "attachment" in stored["ContentDisposition"]) == ("application/octet-stream", True)
    ask(host, "DELETE", f"/files/{key}")
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix="gallery/files/").get("Contents", [])
    assert key not in [item["Key"].rpartition("/")[2] for item in listed]


def test_the_front_redirects_to_s3_and_sends_no_bytes_itself(host):
    key = ask(host, "POST", "/files", 1_600_000)[0]["key"]
    code = "import hashlib, sys, urllib.request as u; print(len(u.urlopen('http://127.0.0.1/files/' + sys.argv[1]).read()))"
    assert host.check_output("python3 -c %s %s", code, key) == "1600000"
    ask(host, "DELETE", f"/files/{key}")
    row = re.compile(rf'"GET /files/{key} HTTP/1.1" 302 (\d+) ')
    until(lambda: row.search(host.file("/var/log/webapp/front.log").content_string))
    assert int(row.search(host.file("/var/log/webapp/front.log").content_string).group(1)) < 1000


def test_a_site_without_mounts_converges_and_is_proved(tmp_path):
    argv = ["ansible-playbook", f"--inventory={os.environ['MOLECULE_SCENARIO_DIRECTORY']}/inventory", f"--limit={NAME}"]
    argv += [f"--extra-vars=proof_directory={tmp_path}", str(ROOT / "site.yml")]
    environment = {**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    report = json.loads(done.stdout[done.stdout.index("{") :])
    assert report["stats"][NAME]["changed"] == 0
    proof = json.loads((tmp_path / "proof.json").read_text())
    assert (proof["agree"], proof["mounts"], proof["problems"]) == (True, [], [])
    assert (proof["site"]["storage"], proof["site"]["bucket"]) == ("s3", BUCKET)
    assert [pair["same"] for pair in proof["site"]["pairs"]] == [True]


def test_the_sandbox(host):
    release = host.check_output("readlink /opt/webapp/current").rpartition("/")[2]
    for unit in ("webapp-front", f"webapp@{release}"):
        rating = host.check_output(f"systemd-analyze security {unit}.service --no-pager | tail -n 1")
        assert float(re.search(r": ([0-9.]+) ", rating).group(1)) <= 3.0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"webapp_bucket": ""}, f"webapp_bucket of {NAME} is empty: storage s3 needs the name of a bucket."),
        ({"webapp_max_upload_mib": 5121}, f"webapp_max_upload_mib of {NAME} is 5121: S3 takes at most 5 GiB"),
        (
            {"webapp_cleanup_after": 4499},
            f"webapp_cleanup_after of {NAME} is 4499: an upload that began just within webapp_upload_url_ttl",
        ),
        ({"webapp_environment": {"HTTP_PROXY": "x"}}, f"webapp_environment of {NAME} has HTTP_PROXY: gallery takes"),
        ({"webapp_public_access_confirmed": True}, "is true: webapp_public_prefix is empty: name the prefix"),
        (
            {"webapp_download_url_ttl": 1000000},
            f"webapp_download_url_ttl of {NAME} is 1000000: S3 takes presigned URLs of 2 seconds to 7 days",
        ),
        (
            {"webapp_key_prefix": ""},
            f"webapp_key_prefix of {NAME} is empty: write words of letters, digits, _, . and -",
        ),
        (
            {"webapp_public_prefix": "gallery/public"},
            "webapp_key_prefix is gallery, and neither may lie in the other: choose another prefix.",
        ),
    ],
)
def test_bad_input_is_refused_in_one_sentence(converge, host, settings, said):
    before = host.check_output("readlink /opt/webapp/current; ls /opt/webapp/releases")
    refused = converge_with(converge, settings)
    assert said in refused.failure
    assert refused.changed == 0
    assert host.check_output("readlink /opt/webapp/current; ls /opt/webapp/releases") == before


def test_the_storage_changes_there_and_back_and_no_request_fails(converge, host):
    with visitors(host):
        converged = converge_with(converge, EFS)
        assert converged.failure == ""
        assert [path for path in MOUNT_FILES if not host.file(path).exists] == []
        for unit in ("webapp-files", "webapp-probe"):
            assert host.service(unit).is_running, unit
            assert host.service(unit).is_enabled, unit
    entry = ask(host, "POST", "/files", 96_000_000)[0]
    assert host.run(f"find /var/lib/gallery -name '{entry['key']}'").stdout.strip() != ""
    checked = converge("--check", hosts=NAME)[NAME]
    assert "stop webapp-files.service when its last request has ended, and remove it" in checked.result["actions"]
    assert "remove /etc/webapp/files.conf" in checked.result["actions"]
    assert host.service("webapp-files").is_running

    start(host, SLOW, "/run/slow-reads", entry["key"])
    with visitors(host):
        converged = converge_with(converge, {})
        assert converged.failure == ""
    assert [path for path in MOUNT_FILES if host.file(path).exists] == []
    assert host.run("ls /etc/systemd/system/multi-user.target.wants | grep -e files -e probe").stdout == ""
    # a download from the file system may finish
    assert host.check_output("systemctl show --property=ActiveState --value webapp-files") == "deactivating"
    assert converge_with(converge, {}).changed == 0
    assert outcome(host, "/run/slow-reads", "/run/slow-done") == entry["sha256"]
    until(lambda: host.run("systemctl list-units --all --no-legend 'webapp-files*'").stdout.strip() == "")
    assert not host.file("/run/systemd/system/webapp-files.service").exists
    host.check_output("rm -rf /var/lib/gallery/*")
