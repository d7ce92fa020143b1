"""What mount says, in words that help."""

from __future__ import annotations

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._efs_mount import diagnosis

from tests.support.efs_host import FS, want


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        # mount.nfs4 of nfs-utils 2.6 and mount.efs of efs-utils 3.2
        ("mount.nfs4: access denied by server while mounting x:/", f"{FS} refuses this client (access denied)"),
        (
            "mount.nfs4: mounting x:/a failed, reason given by server: No such file or directory",
            f"{FS} has no directory /a",
        ),
        ('Failed to resolve "fs-1.efs.x.amazonaws.com" - check', "does not resolve: see its id and region"),
        ("mount.nfs4: Connection refused", "see whether its tunnel runs"),
        ("mount.nfs4: Protocol not supported", "leave out nfsvers"),
        ("Error retrieving region. Please set the", "set region"),
        ("AWS Access Key ID and Secret Access Key are not found in AWS credentials file", "give the instance a role"),
        ("Unable to locate credentials", "give the instance a role"),
        ("mount.nfs4: Stale file handle", "was replaced behind its address"),
        ("mount: something new", "mount said: mount: something new"),
    ],
)
def test_what_mount_says_in_words(said, meaning):
    text = diagnosis.explain(want({"directory": "/a"})[0], said)
    assert text.startswith("mounts[0]: ")
    assert meaning in text
    assert "{" not in text
