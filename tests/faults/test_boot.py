"""Reboots, power cuts, and a boot without the file system: the mount comes back automatically, and nothing waits for it."""

from __future__ import annotations

import pytest

from tests.support.fleet import sh, wait


def mounted(server) -> bool:
    """Whether the mount answers there."""
    return server.responds() and " nfs4 " in server.mount() and server.code("timeout 10 stat -f /srv/files") == 0


def boot_id(server) -> str:
    return server.run("cat /proc/sys/kernel/random/boot_id", check=False)


def test_a_reboot(fleet, web, figure):
    before = boot_id(web)
    web.run("systemctl reboot", check=False)
    wait(lambda: web.responds() and boot_id(web) not in ("", before), 180, "a new boot")
    seconds = wait(lambda: mounted(web), 120, "the mount")
    figure(f"mounted {seconds:.0f} s after SSH")
    assert web.run("cat /sys/class/bdi/$(mountpoint -d /srv/files)/read_ahead_kb") == "15360"
    assert set(fleet.play("site.yml").changed().values()) == {0}


def test_a_power_cut(fleet, web, figure):
    sh(["docker", "kill", web.container])
    sh(["docker", "start", web.container])
    seconds = wait(lambda: mounted(web), 240, "the mount")
    figure(f"mounted {seconds:.0f} s after the server was started again")
    assert set(fleet.play("site.yml").changed().values()) == {0}


@pytest.fixture
def without_storage(fleet):
    """The lab with its main file system stopped."""
    sh(["docker", "stop", "--time", "3", fleet.storage])
    yield fleet
    sh(["docker", "start", fleet.storage], check=False)


def test_a_boot_without_the_file_system(without_storage, web, figure):
    sh(["docker", "kill", web.container])
    sh(["docker", "start", web.container])
    seconds = web.wait_for_ssh(120)
    figure(f"SSH after {seconds:.0f} s without the file system (bar: 120 s)")
    assert web.mount() == ""
    assert web.code("touch /srv/files/x") != 0
    assert web.run("ls -A /srv/files", check=False) == ""
    wait(lambda: web.run("systemctl is-active multi-user.target", check=False) == "active", 60, "multi-user.target")
    # long enough that the first attempts have failed
    wait(
        lambda: (
            "failed" in web.run("systemctl show -P Result srv-files.mount", check=False)
            or web.run("systemctl show -P NRestarts samefiles-mount-srv-files.service", check=False) not in ("", "0")
        ),
        120,
        "a failed attempt",
    )
    sh(["docker", "start", without_storage.storage])
    back = wait(lambda: mounted(web), 300, "the mount after the file system came back")
    figure(f"mounted {back:.0f} s after the file system came back (bar: 300 s)")
    wait(
        lambda: web.run("cat /sys/class/bdi/$(mountpoint -d /srv/files)/read_ahead_kb") == "15360", 30, "the read-ahead"
    )
    assert set(without_storage.play("site.yml").changed().values()) == {0}
