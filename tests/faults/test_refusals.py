"""What site.yml must refuse with a sentence, and not touch."""

from __future__ import annotations

import pytest


def stage_message(fleet, host: str) -> str:
    """What site.yml says about a host when it stops."""
    play = fleet.play("site.yml", check=False)
    assert play.code != 0
    result = play.results("Mount the file systems")[host]
    assert result["failed"]
    assert result["msg"].count("mounts[0]") == 1, result["msg"]
    return result["msg"]


@pytest.fixture
def unmounted(fleet, web):
    """The server without its mount; what the test put there is removed."""
    web.unmount()
    before = web.run("cat /etc/fstab")
    yield web
    assert web.run("cat /etc/fstab") == before
    web.run("while mountpoint -q /srv/files; do umount /srv/files; done", check=False)
    web.run("chattr -i /srv/files; rm -rf /srv/files/*")


def test_a_tmpfs_is_not_ours(fleet, unmounted):
    unmounted.run("mount -t tmpfs mine /srv/files && echo keep > /srv/files/a")
    said = stage_message(fleet, unmounted.name)
    assert "/srv/files already holds a mount that is not ours (it is tmpfs from mine)" in said
    assert "unmount it, or set replace: true" in said
    assert unmounted.run("cat /srv/files/a") == "keep"


def test_another_file_system_is_not_ours(fleet, unmounted):
    name = f"{fleet.second}.efs.eu-central-1.amazonaws.com"
    unmounted.run(f"mount -t nfs4 -o nfsvers=4.1 {name}:/ /srv/files")
    said = stage_message(fleet, unmounted.name)
    assert f"it is NFS from {name}:/" in said
    assert name in unmounted.mount()


def test_files_under_the_mountpoint_are_listed_and_stay(fleet, unmounted):
    unmounted.run("chattr -i /srv/files && echo a > /srv/files/one.jpg && echo b > /srv/files/two.jpg")
    said = stage_message(fleet, unmounted.name)
    assert "holds files that the mount would hide (one.jpg, two.jpg): move them away, nothing was touched" in said
    assert unmounted.run("cat /srv/files/one.jpg /srv/files/two.jpg") == "a\nb"
    assert unmounted.mount() == ""


def test_the_guard_keeps_even_root_out(fleet, unmounted):
    assert unmounted.code("touch /srv/files/x") != 0
    assert unmounted.run("stat -c %u:%g:%a /srv/files") == "0:0:0"
    assert unmounted.run("lsattr -d /srv/files").split()[0].count("i") == 1
