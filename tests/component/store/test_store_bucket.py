"""The module bucket and playbooks/bucket.yml against S3 of the lab; what is open is judged by requests of our own."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._bucket import apply, spec, verify
from ansible_collections.samefiles.aws.plugins.module_utils._bucket.spec import BucketError
from ansible_collections.samefiles.aws.plugins.modules import bucket as module
from botocore.exceptions import ClientError

from lab import s3
from lab.settings import REGION
from tests.support import ROOT
from tests.support.lab_s3 import anonymous, session

NAME = "bucket-tests"
OPEN = {"public_prefix": "public", "public_access_confirmed": True}
DEFAULTS = {name: item.get("default") for name, item in module.ARGUMENTS.items()}
UNMANAGED = {
    "Sid": "Backup", "Effect": "Deny", "Principal": {"AWS": "arn:aws:iam::000000000000:user/x"}, "Action": "s3:GetObject",
    "Resource": f"arn:aws:s3:::{NAME}/*",
}  # fmt: skip
PUBLIC = {
    "Sid": "Old",
    "Effect": "Allow",
    "Principal": "*",
    "Action": "s3:GetObject",
    "Resource": f"arn:aws:s3:::{NAME}/old/*",
}
NEW = [
    f"make the bucket {NAME} in {REGION}, its owner's alone",
    "add the policy's statement SamefilesTlsOnly, which refuses whatever comes without TLS",
    *[f"switch {name} on" for name in spec.SWITCHES],
    "encrypt new objects with AES256 (it was not set)",
    "keep the versions of objects that are replaced or deleted",
    "add the lifecycle rule samefiles-incoming, which removes what lies in gallery/incoming/ after 1 day",
    "add the lifecycle rule samefiles-stale-uploads, which removes uploads in parts that were not ended after 2 days",
    "add the lifecycle rule samefiles-deleted, which removes what was deleted in gallery/ for good after 30 days",
    "add the CORS rule samefiles-browser, for pages of https://files.example.com",
]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    """Nothing of the user's AWS settings counts."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(apply, "SETTLE", 2.0)


def options(lab, **more) -> dict:
    return {
        **DEFAULTS, "bucket": NAME, "region": REGION, "endpoint_url": lab.s3_endpoint, "access_key": s3.ACCESS_KEY,
        "secret_key": s3.SECRET_KEY, "aws_ca_bundle": str(lab.state / "tls/ca.pem"),
        "cors_origins": ["https://files.example.com"], **more,
    }  # fmt: skip


def run(lab, check: bool = False, **more) -> dict:
    return module.run(options(lab, **more), check)


def remove(client, name: str = NAME) -> None:
    """Remove a bucket with everything in it."""
    for page in client.get_paginator("list_object_versions").paginate(Bucket=name):
        for item in page.get("Versions", []) + page.get("DeleteMarkers", []):
            client.delete_object(Bucket=name, Key=item["Key"], VersionId=item["VersionId"])
    client.delete_bucket(Bucket=name)


@pytest.fixture
def gone(client):
    """There is no such bucket, before and after."""

    def ensure():
        if NAME in {item["Name"] for item in client.list_buckets()["Buckets"]}:
            client.delete_public_access_block(Bucket=NAME)  # the lab's front keeps it by name
            client.delete_bucket_policy(Bucket=NAME)
            remove(client)

    ensure()
    yield
    ensure()


@pytest.fixture
def ready(lab, gone):
    """The bucket, as the module makes it."""
    run(lab, create=True)


def anybody(lab, path: str, method: str = "GET") -> tuple[int, int]:
    """What a request without credentials gets over TLS, and at the endpoint for browsers."""
    import urllib.error
    import urllib.request

    data = b"x" if method == "PUT" else None
    try:
        request = urllib.request.Request(f"{lab.s3_browser_endpoint}/{NAME}/{path}", data=data, method=method)
        plain = urllib.request.urlopen(request, timeout=10).status
    except urllib.error.HTTPError as fault:
        plain = fault.code
    return anonymous(lab, f"{NAME}/{path}", method), plain


def test_a_new_bucket(lab, client, gone):
    with pytest.raises(BucketError, match="does not exist: fix its name, or set create: true"):
        run(lab)
    planned = run(lab, check=True, create=True, prove=True)
    assert (planned["changed"], planned["actions"], planned["proof"]) == (True, NEW, [])
    with pytest.raises(ClientError):
        client.head_bucket(Bucket=NAME)
    done = run(lab, create=True, prove=True)
    assert (done["actions"], done["diff"]) == (planned["actions"], planned["diff"])
    assert "nobody reads what lies below gallery/" in done["proof"]
    for check in (False, True):
        again = run(lab, check=check, create=True)
        assert (again["changed"], again["actions"]) == (False, [])
        assert again["diff"]["before"] == again["diff"]["after"]
    assert client.list_object_versions(Bucket=NAME).get("Versions") is None


BREAKS = {
    "block": (
        lambda client: client.delete_public_access_block(Bucket=NAME),
        [f"switch {name} on" for name in spec.SWITCHES],
    ),
    "ownership": (
        lambda client: client.put_bucket_ownership_controls(
            Bucket=NAME, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
        ),
        ["give the bucket's owner every object, and switch ACLs off (it was ObjectWriter)"],
    ),
    "policy": (lambda client: client.delete_bucket_policy(Bucket=NAME), [NEW[1]]),
    "versioning": (
        lambda client: client.put_bucket_versioning(Bucket=NAME, VersioningConfiguration={"Status": "Suspended"}),
        ["keep the versions of objects that are replaced or deleted"],
    ),
    "lifecycle": (lambda client: client.delete_bucket_lifecycle(Bucket=NAME), NEW[8:11]),
    "cors": (lambda client: client.delete_bucket_cors(Bucket=NAME), [NEW[11]]),
    "encryption": (
        lambda client: client.delete_bucket_encryption(Bucket=NAME),
        ["encrypt new objects with AES256 (it was not set)"],
    ),
}


def test_each_drift_is_fixed_with_its_sentence(lab, client, ready):
    for break_it, said in BREAKS.values():
        break_it(client)
        assert run(lab, check=True)["actions"] == said
        assert run(lab, check=True)["actions"] == said, "check mode has changed something"
        assert run(lab)["actions"] == said
        assert run(lab)["changed"] is False


def test_what_is_unmanaged_stays(lab, client, gone):
    client.create_bucket(Bucket=NAME, CreateBucketConfiguration={"LocationConstraint": REGION})
    client.put_bucket_policy(Bucket=NAME, Policy=json.dumps({"Version": "2012-10-17", "Statement": [UNMANAGED]}))
    rule = {"ID": "logs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 30}}
    client.put_bucket_lifecycle_configuration(Bucket=NAME, LifecycleConfiguration={"Rules": [rule]})
    other = {
        "ID": "other",
        "AllowedOrigins": ["https://other.example.com"],
        "AllowedMethods": ["GET"],
        "MaxAgeSeconds": 5,
    }
    client.put_bucket_cors(Bucket=NAME, CORSConfiguration={"CORSRules": [other]})
    for wanted in ({}, OPEN, {"cors_origins": []}, {}):
        run(lab, **wanted)
        assert json.loads(client.get_bucket_policy(Bucket=NAME)["Policy"])["Statement"][0] == UNMANAGED
        assert client.get_bucket_lifecycle_configuration(Bucket=NAME)["Rules"][0] == rule
        assert client.get_bucket_cors(Bucket=NAME)["CORSRules"][0] == other
    assert len(client.get_bucket_cors(Bucket=NAME)["CORSRules"]) == 2


def test_the_second_switch_opens_one_prefix_and_nothing_else(lab, client, ready):
    for key in ("public/a", "gallery/files/a", "public2/a"):
        client.put_object(Bucket=NAME, Key=key, Body=b"a")
    refused = [
        ("gallery/files/a", "GET"), ("gallery/files/a", "HEAD"), ("public2/a", "GET"), ("", "GET"), ("?list-type=2&prefix=public/", "GET"),
        ("?versions", "GET"), ("?policy", "GET"), ("public/b", "PUT"), ("public/a", "PUT"), ("public/a", "DELETE"), ("gallery/b", "PUT"),
        # as AWS does for those who may not list
        ("public/missing", "GET"), ("public/missing", "HEAD"), ("gallery/missing", "GET"),
    ]  # fmt: skip
    result = run(lab, public_prefix="public", prove=True)
    assert [action.split(",")[0] for action in result["actions"]] == ["add the lifecycle rule samefiles-deleted-public"]
    assert result["public_prefix"] == ""
    assert "nobody reads what lies below public/" in result["proof"]
    assert anybody(lab, "public/a") == (403, 403)
    result = run(lab, prove=True, browser_endpoint_url=lab.s3_browser_endpoint, **OPEN)
    assert result["public_prefix"] == "public"
    assert result["proof"][0] == "everybody reads what lies below public/"
    assert anybody(lab, "public/a") == (200, 200)
    assert anybody(lab, "public/a", "HEAD") == (200, 200)
    for path, method in refused:
        assert anybody(lab, path, method) == (403, 403), (path, method)
    assert anonymous(lab, f"{NAME}/public/a") == 200
    assert run(lab, **OPEN)["changed"] is False
    run(lab, prove=True, public_prefix="public")
    for path, method in [("public/a", "GET"), *refused]:
        assert anybody(lab, path, method) == (403, 403), (path, method)
    assert client.get_object(Bucket=NAME, Key="public/a")["Body"].read() == b"a"


def test_plain_http_is_refused_where_servers_ask(lab, client, ready):
    client.put_object(Bucket=NAME, Key="public/a", Body=b"a")
    run(lab, **OPEN)
    plain = subprocess.run(
        ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"http://{lab.s3_address}/{NAME}/public/a"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert plain.stdout == "403"


def test_a_browser_uploads_with_a_signed_request_at_its_own_endpoint(lab, client, ready):
    import urllib.error
    import urllib.request

    keys = {"AccessKeyId": s3.ACCESS_KEY, "SecretAccessKey": s3.SECRET_KEY}
    browser = session(lab, keys, lab.s3_browser_endpoint)
    words = {
        "ContentType": "image/png",
        "CacheControl": "private",
        "ContentDisposition": "attachment",
        "IfNoneMatch": "*",
    }
    url = browser.generate_presigned_url(
        "put_object", {"Bucket": NAME, "Key": "gallery/incoming/a", "ContentLength": 1, **words}
    )
    headers = {
        "Content-Type": "image/png",
        "Cache-Control": "private",
        "Content-Disposition": "attachment",
        "If-None-Match": "*",
    }
    origin = {"Origin": "https://files.example.com"}

    def ask(method: str, headers: dict, data: bytes | None = None):
        try:
            return urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=10)
        except urllib.error.HTTPError as fault:
            return fault

    def allowed(asked: list[str], origin: dict) -> list[str]:
        wanted = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": ",".join(asked)}
        received = ask("OPTIONS", {**origin, **wanted}).headers
        return sorted(received.get("Access-Control-Allow-Headers", "").split(", "))

    assert allowed(list(spec.UPLOAD_HEADERS), origin) == sorted(spec.UPLOAD_HEADERS)
    assert allowed(["x-amz-acl"], origin) == [""]
    assert allowed(["content-type"], {"Origin": "https://evil.example.com"}) == [""]
    answer = ask("PUT", {**headers, **origin}, b"a")
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "https://files.example.com"
    assert "ETag" in answer.headers["Access-Control-Expose-Headers"]
    assert ask("PUT", {**headers, **origin}, b"a").status == 412
    browser.close()


def test_a_bucket_that_would_open_more_is_not_opened(lab, client, ready):
    client.delete_public_access_block(Bucket=NAME)
    current = json.loads(client.get_bucket_policy(Bucket=NAME)["Policy"])["Statement"]
    client.put_bucket_policy(Bucket=NAME, Policy=json.dumps({"Version": "2012-10-17", "Statement": [*current, PUBLIC]}))
    with pytest.raises(BucketError, match=r"another public statement \(Old\), which would be open as well"):
        run(lab, **OPEN)
    result = run(lab)
    assert result["actions"] == [f"switch {name} on" for name in spec.SWITCHES]
    client.put_object(Bucket=NAME, Key="old/a", Body=b"a")
    assert anybody(lab, "old/a") == (403, 403)


def test_an_own_statement_that_is_too_wide_is_fixed(lab, client, ready):
    run(lab, **OPEN)
    policy = json.loads(client.get_bucket_policy(Bucket=NAME)["Policy"])
    policy["Statement"][1]["Resource"] = f"arn:aws:s3:::{NAME}/*"
    client.put_bucket_policy(Bucket=NAME, Policy=json.dumps(policy))
    client.put_object(Bucket=NAME, Key="gallery/files/a", Body=b"a")
    assert anybody(lab, "gallery/files/a") == (200, 200)
    assert run(lab, **OPEN)["actions"] == [
        "fix the policy's statement SamefilesPublicRead, which lets everybody read public/"
    ]
    assert anybody(lab, "gallery/files/a") == (403, 403)


def test_the_proof_can_fail(lab, client, ready, monkeypatch):
    monkeypatch.setattr(verify, "TIMEOUT", 0.1)
    bucket, endpoint = apply.connect(options(lab))
    wish = spec.wish(options(lab, **OPEN))
    with pytest.raises(BucketError, match="without credentials got 403 and should be answered"):
        verify.prove(bucket, endpoint, wish, wait=0.1)
    client.delete_public_access_block(Bucket=NAME)
    client.put_bucket_policy(
        Bucket=NAME, Policy=json.dumps({"Version": "2012-10-17", "Statement": [{**PUBLIC, "Action": "s3:*", "Resource": PUBLIC["Resource"][:-5] + "*"}]})
    )  # fmt: skip
    with pytest.raises(BucketError, match="without credentials got 200 and should be refused"):
        verify.prove(bucket, endpoint, spec.wish(options(lab)), wait=0.1)
    assert client.list_object_versions(Bucket=NAME).get("Versions") is None


def test_a_policy_that_s3_refuses_leaves_the_bucket_closed(lab, client, ready, monkeypatch):
    refused = {
        "Error": {"Code": "AccessDenied", "Message": "public policies are prevented by the BlockPublicPolicy setting"}
    }
    refused["ResponseMetadata"] = {"HTTPStatusCode": 403}
    connect = apply.connect

    def account_blocks(given):
        bucket, endpoint = connect(given)

        def refuse(**_words):
            raise ClientError(refused, "PutBucketPolicy")

        monkeypatch.setattr(bucket.client, "put_bucket_policy", refuse, raising=False)
        return bucket, endpoint

    monkeypatch.setattr(apply, "connect", account_blocks)
    with pytest.raises(
        BucketError, match="the public-access block of the account, or of its organization, forbids it"
    ) as caught:
        run(lab, **OPEN)
    assert [action.split()[0] for action in caught.value.done] == ["add", "switch", "switch", "set"]
    assert set(client.get_public_access_block(Bucket=NAME)["PublicAccessBlockConfiguration"].values()) == {True}


def test_a_stack_s_bucket_is_refused(lab, client, ready):
    tag = {"Key": "aws:cloudformation:stack-name", "Value": "shared-storage"}
    client.put_bucket_tagging(Bucket=NAME, Tagging={"TagSet": [tag]})
    client.delete_bucket_cors(Bucket=NAME)
    with pytest.raises(BucketError, match="belongs to the CloudFormation stack shared-storage"):
        run(lab)
    with pytest.raises(ClientError):
        client.get_bucket_cors(Bucket=NAME)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"secret_key": "wrong"}, "403"),
        ({"endpoint_url": "https://127.0.0.1:9"}, "Could not connect"),
        ({"aws_ca_bundle": None}, "CERTIFICATE_VERIFY_FAILED"),
        ({"bucket": "No_Bucket"}, "bucket must be 3-63 of"),
        ({"browser_endpoint_url": "s3.example.com"}, "browser_endpoint_url must be http:// or https://"),
        ({"public_access_confirmed": True}, "there is no public_prefix"),
    ],
)
def test_what_fails_is_one_sentence(lab, client, more, said):
    with pytest.raises(BucketError, match=re.escape(said)) as caught:
        run(lab, **more)
    assert "\n" not in str(caught.value)
    assert caught.value.done == ()


def play(lab, tmp_path, *flags: str, **more) -> dict:
    """Run playbooks/bucket.yml for two servers; the module's result, and what the user sees."""
    from lab import aws

    aws.environment(lab)
    variables = {
        "ansible_become": True, "webapp_bucket": lab.bucket, "webapp_region": REGION, "webapp_endpoint_url": lab.s3_endpoint,
        "webapp_browser_endpoint_url": lab.s3_browser_endpoint, "site_url": f"{lab.site_url}/", "bucket_profile": "default",
        "bucket_environment": {
            "AWS_CONFIG_FILE": str(lab.state / "aws.ini"), "AWS_SHARED_CREDENTIALS_FILE": str(lab.state / "credentials.ini"),
            "AWS_CA_BUNDLE": str(lab.state / "tls/ca.pem"),
        }, **more,
    }  # fmt: skip
    hosts = {"web-01": {}, "web-02": {}}
    (tmp_path / "hosts.yml").write_text(json.dumps({"web": {"hosts": hosts, "vars": variables}}))
    environment = {
        "HOME": str(tmp_path), "PATH": os.environ["PATH"], "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml", "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible/collections"), "AWS_ACCESS_KEY_ID": "not", "AWS_SECRET_ACCESS_KEY": "these",
    }  # fmt: skip
    program = pathlib.Path(sys.executable).parent / "ansible-playbook"
    argv = [program, "-i", tmp_path / "hosts.yml", ROOT / "playbooks/bucket.yml", *flags]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, env=environment, cwd=tmp_path)
    text = done.stdout + done.stderr
    assert s3.SECRET_KEY not in text
    return {"code": done.returncode, "text": text, "changed": "changed=1" in text}


def test_the_playbook_reports_the_truth_and_the_lab_keeps_what_it_opened(lab, client, tmp_path):
    same = play(lab, tmp_path, "--check", "--diff")
    assert (same["code"], same["changed"]) == (0, False), same["text"]
    assert play(lab, tmp_path)["changed"] is False
    public = {"webapp_public_prefix": "public", "webapp_public_access_confirmed": True}
    planned = play(lab, tmp_path, "--check", "--diff", **public)
    assert planned["changed"]
    assert "add the policy's statement SamefilesPublicRead" in planned["text"]
    assert "+    -   Action: s3:GetObject" in planned["text"]
    done = play(lab, tmp_path, **public)
    assert (done["code"], done["changed"]) == (0, True), done["text"]
    assert "everybody reads what lies below public/" in done["text"]
    s3.bucket(lab)
    assert play(lab, tmp_path, **public)["changed"] is False
    assert play(lab, tmp_path)["changed"]
    assert play(lab, tmp_path)["changed"] is False


def test_what_the_playbook_refuses(lab, tmp_path):
    none = play(lab, tmp_path, webapp_bucket="")
    assert none["code"] != 0
    assert "so nothing can be set up" in none["text"]
