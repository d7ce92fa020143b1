"""The file system's server is frozen: both plays end within their timeout and say what hangs; thawed, all is well."""

from __future__ import annotations

import pytest

from tests.support.fleet import sh, wait


@pytest.fixture
def frozen(fleet):
    """The lab with its main file system paused."""
    sh(["docker", "pause", fleet.storage])
    yield fleet
    sh(["docker", "unpause", fleet.storage], check=False)
    for server in fleet.servers:
        wait(
            lambda server=server: server.code("timeout 10 stat -f /srv/files") == 0, 60, f"/srv/files on {server.name}"
        )


def test_both_plays_end_and_say_what_hangs(frozen, figure):
    verify = frozen.play("playbooks/verify.yml", check=False)
    assert verify.code != 0
    assert verify.seconds < 120
    for server in frozen.servers:
        assert f"{server.name}: mounts[0]: {frozen.file_system} at /srv/files does not answer" in verify.said()

    site = frozen.play("site.yml", check=False)
    assert site.code != 0
    assert site.seconds < 120
    assert f"{frozen.file_system} at /srv/files does not answer" in site.said()
    figure(f"verify.yml ended after {verify.seconds:.0f} s, site.yml after {site.seconds:.0f} s (bar: 120 s)")
    for server in frozen.servers:
        # nothing is left hanging on the host by our own doing
        stuck = server.run('ps -eo stat,args | grep -c "^[D].*ansible" || true')
        assert stuck == "0"


def test_after_the_thaw_all_is_as_before(fleet):
    assert set(fleet.play("site.yml").changed().values()) == {0}
