"""Instance metadata (a double of IMDSv2): who an instance is, and temporary credentials of its role, made by SeaweedFS's STS.

As on EC2: no token, no answer; a token lives as long as was asked for; the requester's address says which instance it is.
"""

from __future__ import annotations

import datetime
import http.server
import json
import re
import secrets
import threading
import time
import urllib.parse
from typing import TypedDict

from lab.store import settings, weed

ADDRESS = "169.254.169.254"
LIFE = 6 * 3600  # seconds, as EC2's; the SDKs ask again before the end
_RENEW_BEFORE = 3600  # seconds before the end
_TTL = "X-aws-ec2-metadata-token-ttl-seconds"


class _Kept(TypedDict):
    until: float
    shown: dict[str, str]


class Credentials:
    """The role's credentials for each instance, kept until an hour before they end."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.Lock()

    def of(self, instance: dict[str, str]) -> dict[str, str]:
        """As the metadata service shows them."""
        with self._lock:
            current = self._kept.get(instance["id"])
            if not current or current["until"] - time.time() < _RENEW_BEFORE:
                current = self._kept[instance["id"]] = self._make(instance["id"])
        return current["shown"]

    @staticmethod
    def _make(session: str) -> _Kept:
        config = settings.read()
        form = {
            "Action": "AssumeRole",
            "Version": "2011-06-15",
            "RoleArn": f"arn:aws:iam::{settings.ACCOUNT}:role/{config.role}",
            "RoleSessionName": session,
            "DurationSeconds": str(LIFE),
        }
        status, body = weed.ask(config, "POST", "/", {}, urllib.parse.urlencode(form).encode(), "sts")
        if status != 200:
            raise OSError(f"STS refuses the role: {status} {body[:300]!r}")
        answer = {
            name: _element(body.decode(), name)
            for name in ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
        }
        until = datetime.datetime.fromisoformat(answer["Expiration"].replace("Z", "+00:00"))
        now = datetime.datetime.now(datetime.timezone.utc)
        shown = {
            "Code": "Success",
            "LastUpdated": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "Type": "AWS-HMAC",
            "AccessKeyId": answer["AccessKeyId"],
            "SecretAccessKey": answer["SecretAccessKey"],
            "Token": answer["SessionToken"],
            "Expiration": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return {"until": until.timestamp(), "shown": shown}


def _element(text: str, name: str) -> str:
    match = re.search(f"<{name}>([^<]+)</{name}>", text)
    if match is None:
        raise ValueError(f"STS's answer has no {name}")
    return match.group(1)


def documents(config: settings.Settings, address: str) -> dict[str, str]:
    """The plain texts about one instance, by path."""
    instance = config.instances[address]
    identity = {
        "accountId": settings.ACCOUNT,
        "availabilityZone": instance["zone"],
        "instanceId": instance["id"],
        "privateIp": address,
        "region": config.region,
    }
    return {
        "meta-data/instance-id": instance["id"],
        "meta-data/local-ipv4": address,
        "meta-data/placement/availability-zone": instance["zone"],
        "meta-data/placement/region": config.region,
        "meta-data/tags/instance/Name": instance["name"],
        "dynamic/instance-identity/document": json.dumps(identity),
        "meta-data/iam/info": json.dumps({"Code": "Success", "InstanceProfileArn": f"arn:aws:iam::{settings.ACCOUNT}:instance-profile/{config.role}"}),
    }  # fmt: skip


class Metadata(http.server.BaseHTTPRequestHandler):
    """One connection to the metadata service."""

    protocol_version = "HTTP/1.1"
    tokens: dict[str, float] = {}
    credentials = Credentials()

    def log_message(self, *_words: object) -> None:
        """Nothing is logged."""

    def _say(self, status: int, text: str = "", **headers: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        """A token."""
        life = self.headers.get(_TTL, "")
        if self.path != "/latest/api/token":
            self._say(404)
        elif not (life.isdigit() and 1 <= int(life) <= 21600) or "X-Forwarded-For" in self.headers:
            self._say(400)
        else:
            token = secrets.token_urlsafe(40)
            self.tokens[token] = time.time() + int(life)
            self._say(200, token, X_aws_ec2_metadata_token_ttl_seconds=life)

    def do_GET(self) -> None:
        """A document, or the names below a path."""
        config = settings.read()
        address = self.client_address[0]
        path = self.path.partition("?")[0].removeprefix("/latest/").strip("/")
        if self.tokens.get(self.headers.get("X-aws-ec2-metadata-token", ""), 0) < time.time():
            self._say(401)
        elif address not in config.instances:
            self._say(404)
        else:
            self._document(config, address, path)

    def _document(self, config: settings.Settings, address: str, path: str) -> None:
        role = f"meta-data/iam/security-credentials/{config.role}"
        known = {**documents(config, address), role: ""}
        if path == role:
            try:
                self._say(200, json.dumps(self.credentials.of(config.instances[address]), indent=2))
            except OSError as fault:
                print(f"metadata: {fault}", flush=True)
                self._say(503)
        elif path in known:
            self._say(200, known[path])
        else:
            below = [name.removeprefix(f"{path}/").partition("/") for name in known if name.startswith(f"{path}/")]
            names = sorted({first + slash for first, slash, _rest in below})
            self._say(200 if names else 404, "\n".join(names))


def serve() -> None:
    """Answer until the program ends."""
    server = http.server.ThreadingHTTPServer((ADDRESS, 80), Metadata)
    server.daemon_threads = True
    server.serve_forever()
