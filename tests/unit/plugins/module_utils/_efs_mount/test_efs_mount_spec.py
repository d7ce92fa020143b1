"""The user's list of mounts: every fault in one sentence that says what, where, the value and the way out."""

from __future__ import annotations

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._efs_mount import spec

FS = "fs-0123456789abcdef0"
OTHER = "fs-0fedcba9876543210"
AP = "fsap-0123456789abcdef0"
GOOD = {"file_system": FS, "path": "/srv/files"}


def faults(*mounts, region="eu-central-1", transport="stunnel"):
    return spec.wanted(list(mounts), region, transport)[1]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"path": "data"}, "mounts[0].path must be absolute, got 'data'"),
        ({"path": ""}, "mounts[0].path must be absolute, got ''"),
        (
            {"path": "/"},
            "mounts[0].path must not be '/', the root of the server: choose a directory such as /srv/files",
        ),
        (
            {"path": "/srv/../etc"},
            "mounts[0].path must be written without '.', '..', double and trailing slashes, got '/srv/../etc': use '/etc'",
        ),
        (
            {"path": "/srv/files/"},
            "mounts[0].path must be written without '.', '..', double and trailing slashes, got '/srv/files/': "
            "use '/srv/files'",
        ),
        ({"path": "/srv/a\nb"}, "mounts[0].path must not contain control characters, got '/srv/a\\nb'"),
        (
            {"file_system": "fs-xyz"},
            "mounts[0].file_system must be 'fs-' and 8 or 17 hexadecimal digits, got 'fs-xyz': see the EFS console or "
            "`aws efs describe-file-systems`",
        ),
        ({"region": "Frankfurt"}, "mounts[0].region must be a region such as 'eu-central-1', got 'Frankfurt'"),
        (
            {"access_point": "fsap-1", "transport": "efs-utils"},
            "mounts[0].access_point must be 'fsap-' and 17 hexadecimal digits, got 'fsap-1'",
        ),
        (
            {"access_point": AP},
            "mounts[0].access_point needs transport: efs-utils, got 'stunnel': only mount.efs makes "
            "the client certificate that carries it",
        ),
        (
            {"iam": True, "transport": "plain"},
            "mounts[0].iam needs transport: efs-utils, got 'plain': only mount.efs makes the "
            "client certificate that carries it",
        ),
        (
            {"access_point": AP, "transport": "efs-utils", "owner": "5000"},
            "mounts[0].owner, group and mode cannot be set through an access point: set them in its CreationInfo",
        ),
        (
            {"access_point": AP, "transport": "efs-utils", "directory": "/a"},
            "mounts[0].directory must be left out with an access point, which has its own, got '/a'",
        ),
        (
            {"options": ["nconnect=4"]},
            "mounts[0].options must not contain 'nconnect': EFS does not support it: leave it out",
        ),
        (
            {"options": ["nolock"]},
            "mounts[0].options must not contain 'nolock': it has no effect over NFSv4: leave it out",
        ),
        ({"options": ["v4.2"]}, "mounts[0].options must not contain 'v4.2': EFS speaks 4.1 and 4.0: leave it out"),
        ({"options": ["hard=1"]}, "mounts[0].options has 'hard=1', but 'hard' takes no value: write 'hard'"),
        (
            {"options": ["actimeo=1", "acregmin=3"]},
            "mounts[0].options has 'actimeo=1' and 'acregmin=3', which decide the same thing: keep one",
        ),
        (
            {"options": ["timeo=1", "timeo=2"]},
            "mounts[0].options has 'timeo=1' and 'timeo=2', which decide the same thing: keep one of them",
        ),
        (
            {"options": ["hard", "soft"]},
            "mounts[0].options has 'hard' and 'soft', which decide the same thing: keep one of them",
        ),
        ({"options": ["iam"]}, "mounts[0].options must not contain 'iam': use iam: true"),
        (
            {"options": ["a b"]},
            "mounts[0].options must hold single options such as 'ro' or 'timeo=300', got 'a b'",
        ),
        (
            {"options": ["nfsvers=3"]},
            "mounts[0].options asks for 'nfsvers=3', EFS speaks 4.1 and 4.0: leave it out",
        ),
        (
            {"options": ["nofail"]},
            "mounts[0].options must not contain 'nofail': it is set for every mount, leave it out",
        ),
        ({"mode": "rwx"}, "mounts[0].mode must be an octal number in quotes such as '0750', got 'rwx'"),
        ({"mode": "488"}, "mounts[0].mode must be an octal number in quotes such as '0750', got '488'"),
        (
            {"mount_target": "efs.local"},
            "mounts[0].mount_target must be the IP address of a mount target, got 'efs.local'",
        ),
        ({"ca_file": "ca.pem"}, "mounts[0].ca_file must be absolute, got 'ca.pem'"),
        (
            {"ca_file": "/ca.pem", "transport": "plain"},
            "mounts[0].ca_file has no effect with transport: plain, which has no TLS: leave it out",
        ),
    ],
)
def test_one_fault_one_sentence(change, sentence):
    assert faults({**GOOD, **change}) == [sentence]


def test_a_fault_names_its_place_in_the_list():
    assert faults(GOOD, {**GOOD, "path": "/b"}, {**GOOD, "path": "data"}) == [
        "mounts[2].path must be absolute, got 'data'"
    ]


def test_paths_must_differ():
    assert faults(GOOD, GOOD) == ["mounts[1].path is '/srv/files', which mounts[0] has already: remove one"]


def test_one_file_system_one_transport():
    second = {**GOOD, "path": "/b", "transport": "plain"}
    (sentence,) = faults(GOOD, second)
    assert sentence.startswith(f"mounts[1].transport is 'plain', mounts[0] mounts {FS} with 'stunnel': use one")


def test_one_tunnel_one_setting():
    second = {**GOOD, "path": "/b", "mount_target": "10.0.0.9"}
    (sentence,) = faults(GOOD, second)
    assert "both use the one tunnel" in sentence


def test_region_is_needed_to_mount_but_not_to_unmount():
    assert faults(GOOD, region=None) == ["mounts[0].region must be a region such as 'eu-central-1', got ''"]
    assert faults({**GOOD, "state": "absent"}, region=None) == []


@pytest.mark.parametrize(
    "mounts",
    [
        [],
        [GOOD],
        [GOOD, {**GOOD, "path": "/srv/files/inner", "directory": "/inner"}],
        [GOOD, {"file_system": OTHER, "path": "/srv/other", "transport": "plain"}],
        [{**GOOD, "transport": "efs-utils", "iam": True, "access_point": AP, "options": ["ro"]}],
        [{**GOOD, "file_system": "fs-01234567", "mode": "2775", "owner": "www-data"}],
        [{**GOOD, "mount_target": "2001:db8::1", "options": ["soft", "timeo=50", "noatime"]}],
    ],
)
def test_good_lists_have_no_fault(mounts):
    assert faults(*mounts) == []


def test_what_follows_from_the_list():
    items, _ = spec.wanted([{**GOOD, "mode": "0750", "options": ["ro"]}], "eu-central-1", "stunnel")
    assert (items[0].mode, items[0].read_only, items[0].host) == (0o750, True, f"{FS}.efs.eu-central-1.amazonaws.com")
