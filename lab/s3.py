"""S3 of a lab, seen from the machine: its container, its settings, its bucket, and what points tools at it."""

from __future__ import annotations

import base64
import json
import pathlib
import secrets
import sys
import time

import boto3
import botocore.config
import botocore.exceptions

from lab import engine, parts
from lab.aws import ACCESS_KEY, SECRET_KEY
from lab.daemons import code
from lab.identity import write
from lab.progress import step
from lab.settings import REGION, ROOT, Lab, LabError

ROLE = "samefiles-web"
PREFIXES = ["hosts/", "gallery/"]
"""What the servers' role may use of the bucket: files of the hosts themselves, and the site's."""
WEED = pathlib.Path(sys.executable).with_name("weed")
DEADLINE = 60  # seconds; SeaweedFS starts in 2-4


def _settings(lab: Lab, instances: dict[str, dict]) -> None:
    """Write the store's settings; its keys are made once."""
    path = lab.state / "s3/store.json"
    there = json.loads(path.read_text()) if path.exists() else {}
    told = {
        "region": REGION,
        "bucket": lab.bucket,
        "prefixes": PREFIXES,
        "role": ROLE,
        "access_key": ACCESS_KEY,
        "secret_key": SECRET_KEY,
        "signing_key": there.get("signing_key") or base64.b64encode(secrets.token_bytes(32)).decode(),
        "encryption_key": there.get("encryption_key") or secrets.token_hex(32),
        "instances": instances,
    }
    write(path, json.dumps(told, indent=2) + "\n", 0o600)
    for name in ("s3.pem", "s3.crt", "s3.key"):
        write(lab.state / "s3" / name, (lab.state / "tls" / name).read_bytes(), 0o600)


def store(lab: Lab, instances: dict[str, dict], image: str) -> None:
    """S3 and instance metadata, running; instances are {"id", "zone", "name"} by address."""
    if not WEED.exists():
        raise LabError(f"{WEED} is missing: `rm -r .venv` and `make lab` install it anew")
    _settings(lab, instances)
    name = f"{lab.prefix}-s3"
    if not engine.inspect("volume", name):
        engine.docker("volume", "create", *parts.label(lab), name)
    arguments = [
        *parts.on_network(lab, lab.s3_address, "s3"), "--init", "--cap-add", "NET_ADMIN", "--workdir", "/src",
        "--volume", f"{name}:/data", "--volume", f"{lab.state / 's3'}:/s3:ro", "--volume", f"{WEED}:/usr/local/bin/weed:ro",
        "--volume", f"{ROOT}:/src:ro", "--env", "PYTHONPATH=/src/.ansible/collections",
        "--env", "PYTHONDONTWRITEBYTECODE=1", "--env", f"S3_ADDRESS={lab.s3_address}",
        "--label", f"samefiles.{code()}", "--label", f"samefiles.certificate={parts.fingerprint(lab.state / 's3/s3.pem')}", "--entrypoint", "/usr/bin/python3",
    ]  # fmt: skip
    started = engine.ensure_container(name, arguments, image, ["-m", "lab.store"])
    with step("starting S3" if started else "asking S3"):
        bucket(lab)


def client(lab: Lab):
    """A client of the lab's S3, over TLS."""
    session = boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name=REGION)
    settings = botocore.config.Config(retries={"max_attempts": 1}, connect_timeout=5, read_timeout=30)
    return session.client("s3", endpoint_url=lab.s3_endpoint, verify=str(lab.state / "tls/ca.pem"), config=settings)


def _wait(lab: Lab, s3) -> set[str]:
    """Wait until S3 answers; the buckets that are there."""
    until = time.monotonic() + DEADLINE
    while True:
        try:
            return {item["Name"] for item in s3.list_buckets()["Buckets"]}
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as fault:
            if time.monotonic() > until:
                raise LabError(
                    f"S3 does not answer after {DEADLINE} s ({fault}); see `docker logs {lab.prefix}-s3`"
                ) from None
            time.sleep(0.3)


def policy(bucket_name: str) -> dict:
    """Nobody gets anything that is not encrypted on its way."""
    arn = f"arn:aws:s3:::{bucket_name}"
    deny = {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, f"{arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return {"Version": "2012-10-17", "Statement": [deny]}


def bucket(lab: Lab) -> None:
    """The lab's bucket: closed to the public, its owner's alone, versioned, encrypted, over TLS only."""
    s3, name = client(lab), lab.bucket
    if name not in _wait(lab, s3):
        place = {"LocationConstraint": REGION}
        s3.create_bucket(Bucket=name, CreateBucketConfiguration=place, ObjectOwnership="BucketOwnerEnforced")
    closed = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
    s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=closed)
    s3.put_bucket_ownership_controls(
        Bucket=name, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    )
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    encrypted = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration=encrypted)
    cors = {
        "AllowedOrigins": [lab.site_url],
        "AllowedMethods": ["GET", "HEAD", "PUT"],
        "AllowedHeaders": ["*"],
        "ExposeHeaders": ["ETag"],
        "MaxAgeSeconds": 3000,
    }
    s3.put_bucket_cors(Bucket=name, CORSConfiguration={"CORSRules": [cors]})
    stale = {
        "ID": "stale-uploads",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2},
    }
    s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": [stale]})
    s3.put_bucket_policy(Bucket=name, Policy=json.dumps(policy(name)))
