"""The text of the files that efs_mount owns, beside what test_efs_mount_plan.py says of when they are written."""

from __future__ import annotations

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._efs_mount import tables, units
from hypothesis import given
from hypothesis import strategies as st

from tests.support.efs_host import AP, FS, want

PATH = "/srv/files"


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        # what `systemd-escape --path` prints on Debian 12
        ("/srv/files", "srv-files"),
        ("/srv/my files", r"srv-my\x20files"),
        ("/srv/a-b", r"srv-a\x2db"),
        ("/srv/.hidden", "srv-.hidden"),
        ("/.hidden/x", r"\x2ehidden-x"),
        ("/srv/ä", r"srv-\xc3\xa4"),
        ("/srv/a:b_c.d", "srv-a:b_c.d"),
        ("/srv/50%", r"srv-50\x25"),
    ],
)
def test_unit_names(path, unit):
    assert units.mount_unit_name(path) == f"samefiles-mount-{unit}.service"


@pytest.mark.parametrize(
    ("path", "command", "description"),
    [
        (PATH, '"/srv/files"', "/srv/files,"),
        ("/srv/my files", '"/srv/my files"', "/srv/my files,"),
        ("/srv/50%", '"/srv/50%%"', "/srv/50%%,"),
        ("/srv/$HOME", '"/srv/$$HOME"', "/srv/$HOME,"),
        ('/srv/a"b\\c', r'"/srv/a\"b\\c"', r'/srv/a"b\c,'),
    ],
)
def test_a_path_in_a_unit_is_only_a_path(path, command, description):
    text = units.mount_unit(want({"path": path})[0])
    assert f"ExecStart=/usr/bin/systemctl start {command}\n" in text
    assert f" at {description} " in text


@given(st.text(st.characters(min_codepoint=32, exclude_characters="/\x7f", exclude_categories=["Cs"]), min_size=1))
def test_any_name_of_a_folder_survives_fstab(name):
    if name in (".", ".."):
        return
    item = want({"path": f"/srv/{name}"})[0]
    line = units.fstab_line(item, 21100)
    entries = tables.fstab_entries(f"{line}\n")
    assert [entry.path for entry in entries] == [f"/srv/{name}"]
    assert entries[0].option(units.MARK) == FS


@pytest.mark.parametrize(
    ("mount", "transport", "source", "there"),
    [
        ({}, "stunnel", "127.0.0.1:/", f"port=21100,x-systemd.after=samefiles-tunnel-{FS}.service"),
        ({}, "plain", f"{FS}.efs.eu-central-1.amazonaws.com:/", "hard,"),
        ({"mount_target": "10.0.0.10"}, "plain", "10.0.0.10:/", "hard,"),
        ({"mount_target": "fd00::10"}, "plain", "[fd00::10]:/", "hard,"),
        ({"directory": "/a b"}, "plain", f"{FS}.efs.eu-central-1.amazonaws.com:/a\\040b", "hard,"),
        ({}, "efs-utils", f"{FS}:/", "tls,region=eu-central-1,"),
        ({"iam": True, "access_point": AP}, "efs-utils", f"{FS}:/", f"tls,region=eu-central-1,iam,accesspoint={AP},"),
        ({"mount_target": "10.0.0.10"}, "efs-utils", f"{FS}:/", "mounttargetip=10.0.0.10,"),
    ],
)
def test_lines(mount, transport, source, there):
    fields = units.fstab_line(want(mount, transport=transport)[0], 21100).split()
    assert fields[0] == source
    assert there in fields[3]
    assert fields[3].endswith(f"_netdev,nofail,{units.MARK}={FS}") or "_netdev" in fields[3]
    assert fields[4:] == ["0", "0"]


def test_a_tunnel_checks_chain_and_name():
    item = want({"mount_target": "10.0.0.10"})[0]
    conf = units.tunnel_conf(item, 21100, "/ca.pem")
    for line in (
        "accept = 127.0.0.1:21100",
        "connect = 10.0.0.10:2049",
        f"sni = {item.dns_name}",
        f"checkHost = {item.dns_name}",
        "verifyChain = yes",
        "CAfile = /ca.pem",
        "sslVersionMin = TLSv1.2",
    ):
        assert f"\n{line}\n" in conf
    assert units.conf_port(conf) == 21100


@pytest.mark.parametrize(
    "conf", ["", "accept = 127.0.0.1:80\n", "accept = 0.0.0.0:21100\n", "; accept = 127.0.0.1:21100\n"]
)
def test_a_port_that_is_not_ours_is_not_taken_over(conf):
    assert units.conf_port(conf) is None


def test_a_port_is_the_same_on_every_host_unless_it_is_taken():
    port = units.choose_port(FS, set())
    assert units.choose_port(FS, {port + 1}) == port
    assert units.choose_port(FS, {port}) != port
    everything = set(range(units.FIRST_PORT, units.FIRST_PORT + units.PORTS))
    last = next(iter(everything))
    assert units.choose_port(FS, everything - {last}) == last
    with pytest.raises(ValueError, match="are taken"):
        units.choose_port(FS, everything)
