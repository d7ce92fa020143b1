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
from typing import Any

from ansible_collections.samefiles.aws.plugins.module_utils._s3 import sigv4

from lab.store.settings import ACCOUNT, DATA, DIRECTORY, PLAIN, SECURE, Settings

RUN = pathlib.Path("/run/store")


def _configuration(config: Settings) -> tuple[dict[str, Any], dict[str, Any]]:
    """Identities, and the role that servers take with its policy."""
    credentials = [{"accessKey": config.access_key, "secretKey": config.secret_key}]
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identities = {"identities": [{"name": "lab", "credentials": credentials, "actions": actions}]}
    bucket = f"arn:aws:s3:::{config.bucket}"
    objects = [
        "s3:GetObject",
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:AbortMultipartUpload",
        "s3:ListMultipartUploadParts",
    ]
    patterns = [f"{prefix}*" for prefix in config.prefixes]
    policy = [
        {"Effect": "Allow", "Action": objects, "Resource": [f"{bucket}/{pattern}" for pattern in patterns]},
        {
            "Effect": "Allow",
            "Action": ["s3:ListBucket"],
            "Resource": [bucket],
            "Condition": {"StringLike": {"s3:prefix": patterns}},
        },
    ]
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/lab"}, "Action": ["sts:AssumeRole"]}
    role = {
        "roleName": config.role,
        "roleArn": f"arn:aws:iam::{ACCOUNT}:role/{config.role}",
        "trustPolicy": {"Version": "2012-10-17", "Statement": [trust]},
        "attachedPolicies": [config.role],
    }
    sts = {
        "tokenDuration": "1h",
        "maxSessionLength": "12h",
        "issuer": "samefiles-lab",
        "signingKey": config.signing_key,
    }
    document = {"Version": "2012-10-17", "Statement": policy}
    return identities, {
        "sts": sts,
        "policy": {"defaultEffect": "Deny", "storeType": "memory"},
        "roles": [role],
        "policies": [{"name": config.role, "document": document}],
    }


def start(config: Settings) -> subprocess.Popen[bytes]:
    """Start SeaweedFS; only this container reaches it."""
    RUN.mkdir(mode=0o700, exist_ok=True)
    for name, content in zip(("s3.json", "iam.json"), _configuration(config)):
        (RUN / name).write_text(json.dumps(content))
    argv = [
        "/usr/local/bin/weed", "-logtostderr", "server", f"-dir={DATA}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        "-master.port=9333", "-volume.port=8080", "-filer.port=8888", "-master.peers=none", "-master.telemetry=false",
        "-master.volumeSizeLimitMB=1024", "-volume.max=0", "-volume.preStopSeconds=0", "-filer.disableHttp",
        "-s3", f"-s3.port={PLAIN}", f"-s3.port.https={SECURE}", f"-s3.cert.file={DIRECTORY}/s3.crt", f"-s3.key.file={DIRECTORY}/s3.key",
        f"-s3.config={RUN}/s3.json", f"-s3.iam.config={RUN}/iam.json", "-s3.allowedOrigins=https://none.invalid",
        "-s3.autoCreateBucket=false", "-s3.allowDeleteBucketNotEmpty=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
    ]  # fmt: skip
    # one volume for a bucket instead of seven; a garbage collector that keeps memory small
    settings = {
        "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1",
        "WEED_S3_SSE_KEK": config.encryption_key,
        "GOMEMLIMIT": "400MiB",
        "HOME": str(RUN),
    }
    return subprocess.Popen(argv, env={**os.environ, **settings})


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
