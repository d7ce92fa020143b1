# Copyright: samefiles.aws contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The converged site, seen from outside: the kernel's own tables, sockets, files on the servers, never our parser."""

from __future__ import annotations

import pytest

from tests.support.fleet import Fleet, wait
from tests.support.visitors import ask, upload


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    """The lab that molecule made."""
    return Fleet("test")


def test_every_server_has_the_mount_over_tls(fleet):
    assert len(fleet.servers) == 2
    for server in fleet.servers:
        row = server.mount()
        assert " nfs4 127.0.0.1:/ " in row
        assert {"vers=4.1", "hard", "noresvport"} <= set(row.rsplit(" ", 1)[1].split(","))
        connections = server.run("ss -Htnp state established dport = :2049").splitlines()
        assert ["stunnel" in line for line in connections] == [True]


def test_what_one_writes_the_other_reads(fleet):
    first, second = fleet.servers
    first.run("head -c 1000000 /dev/urandom > /srv/files/sample")
    assert first.run("sha256sum /srv/files/sample") == second.run("sha256sum /srv/files/sample")
    second.run("rm /srv/files/sample")
    assert first.code("cat /srv/files/sample") != 0


def test_files_belong_to_their_owner_and_the_proof_left_nothing(fleet):
    for server in fleet.servers:
        assert server.run("stat -c %u:%g:%a /srv/files") == "5000:5000:750"
        assert server.run("ls -A /srv/files") == "gallery"


def test_the_site_serves_what_any_server_took(fleet):
    first, second = (host["http"] for host in fleet.status["hosts"])
    stored = upload(first, "sample.txt", [b"one file, every server"], 22)
    for url in (first, second, fleet.status["site_url"]):
        assert ask(url, f"/files/{stored['key']}")[1] == b"one file, every server"
    assert ask(second, f"/files/{stored['key']}", "DELETE")[0] == 204
    assert ask(first, f"/files/{stored['key']}")[0] == 404
    assert [ask(url, "/readyz")[0] for url in (first, second)] == [200, 200]


def test_one_line_of_fstab_and_enabled_units(fleet):
    for server in fleet.servers:
        assert server.run("grep -c x-samefiles.aws= /etc/fstab") == "1"
        assert server.run("grep -c /dev/ubda /etc/fstab") == "1"
        units = server.run(f"systemctl is-enabled samefiles-mount-srv-files samefiles-tunnel-{fleet.file_system}")
        assert set(units.split()) == {"enabled"}
        assert server.run("findmnt --verify --fstab 2>&1 | tail -1", check=False).startswith("Success")


def test_check_mode_finds_nothing_left_to_do(fleet):
    assert fleet.play("site.yml", "--check", "--diff").changes() == []


def test_the_mount_comes_back_after_a_reboot(fleet):
    server = fleet.servers[0]
    before = server.run("cat /proc/sys/kernel/random/boot_id")
    server.run("systemctl reboot", check=False)
    wait(
        lambda: (
            server.responds() and server.run("cat /proc/sys/kernel/random/boot_id", check=False) not in ("", before)
        ),
        180,
        "a new boot",
    )
    wait(lambda: " nfs4 " in server.mount() and server.code("timeout 10 stat -f /srv/files") == 0, 120, "the mount")


def test_two_breaks_are_found_named_and_repaired(fleet):
    first, second = fleet.servers
    first.unmount()
    second.run("sed -i /x-samefiles/d /etc/fstab")
    second.run(f"systemctl disable --no-reload samefiles-tunnel-{fleet.file_system}.service")
    verify = fleet.play("playbooks/verify.yml", check=False)
    assert verify.code != 0
    said = verify.said()
    assert f"{first.name}: nothing is mounted at /srv/files" in said
    assert f"{second.name}: /etc/fstab is not what it should be" in said
    assert f"{second.name}: samefiles-tunnel-{fleet.file_system}.service is not enabled" in said
    assert fleet.play("site.yml").code == 0
    assert fleet.play("site.yml").changes() == []
