# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a mount will work: asks the mount target before anything is changed."""

from __future__ import annotations

import os
import socket
import ssl
import struct

from . import nfs
from .spec import Wanted

CONNECT_TIMEOUT = 5.0  # seconds; a mount target in the own zone answers in milliseconds
ANSWER_TIMEOUT = 10.0  # seconds for the TLS handshake and for NFS's answer


def unresolved(item: Wanted) -> str:
    """The file system's name has no address."""
    return (
        f"{item.label}: {item.host} does not resolve: see that the file system's id and region are right, that it has a "
        "mount target in this server's zone, and that the VPC has enableDnsSupport and enableDnsHostnames"
    )


def _null_call() -> bytes:
    """An RPC call of NFS version 4, procedure NULL, as one record."""
    body = struct.pack(">10I", 0x53414D45, 0, 2, 100003, 4, 0, 0, 0, 0, 0)
    return struct.pack(">I", 0x80000000 | len(body)) + body


def _responds(connection: socket.socket) -> bool:
    connection.sendall(_null_call())
    head = connection.recv(4)
    return len(head) > 0


def _context(ca_file: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _readable_by_all(path: str) -> bool:
    """Whether any user may read a file; homes are closed to the tunnel whatever their mode is."""
    real = os.path.realpath(path)
    if real.startswith(("/root/", "/home/", "/run/user/")) or not os.stat(real).st_mode & 0o004:
        return False
    directories = real.split("/")[1:-1]
    return all(os.stat("/" + "/".join(directories[: i + 1])).st_mode & 0o001 for i in range(len(directories)))


def _connect(item: Wanted, address: str) -> tuple[socket.socket | None, str]:
    try:
        return socket.create_connection((address, nfs.PORT), CONNECT_TIMEOUT), ""
    except OSError as fault:
        said = "no answer within 5 s" if isinstance(fault, socket.timeout) else (fault.strerror or str(fault))
        return None, (
            f"{item.label}: no connection to {item.file_system} at {address}, TCP port {nfs.PORT} ({said}): let the web "
            "servers' security group in with a rule on the mount target's security group"
        )


def _talk(item: Wanted, connection: socket.socket, ca_file: str) -> str:
    """ "" when NFS answers over this connection, else the fault."""
    connection.settimeout(ANSWER_TIMEOUT)
    try:
        if item.transport != "plain":
            connection = _context(ca_file).wrap_socket(connection, server_hostname=item.dns_name)
        if _responds(connection):
            return ""
        return f"{item.label}: {item.file_system} closed the connection: see whether it requires TLS (transport: stunnel or efs-utils)"
    except ssl.SSLCertVerificationError as fault:
        return (
            f"{item.label}: the certificate of {item.file_system} is refused ({fault.verify_message}): see that {ca_file} "
            f"holds the CA that signed it, and that the server is {item.dns_name}"
        )
    except socket.timeout:
        return f"{item.label}: {item.file_system} takes connections and does not answer within {ANSWER_TIMEOUT:.0f} s: it hangs, try again when it works"
    except ssl.SSLError as fault:
        return f"{item.label}: {item.file_system} does not speak TLS on port {nfs.PORT} ({fault.reason}): see mount_target, or use transport: plain"
    except OSError as fault:
        return f"{item.label}: the connection to {item.file_system} broke ({fault.strerror or fault}): try again"
    finally:
        connection.close()


def preflight(item: Wanted, addresses: tuple[str, ...], ca_file: str) -> str:
    """Ask the mount target as the mount would; returns the cause of a failure in words, "" when it would work.

    Takes at most 15 s for each address, and stops at the first that works.
    """
    if not addresses:
        return unresolved(item)
    ca_file = item.ca_file or ca_file
    if item.transport != "plain":
        if not os.path.exists(ca_file):
            return f"{item.label}.ca_file {ca_file} is not there: copy the CA's certificate to this server, or leave ca_file out"
        if item.transport == "stunnel" and not _readable_by_all(ca_file):
            return (
                f"{item.label}.ca_file {ca_file} cannot be read by the tunnel, which runs as a user of its own: put it where "
                "everybody may read it (mode 0644, not below /root or /home)"
            )
        try:
            _context(ca_file)
        except (ssl.SSLError, OSError) as error:
            return f"{item.label}.ca_file {ca_file} cannot be read as certificates ({error}): see that it is a PEM file"
    fault = ""
    for address in addresses:
        connection, fault = _connect(item, address)
        if connection:
            fault = _talk(item, connection, ca_file)
        if not fault:
            break
    return fault
