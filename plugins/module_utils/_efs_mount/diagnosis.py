# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a mount failed: reads what the mount command said. Pure."""

from __future__ import annotations

from .spec import Wanted

# what mount and mount.efs print, and what it means
_NO_CREDENTIALS = "mount.efs found no credentials for iam: true: give the instance a role"
_SAID = (
    (
        "access denied by server",
        "{system} refuses this client (access denied): see its file-system policy, whether it wants iam: true, and whether "
        "the access point exists",
    ),
    (
        "No such file or directory",
        "{system} has no directory {directory}: create it, or give the access point CreationInfo",
    ),
    ("Failed to resolve", "{host} does not resolve: see its id and region, and whether this zone has a mount target"),
    ("Connection refused", "nothing answers on the way to {host}: see whether its tunnel runs"),
    ("Protocol not supported", "{system} does not speak the NFS version that was asked for: leave out nfsvers"),
    ("Error retrieving region", "mount.efs found no region: set region"),
    ("redentials", _NO_CREDENTIALS),
    ("AWS Access Key ID and Secret Access Key are not found", _NO_CREDENTIALS),
    ("Stale file handle", "{system} was replaced behind its address: unmount what still uses the old one"),
)


def explain(item: Wanted, said: str) -> str:
    """The cause of a failed mount in words, from what the mount command said."""
    for sign, meaning in _SAID:
        if sign in said:
            text = meaning.format(system=item.file_system, host=item.host, directory=item.directory)
            return f"{item.label}: {text} (mount said: {said})"
    return f"{item.label}: mounting {item.file_system} at {item.path} failed, mount said: {said}"
