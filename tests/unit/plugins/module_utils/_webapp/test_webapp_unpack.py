"""Archives that reach out of their directory, and what is none."""

from __future__ import annotations

import tarfile

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._host import executor
from ansible_collections.samefiles.aws.plugins.module_utils._webapp import unpack


def hostile(name, **attributes):
    member = tarfile.TarInfo(name)
    for key, value in attributes.items():
        setattr(member, key, value)
    return member


@pytest.mark.parametrize(
    ("member", "said"),
    [
        (hostile("../out"), "lies outside it"),
        (hostile("a/../../out"), "lies outside it"),
        (hostile("/etc/cron.d/x"), "lies outside it"),
        (hostile("link", type=tarfile.SYMTYPE, linkname="/etc/shadow"), "outside it: remove the link"),
        (hostile("a/link", type=tarfile.SYMTYPE, linkname="../../x"), "outside it: remove the link"),
        (hostile("pipe", type=tarfile.FIFOTYPE), "neither file nor directory nor link"),
        (hostile("device", type=tarfile.CHRTYPE), "neither file nor directory nor link"),
        (hostile("hard", type=tarfile.LNKTYPE, linkname="/etc/shadow"), "neither file nor directory nor link"),
    ],
)
def test_an_archive_that_reaches_out_is_refused(tmp_path, member, said):
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        tar.addfile(member)
    with pytest.raises(executor.Failed, match=said):
        unpack.unpack(str(tmp_path / "bad.tar"), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "bad.tar.gz").write_bytes(b"nonsense")
    with pytest.raises(executor.Failed, match="cannot be read"):
        unpack.unpack(str(tmp_path / "bad.tar.gz"), str(tmp_path / "out"))
