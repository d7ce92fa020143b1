"""A host broken by hand: verify.yml finds it and names it, the next site.yml repairs it, unattended."""

from __future__ import annotations

import pytest

TUNNEL = "samefiles-tunnel-{fs}.service"


def unmount(fleet, web):
    web.unmount()


def edit_line(fleet, web):
    web.run("sed -i s/hard,/soft,/ /etc/fstab; sync")


def remove_line(fleet, web):
    web.run("sed -i /x-samefiles/d /etc/fstab; sync")


def double_line(fleet, web):
    web.run("grep x-samefiles /etc/fstab > /tmp/line; cat /tmp/line >> /etc/fstab; sync")


def stop_tunnel(fleet, web):
    web.run(f"systemctl stop {TUNNEL.format(fs=fleet.file_system)}")


def disable_tunnel(fleet, web):
    web.run(f"systemctl disable {TUNNEL.format(fs=fleet.file_system)}")


def connect_tunnel_elsewhere(fleet, web):
    conf = f"/etc/samefiles/{fleet.file_system}.conf"
    web.run(f"sed -i s/{fleet.file_system}/{fleet.second}/g {conf}")
    web.run(f"systemctl restart {TUNNEL.format(fs=fleet.file_system)}")


BREAKS = [
    (unmount, "nothing is mounted at /srv/files"),
    (edit_line, "/etc/fstab is not what it should be"),
    (remove_line, "/etc/fstab is not what it should be"),
    (double_line, "/etc/fstab is not what it should be"),
    (stop_tunnel, "does not answer|through a tunnel that does not run"),
    (disable_tunnel, "is not enabled, so it would not start at boot"),
    (connect_tunnel_elsewhere, "it is connected to"),
]


@pytest.mark.parametrize(("broken", "sentence"), BREAKS, ids=[case[0].__name__ for case in BREAKS])
def test_break_is_found_and_repaired(fleet, web, broken, sentence):
    broken(fleet, web)
    verify = fleet.play("playbooks/verify.yml", check=False)
    assert verify.code != 0
    problems = verify.results("Fail if the servers do not agree")
    said = "\n".join(str(result.get("msg")) for result in problems.values())
    assert any(
        f"{web.name}: " in line and any(part in line for part in sentence.split("|")) for line in said.splitlines()
    ), said
    assert fleet.servers[0].name + ": " not in said, said

    repaired = fleet.play("site.yml")
    assert repaired.changed()[web.name] >= 1
    assert web.mount().count(" nfs4 127.0.0.1:/ ") == 1
    assert web.run("grep -c x-samefiles /etc/fstab") == "1"
    again = fleet.play("site.yml")
    assert set(again.changed().values()) == {0}
