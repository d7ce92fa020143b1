"""fstab: captured files in, entries out; other people's lines stay as they are."""

from __future__ import annotations

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._efs_mount import nfs
from ansible_collections.samefiles.aws.plugins.module_utils._efs_mount.fstab import MARK, Fstab, Line, our_line
from hypothesis import given
from hypothesis import strategies as st

from tests.support.captured import data
from tests.support.efs_host import AP, FS, want

OURS = Line("OURS", "/ours", "nfs4", (("hard", None),))
ADDED = Line("ADDED", "/added", "nfs4", (("hard", None),))
PATHS = {
    "debian12": ["/", "/boot/efi"],
    "ubuntu2404": ["/", "/boot", "/boot/efi"],
    "al2023": ["/", "/boot/efi"],
    "rhel9": ["/", "/boot", "/boot/efi"],
    "odd": ["/", "none", "/mnt/with space", "/mnt/nas", "/data"],
    "lab-converged": ["/", "/srv/files"],
}


@pytest.mark.parametrize("name", PATHS)
def test_fstab_paths(name):
    assert [entry.path for entry in Fstab(data(f"fstab.{name}")).entries] == PATHS[name]


def test_fstab_entry_of_ours():
    entry = Fstab(data("fstab.lab-converged")).entries[1]
    assert (entry.number, entry.source, entry.fstype) == (1, "127.0.0.1:/", "nfs4")
    assert entry.option("port") == "21245"
    assert entry.option("hard") == ""
    assert entry.option("soft") is None
    assert entry.option("x-samefiles.aws") == "fs-2c6274e3a9cc2aabd"


def test_the_mark_of_our_lines_cannot_be_given_as_an_option():
    assert MARK in nfs.REFUSED


def test_editing_nothing_changes_nothing(fstab):
    assert Fstab(fstab).edited({}, []).text == fstab


def test_appending_keeps_every_line(fstab):
    after = Fstab(fstab).edited({}, [ADDED]).text
    assert after.split("\n")[: len(fstab.rstrip("\n").split("\n"))] == fstab.rstrip("\n").split("\n")
    assert after.endswith("\nADDED /added nfs4 hard 0 0\n")


LINES = st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=40), max_size=12)


@given(LINES, st.booleans(), st.data())
def test_lines_that_are_not_ours_are_byte_identical(lines, newline, draw):
    text = "\n".join(lines) + ("\n" if newline and lines else "")
    numbers = range(len(text.split("\n")) - (1 if text.endswith("\n") else 0))
    changed = draw.draw(st.dictionaries(st.sampled_from(list(numbers) or [0]), st.none() | st.just(OURS), max_size=4))
    new = draw.draw(st.lists(st.just(ADDED), max_size=2))
    edited = Fstab(text).edited({n: v for n, v in changed.items() if n in numbers}, new)
    after, ours = edited.text, ("", OURS.render(), ADDED.render())
    kept = [line for n, line in enumerate(text.split("\n")[: len(numbers)]) if n not in changed]
    assert [line for line in after.split("\n")[: len(kept) + 9] if line not in ours] == [
        line for line in kept if line not in ours
    ]
    if not changed and not new:
        assert after == text
    # nothing was parsed again, and yet the entries are those of the text
    assert edited.entries == Fstab(after).entries


@given(st.text(st.characters(min_codepoint=32, exclude_characters="/\x7f", exclude_categories=["Cs"]), min_size=1))
def test_any_name_of_a_directory_survives_fstab(name):
    if name in (".", ".."):
        return
    item = want({"path": f"/srv/{name}"})[0]
    line = our_line(item, 21100)
    entries = Fstab(f"{line.render()}\n").entries
    assert [entry.path for entry in entries] == [f"/srv/{name}"]
    assert entries[0].file_system == FS
    assert (entries[0].source, entries[0].options) == (line.source, line.options)


@pytest.mark.parametrize(
    ("mount", "transport", "source", "options"),
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
def test_lines(mount, transport, source, options):
    fields = our_line(want(mount, transport=transport)[0], 21100).render().split()
    assert fields[0] == source
    assert options in fields[3]
    assert fields[3].endswith(f"_netdev,nofail,{MARK}={FS}") or "_netdev" in fields[3]
    assert fields[4:] == ["0", "0"]
