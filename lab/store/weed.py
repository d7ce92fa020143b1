"""SeaweedFS: how it is started, and requests to it that the lab itself signs."""

from __future__ import annotations

import functools
import hashlib
import http.client
import json
import os
import pathlib
import ssl
import subprocess
import time
from collections.abc import Sequence
from typing import IO, Any

from ansible_collections.samefiles.aws.plugins.module_utils._s3 import sigv4
from ansible_collections.samefiles.aws.plugins.module_utils._s3.endpoint import Keys

from lab.store.settings import ACCOUNT, DATA, DIRECTORY, PLAIN, SECURE, Settings

PROGRAM = pathlib.Path("/usr/local/bin/weed")
RUN = pathlib.Path("/run/store")


def policy(bucket: str, prefixes: list[str], *more: str) -> list[dict[str, Any]]:
    """Statements that permit the use of some prefixes of a bucket; more: further actions on their objects."""
    arn = f"arn:aws:s3:::{bucket}"
    objects = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", *more]
    patterns = [f"{prefix}*" for prefix in prefixes]
    listing = {"StringLike": {"s3:prefix": patterns}}
    return [
        {"Effect": "Allow", "Action": objects, "Resource": [f"{arn}/{pattern}" for pattern in patterns]},
        {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [arn], "Condition": listing},
    ]


def configure(directory: pathlib.Path, keys: Keys, signing_key: str, roles: dict[str, list[dict[str, Any]]]) -> None:
    """Write the configuration: the lab's own user, and the roles that it may assume with the statements of each."""
    user = {
        "name": "lab",
        "credentials": [{"accessKey": keys.access_key, "secretKey": keys.secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/lab"}, "Action": ["sts:AssumeRole"]}
    iam = {
        "sts": {"tokenDuration": "1h", "maxSessionLength": "12h", "issuer": "samefiles-lab", "signingKey": signing_key},
        "policy": {"defaultEffect": "Deny", "storeType": "memory"},
        "roles": [
            {
                "roleName": name,
                "roleArn": f"arn:aws:iam::{ACCOUNT}:role/{name}",
                "trustPolicy": {"Version": "2012-10-17", "Statement": [trust]},
                "attachedPolicies": [name],
            }
            for name in roles
        ],
        "policies": [
            {"name": name, "document": {"Version": "2012-10-17", "Statement": statements}}
            for name, statements in roles.items()
        ],
    }
    (directory / "s3.json").write_text(json.dumps({"identities": [user]}))
    (directory / "iam.json").write_text(json.dumps(iam))


def run(
    program: pathlib.Path, directory: pathlib.Path, data: pathlib.Path, ports: Sequence[int], options: list[str],
    environment: dict[str, str], log: IO[bytes] | None = None,
) -> subprocess.Popen[bytes]:  # fmt: skip
    """Start SeaweedFS with the configuration in a directory; only this machine, or container, reaches it.

    The ports are those of its master, volume server, filer and S3.
    """
    master, volume, filer, s3 = ports
    argv = [
        str(program), "-logtostderr", "server", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", "-master.peers=none",
        "-master.telemetry=false", "-volume.max=0", "-volume.preStopSeconds=0", "-filer.disableHttp",
        "-s3", f"-s3.port={s3}", f"-s3.config={directory}/s3.json", f"-s3.iam.config={directory}/iam.json",
        "-s3.allowedOrigins=https://none.invalid", "-s3.autoCreateBucket=false", "-s3.port.iceberg=0",
        "-s3.port.lance=0", *options,
    ]  # fmt: skip
    # one volume for a bucket instead of seven; a garbage collector that keeps memory small
    settings = {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1", "GOMEMLIMIT": "400MiB", "HOME": str(directory)}
    return subprocess.Popen(argv, env={**environment, **settings}, stdout=log, stderr=log)


def start(config: Settings) -> subprocess.Popen[bytes]:
    """Start the lab's, which has TLS and encrypts objects."""
    RUN.mkdir(mode=0o700, exist_ok=True)
    role = policy(config.bucket, config.prefixes, "s3:ListMultipartUploadParts")
    configure(RUN, config.keys, config.signing_key, {config.role: role})
    options = [
        f"-s3.port.https={SECURE}", f"-s3.cert.file={DIRECTORY}/s3.crt", f"-s3.key.file={DIRECTORY}/s3.key",
        "-master.volumeSizeLimitMB=1024", "-s3.allowDeleteBucketNotEmpty=false",
    ]  # fmt: skip
    environment = {**os.environ, "WEED_S3_SSE_KEK": config.encryption_key}
    return run(PROGRAM, RUN, DATA, (9333, 8080, 8888, PLAIN), options, environment)


@functools.cache
def _trust() -> ssl.SSLContext:
    """Made once, and without the system's CA certificates: reading them takes longer than a listing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def connect(secure: bool) -> http.client.HTTPConnection:
    """A connection to SeaweedFS in this container; it does not leave the container."""
    if not secure:
        return http.client.HTTPConnection("127.0.0.1", PLAIN, timeout=120)
    return http.client.HTTPSConnection("127.0.0.1", SECURE, timeout=120, context=_trust())


def ask(
    config: Settings, method: str, path: str, query: dict[str, str], body: bytes = b"", service: str = "s3"
) -> tuple[int, bytes]:
    """One request of the lab itself, signed; returns status and body."""
    host = f"127.0.0.1:{SECURE}"  # a bucket's policy may refuse whatever comes without TLS, this too
    payload = hashlib.sha256(body).hexdigest()
    headers = {"host": host, "x-amz-date": sigv4.stamp(int(time.time())), "x-amz-content-sha256": payload}
    if body:
        headers["content-type"] = "application/x-www-form-urlencoded"
    text = sigv4.query_text(query)
    signed = sigv4.sign(method, path, text, headers, payload, config.keys, config.region, service)
    connection = connect(True)
    try:
        connection.request(method, f"{path}?{text}" if text else path, body, {**headers, "Authorization": signed})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
