"""mountinfo and TCP sockets: captured files in, plain data out."""

from __future__ import annotations

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._efs_mount import tables
from hypothesis import given
from hypothesis import strategies as st

from tests.support.captured import data


@given(st.text(st.characters(exclude_characters="\0\n", exclude_categories=["Cs"])))
def test_escape_is_undone_by_unescape(text):
    assert tables.unescape(tables.escape(text)) == text
    assert not set(tables.escape(text)) & {" ", "\t"}


@pytest.mark.parametrize(
    ("field", "text"),
    [(r"/mnt/a\040b", "/mnt/a b"), (r"\134", "\\"), (r"/\303\251", "/é"), ("/plain", "/plain"), (r"\04", r"\04")],
)
def test_unescape(field, text):
    assert tables.unescape(field) == text


def test_mountinfo_of_the_lab():
    table = tables.mounts(data("mountinfo.lab-stunnel"))
    mount = next(row for row in table if row.path == "/srv/files")
    assert (mount.fstype, mount.source, mount.device, mount.root) == ("nfs4", "127.0.0.1:/", "0:29", "/")
    assert mount.option("vers") == "4.1"
    assert mount.option("port") == "21245"
    assert mount.option("noresvport") == ""


def test_mountinfo_without_optional_fields_and_with_blanks():
    line = r"830 812 0:77 /a /mnt/my\040files rw,relatime - nfs4 fs-1.efs:/x\040y rw,vers=4.1"
    (mount,) = tables.mounts(line + "\n")
    assert (mount.path, mount.source, mount.root) == ("/mnt/my files", "fs-1.efs:/x y", "/a")


def test_mountinfo_of_a_docker_machine_is_read_whole():
    text = data("mountinfo.docker")
    assert len(tables.mounts(text)) == len(text.splitlines())


def test_mountinfo_keeps_the_order_in_which_mounts_were_stacked():
    text = "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:9 / /srv rw - nfs4 h:/ rw\n3 2 0:10 / /srv rw - tmpfs tmpfs rw\n"
    assert [mount.fstype for mount in tables.mounts(text) if mount.path == "/srv"] == ["nfs4", "tmpfs"]


@pytest.mark.parametrize("text", ["", "\n", "1 2 3\n", "no dash here at all but many fields yes\n"])
def test_broken_mountinfo_is_no_mount(text):
    assert tables.mounts(text) == []


def test_sockets_of_the_lab():
    rows = tables.sockets(data("tcp.lab"))
    listening = {(row.local, row.local_port) for row in rows if row.state == "LISTEN"}
    assert listening == {("127.0.0.1", 21245), ("0.0.0.0", 111), ("0.0.0.0", 22)}
    assert [row.remote for row in rows if row.remote_port == 2049] == ["10.77.0.10"]


def test_sockets_of_ipv6():
    row = "0: 0000000000000000FFFF00000A004D0A:1234 0000000000000000FFFF00000A004D0A:0801 01 0:0 0:0 0 0 0 77 1 0\n"
    (mapped,) = tables.sockets(row)
    assert (mapped.local, mapped.remote_port) == ("10.77.0.10", 2049)
    row = "0: B80D0120000000000000000001000000:0801 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 78 1 0\n"
    (plain,) = tables.sockets(row)
    assert (plain.local, plain.remote) == ("2001:db8::1", "::")


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("0::/system.slice/samefiles-tunnel-fs-1.service\n", "samefiles-tunnel-fs-1.service"),
        ("1:name=systemd:/system.slice/x.service\n2:cpu:/docker/abc\n", "x.service"),
        ("0::/system.slice/docker-12.scope/system.slice/x.service\n", "x.service"),
        ("0::/user.slice/user-1000.slice/session-5.scope\n", "session-5.scope"),
        ("0::/\n", ""),
        ("", ""),
        ("12:cpu:/a/b.service\n", ""),
    ],
)
def test_unit_of(cgroup, unit):
    assert tables.unit_of(cgroup) == unit
