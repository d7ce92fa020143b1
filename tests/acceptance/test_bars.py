"""What the mounts and the plays must show, measured from outside."""

from __future__ import annotations

import pytest

from tests.support.fleet import sh, wait

NAMES = "fs-[0-9a-f]*.efs.eu-central-1.amazonaws.com"


def test_the_kernel_shows_the_recommended_options(fleet):
    for server in fleet.servers:
        row = server.mount()
        options = set(row.rsplit(" ", 1)[1].split(","))
        assert " nfs4 " in row
        assert {"vers=4.1", "hard", "noresvport"} <= options


def capture(fleet, server, seconds: int = 6) -> bytes:
    """What passes between a server and the file system while the server writes and reads a file."""
    sh(["docker", "exec", "-d", fleet.storage, "timeout", str(seconds), "tcpdump", "-i", "eth0", "-s0", "-U", "-w",
        "/tmp/capture", f"host {server.address} and port 2049"])  # fmt: skip
    import time

    time.sleep(1)
    server.run("echo the-plain-words > /srv/files/words && sync && cat /srv/files/words && rm /srv/files/words")
    time.sleep(seconds)
    import subprocess

    return subprocess.run(
        ["docker", "exec", fleet.storage, "cat", "/tmp/capture"], capture_output=True, check=True
    ).stdout


def test_stunnel_hides_what_plain_shows(lab, figure):
    """With TRANSPORT=stunnel only the tunnel reaches port 2049, and nothing readable passes; with plain it does."""
    fleet = lab
    server = fleet.servers[0]
    fleet.play("site.yml")
    pids = server.run('ss -Htnp state established dport = :2049 | grep -o "stunnel\\|pid=[0-9]*" | sort -u')
    assert "stunnel" in pids
    rows = server.run("ss -Htn state established dport = :2049").splitlines()
    assert len(rows) == 1
    secret = capture(fleet, server)
    assert len(secret) > 1000
    assert b"the-plain-words" not in secret
    try:
        fleet.lab("up", "--transport", "plain")
        fleet.play("site.yml")
        assert "addr=10.77." in server.mount()
        plain = capture(fleet, server)
        assert b"the-plain-words" in plain
    finally:
        fleet.lab("up", "--transport", "stunnel")
        fleet.play("site.yml")
    figure(f"{len(secret)} bytes captured over stunnel without the words, {len(plain)} over plain with them")


def lag(fleet, name: str, path: str) -> float:
    """How long the second server goes on missing a name that it asked for before the first one made it."""
    first, second = fleet.servers
    assert second.code(f"test -e {path}/{name}") == 1
    first.run(f"echo here > {path}/{name}")
    # one SSH session, so that its own time does not count
    said = second.run(
        f"begin=$(date +%s%N); until cat {path}/{name} 2>/dev/null; do sleep 0.05; done; echo $(( ($(date +%s%N) - begin) / 1000000 ))",
        timeout=90,
    )
    first.run(f"rm {path}/{name}")
    return int(said.splitlines()[-1]) / 1000


def test_a_name_asked_for_too_early(fleet, figure):
    ours = max(lag(fleet, f"early-{number}", "/srv/files") for number in range(3))
    first, second = fleet.servers
    target = f"{fleet.file_system}.efs.eu-central-1.amazonaws.com"
    second.run("mkdir -p /mnt/stock")
    port = second.mount().partition("port=")[2].partition(",")[0]
    second.run(f"mount -t nfs4 -o nfsvers=4.1,hard,noresvport,nosharecache,port={port} 127.0.0.1:/ /mnt/stock")
    try:
        assert second.code("test -e /mnt/stock/stock") == 1
        first.run("echo here > /srv/files/stock")
        said = second.run(
            "begin=$(date +%s%N); until cat /mnt/stock/stock 2>/dev/null; do sleep 0.2; done; "
            "echo $(( ($(date +%s%N) - begin) / 1000000 ))",
            timeout=120,
        )
        stock = int(said.splitlines()[-1]) / 1000
    finally:
        second.run("umount /mnt/stock; rmdir /mnt/stock")
        first.run("rm -f /srv/files/stock")
    figure(f"{ours:.2f} s with our options (bar: 1 s), {stock:.1f} s with stock options ({target.partition('.')[0]})")
    assert ours < 1
    assert 1 < stock < 45


def test_a_second_run_changes_nothing_and_is_short(fleet, figure):
    before = {server.name: server.modules_run() for server in fleet.servers}
    play = fleet.play("playbooks/site.yml", "--skip-tags", "proof")
    assert set(play.changed().values()) == {0}
    counts = {server.name: server.modules_run() - before[server.name] for server in fleet.servers}
    figure(f"{counts} modules on each host (bar: 6) in {play.seconds:.0f} s")
    assert max(counts.values()) <= 6
    assert min(counts.values()) >= 2


def test_check_before_the_first_converge_shows_what_it_does(fleet, web, figure):
    """The plan of check mode on a host without our mount is the list of what the real run then does."""
    web.unmount()
    web.run(
        f"systemctl disable --now samefiles-tunnel-{fleet.file_system} samefiles-mount-srv-files; "
        "sed -i /x-samefiles/d /etc/fstab; chattr -i /srv/files; rmdir /srv/files; "
        "rm -r /etc/samefiles /etc/systemd/system/samefiles-*; systemctl daemon-reload"
    )
    state = "cat /etc/fstab /proc/self/mountinfo; ls -lR /etc/systemd/system /etc/samefiles /srv; systemctl list-units --all --plain --type=service,mount,timer"
    before = web.run(state, check=False)
    check = fleet.play("site.yml", "--check", "--diff")
    planned = check.results("Mount the file systems")[web.name]
    assert web.run(state, check=False) == before
    real = fleet.play("site.yml").results("Mount the file systems")[web.name]
    figure(f"{len(planned['actions'])} actions, the same in check mode and for real")
    assert planned["actions"] == real["actions"] != []
    headers = [entry["before_header"] for entry in planned["diff"]]
    assert [entry["after"] for entry in planned["diff"]] == [entry["after"] for entry in real["diff"]]
    assert {"/etc/fstab", f"/etc/samefiles/{fleet.file_system}.conf"} <= set(headers)


@pytest.mark.parametrize("change", [{"options": ["timeo=300"]}])
def test_a_change_that_interrupts_waits_for_the_switch(fleet, web, change, figure):
    mount = {"file_system": fleet.file_system, "path": "/srv/files", **change}
    arguments = {"region": "eu-central-1", "mounts": [mount], "apply": "safe"}
    before = web.run("cat /etc/fstab; cat /proc/self/mountinfo")
    result = fleet.module(web.name, "samefiles.aws.efs_mount", arguments)
    assert (result["changed"], result["actions"]) == (False, [])
    assert result["pending"] == [
        f"mount {fleet.file_system} at /srv/files again: its options differ: timeo=300 (is 600)"
    ]
    assert web.run("cat /etc/fstab; cat /proc/self/mountinfo") == before
    arguments["apply"] = "all"
    assert fleet.module(web.name, "samefiles.aws.efs_mount", arguments)["changed"]
    assert "timeo=300" in web.mount()


def test_the_switch_takes_one_batch_at_a_time(fleet, figure):
    play = fleet.play("site.yml", "-e", '{"efs_mount_transport": "plain"}')
    switched = [item for item in play.report["plays"] if item["play"]["name"].startswith("Switch")]
    assert len(switched) == len(fleet.servers)
    assert all(count >= 1 for host, count in play.changed().items() if host.startswith("web"))
    fleet.play("site.yml")
    wait(lambda: "127.0.0.1:/" in fleet.servers[0].mount(), 10, "stunnel again")
    figure(f"{len(switched)} batches of one server")
