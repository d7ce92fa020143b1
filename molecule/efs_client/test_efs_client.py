# Copyright: samefiles.aws contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packages, repositories and services that the role leaves behind, as the package managers and systemd report them."""

from __future__ import annotations

import os
import pathlib

import pytest
import yaml

SCENARIO = pathlib.Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])
SHARED = pathlib.Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "shared"
ROLE = SCENARIO.parents[1] / "roles" / SCENARIO.name
WATCHDOG = "amazon-efs-mount-watchdog"
WITH_WATCHDOG = ["debian-file", "ubuntu", "amazon", "rhel", "rhel-file"]
# host: what the package manager has, and what it has not (libsasl2-modules is only recommended by others)
INSTALLED = {
    "debian": ({"nfs-common", "stunnel4", "ca-certificates"}, {"amazon-efs-utils", "libsasl2-modules"}),
    "debian-file": ({"nfs-common", "stunnel4", "openssl", "amazon-efs-utils"}, {"libsasl2-modules"}),
    "ubuntu-new": ({"nfs-common", "stunnel4", "ca-certificates"}, {"amazon-efs-utils"}),
    "ubuntu": ({"nfs-common", "stunnel4", "amazon-efs-utils"}, set()),
    "amazon": ({"nfs-utils", "stunnel", "ca-certificates", "amazon-efs-utils"}, set()),
    "rhel": ({"nfs-utils", "stunnel", "ca-certificates", "amazon-efs-utils"}, set()),
    "rhel-file": ({"nfs-utils", "stunnel", "openssl", "amazon-efs-utils"}, {"ca-certificates"}),
    "no-mounts": (set(), {"nfs-common", "stunnel4", "amazon-efs-utils"}),
}
# host: the one sentence with which the role stops; SHARED stands for the directory of the doubles
ONLY = "The EFS client is installed on Debian 12, Ubuntu 22.04, Amazon Linux 2023, RHEL 9 and its rebuilds, or newer ones, but not on "
REFUSED = {
    "not-in-the-distribution": "efs_client_source is distribution, but only Amazon Linux has a package amazon-efs-utils, and not "
    "not-in-the-distribution (Ubuntu 24.04): set efs_client_source to repository or file, or use the transport stunnel.",
    "no-key": "efs_client_source is repository, but no-key has no efs_client_repository_key and no "
    "efs_client_repository_fingerprint: set what the owner of the repository publishes, because a repository is never used "
    "unsigned.",
    "short-fingerprint": "efs_client_repository_fingerprint of short-fingerprint is 0123ABCD, which is not 40 hexadecimal digits: "
    "a shorter key id can be forged, so set the whole fingerprint.",
    "wrong-fingerprint": "efs_client_repository_key of wrong-fingerprint has the fingerprint FINGERPRINT, but "
    "efs_client_repository_fingerprint is 0123456789ABCDEF0123456789ABCDEF01234567: get the key again from the owner of the "
    "repository, and do not trust this one.",
    "two-keys": "efs_client_repository_key of two-keys is not the armoured text of exactly one OpenPGP public key, but "
    "efs_client_repository_fingerprint is FINGERPRINT: get the key again from the owner of the repository, and do not trust "
    "this one.",
    "no-file-name": "efs_client_source is file, but efs_client_package_file of no-file-name (Ubuntu 24.04) is '': set it to a "
    "file on the controller whose name ends in .deb.",
    "file-of-another-family": "efs_client_source is file, but efs_client_package_file of file-of-another-family (Ubuntu 24.04) is "
    "'SHARED/amazon-efs-utils.rpm': set it to a file on the controller whose name ends in .deb.",
    "no-checksum": "efs_client_source is file, but efs_client_package_checksum of no-checksum is '': set it to sha256: and the "
    "64 digits that `sha256sum SHARED/amazon-efs-utils.deb` prints.",
    "missing-file": "efs_client_package_file of missing-file is SHARED/amazon-efs-utils-9.deb on the controller, which does not "
    "exist: put there the file with the checksum sha256:CHECKSUM, or correct the variable that is wrong.",
    "changed-file": "efs_client_package_file of changed-file is SHARED/amazon-efs-utils.deb on the controller, which has the "
    f"checksum sha256:CHECKSUM: put there the file with the checksum sha256:{'0' * 64}, or correct the variable that is wrong.",
    "suse": f"{ONLY}suse (openSUSE Leap 15.6): take the host out of the play, or set efs_client_transports to [] and install "
    "the client yourself.",
    "amazon-2": f"{ONLY}amazon-2 (Amazon 2): take the host out of the play, or set efs_client_transports to [] and install the "
    "client yourself.",
    "misspelt": "Validation of arguments failed:\nvalue of efs_client_transports must be one or more of: efs-utils, plain, "
    "stunnel. Got no match for: stunel",
}


def shared(name: str) -> str:
    """The text of a file that doubles/build.sh made."""
    return (SHARED / name).read_text().strip()


def packages(host) -> dict[str, str]:
    """The installed packages and their versions, as dpkg or rpm lists them."""
    if host.file("/etc/yum.repos.d").exists:
        return dict(line.split() for line in host.check_output("rpm -qa --qf '%{NAME} %{VERSION}\\n'").splitlines())
    lines = host.check_output(
        "dpkg-query --show --showformat '${db:Status-Status} ${Package} ${Version}\\n'"
    ).splitlines()
    return dict(line.split()[1:] for line in lines if line.startswith("installed "))


@pytest.mark.parametrize("name", INSTALLED)
def test_packages(server, name):
    expected, missing = INSTALLED[name]
    installed = packages(server(f"client-{name}")).keys()
    assert expected <= installed
    assert not missing & installed


@pytest.mark.parametrize("name", WITH_WATCHDOG)
def test_watchdog(server, name):
    service = server(f"client-{name}").service(WATCHDOG)
    assert service.is_enabled
    assert service.is_running


def test_apt_uses_the_repository_with_its_key_alone(server):
    host = server("client-ubuntu")
    source = host.file("/etc/apt/sources.list.d/amazon-efs-utils.sources")
    assert source.content_string.splitlines()[1:] == [
        "Types: deb",
        "URIs: file:/shared/deb/efs",
        "Suites: 24.04",
        "Components: main",
        "Signed-By: /usr/share/keyrings/amazon-efs-utils.asc",
    ]
    key = host.file("/usr/share/keyrings/amazon-efs-utils.asc")
    assert key.content_string.strip() == shared("key.asc")
    assert [(file.user, file.group, file.mode) for file in (source, key)] == [("root", "root", 0o644)] * 2
    policy = host.check_output("apt-cache policy amazon-efs-utils")
    assert "Installed: 3.2.0" in policy
    assert "500 file:/shared/deb/efs 24.04/main amd64 Packages" in policy


def test_rpm_has_checked_the_package(server):
    host = server("client-rhel")
    fingerprint = shared("fingerprint").lower()
    assert host.check_output("rpm -q gpg-pubkey --qf '%{VERSION}'") == fingerprint[-8:]
    assert f"Key ID {fingerprint[-16:]}" in host.check_output("rpm -qi amazon-efs-utils")
    repository = host.file("/etc/yum.repos.d/amazon-efs-utils.repo").content_string.splitlines()
    assert {"gpgcheck = 1", "gpgkey = file:///etc/pki/rpm-gpg/RPM-GPG-KEY-amazon-efs-utils"} <= set(repository)
    assert packages(host)["amazon-efs-utils"] == "3.2.0"


@pytest.mark.parametrize(
    ("name", "limit"), [("debian", 2), ("amazon", 3), ("debian-file", 6), ("ubuntu", 7), ("rhel", 7)]
)
def test_a_run_without_changes_costs_few_modules(server, checked_again, name, limit):
    """Every module writes a line to the journal; the first that the role runs asks for the distribution."""
    journal = server(f"client-{name}").check_output("journalctl --output=cat").splitlines()
    modules = [line for line in journal if "Invoked with" in line]
    first = max(number for number, line in enumerate(modules) if "gather_subset=" in line)
    assert len(modules[first:]) == limit


@pytest.fixture(scope="module")
def after_drift(server, converge, checked_again):
    """A run on hosts that were changed by hand: newer versions of the client, and a watchdog that dies at once."""
    server("client-ubuntu").check_output("apt-get -qy install amazon-efs-utils=3.3.0")
    server("client-rhel").check_output("dnf -qy install amazon-efs-utils-3.3.0")
    host = server("client-debian-file")
    directory = f"/run/systemd/system/{WATCHDOG}.service.d"
    host.check_output(f"systemctl stop {WATCHDOG} && mkdir -p {directory}")
    host.check_output(
        f"printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n' >{directory}/die.conf && systemctl daemon-reload"
    )
    return converge(hosts=",".join(f"samefiles-molecule-client-{name}" for name in ("ubuntu", "rhel", "debian-file")))


@pytest.mark.parametrize("name", ["ubuntu", "rhel"])
def test_a_host_is_held_at_its_version(server, after_drift, name):
    outcome = after_drift[f"samefiles-molecule-client-{name}"]
    assert (outcome.changed, outcome.failure) == (1, "")
    assert packages(server(f"client-{name}"))["amazon-efs-utils"] == "3.2.0"


def test_a_watchdog_that_dies_is_a_failure(after_drift):
    assert after_drift["samefiles-molecule-client-debian-file"].failure == (
        "amazon-efs-mount-watchdog.service on samefiles-molecule-client-debian-file is activating instead of active: ask "
        "`journalctl -u amazon-efs-mount-watchdog` there why, because without it mounts fail after three hours."
    )


BARE = ["bare-ubuntu", "bare-suse", "bare-amazon-2"]
IMPOSTORS = {"impostor-deb": "bare-ubuntu-2", "impostor-rpm": "bare-rhel"}


@pytest.fixture(scope="module")
def bad(server, converge):
    """The outcome of a run on the groups refused and impostors, and the files that changed on the hosts of the former."""
    for name in BARE:
        server(f"client-{name}").check_output("touch /run/before")
    outcome = converge(hosts="refused,impostors")
    changed = "find /etc /usr /var/cache /var/lib/apt /var/lib/dpkg -xdev -cnewer /run/before"
    return outcome, {name: server(f"client-{name}").check_output(changed) for name in BARE}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_in_one_sentence(bad, name):
    sentence = REFUSED[name].replace("SHARED", str(SHARED)).replace("FINGERPRINT", shared("fingerprint"))
    outcome, _written = bad
    assert outcome[name].failure == sentence.replace("CHECKSUM", shared("amazon-efs-utils.deb.sha256"))
    assert outcome[name].changed == 0


def test_refuses_before_anything_is_written(bad):
    outcome, written = bad
    assert outcome.keys() == REFUSED.keys() | IMPOSTORS.keys()
    assert written == dict.fromkeys(BARE, "")


@pytest.mark.parametrize("name", IMPOSTORS)
def test_nothing_comes_from_a_repository_that_another_key_signed(bad, server, name):
    outcome, _written = bad
    assert outcome[name].failure
    assert not {"amazon-efs-utils", "nfs-utils", "nfs-common"} & packages(server(f"client-{IMPOSTORS[name]}")).keys()


def test_defaults_are_those_of_the_contract():
    """Equal where the default is a value; a default that is derived stands in words in the description."""
    options = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    assert defaults.keys() == options.keys()
    for name, value in defaults.items():
        if "{{" in str(value):
            assert "default" not in options[name]
            assert "By default" in str(options[name]["description"])
        else:
            assert options[name]["default"] == value
