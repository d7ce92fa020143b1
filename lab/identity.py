"""What the servers and file systems of a lab are known by: SSH keys, the lab's certificate authority, seed disks."""

from __future__ import annotations

import datetime
import io
import ipaddress
import pathlib
import tarfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lab import engine
from lab.settings import REGION, USER, Lab, Server

LIFETIME = datetime.timedelta(days=3650)
BACKDATED = datetime.timedelta(days=1)  # a server whose clock is a little behind must trust the certificate too


def write(path: pathlib.Path, content: bytes | str, mode: int = 0o644) -> None:
    """Write a file whole or not at all, never readable more widely than MODE."""
    data = content.encode() if isinstance(content, str) else content
    if path.exists() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    part.touch(mode=mode)
    part.write_bytes(data)
    part.rename(path)


def ssh_key(path: pathlib.Path) -> str:
    """Make an SSH key pair unless it is there; returns the public half."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        engine.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "samefiles-lab", "-f", str(path)])
    return path.with_suffix(".pub").read_text()


def _certificate(
    subject: str,
    public: ec.EllipticCurvePublicKey,
    issuer: str,
    signer: ec.EllipticCurvePrivateKey,
    extensions: list[tuple[x509.ExtensionType, bool]],
) -> x509.Certificate:
    """Sign a certificate with the extensions given as (extension, critical)."""

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + LIFETIME)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(signer, hashes.SHA256())


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def certificates(lab: Lab) -> None:
    """Make a certificate authority (ca.pem), and the certificates of the file systems (server.pem: key and chain) and of S3
    (s3.pem, s3.crt, s3.key), all at once, so that nobody has to keep the authority's key.

    The file systems' name is the wildcard of the region, as EFS's own certificate has it.
    """
    directory = lab.state / "tls"
    if (directory / "s3.key").exists():
        return
    ca_name, domain = "samefiles lab CA", f"efs.{REGION}.amazonaws.com"
    ca_key = ec.generate_private_key(ec.SECP256R1())
    key_id = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = _certificate(
        ca_name, ca_key.public_key(), ca_name, ca_key,
        [(x509.BasicConstraints(ca=True, path_length=0), True), (key_id, False)],
    )  # fmt: skip
    ca_pem = ca.public_bytes(serialization.Encoding.PEM)

    def server(subject: str, *names: x509.GeneralName) -> tuple[bytes, bytes]:
        key = ec.generate_private_key(ec.SECP256R1())
        made = _certificate(
            subject, key.public_key(), ca_name, ca_key,
            [
                (x509.BasicConstraints(ca=False, path_length=None), True),
                (x509.SubjectAlternativeName(names), False),
                (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
                (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id), False),
            ],
        )  # fmt: skip
        return _key_pem(key), made.public_bytes(serialization.Encoding.PEM) + ca_pem

    write(directory / "ca.pem", ca_pem)
    write(directory / "server.pem", b"".join(server(domain, x509.DNSName(f"*.{domain}"), x509.DNSName(domain))), 0o600)
    s3_key, s3_chain = server("s3", x509.DNSName("s3"), x509.IPAddress(ipaddress.ip_address(lab.s3_address)))
    write(directory / "s3.pem", s3_key + s3_chain, 0o600)
    write(directory / "s3.crt", s3_chain)
    write(directory / "s3.key", s3_key, 0o600)


def seed(lab: Lab, server: Server) -> None:
    """Write the seed disk of a server: its name, address, resolver, keys and the lab's CA."""
    host_key = lab.state / "ssh" / server.name
    public = ssh_key(host_key)
    files = {
        "etc/hostname": (server.name + "\n", 0o644),
        "etc/hosts": (f"127.0.0.1 localhost\n127.0.1.1 {server.name}\n", 0o644),
        "etc/resolv.conf": (f"nameserver {lab.resolver(server.zone)}\n", 0o644),
        "etc/lab/network": (
            f"NAME={server.name}\nADDRESS={server.address}/{lab.subnet.prefixlen}\nGATEWAY={lab.gateway}\n",
            0o644,
        ),
        "etc/ssh/ssh_host_ed25519_key": (host_key.read_text(), 0o600),
        "etc/ssh/ssh_host_ed25519_key.pub": (public, 0o644),
        f"home/{USER}/.ssh/authorized_keys": ((lab.state / "ssh/id_ed25519.pub").read_text(), 0o600),
        "usr/local/share/ca-certificates/samefiles-lab.crt": (
            (lab.state / "tls/ca.pem").read_text(),
            0o644,
        ),
    }
    write(lab.state / "seed" / server.name / "seed.tar", _tar(files), 0o600)


def _tar(files: dict[str, tuple[str, int]]) -> bytes:
    """A tar of text files, the same bytes for the same files; files in the user's home belong to the user."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path, (text, mode) in files.items():
            home = path.startswith("home/")
            if home:
                directory = tarfile.TarInfo(str(pathlib.PurePath(path).parent))
                directory.type, directory.mode, directory.uid, directory.gid = tarfile.DIRTYPE, 0o700, 1000, 1000
                tar.addfile(directory)
            item = tarfile.TarInfo(path)
            item.mode, item.size = mode, len(text.encode())
            item.uid = item.gid = 1000 if home else 0
            tar.addfile(item, io.BytesIO(text.encode()))
    return out.getvalue()


def known_hosts(lab: Lab, servers: list[Server]) -> None:
    """Write the servers' SSH host keys where the inventory looks, so that no first contact is trusted blindly."""
    lines = []
    for server in servers:
        algorithm, key = ssh_key(lab.state / "ssh" / server.name).split()[:2]
        lines.append(f"{server.address} {algorithm} {key}\n")
    write(lab.state / "ssh/known_hosts", "".join(lines))
