"""S3 of the lab: what SeaweedFS gets wrong is corrected, what AWS refuses is refused, and nothing is lost by a kill."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import subprocess
import time
import urllib.error
import urllib.request

import pytest
from botocore.exceptions import ClientError

from lab import containers, engine, images, s3
from lab.settings import REGION
from tests.support.lab_s3 import anonymous, session, trust

KEYS = ["a b", "a.txt", "a/b", "a/c/d", "a0", "b", "b/", "ü +%&<>\"'.txt", "zz/1", "zz/2"]
ORDER = sorted(KEYS, key=str.encode)


@contextlib.contextmanager
def refused(code: str):
    """The error that AWS gives."""
    with pytest.raises(ClientError) as caught:
        yield
    assert caught.value.response["Error"]["Code"] == code


@pytest.fixture
def bucket(client):
    """An empty bucket with versions, for one test."""
    client.create_bucket(Bucket="for-tests", CreateBucketConfiguration={"LocationConstraint": REGION})
    client.put_bucket_versioning(Bucket="for-tests", VersioningConfiguration={"Status": "Enabled"})
    yield "for-tests"
    pages = client.get_paginator("list_object_versions").paginate(Bucket="for-tests")
    for page in pages:
        for item in page.get("Versions", []) + page.get("DeleteMarkers", []):
            client.delete_object(Bucket="for-tests", Key=item["Key"], VersionId=item["VersionId"])
    client.delete_bucket(Bucket="for-tests")


@pytest.mark.parametrize("page", [1, 2, 3, 1000])
@pytest.mark.parametrize("operation", ["list_objects", "list_objects_v2"])
def test_listings_are_in_the_order_of_keys(client, bucket, page, operation):
    for key in KEYS:
        client.put_object(Bucket=bucket, Key=key, Body=b"x" * (key != "b/"))
    pages = client.get_paginator(operation).paginate(Bucket=bucket, PaginationConfig={"PageSize": page})
    assert [item["Key"] for answer in pages for item in answer.get("Contents", [])] == ORDER
    pages = client.get_paginator(operation).paginate(Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": page})
    entries = [
        (item.get("Key"), item.get("Prefix"))
        for answer in pages
        for item in answer.get("Contents", []) + answer.get("CommonPrefixes", [])
    ]
    assert sorted(key for key, _ in entries if key) == [key for key in ORDER if "/" not in key]
    assert [prefix for _, prefix in entries if prefix] == ["a/", "b/", "zz/"]
    pages = client.get_paginator(operation).paginate(Bucket=bucket, Prefix="a/", PaginationConfig={"PageSize": page})
    assert [item["Key"] for answer in pages for item in answer.get("Contents", [])] == ["a/b", "a/c/d"]


def test_more_keys_than_a_page_in_a_bucket_with_versions(client, bucket):
    import concurrent.futures

    wanted = [f"{number % 7}/{number:05}" for number in range(2300)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: client.put_object(Bucket=bucket, Key=key, Body=b"x"), wanted))
    pages = list(client.get_paginator("list_objects_v2").paginate(Bucket=bucket))
    assert [len(page["Contents"]) for page in pages] == [1000, 1000, 300]
    assert [item["Key"] for page in pages for item in page["Contents"]] == sorted(wanted)
    page = client.list_objects_v2(Bucket=bucket, StartAfter="6/02", MaxKeys=2)
    assert [item["Key"] for item in page["Contents"]] == [key for key in sorted(wanted) if key > "6/02"][:2]


def test_a_listing_needs_a_right_signature(lab, bucket):
    with refused("SignatureDoesNotMatch"):
        session(lab, {"AccessKeyId": "LABACCESSKEY", "SecretAccessKey": "wrong"}).list_objects_v2(Bucket=bucket)
    with refused("InvalidAccessKeyId"):
        session(lab, {"AccessKeyId": "NOBODY", "SecretAccessKey": "wrong"}).get_public_access_block(Bucket=bucket)
    with refused("NoSuchBucket"):
        s3.client(lab).list_objects_v2(Bucket="no-such-bucket")


def test_the_site_s_bucket(lab, client):
    name = lab.bucket
    block = client.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]
    assert set(block.values()) == {True}
    assert len(block) == 4
    owner = client.get_bucket_ownership_controls(Bucket=name)["OwnershipControls"]["Rules"][0]
    assert owner == {"ObjectOwnership": "BucketOwnerEnforced"}
    assert client.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
    rule = client.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert client.get_bucket_cors(Bucket=name)["CORSRules"][0]["AllowedOrigins"] == [lab.site_url]
    rules = client.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
    incoming, stale, deleted, *public = rules
    assert (incoming["Filter"], incoming["Expiration"]) == ({"Prefix": "gallery/incoming/"}, {"Days": 1})
    assert stale["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 2}
    # the lab opens nothing; where the playbook's test has opened a prefix, that stays
    assert [rule["Filter"] for rule in (deleted, *public)] == [{"Prefix": "gallery/"}, {"Prefix": "public/"}][
        : len(rules) - 2
    ]
    assert {rule["NoncurrentVersionExpiration"]["NoncurrentDays"] for rule in (deleted, *public)} == {30}
    assert client.get_bucket_location(Bucket=name)["LocationConstraint"] == REGION


def test_without_tls_the_site_s_bucket_is_closed(lab, client):
    client.put_object(Bucket=lab.bucket, Key="hosts/tls", Body=b"x")
    keys = {"AccessKeyId": s3.ACCESS_KEY, "SecretAccessKey": s3.SECRET_KEY}
    plain = session(lab, keys, f"http://{lab.s3_address}")
    with refused("AccessDenied"):
        plain.get_object(Bucket=lab.bucket, Key="hosts/tls")
    with refused("AccessDenied"):
        plain.put_object(Bucket=lab.bucket, Key="hosts/tls", Body=b"y")
    with refused("AccessDenied"):
        plain.list_objects_v2(Bucket=lab.bucket, Prefix="hosts/")
    assert session(lab, keys).get_object(Bucket=lab.bucket, Key="hosts/tls")["Body"].read() == b"x"


def test_public_access_needs_the_block_taken_away(lab, client, bucket):
    public = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": "*",
                "Action": "s3:GetObject",
                "Resource": f"arn:aws:s3:::{bucket}/public/*",
            }
        ],
    }
    client.put_object(Bucket=bucket, Key="public/a", Body=b"a")
    client.put_object(Bucket=bucket, Key="private/a", Body=b"a")
    with refused("AccessDenied"):
        client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(public))
    assert anonymous(lab, f"{bucket}/public/a") == 403
    client.delete_public_access_block(Bucket=bucket)
    with refused("NoSuchPublicAccessBlockConfiguration"):
        client.get_public_access_block(Bucket=bucket)
    client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(public))
    assert anonymous(lab, f"{bucket}/public/a") == 200
    for path, method in (("private/a", "GET"), ("", "GET"), ("public/b", "PUT"), ("public/a", "DELETE")):
        assert anonymous(lab, f"{bucket}/{path}", method) == 403, (path, method)
    closed = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
    client.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=closed)
    assert anonymous(lab, f"{bucket}/public/a") == 403
    client.delete_bucket_policy(Bucket=bucket)


def test_no_acl_is_taken(client, bucket):
    with refused("AccessControlListNotSupported"):
        client.put_object(Bucket=bucket, Key="a", Body=b"a", ACL="public-read")
    client.put_object(Bucket=bucket, Key="a", Body=b"a", ACL="bucket-owner-full-control")
    with refused("AccessControlListNotSupported"):
        client.put_object_acl(Bucket=bucket, Key="a", ACL="public-read")


@pytest.mark.parametrize("key", ["a//b", "/a", "a\\b", "a.versions/b"])
def test_a_key_that_it_would_rewrite_is_refused(client, bucket, key):
    client.put_object(Bucket=bucket, Key="a/b", Body=b"keep me")
    with refused("InvalidArgument"):
        client.put_object(Bucket=bucket, Key=key, Body=b"x")
    with refused("InvalidArgument"):
        client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}]})
    assert client.get_object(Bucket=bucket, Key="a/b")["Body"].read() == b"keep me"


def test_what_it_does_not_have_harms_nothing(client, bucket):
    with refused("NotImplemented"):
        client.delete_bucket_website(Bucket=bucket)
    with refused("NotImplemented"):
        client.put_bucket_website(Bucket="never-made", WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}})
    assert bucket in {item["Name"] for item in client.list_buckets()["Buckets"]}
    assert "never-made" not in {item["Name"] for item in client.list_buckets()["Buckets"]}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x-amz-copy-source", "for-tests/secret"),
        ("x-amz-meta-a", "b"),
        ("x-amz-tagging", "a=b"),
        ("x-amz-acl", "public-read"),
    ],
)
def test_a_header_that_an_address_has_not_signed_is_refused(lab, client, bucket, name, text):
    """The front takes copies another way; who has an address for one upload must not read other objects by it."""
    client.put_object(Bucket=bucket, Key="secret", Body=b"a secret")
    url = client.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "a"})
    request = urllib.request.Request(url, method="PUT", data=b"x", headers={name: text, "Content-Type": ""})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, context=trust(lab), timeout=10)
    caught.value.close()
    assert caught.value.code == (400 if name == "x-amz-acl" else 403)
    assert [item["Key"] for item in client.list_objects_v2(Bucket=bucket)["Contents"]] == ["secret"]


def test_a_copy_has_its_etag_in_quotes(client, bucket):
    etag = client.put_object(Bucket=bucket, Key="a", Body=b"a")["ETag"]
    copied = client.copy_object(Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "a"})
    assert copied["CopyObjectResult"]["ETag"] == etag


def metadata(lab) -> dict:
    """What a server asks its metadata service, from the server's own address."""
    script = """
import json, urllib.error, urllib.request
base = "http://169.254.169.254/latest/"
def ask(path, method="GET", **headers):
    request = urllib.request.Request(base + path, method=method, headers={k.replace("_", "-"): v for k, v in headers.items()})
    try:
        return urllib.request.urlopen(request, timeout=10).read().decode()
    except urllib.error.HTTPError as fault:
        return fault.code
token = ask("api/token", "PUT", X_aws_ec2_metadata_token_ttl_seconds="60")
known = {"X_aws_ec2_metadata_token": token}
role = ask("meta-data/iam/security-credentials/", **known)
print(json.dumps({
    "without": ask("meta-data/instance-id"), "wrong": ask("meta-data/instance-id", X_aws_ec2_metadata_token="x"),
    "no ttl": ask("api/token", "PUT"), "id": ask("meta-data/instance-id", **known), "role": role,
    "region": ask("meta-data/placement/region", **known), "nothing": ask("meta-data/nothing", **known),
    "document": json.loads(ask("dynamic/instance-identity/document", **known)),
    "credentials": json.loads(ask("meta-data/iam/security-credentials/" + role, **known)),
}))
"""
    shell = 'ip route replace 169.254.169.254 dev eth0 && exec python3 -c "$SCRIPT"'
    reported = engine.docker(
        "run", "--rm", *containers.on_network(lab, lab.server(1).address, "web-01"), "--name", f"{lab.prefix}-web-01",
        "--cap-add", "NET_ADMIN", "--env", f"SCRIPT={script}", "--entrypoint", "/bin/sh", images.tag("efs"), "-c", shell,
    )  # fmt: skip
    return json.loads(reported)


def test_metadata_is_for_those_with_a_token(lab):
    reported = metadata(lab)
    assert (reported["without"], reported["wrong"], reported["no ttl"], reported["nothing"]) == (401, 401, 400, 404)
    assert (reported["id"], reported["region"], reported["role"]) == ("i-0123456789abcdef0", REGION, s3.ROLE)
    assert reported["document"]["instanceId"] == reported["id"]
    assert reported["credentials"]["Code"] == "Success"


def test_the_role_opens_its_prefixes_and_nothing_else(lab, client, bucket):
    client.put_object(Bucket=lab.bucket, Key="other/secret", Body=b"x")
    client.put_object(Bucket=bucket, Key="hosts/a", Body=b"x")
    server = session(lab, metadata(lab)["credentials"])
    server.put_object(Bucket=lab.bucket, Key="hosts/web-01/a", Body=b"mine", IfNoneMatch="*")
    assert server.get_object(Bucket=lab.bucket, Key="hosts/web-01/a")["Body"].read() == b"mine"
    listed = server.list_objects_v2(Bucket=lab.bucket, Prefix="hosts/web-01/")
    assert [item["Key"] for item in listed["Contents"]] == ["hosts/web-01/a"]
    server.delete_object(Bucket=lab.bucket, Key="hosts/web-01/a")
    for call, words in (
        ("get_object", {"Key": "other/secret"}),
        ("put_object", {"Key": "other/new", "Body": b"x"}),
        ("delete_object", {"Key": "other/secret"}),
        ("list_objects_v2", {}),
        ("list_objects_v2", {"Prefix": "other/"}),
        ("get_bucket_policy", {}),
    ):
        with refused("AccessDenied"):
            getattr(server, call)(Bucket=lab.bucket, **words)
    with refused("AccessDenied"):
        server.get_object(Bucket=bucket, Key="hosts/a")


def test_an_expired_token_is_reported_as_by_aws(lab):
    keys = metadata(lab)["credentials"]
    head, body, _ = keys["Token"].split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    claims["exp"] = int(time.time()) - 5
    text = f"{head}.{base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b'=').decode()}"
    secret = base64.b64decode(json.loads((lab.state / "s3/store.json").read_text())["signing_key"])
    sign = base64.urlsafe_b64encode(hmac.new(secret, text.encode(), hashlib.sha256).digest()).rstrip(b"=").decode()
    with refused("ExpiredToken"):
        session(lab, {**keys, "Token": f"{text}.{sign}"}).list_objects_v2(Bucket=lab.bucket, Prefix="hosts/")


def test_a_kill_loses_nothing(lab, client):
    data = {f"kill/{number}": hashlib.shake_256(b"%d" % number).digest(200_000) for number in range(20)}
    name = f"{lab.prefix}-s3"

    def whole() -> bool:
        try:
            return all(
                client.get_object(Bucket=lab.bucket, Key=key)["Body"].read() == body for key, body in data.items()
            )
        except Exception:
            return False

    def back() -> None:
        until = time.monotonic() + 60
        while not whole():
            assert time.monotonic() < until, "objects are missing"
            time.sleep(0.5)

    for key, body in data.items():
        client.put_object(Bucket=lab.bucket, Key=key, Body=body)
    kill = 'for place in /proc/[0-9]*; do [ "$(cat $place/comm)" != weed ] || kill -9 ${place#/proc/}; done'
    engine.docker("exec", name, "sh", "-c", kill)
    back()
    engine.docker("kill", name)
    engine.docker("start", name)
    back()
    block = client.get_public_access_block(Bucket=lab.bucket)["PublicAccessBlockConfiguration"]
    assert set(block.values()) == {True}
    assert (
        json.loads(client.get_bucket_policy(Bucket=lab.bucket)["Policy"])["Statement"][0]["Sid"] == "SamefilesTlsOnly"
    )


def test_the_lab_s_credentials_are_in_no_log_of_it(lab):
    credentials = metadata(lab)["credentials"]
    log = subprocess.run(["docker", "logs", f"{lab.prefix}-s3"], capture_output=True, text=True, check=True)
    secrets = [
        credentials["SecretAccessKey"],
        credentials["Token"],
        s3.SECRET_KEY,
        json.loads((lab.state / "s3/store.json").read_text())["signing_key"],
    ]
    assert [word for word in secrets if word in log.stdout + log.stderr] == []
