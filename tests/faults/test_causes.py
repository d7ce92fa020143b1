"""Each cause of a mount that fails has its own sentence with the way out, and nothing is changed."""

from __future__ import annotations

import pytest

MODULE = "samefiles.aws.efs_mount"


def attempt(lab, web, seconds: float = 30, **mount) -> str:
    """Try to mount the second file system at /srv/try; returns the module's message. Nothing must be left of it."""
    import time

    arguments = {"region": "eu-central-1", "mounts": [{"file_system": lab.second, "path": "/srv/try", **mount}]}
    # the mounts that are there must stay listed
    arguments["mounts"].insert(0, {"file_system": lab.file_system, "path": "/srv/files"})
    before = web.run("cat /etc/fstab /proc/self/mountinfo; ls /etc/samefiles /etc/systemd/system /srv")
    begin = time.monotonic()
    result = lab.module(web.name, MODULE, arguments)
    took = time.monotonic() - begin
    assert result.get("failed"), result
    assert web.run("cat /etc/fstab /proc/self/mountinfo; ls /etc/samefiles /etc/systemd/system /srv") == before
    assert took < seconds, f"took {took:.0f} s"
    assert len(result["problems"]) == 1
    return result["msg"]


def test_the_name_does_not_resolve(lab, web):
    said = attempt(lab, web, file_system="fs-00000000000000000")
    assert said.startswith(
        "mounts[1]: fs-00000000000000000.efs.eu-central-1.amazonaws.com does not resolve: see that the file system's id and "
        "region are right, that it has a mount target in this server's zone"
    )


def test_the_port_is_closed(lab, web):
    # the lab's own gateway, where nobody listens; another lab's would only be silent
    said = attempt(lab, web, mount_target=f"{web.address.rpartition('.')[0]}.1")
    assert "no connection to" in said
    assert "security group" in said


def test_the_port_is_filtered_as_a_security_group_does(lab, web):
    target = web.run(f"getent ahostsv4 {lab.second}.efs.eu-central-1.amazonaws.com").split()[0]
    web.run(f"iptables -I OUTPUT -d {target} -p tcp --dport 2049 -j DROP")
    try:
        said = attempt(lab, web)
    finally:
        web.run(f"iptables -D OUTPUT -d {target} -p tcp --dport 2049 -j DROP")
    assert f"{target}, TCP port 2049 (no answer within 5 s): let the web servers' security group in" in said


def test_a_ca_that_did_not_sign(lab, web):
    web.run("cp /etc/ssl/certs/ISRG_Root_X1.pem /etc/samefiles/wrong.pem")
    try:
        said = attempt(lab, web, ca_file="/etc/samefiles/wrong.pem")
    finally:
        web.run("rm /etc/samefiles/wrong.pem")
    assert f"the certificate of {lab.second} is refused (" in said
    assert "see that /etc/samefiles/wrong.pem holds the CA that signed it" in said


def test_a_certificate_of_another_name(lab, web):
    # the lab's certificate is for eu-central-1 only
    target = web.run(f"getent ahostsv4 {lab.second}.efs.eu-central-1.amazonaws.com").split()[0]
    said = attempt(lab, web, region="us-east-1", mount_target=target)
    assert "is refused (Hostname mismatch" in said
    assert f"the server is {lab.second}.efs.us-east-1.amazonaws.com" in said


def test_a_directory_that_is_not_there(lab, web):
    said = attempt(lab, web, seconds=60, directory="/not/there")
    expected = f"mounts[1]: {lab.second} has no directory /not/there: create it, or give the access point CreationInfo"
    assert said.startswith(f"{expected} (mount said: mount.nfs4: ")


@pytest.mark.parametrize(
    ("mount", "sentence"),
    [
        ({"path": "data"}, "mounts[1].path must be absolute, got 'data'"),
        ({"path": "/"}, "mounts[1].path must not be '/'"),
        ({"path": "/srv/files"}, "mounts[1].path is '/srv/files', which mounts[0] has already"),
        ({"file_system": "fs-12"}, "mounts[1].file_system must be 'fs-' and 8 or 17 hexadecimal digits, got 'fs-12'"),
        ({"iam": True}, "mounts[1].iam needs transport: efs-utils"),
        ({"access_point": "fsap-0123456789abcdef0"}, "mounts[1].access_point needs transport: efs-utils"),
        ({"transport": "efs-utils", "access_point": "ap"}, "mounts[1].access_point must be 'fsap-' and 17"),
        ({"options": ["ro", "rw"]}, "mounts[1].options has 'ro' and 'rw', which decide the same thing"),
        ({"options": ["nconnect=2"]}, "mounts[1].options must not contain 'nconnect': EFS does not support it"),
    ],
)
def test_bad_input_is_one_sentence(lab, web, mount, sentence):
    assert attempt(lab, web, **mount).startswith(sentence)


def test_an_unknown_key_is_one_sentence(lab, web):
    mount = {"file_system": lab.second, "path": "/srv/try", "mountpoint": "/x"}
    result = lab.module(web.name, MODULE, {"region": "eu-central-1", "mounts": [mount]})
    assert result["failed"]
    assert result["msg"].startswith("Unsupported parameters for (samefiles.aws.efs_mount) module: mounts.mountpoint.")
