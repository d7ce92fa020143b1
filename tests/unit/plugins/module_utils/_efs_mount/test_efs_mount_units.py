"""The text of the files that efs_mount owns, beside what test_efs_mount_plan.py says of when they are written."""

from __future__ import annotations

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._efs_mount import mount_unit, tunnel_conf
from ansible_collections.samefiles.aws.plugins.module_utils._efs_mount.fstab import MARK, Fstab, our_line
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
    assert mount_unit.unit_name(path) == f"samefiles-mount-{unit}.service"


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
    text = mount_unit.unit_text(want({"path": path})[0])
    assert f"ExecStart=/usr/bin/systemctl start {command}\n" in text
    assert f" at {description} " in text


@given(st.text(st.characters(min_codepoint=32, exclude_characters="/\x7f", exclude_categories=["Cs"]), min_size=1))
def test_any_name_of_a_folder_survives_fstab(name):
    if name in (".", ".."):
        return
    item = want({"path": f"/srv/{name}"})[0]
    line = our_line(item, 21100)
    entries = Fstab(f"{line.render()}\n").entries
    assert [entry.path for entry in entries] == [f"/srv/{name}"]
    assert entries[0].file_system == FS
    assert (entries[0].source, entries[0].options) == (line.source, line.options)


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
    fields = our_line(want(mount, transport=transport)[0], 21100).render().split()
    assert fields[0] == source
    assert there in fields[3]
    assert fields[3].endswith(f"_netdev,nofail,{MARK}={FS}") or "_netdev" in fields[3]
    assert fields[4:] == ["0", "0"]


def test_a_tunnel_checks_chain_and_name():
    item = want({"mount_target": "10.0.0.10"})[0]
    conf = tunnel_conf.conf_text(item, 21100, "/ca.pem")
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
    assert tunnel_conf.conf_port(conf) == 21100


@pytest.mark.parametrize(
    "conf", ["", "accept = 127.0.0.1:80\n", "accept = 0.0.0.0:21100\n", "; accept = 127.0.0.1:21100\n"]
)
def test_a_port_that_is_not_ours_is_not_taken_over(conf):
    assert tunnel_conf.conf_port(conf) is None


def test_a_port_is_the_same_on_every_host_unless_it_is_taken():
    port = tunnel_conf.choose_port(FS, set())
    assert tunnel_conf.choose_port(FS, {port + 1}) == port
    assert tunnel_conf.choose_port(FS, {port}) != port
    everything = set(range(tunnel_conf.FIRST_PORT, tunnel_conf.FIRST_PORT + tunnel_conf.PORTS))
    last = next(iter(everything))
    assert tunnel_conf.choose_port(FS, everything - {last}) == last
    with pytest.raises(ValueError, match="are taken"):
        tunnel_conf.choose_port(FS, everything)
