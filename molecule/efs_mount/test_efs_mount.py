# Copyright: samefiles.aws contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where nothing can be mounted: check mode on a bare host, failures that are rolled back, and false successes of mount.efs."""

from __future__ import annotations

import json

import pytest

BARE, CLIENT, DOUBLE = (f"samefiles-molecule-mount-{name}" for name in ("bare", "client", "double"))
STATE = (
    "cat /etc/fstab; cut -d' ' -f4- /proc/self/mountinfo; find /etc/systemd/system /etc/samefiles /srv -printf '%p %l %m %U\\n' | sort;"
    " ls /run/efs; pgrep -a stunnel"
)


def state(host) -> str:
    return host.run(STATE).stdout


def test_what_a_former_mount_left_is_gone(server):
    host = server("mount-leftover")
    assert host.file("/etc/fstab").content_string == "# kept: the first line\ntmpfs\t/mnt/kept\ttmpfs\tnoauto\t0 0\n"
    assert (host.file("/srv/gone").mode, host.run("ls -A /srv/gone").stdout) == (0o755, "")
    assert host.run("ls /etc/samefiles /etc/systemd/system | grep samefiles- ").rc == 1
    assert host.run("pgrep -x sleep").rc == 1
    assert host.run("ls /etc/systemd/system/multi-user.target.wants | grep samefiles").rc == 1


@pytest.mark.parametrize(
    ("transport", "words"),
    [
        ("stunnel", ["write /etc/samefiles/", "start samefiles-tunnel-", "over stunnel", "set the read-ahead"]),
        ("plain", ["over plain", "set the read-ahead"]),
        ("efs-utils", ["over efs-utils"]),
    ],
)
def test_check_mode_reports_everything_on_a_bare_host(converge, server, transport, words):
    host = server("mount-bare")
    before = state(host)
    outcome = converge("--check", "--diff", f"--extra-vars=efs_mount_transport={transport}", hosts=BARE)[BARE]
    assert outcome.failure == ""
    actions = "\n".join(outcome.result["actions"])
    assert all(word in actions for word in [*words, "change the lines of /etc/fstab", "make the mountpoint /srv/files"])
    assert [entry["before_header"] for entry in outcome.result["diff"]][-1] == "mounts"
    assert state(host) == before


def test_without_its_client_a_mount_is_refused(converge, server):
    host = server("mount-bare")
    before = state(host)
    failure = converge(hosts=BARE)[BARE].failure
    assert failure.endswith("which transport stunnel needs, is not installed: apply the role efs_client first")
    assert state(host) == before


@pytest.mark.parametrize("transport", ["stunnel", "plain"])
def test_a_failed_mount_rolls_everything_back(converge, server, transport):
    host = server("mount-client")
    kernel = server("mount-client").run("grep -qw nfs4 /proc/filesystems")
    if kernel.rc == 0:
        pytest.skip("this machine's kernel has NFS: in its containers the mount fails in another way, or not at all")
    before = state(host)
    failure = converge(f"--extra-vars=efs_mount_transport={transport}", hosts=CLIENT)[CLIENT].failure
    assert "mounts[0]: mounting fs-" in failure
    assert "at /srv/files failed, mount said: mount.nfs4: " in failure
    assert state(host) == before


def lie(host, **settings) -> None:
    host.run("mkdir -p /etc/amazon/efs /srv-of-another")
    host.run("printf %s '" + json.dumps(settings) + "' > /etc/amazon/efs/double.json")


def test_a_code_of_0_without_a_mount_is_no_success(converge, server):
    host = server("mount-double")
    lie(host, lie="nothing")
    before = state(host)
    failure = converge(hosts=DOUBLE)[DOUBLE].failure
    assert failure.startswith("mounts[0]: mount ended with code 0, but nothing is mounted at /srv/files")
    assert state(host) == before


def test_a_code_of_0_with_something_else_is_no_success(converge, server):
    host = server("mount-double")
    lie(host, bind="/srv-of-another")
    before = state(host)
    failure = converge(hosts=DOUBLE)[DOUBLE].failure
    assert "/srv/files" in failure
    assert "is not fs-" in failure or "not ours" in failure
    assert state(host) == before


def test_a_wrong_ca_is_found_before_anything_is_changed(converge, server):
    host = server("mount-client")
    before = state(host)
    mount = {"file_system": "{{ lab_file_system }}", "path": "/srv/files", "ca_file": "/etc/ssl/certs/ISRG_Root_X1.pem"}
    failure = converge("--extra-vars", json.dumps({"efs_mount_mounts": [mount]}), hosts=CLIENT)[CLIENT].failure
    assert "the certificate of fs-" in failure
    assert "is refused" in failure
    assert state(host) == before


@pytest.mark.parametrize("check", [[], ["--check"]])
def test_bad_input_is_one_sentence_in_both_modes(converge, server, check):
    mount = {"file_system": "fs-0123456789abcdef0", "path": "data"}
    outcome = converge("--extra-vars", json.dumps({"efs_mount_mounts": [mount]}), *check, hosts=CLIENT)[CLIENT]
    assert outcome.failure == "mounts[0].path must be absolute, got 'data'"
