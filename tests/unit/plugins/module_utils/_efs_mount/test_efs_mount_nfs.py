"""Names and mount options."""

from __future__ import annotations

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._efs_mount import nfs, tables

KERNEL = (
    "rw,relatime shared:60 - nfs4 127.0.0.1:/ rw,vers=4.1,rsize=1048576,wsize=1048576,namlen=255,hard,noresvport,"
    "proto=tcp,port=21245,timeo=600,retrans=2,sec=sys,clientaddr=127.0.0.1,lookupcache=pos,local_lock=none"
)


def mount(*changes: str):
    """The mount as the kernel of the lab shows it, with words replaced ("hard>soft") or removed ("hard>")."""
    text = KERNEL
    for change in changes:
        old, _, new = change.partition(">")
        assert old in text
        text = text.replace(old, new, 1)
    return tables.mounts(f"123 16 0:29 / /srv/files {text}\n")[0]


@pytest.mark.parametrize(
    ("region", "name"),
    [
        ("eu-central-1", "fs-1.efs.eu-central-1.amazonaws.com"),
        ("us-gov-west-1", "fs-1.efs.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", "fs-1.efs.cn-north-1.amazonaws.com.cn"),
        ("us-iso-east-1", "fs-1.efs.us-iso-east-1.c2s.ic.gov"),
        ("us-isob-east-1", "fs-1.efs.us-isob-east-1.sc2s.sgov.gov"),
        ("eusc-de-east-1", "fs-1.efs.eusc-de-east-1.amazonaws.eu"),
    ],
)
def test_dns_name(region, name):
    assert nfs.dns_name("fs-1", region) == name


@pytest.mark.parametrize(
    ("given", "included", "left_out"),
    [
        ((), "hard lookupcache=positive nfsvers=4.1 noresvport", ""),
        (("soft",), "soft", "hard"),
        (("lookupcache=all",), "lookupcache=all", "lookupcache=positive"),
        (("vers=4.0",), "vers=4.0", "nfsvers=4.1"),
        (("timeo=300", "ro"), "timeo=300 ro hard", "timeo=600"),
        (("resvport",), "resvport", "noresvport"),
    ],
)
def test_options_override_the_defaults_key_by_key(given, included, left_out):
    options = nfs.nfs_options(given)
    assert set(included.split()) <= set(options)
    assert not set(left_out.split()) & set(options)
    assert len(options) == len(set(map(nfs.option_key, options)))


@pytest.mark.parametrize(
    ("wanted", "changes", "drift"),
    [
        # what was asked for is what the kernel shows
        ((), (), []),
        (("ro",), ("rw,relatime>ro,relatime",), []),
        (("lookupcache=all",), ("lookupcache=pos,>",), []),
        (("lookupcache=none",), ("lookupcache=pos>lookupcache=none",), []),
        (("soft",), ("hard>soft",), []),
        (("resvport",), ("noresvport,>",), []),
        (("acregmin=3", "acdirmax=60"), (), []),
        (("acregmin=10",), ("hard,>hard,acregmin=10,",), []),
        (("actimeo=5",), ("hard,>hard,acregmin=5,acregmax=5,acdirmin=5,acdirmax=5,",), []),
        (("noatime",), ("relatime>noatime",), []),
        (("nodev", "nosuid"), ("relatime>nosuid,nodev,relatime",), []),
        (("rw",), (), []),
        # a server may grant less than was asked for
        ((), ("rsize=1048576>rsize=262144",), []),
        # what only mount itself looks at is not in the kernel's table
        (("retry=0", "bg", "x-user.note=1"), (), []),
        # differences
        ((), ("hard>soft",), ["hard (is soft)"]),
        ((), ("vers=4.1>vers=4.2",), ["nfsvers=4.1 (is 4.2)"]),
        ((), ("timeo=600>timeo=100",), ["timeo=600 (is 100)"]),
        ((), ("noresvport,>",), ["noresvport (is not set)"]),
        ((), ("lookupcache=pos,>",), ["lookupcache=positive (is all)"]),
        (("ro",), (), ["ro (is rw)"]),
        (("rw",), ("rw,relatime>ro,relatime",), ["rw (is ro)"]),
        (("noatime",), (), ["noatime (is relatime)"]),
        (("actimeo=5",), (), ["acregmin=5 (is 3)"]),
        (("rsize=65536",), (), ["rsize=65536 (is 1048576)"]),
    ],
)
def test_drift_between_wanted_options_and_the_kernel(wanted, changes, drift):
    assert nfs.option_drift(nfs.nfs_options(wanted), mount(*changes)) == drift
