"""SeaweedFS as S3 with a role: temporary credentials of least privilege, as the lab's servers have them."""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import hmac
import http.server
import itertools
import json
import os
import pathlib
import shutil
import socket
import sys
import tempfile
import threading
import time

import boto3
from ansible_collections.samefiles.aws.plugins.module_utils._s3.endpoint import Keys
from botocore.config import Config

from lab.store.settings import ACCOUNT
from lab.store.weed import configure, policy, run

WEED = pathlib.Path(sys.executable).with_name("weed")
REGION, BUCKET = "eu-central-1", "bkt"
KEY, SECRET = "labkey000", "labsecret000"
_SIGNING = b"a key that signs session tokens."


def free_ports(count: int) -> list[int]:
    """Unused ports; weed puts its gRPC ports 10,000 above."""
    ports: list[int] = []
    for port in range(22000, 30000, 11):
        with contextlib.suppress(OSError):
            for number in (port, port + 10000):
                socket.create_server(("127.0.0.1", number)).close()
            ports.append(port)
        if len(ports) == count:
            break
    return ports


def _unpadded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Weed:
    """A running SeaweedFS with one bucket."""

    def __init__(self) -> None:
        self._directory = pathlib.Path(tempfile.mkdtemp(prefix="samefiles-weed-"))
        directory = self._directory
        needed = policy(BUCKET, ["gallery/", "public/"])
        bucket = f"arn:aws:s3:::{BUCKET}"
        more = {"Effect": "Allow", "Action": ["s3:ListBucketMultipartUploads"], "Resource": [bucket]}
        roles = {"web": needed, "tidy": [*needed, more]}
        configure(directory, Keys(KEY, SECRET), base64.b64encode(_SIGNING).decode(), roles)
        ports = free_ports(4)
        self.port = ports[-1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = (directory / "log").open("wb")
        options = ["-master.volumeSizeLimitMB=256"]
        self._process = run(WEED, directory, directory, ports, options, {"PATH": "/usr/bin:/bin"}, self._log)
        self._numbers = itertools.count(1)
        self._clients: list = []
        self.client = self.with_keys({"AccessKeyId": KEY, "SecretAccessKey": SECRET})
        self._sts = self._session({"AccessKeyId": KEY, "SecretAccessKey": SECRET}).client("sts", endpoint_url=self.url)
        self._wait()

    def _wait(self) -> None:
        until = time.monotonic() + 60
        while True:
            try:
                self.client.create_bucket(Bucket=BUCKET)
                break
            except Exception:
                log = (self._directory / "log").read_text()[-2000:]
                assert self._process.poll() is None, log
                assert time.monotonic() < until, log
                time.sleep(0.25)
        self.client.create_bucket(Bucket="other")
        self.client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})

    def end(self) -> None:
        """End it at once: SIGTERM takes 16 s."""
        for client in (*self._clients, self._sts):
            client.close()
        self._process.kill()
        self._process.wait()
        self._log.close()
        shutil.rmtree(self._directory)

    @staticmethod
    def _session(keys: dict) -> boto3.session.Session:
        credentials = keys["AccessKeyId"], keys["SecretAccessKey"], keys.get("SessionToken")
        return boto3.session.Session(*credentials, region_name=REGION)

    def with_keys(self, keys: dict):
        """boto3 with some credentials."""
        config = Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"})
        self._clients.append(self._session(keys).client("s3", endpoint_url=self.url, config=config))
        return self._clients[-1]

    def prefix(self) -> str:
        """An unused key prefix."""
        return f"gallery/{next(self._numbers)}"

    def role(self, life: int = 900, name: str = "web") -> dict:
        """Temporary credentials of the servers' role. Lifetimes shorter than STS permits are made by signing the token again.

        web: what gallery needs at least; tidy: also permits listing multipart uploads.
        """
        arn = f"arn:aws:iam::{ACCOUNT}:role/{name}"
        keys = self._sts.assume_role(RoleArn=arn, RoleSessionName="web-01", DurationSeconds=max(900, life))[
            "Credentials"
        ]
        if life >= 900:
            return keys
        head, body, _signature = keys["SessionToken"].split(".")
        claims = json.loads(base64.urlsafe_b64decode(body + "=="))
        claims["exp"] = int(time.time()) + life
        text = f"{head}.{_unpadded(json.dumps(claims).encode())}"
        signature = _unpadded(hmac.new(_SIGNING, text.encode(), hashlib.sha256).digest())
        end = datetime.datetime.fromtimestamp(claims["exp"], datetime.timezone.utc)
        return {**keys, "SessionToken": f"{text}.{signature}", "Expiration": end}

    def keys(self, prefix: str) -> list[str]:
        """The keys of all objects below a prefix."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def unfinished(self, prefix: str) -> list:
        """The multipart uploads that are in progress."""
        return self.client.list_multipart_uploads(Bucket=BUCKET, Prefix=prefix).get("Uploads", [])

    def settings(self, **more: str) -> dict[str, str]:
        """The settings with which gallery uses it; with a prefix of its own unless one is given."""
        settings = {"STORAGE": "s3", "BUCKET": BUCKET, "REGION": REGION, "ENDPOINT_URL": self.url}
        return {**settings, "KEY_PREFIX": more.pop("KEY_PREFIX", None) or self.prefix(), **more}


def environment(keys: dict) -> dict[str, str]:
    """Credentials as a process gets them in its environment."""
    variables = {"AWS_ACCESS_KEY_ID": keys["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"]}
    if keys.get("SessionToken"):
        variables["AWS_SESSION_TOKEN"] = keys["SessionToken"]
    return {**variables, "AWS_EC2_METADATA_DISABLED": "true"}


class Provider:
    """The endpoint of a container's credentials; it returns new ones after half of their lifetime."""

    def __init__(self, weed: Weed, life: int) -> None:
        self._weed, self._life, self._lock = weed, life, threading.Lock()
        self.given: list[dict] = []
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps(provider.now()).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_words) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/credentials"

    def now(self) -> dict:
        """The current credentials, as the endpoint returns them."""
        with self._lock:
            now = datetime.datetime.now(datetime.timezone.utc)
            if not self.given or (self.given[-1]["Expiration"] - now).total_seconds() < self._life / 2:
                self.given.append(self._weed.role(self._life))
            keys = self.given[-1]
        end = keys["Expiration"].astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        pair = {name: keys[name] for name in ("AccessKeyId", "SecretAccessKey")}
        return {**pair, "Token": keys["SessionToken"], "Expiration": end}

    def environment(self) -> dict[str, str]:
        """What a process needs to find it."""
        return {"AWS_CONTAINER_CREDENTIALS_FULL_URI": self.url, "AWS_EC2_METADATA_DISABLED": "true"}

    def end(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()


def forget_aws(monkeypatch) -> None:
    """Remove this machine's own AWS settings."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
