"""transport: efs-utils, with a double of mount.efs that really mounts, and that can lie as the real one does."""

from __future__ import annotations

import json

import pytest

from tests.support import ROOT
from tests.support.fleet import sh, wait

MODULE = "samefiles.aws.efs_mount"
UPLOADS = {"name": "uploads", "path": "/uploads", "uid": 6001, "gid": 6001, "mode": "0750"}


@pytest.fixture(scope="module")
def fleet(lab, tmp_path_factory):
    """The lab with the double installed as a package, and an access point on the second file system."""
    package = tmp_path_factory.mktemp("double") / "amazon-efs-utils.deb"
    sh([str(ROOT / "tests/support/efs_utils/build"), str(package)])
    lab.lab("file-system", "second", "--access-point", json.dumps(UPLOADS))
    lab.lab("up", "--transport", "efs-utils", "--efs-utils-package", str(package))
    lab.play("site.yml")
    attempt(lab, lab.servers[1], state="absent", replace=True)  # what another run may have left
    yield lab
    lab.lab("up", "--transport", "stunnel")
    lab.play("site.yml")


@pytest.fixture
def access_point(fleet) -> str:
    """The id of the access point."""
    return fleet.config("second")["access_points"][0]["id"]


def attempt(fleet, web, **mount) -> dict:
    """Mount the second file system at /srv/second beside the site's own."""
    mounts = [
        {"file_system": fleet.file_system, "path": "/srv/files"},
        {"file_system": fleet.second, "path": "/srv/second", **mount},
    ]
    return fleet.module(web.name, MODULE, {"region": "eu-central-1", "transport": "efs-utils", "mounts": mounts})


def mounts(fleet, web, **mount) -> bool:
    """Whether the attempt changed something; a failure shows its message."""
    result = attempt(fleet, web, **mount)
    log = sh(["docker", "logs", "--tail", "40", f"samefiles-{fleet.name}-efs-second"], check=False)
    assert not result.get("failed"), (
        result["msg"] + log.stdout + log.stderr + web.run("tail -n 20 /run/efs/*+/log; ss -tlnp", check=False)
    )
    return result["changed"]


@pytest.fixture(autouse=True)
def clean(fleet, web):
    """Without lies before each test, without the second mount after it."""
    web.run("rm -f /etc/amazon/efs/double.json")
    yield
    web.run("rm -f /etc/amazon/efs/double.json")
    attempt(fleet, web, state="absent", replace=True)


def lie(web, **settings) -> None:
    web.run("mkdir -p /etc/amazon/efs")
    text = json.dumps(settings).replace('"', '\\"')
    web.run(f'echo "{text}" > /etc/amazon/efs/double.json')


def test_the_site_runs_on_it_and_is_proved(fleet):
    for server in fleet.servers:
        assert " nfs4 127.0.0.1:/ " in server.mount()
        assert fleet.file_system in server.run("ls /run/efs")
        assert server.run("systemctl is-enabled amazon-efs-mount-watchdog") == "enabled"
    assert set(fleet.play("site.yml").changed().values()) == {0}


def test_an_access_point_makes_everyone_its_user(fleet, web, access_point):
    assert mounts(fleet, web, access_point=access_point, iam=True)
    web.run("echo mine > /srv/second/by-root")
    assert web.run("stat -c %u:%g /srv/second/by-root") == "6001:6001"
    assert web.run(f'grep -c "accesspoint={access_point}" /etc/fstab') == "1"
    again = attempt(fleet, web, access_point=access_point, iam=True)
    assert (again["changed"], again["actions"]) == (False, [])
    # the same file system without its access point is another mount
    assert mounts(fleet, web)
    assert web.run("ls /srv/second/uploads") == "by-root"


def test_an_unknown_access_point_is_denied_in_words(fleet, web):
    result = attempt(fleet, web, access_point="fsap-00000000000000000")
    assert result["failed"]
    assert "refuses this client (access denied)" in result["msg"]
    assert "whether the access point exists" in result["msg"]
    assert web.code("grep -q /srv/second /etc/fstab") == 1


def test_a_code_of_0_without_a_mount(fleet, web):
    lie(web, lie="nothing")
    before = web.code("test -e /srv/second")  # an absent mount leaves its empty directory
    result = attempt(fleet, web)
    assert result["failed"]
    assert "mount ended with code 0, but nothing is mounted at /srv/second" in result["msg"]
    assert web.code("test -e /srv/second") == before


def test_already_mounted_is_not_believed_when_it_is_another_file_system(fleet, web):
    web.run("mkdir -p /srv/second")
    web.run(f"mount -t efs -o tls,region=eu-central-1 {fleet.file_system}:/ /srv/second")
    result = attempt(fleet, web)
    assert result["failed"]
    assert (
        f"/srv/second already holds a mount that is not ours (it is {fleet.file_system} over efs-utils)"
        in result["msg"]
    )


def test_options_change_for_real_although_remount_does_nothing(fleet, web):
    assert mounts(fleet, web)
    assert web.run("mount -t efs -o remount,ro,tls,region=eu-central-1 x:/ /srv/second; echo $?").endswith("0")
    assert " rw," in web.mount("/srv/second")
    assert mounts(fleet, web, options=["ro"])
    assert " ro," in web.mount("/srv/second")
    assert web.code("touch /srv/second/x") != 0


def test_the_real_client_s_option_errors_are_explained(fleet, web):
    said = web.run(f"mount -t efs -o iam {fleet.second}:/ /mnt", check=False)
    assert 'The "tls" option is required when mounting via "iam"' in said


def test_a_dead_proxy_comes_back_by_the_watchdog(fleet, web, figure):
    pid = web.run(
        "ss -Htlnp | grep -o 'pid=[0-9]*' | cut -d= -f2 | sort -u | while read p; do grep -lq efs /proc/$p/cmdline && echo $p; done | head -1".replace(
            "'", '"'
        )
    )
    web.run(f"kill -9 {pid}")
    seconds = wait(
        lambda: web.code("timeout 5 stat -f /srv/files") == 0 and web.code(f"test -e /proc/{pid}") != 0, 60, "the mount"
    )
    figure(f"the mount answers {seconds:.1f} s after its proxy was killed (bar: 30 s)")
    assert seconds < 30
    wait(lambda: fleet.play("site.yml", check=False).code == 0, 60, "site.yml")


def test_a_reboot_mounts_it_again(fleet, web):
    before = web.run("cat /proc/sys/kernel/random/boot_id")
    web.run("systemctl reboot", check=False)
    wait(
        lambda: web.responds() and web.run("cat /proc/sys/kernel/random/boot_id", check=False) not in ("", before),
        180,
        "boot",
    )
    wait(lambda: " nfs4 " in web.mount() and web.code("timeout 10 stat -f /srv/files") == 0, 180, "the mount")
    assert set(fleet.play("site.yml").changed().values()) == {0}
