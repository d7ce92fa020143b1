"""What the preflight finds before anything is mounted. It meets real servers in tests/faults/test_causes.py."""

from __future__ import annotations

import socket
import threading

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._efs_mount import nfs, preflight

from tests.support.efs_host import want


def test_a_name_without_address():
    item = want({})[0]
    problem = preflight.preflight(item, (), "/ca.pem")
    assert problem.startswith(f"mounts[0]: {item.dns_name} does not resolve")
    assert "mount target in this server's zone" in problem


@pytest.mark.parametrize(
    ("text", "fault"), [(None, "is not there"), ("no certificate", "cannot be read as certificates")]
)
def test_a_ca_file_that_is_none(tmp_path, text, fault):
    path = tmp_path / "ca.pem"
    if text:
        path.write_text(text)
    item = want({"ca_file": str(path)}, transport="efs-utils")[0]
    assert fault in preflight.preflight(item, ("127.0.0.1",), "/unused")


def test_a_ca_file_that_the_tunnel_could_not_read(tmp_path):
    path = tmp_path / "ca.pem"
    path.write_text("x")
    path.chmod(0o600)
    problem = preflight.preflight(want({"ca_file": str(path)})[0], ("127.0.0.1",), "/unused")
    assert "cannot be read by the tunnel, which runs as a user of its own" in problem


@pytest.fixture
def server(monkeypatch):
    """A TCP server on loopback in the place of a mount target: respond(bytes or None) for one connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setattr(nfs, "PORT", listener.getsockname()[1])

    def respond(data: bytes | None) -> None:
        def serve():
            with listener.accept()[0] as connection:
                received = connection.recv(100)
                assert received[4 + 12 : 4 + 20].hex() == "000186a300000004"  # program 100003 (NFS), version 4
                if data is None:
                    hold.wait(5)
                connection.sendall(data or b"")

        threading.Thread(target=serve, daemon=True).start()

    hold = threading.Event()
    yield respond
    hold.set()
    listener.close()


def test_a_server_that_speaks_nfs(server):
    server(b"\x80\x00\x00\x18" + b"\0" * 24)
    assert preflight.preflight(want({}, transport="plain")[0], ("127.0.0.1",), "") == ""


def test_a_server_that_hangs_up_wants_tls(server):
    server(b"")
    assert "see whether it requires TLS" in preflight.preflight(want({}, transport="plain")[0], ("127.0.0.1",), "")


def test_a_server_that_says_nothing(server, monkeypatch):
    monkeypatch.setattr(preflight, "ANSWER_TIMEOUT", 0.3)
    server(None)
    assert "does not answer within" in preflight.preflight(want({}, transport="plain")[0], ("127.0.0.1",), "")


def test_a_port_that_is_closed(server, monkeypatch):
    monkeypatch.setattr(nfs, "PORT", 1)
    problem = preflight.preflight(want({}, transport="plain")[0], ("127.0.0.1",), "")
    assert "TCP port 1 (Connection refused)" in problem
    assert "security group" in problem


def test_one_mount_target_that_works_is_enough(server):
    server(b"\x80\x00\x00\x18" + b"\0" * 24)
    item = want({}, transport="plain")[0]
    assert preflight.preflight(item, ("127.0.0.2", "127.0.0.1"), "") == ""
