"""The configuration of a tunnel, and its port."""

from __future__ import annotations

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._efs_mount import tunnel_conf

from tests.support.efs_host import FS, want


def test_a_tunnel_checks_chain_and_name():
    item = want({"mount_target": "10.0.0.10"})[0]
    conf = tunnel_conf.conf_text(item, 21100, "/ca.pem")
    for line in (
        "accept = 127.0.0.1:21100",
        "connect = 10.0.0.10:2049",
        f"sni = {item.dns_name}",
        f"checkHost = {item.dns_name}",
        "verifyChain = yes",
        "CAfile = /ca.pem",
        "sslVersionMin = TLSv1.2",
    ):
        assert f"\n{line}\n" in conf
    assert tunnel_conf.conf_port(conf) == 21100


@pytest.mark.parametrize(
    "conf", ["", "accept = 127.0.0.1:80\n", "accept = 0.0.0.0:21100\n", "; accept = 127.0.0.1:21100\n"]
)
def test_a_port_that_is_not_ours_is_not_taken_over(conf):
    assert tunnel_conf.conf_port(conf) is None


def test_a_port_is_the_same_on_every_host_unless_it_is_taken():
    port = tunnel_conf.choose_port(FS, set())
    assert tunnel_conf.choose_port(FS, {port + 1}) == port
    assert tunnel_conf.choose_port(FS, {port}) != port
    everything = set(range(tunnel_conf.FIRST_PORT, tunnel_conf.FIRST_PORT + tunnel_conf.PORTS))
    last = next(iter(everything))
    assert tunnel_conf.choose_port(FS, everything - {last}) == last
    with pytest.raises(ValueError, match="are taken"):
        tunnel_conf.choose_port(FS, everything)
