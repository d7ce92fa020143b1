"""Where credentials, region and endpoint are found, by botocore itself with its real providers."""

from __future__ import annotations

import datetime
import http.server
import json
import os
import threading

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._s3 import errors, objects, session

from tests.support.s3_server import Fault
from tests.support.s3_sync_runs import write

FIXED = {"access_key": "AKID", "secret_key": "hidden"}


def host(**options) -> str:
    """The host of a bucket's requests."""
    endpoint, _keys = session.resolve("site", {**FIXED, **options})
    return endpoint.header


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"region": "eu-central-1"}, "site.s3.eu-central-1.amazonaws.com"),
        ({"region": "eu-central-1", "addressing_style": "path"}, "s3.eu-central-1.amazonaws.com"),
        ({"region": "cn-north-1"}, "site.s3.cn-north-1.amazonaws.com.cn"),
        ({"region": "us-gov-west-1"}, "site.s3.us-gov-west-1.amazonaws.com"),
        ({"region": "eu-central-1", "use_dualstack_endpoint": True}, "site.s3.dualstack.eu-central-1.amazonaws.com"),
        ({"region": "us-east-2", "use_fips_endpoint": True}, "site.s3-fips.us-east-2.amazonaws.com"),
        ({"endpoint_url": "https://s3.example.com"}, "site.s3.example.com"),
        ({"endpoint_url": "http://10.0.0.1:9000"}, "10.0.0.1:9000"),
    ],
)
def test_the_endpoint(options, wanted):
    assert host(**options) == wanted


def test_the_endpoint_and_region_of_the_environment(monkeypatch):
    monkeypatch.setenv("AWS_REGION", "ap-south-1")
    assert host() == "site.s3.ap-south-1.amazonaws.com"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert host() == "127.0.0.1:1"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:2")
    assert host() == "127.0.0.1:2"
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    assert host() == "site.s3.ap-south-1.amazonaws.com"


@pytest.fixture
def configured(monkeypatch, tmp_path):
    """An AWS configuration with two profiles."""
    text = """[default]
region = eu-west-1
ca_bundle = ~/ca.pem
[profile other]
region = eu-west-2
services = mine
s3 =
  addressing_style = path
[services mine]
s3 =
  endpoint_url = https://s3.example.com
"""
    keys = "[default]\naws_access_key_id = A\naws_secret_access_key = a\n[other]\naws_access_key_id = B\naws_secret_access_key = b\n"
    write(tmp_path / "config", text.encode())
    write(tmp_path / "credentials", keys.encode())
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


def test_profiles(configured):
    endpoint, keys = session.resolve("site", {})
    assert (endpoint.header, keys().access_key) == ("site.s3.eu-west-1.amazonaws.com", "A")
    assert endpoint.ca_file == os.path.expanduser("~/ca.pem")
    endpoint, keys = session.resolve("site", {"profile": "other"})
    assert (endpoint.header, endpoint.base, endpoint.region) == ("s3.example.com", "/site/", "eu-west-2")
    assert tuple(keys()) == ("B", "b", None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "there are no credentials: give the host an instance role"),
        ({"access_key": "A"}, "access_key needs secret_key: give both"),
        ({"profile": "nobody"}, "the AWS configuration cannot be used|credentials cannot be had"),
        (FIXED, "there is no region: set region, or AWS_REGION"),
        ({**FIXED, "region": "eu-central-1", "endpoint_url": "ftp://x"}, "endpoint_url must be"),
    ],
)
def test_what_is_missing_is_one_sentence(options, said):
    with pytest.raises(errors.SessionError, match=said) as caught:
        session.resolve("site", options)
    assert "hidden" not in str(caught.value)


class Role(http.server.BaseHTTPRequestHandler):
    """The credentials of a container: new ones for each request, valid for SECONDS."""

    seconds = 2.0
    given = 0

    def do_GET(self) -> None:
        """Answer with credentials."""
        type(self).given += 1
        ends = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=self.seconds)
        credentials = {
            "AccessKeyId": f"AKID{self.given}", "SecretAccessKey": f"secret{self.given}", "Token": f"token{self.given}",
            "Expiration": ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }  # fmt: skip
        body = json.dumps(credentials).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words) -> None:
        """Say nothing."""


@pytest.fixture
def role(monkeypatch):
    """A role whose credentials are short-lived."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Role)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Role.given = 0
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{server.server_port}/role")
    yield Role
    server.shutdown()
    thread.join()
    server.server_close()


def test_credentials_of_a_role_are_renewed_while_it_runs(server, role):
    # 30 s are less than botocore's margin, so it renews them for each request; the double accepts only the newest
    role.seconds = 30.0
    endpoint, keys = session.resolve("bkt", {"endpoint_url": server.url, "region": "eu-central-1"})

    def newest(request) -> None:
        server.keys = {f"AKID{role.given}": (f"secret{role.given}", f"token{role.given}")}

    server.hook = newest
    bucket = objects.Bucket(endpoint, keys)
    for number in range(5):
        assert bucket.head(f"key-{number}") is None
    bucket.close()
    assert role.given >= 5
    assert bucket.request_counts == {"HEAD": 5}


def test_keys_that_the_server_calls_expired_are_asked_for_anew(server, role):
    role.seconds = 7200.0  # botocore sees no need to renew them
    endpoint, keys = session.resolve("bkt", {"endpoint_url": server.url, "region": "eu-central-1"})
    server.keys = {"AKID2": ("secret2", "token2")}
    server.faults.append(Fault("400", "LIST", value="ExpiredToken"))
    bucket = objects.Bucket(endpoint, keys)
    assert list(bucket.list("")) == []
    assert bucket.head("a") is None
    bucket.close()
    assert role.given == 2
