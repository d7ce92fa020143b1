"""Requests to S3 of a lab: with other credentials, and with none."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request

import boto3
from botocore.config import Config

from lab.settings import REGION


def session(lab, keys: dict, endpoint: str = ""):
    """A client with other credentials."""
    return boto3.session.Session(
        keys["AccessKeyId"], keys["SecretAccessKey"], keys.get("Token"), region_name=REGION
    ).client(
        "s3", endpoint_url=endpoint or lab.s3_endpoint, verify=str(lab.state / "tls/ca.pem"),
        config=Config(retries={"max_attempts": 1}),
    )  # fmt: skip


def trust(lab) -> ssl.SSLContext:
    """What the lab's own certificates are checked against."""
    return ssl.create_default_context(cafile=lab.state / "tls/ca.pem")


def anonymous(lab, path: str, method: str = "GET") -> int:
    try:
        request = urllib.request.Request(
            f"{lab.s3_endpoint}/{path}", method=method, data=b"x" if method == "PUT" else None
        )
        return urllib.request.urlopen(request, context=trust(lab), timeout=10).status
    except urllib.error.HTTPError as fault:
        return fault.code
