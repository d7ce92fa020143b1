"""The unit that mounts again, its name and its text; when it is written is in test_efs_mount_plan.py."""

from __future__ import annotations

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._efs_mount import mount_unit

from tests.support.efs_host import want

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
