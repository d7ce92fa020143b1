# Copyright: samefiles.aws contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Syncs and schedules of a host, seen by the host's own boto3 and systemd."""

from __future__ import annotations

import json

import pytest

NAME = "samefiles-s3-sync-backups"
LAST = "/var/lib/samefiles-s3-sync/backups/last.json"
SEEN = (
    "import boto3, json\n"
    "c = boto3.client('s3', endpoint_url='http://127.0.0.1:8333', region_name='eu-central-1')\n"
    "print(json.dumps({o['Key']: c.get_object(Bucket='bkt', Key=o['Key'])['Body'].read().decode()\n"
    "                  for o in c.list_objects_v2(Bucket='bkt').get('Contents', [])}))"
)


@pytest.fixture
def host(server):
    server_host = server("s3-sync")
    # systemd counts how often a unit was started within ten seconds, and the tests are quicker than any timer
    server_host.run(f"systemctl reset-failed {NAME}.service")
    return server_host


def bucket(host) -> dict[str, str]:
    return json.loads(host.check_output("python3 -c %s", SEEN))


def last(host) -> dict:
    return json.loads(host.file(LAST).content_string)


def test_the_files_are_there(host):
    objects = bucket(host)
    assert objects["www/index.html"] == "/srv/files/index.html\n"
    assert objects["www/a.txt"] == "/srv/files/a.txt\n"


def test_the_timer_runs_and_is_enabled(host):
    assert host.service(f"{NAME}.timer").is_running
    assert host.service(f"{NAME}.timer").is_enabled
    assert f"{NAME}.timer" in host.check_output("systemctl list-timers --all")


def test_a_run_by_the_host_itself(host):
    host.check_output(f"systemctl start {NAME}.service")
    objects = bucket(host)
    assert objects["hosts/one/backups/db.sql"] == "/var/backups/db.sql\n"
    assert "hosts/one/backups/db.part" not in objects
    record = last(host)
    assert record["ok"]
    assert record["succeeded"] == record["ended"]
    assert (
        'samefiles_s3_sync_ok{sync="backups"} 1'
        in host.file("/var/lib/samefiles-s3-sync/backups/s3_sync.prom").content_string
    )
    assert "hosts/one/backups/" in host.check_output(f"journalctl --unit {NAME}.service --output cat --no-pager")


def test_a_failure_is_visible_and_deletes_nothing(host):
    host.check_output(f"systemctl start {NAME}.service")
    before = bucket(host)
    host.check_output("mv /var/backups /var/away")
    try:
        assert host.run(f"systemctl start {NAME}.service").rc != 0
        assert host.check_output(f"systemctl is-failed {NAME}.service") == "failed"
        record = last(host)
        assert not record["ok"]
        assert "file_root '/var/backups' is not there: nothing was changed" in record["msg"]
        assert record["succeeded"] < record["began"]
        assert (
            'samefiles_s3_sync_ok{sync="backups"} 0'
            in host.file("/var/lib/samefiles-s3-sync/backups/s3_sync.prom").content_string
        )
        assert bucket(host) == before
    finally:
        host.check_output("mv /var/away /var/backups")
    host.check_output(f"systemctl start {NAME}.service")
    assert last(host)["ok"]


def test_a_run_that_is_killed_is_a_failure(host):
    host.check_output(f"systemctl start {NAME}.service")
    assert last(host)["ok"]
    # a pipe instead of the configuration: the program waits for it, and cannot say how it went
    conf = "/etc/samefiles/s3_sync/backups.json"
    host.check_output(f"mv {conf} /root/kept.json && mkfifo {conf}")
    try:
        host.check_output(f"systemctl start --no-block {NAME}.service && sleep 2")
        assert last(host)["running"]
        host.check_output(f"systemctl kill --signal KILL {NAME}.service && sleep 2")
        record = last(host)
        assert not record["ok"]
        assert "the run was ended before it could say how it went (signal killed KILL)" in record["msg"]
        prom = host.file("/var/lib/samefiles-s3-sync/backups/s3_sync.prom").content_string
        assert 'samefiles_s3_sync_ok{sync="backups"} 0' in prom
        assert host.check_output(f"systemctl is-failed {NAME}.service") == "failed"
    finally:
        host.check_output(f"rm {conf} && mv /root/kept.json {conf}")
    host.check_output(f"systemctl start {NAME}.service")
    assert last(host)["ok"]


def test_two_runs_do_not_overlap(host):
    code = (
        "import fcntl, subprocess, sys; f = open('/var/lib/samefiles-s3-sync/backups/lock', 'w'); fcntl.flock(f, 2); "
        "sys.exit(subprocess.run(['python3', '/usr/local/lib/samefiles/s3_sync.py', 'backups']).returncode)"
    )
    done = host.run("python3 -c %s", code)
    assert done.rc == 75
    assert "another run of backups is under way: nothing done" in done.stderr


def test_a_restore_drill(host):
    host.check_output(f"systemctl start {NAME}.service")
    conf = json.loads(host.file("/etc/samefiles/s3_sync/backups.json").content_string)
    conf.update(mode="pull", file_root="/var/drill", cache="none")
    host.check_output(
        "mkdir -p /var/lib/samefiles-s3-sync/drill && printf %s %s > /etc/samefiles/s3_sync/drill.json",
        "%s",
        json.dumps(conf),
    )
    host.check_output("python3 /usr/local/lib/samefiles/s3_sync.py drill")
    assert host.check_output("diff -r --exclude db.part /var/backups /var/drill && echo same").endswith("same")
    host.check_output("rm -r /var/drill /etc/samefiles/s3_sync/drill.json /var/lib/samefiles-s3-sync/drill")


def test_no_key_is_on_the_disk(host):
    done = host.run("grep -rlF secret-of-the-double /etc /usr/local /var /tmp /srv /run --exclude-dir=journal")
    assert done.stdout == ""
