"""S3 of a lab, seen from the machine: its container, its settings, its bucket, and what points tools at it."""

from __future__ import annotations

import base64
import json
import pathlib
import secrets
import sys
import time
from typing import Any

import boto3
import botocore.config
import botocore.exceptions
from ansible_collections.samefiles.aws.plugins.module_utils._bucket import apply, plan, spec

from lab import containers, engine
from lab.aws import ACCESS_KEY, SECRET_KEY
from lab.daemons import code
from lab.identity import write
from lab.progress import step
from lab.settings import REGION, ROOT, Lab, LabError

ROLE = "samefiles-web"
KEY_PREFIX = "gallery"
PREFIXES = ["hosts/", f"{KEY_PREFIX}/", "public/"]
"""What the servers' role may use of the bucket: files of the hosts themselves, the site's, and its published ones."""
WEED = pathlib.Path(sys.executable).with_name("weed")
TIMEOUT = 60  # seconds; SeaweedFS starts in 2-4


def _settings(lab: Lab, instances: dict[str, dict[str, str]]) -> None:
    """Write the store's settings; its keys are made once."""
    path = lab.state / "s3/store.json"
    existing = json.loads(path.read_text()) if path.exists() else {}
    settings = {
        "region": REGION,
        "bucket": lab.bucket,
        "prefixes": PREFIXES,
        "role": ROLE,
        "access_key": ACCESS_KEY,
        "secret_key": SECRET_KEY,
        "signing_key": existing.get("signing_key") or base64.b64encode(secrets.token_bytes(32)).decode(),
        "encryption_key": existing.get("encryption_key") or secrets.token_hex(32),
        "instances": instances,
    }
    write(path, json.dumps(settings, indent=2) + "\n", 0o600)
    for name in ("s3.pem", "s3.crt", "s3.key"):
        write(lab.state / "s3" / name, (lab.state / "tls" / name).read_bytes(), 0o600)


def store(lab: Lab, instances: dict[str, dict[str, str]], image: str) -> None:
    """S3 and instance metadata, running; instances are {"id", "zone", "name"} by address."""
    if not WEED.exists():
        raise LabError(f"{WEED} is missing: `rm -r .venv` and `make lab` reinstall it")
    _settings(lab, instances)
    name = f"{lab.prefix}-s3"
    if not engine.inspect("volume", name):
        engine.docker("volume", "create", *containers.label(lab), name)
    arguments = [
        *containers.on_network(lab, lab.s3_address, "s3"), "--init", "--cap-add", "NET_ADMIN", "--workdir", "/src",
        "--volume", f"{name}:/data", "--volume", f"{lab.state / 's3'}:/s3:ro", "--volume", f"{WEED}:/usr/local/bin/weed:ro",
        "--volume", f"{ROOT}:/src:ro", "--env", "PYTHONPATH=/src/.ansible/collections",
        "--env", "PYTHONDONTWRITEBYTECODE=1", "--env", f"S3_ADDRESS={lab.s3_address}",
        "--label", f"samefiles.{code()}",
        "--label", f"samefiles.certificate={containers.fingerprint(lab.state / 's3/s3.pem')}",
        "--entrypoint", "/usr/bin/python3",
    ]  # fmt: skip
    started = engine.ensure_container(name, arguments, image, ["-m", "lab.store"])
    with step("starting S3" if started else "asking S3"):
        bucket(lab)


def client(lab: Lab) -> Any:
    """A client of the lab's S3, over TLS."""
    session = boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name=REGION)
    settings = botocore.config.Config(retries={"max_attempts": 1}, connect_timeout=5, read_timeout=30)
    return session.client("s3", endpoint_url=lab.s3_endpoint, verify=str(lab.state / "tls/ca.pem"), config=settings)


def _wait(lab: Lab, s3: Any) -> set[str]:
    """Wait until S3 answers; returns the names of its buckets."""
    until = time.monotonic() + TIMEOUT
    while True:
        try:
            return {item["Name"] for item in s3.list_buckets()["Buckets"]}
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as fault:
            if time.monotonic() > until:
                raise LabError(
                    f"S3 does not answer after {TIMEOUT} s ({fault}); see `docker logs {lab.prefix}-s3`"
                ) from None
            time.sleep(0.3)


def bucket(lab: Lab) -> None:
    """The lab's bucket, by the code of the module samefiles.aws.bucket, which then finds nothing to change.

    A prefix that playbooks/bucket.yml has opened stays open: that is the user's decision, not the lab's.
    """
    s3 = client(lab)
    _wait(lab, s3)
    settings = apply.BucketSettings(s3, lab.bucket)
    try:
        state = settings.read()
        public = spec.open_prefix(lab.bucket, state)
        options = {
            "bucket": lab.bucket,
            "create": True,
            "region": REGION,
            "key_prefix": KEY_PREFIX,
            "public_prefix": public,
            "public_access_confirmed": bool(public),
            "cors_origins": [lab.site_url],
            "encryption": "AES256",
            "kms_key_id": "",
            "versioning": True,
            "keep_deleted_days": 30,
        }
        wanted = spec.wish(options)
        steps = plan.plan(wanted, state)
        if steps:
            settings.apply(wanted, state, steps)
    except spec.BucketError as fault:
        raise LabError(str(fault)) from None
    finally:
        s3.close()
