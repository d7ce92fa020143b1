"""What SeaweedFS cannot show of the module bucket: KMS and Amazon's first region on moto, and what botocore sends."""

from __future__ import annotations

import os
import sys

import botocore.awsrequest
import botocore.session
import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._bucket import apply
from ansible_collections.samefiles.aws.plugins.module_utils._bucket.spec import BucketError
from ansible_collections.samefiles.aws.plugins.module_utils._bucket.steps import (
    SetLifecycle,
    SetPolicy,
    SetPublicAccessBlock,
)
from ansible_collections.samefiles.aws.plugins.modules import bucket as module
from botocore.exceptions import ClientError

DEFAULTS = {name: item.get("default") for name, item in module.ARGUMENTS.items()}
KEYS = {"access_key": "AKIDOUBLE", "secret_key": "of-nobody"}
KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"
RULE = {
    "ID": "a",
    "Status": "Enabled",
    "Filter": {"Prefix": ""},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2},
}


@pytest.fixture(autouse=True)
def no_environment(monkeypatch, tmp_path):
    """Nothing of the user's AWS settings counts."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


def client(answer):
    """A real client of botocore, whose requests get these answers (status, headers) instead of going anywhere."""
    made = botocore.session.Session().create_client(
        "s3",
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        endpoint_url="http://127.0.0.1:1",
    )

    class Nothing:
        def stream(self, *_words):
            return iter([b""])

    def send(request, **_words):
        status, headers = answer(request)
        return botocore.awsrequest.AWSResponse(request.url, status, headers, Nothing())

    made.meta.events.register("before-send.s3", send)
    return made


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_a_key_and_back(moto, region):
    def run(check=False, **more):
        name = f"example-{region}"
        return module.run(
            {**DEFAULTS, **KEYS, "bucket": name, "endpoint_url": moto, "region": region, "create": True, **more}, check
        )

    kms = {"encryption": "aws:kms", "kms_key_id": KEY}
    planned = run(check=True, **kms)
    assert f"encrypt new objects with aws:kms {KEY} and a bucket key (it was not set)" in planned["actions"]
    assert run(**kms)["actions"] == planned["actions"]
    assert run(**kms)["changed"] is False
    assert run()["changed"] is False
    assert run(encryption="AES256")["actions"] == [f"encrypt new objects with AES256 (it was aws:kms {KEY})"]
    assert run(versioning=False)["actions"] == ["keep no more versions of objects; those that exist stay"]
    opened = run(versioning=False, public_prefix="public", public_access_confirmed=True)
    assert [action.split()[0] for action in opened["actions"]] == ["add", "switch", "switch", "add"]
    assert len(run(versioning=False)["actions"]) == 3
    assert run(versioning=False)["changed"] is False


@pytest.mark.parametrize("least", ["varies_by_storage_class", ""])
def test_what_s3_keeps_beside_the_rules_is_read_and_sent(least):
    sent = []

    def answer(request):
        sent.append((request.method, dict(request.headers)))
        return 200, {apply.LEAST_TRANSITION: least} if request.method == "GET" and least else {}

    bucket = apply.BucketSettings(client(answer), "example-site")
    assert apply._header(bucket.ask("get_bucket_lifecycle_configuration"), apply.LEAST_TRANSITION) == least
    for _turn in range(2):
        bucket.do(SetLifecycle([RULE], least))
        value = sent[-1][1].get(apply.LEAST_TRANSITION, b"")
        assert (value.decode() if isinstance(value, bytes) else value) == least
    bucket.do(SetLifecycle([RULE], ""))
    assert apply.LEAST_TRANSITION not in sent[-1][1]


def test_without_botocore_the_way_out_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "botocore", None)
    monkeypatch.setitem(sys.modules, "botocore.exceptions", None)
    with pytest.raises(BucketError, match="^botocore is missing .*: install python3-botocore, or boto3 from PyPI$"):
        apply.connect({**DEFAULTS, **KEYS, "bucket": "example-site"})


def test_a_bucket_of_another_region_is_followed_there(monkeypatch):
    made = []

    def elsewhere(_options, endpoint, _keys):
        made.append(endpoint.region)
        right = endpoint.region == "eu-central-1"
        return client(lambda request: (200 if right else 400, {"x-amz-bucket-region": "eu-central-1"}))

    monkeypatch.setattr(apply, "client", elsewhere)
    _bucket, endpoint = apply.connect({**DEFAULTS, **KEYS, "bucket": "example-site", "region": "us-east-1"})
    assert made == ["us-east-1", "eu-central-1"]
    assert endpoint.host == "s3.eu-central-1.amazonaws.com"


@pytest.mark.parametrize(
    ("operation", "words", "said"),
    [
        ("put_bucket_cors", {"CORSConfiguration": {"CORSRules": []}}, "allow s3:PutBucketCORS to the role or user"),
        ("get_bucket_tagging", {}, "allow s3:GetBucketTagging to the role or user"),
        ("head_bucket", {}, "allow s3:ListBucket to the role or user"),
    ],
)
def test_a_leave_that_is_missing_is_named(operation, words, said):
    bucket = apply.BucketSettings(client(lambda _request: (403, {})), "example-site")
    with pytest.raises(BucketError, match=said):
        bucket.ask(operation, **words)


@pytest.mark.parametrize(
    ("region", "partition"),
    [("eu-central-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov"), ("lab", "aws")],
)
def test_the_partition_of_a_region(region, partition):
    assert apply.partition(region) == partition


def test_a_block_that_s3_does_not_know_everywhere_yet_is_waited_for(monkeypatch):
    now, refusals = [0.0], [403, 403, 200]
    bucket = apply.BucketSettings(
        client(lambda request: (refusals.pop(0) if "policy" in request.url else 200, {})),
        "example-site",
        pause=lambda seconds: now.__setitem__(0, now[0] + seconds),
        clock=lambda: now[0],
    )
    wanted = module.spec.wish(
        {**DEFAULTS, "bucket": "example-site", "public_prefix": "public", "public_access_confirmed": True}
    )
    named = wanted._replace(public_prefix="", closed_prefix="public", create=True)
    closed = module.plan.after(module.spec.State(), module.plan.plan(named, module.spec.State()))
    steps = module.plan.plan(wanted, closed)
    monkeypatch.setattr(bucket, "read", lambda: module.plan.after(closed, steps))
    assert len(bucket.apply(wanted, closed, steps)) == 3
    assert refusals == []
    assert now[0] == 1.5


@pytest.mark.parametrize(
    ("again", "said"),
    [(200, ["set the public-access block again"]), (403, [])],  # where nobody could, it is open
)
def test_a_policy_that_is_refused_leaves_a_true_account(again, said):
    blocks = [200, again]

    def answer(request):
        return (403 if "policy" in request.url else blocks.pop(0) if "publicAccessBlock" in request.url else 200), {}

    now = [0.0]
    bucket = apply.BucketSettings(
        client(answer), "example-site", pause=lambda seconds: now.__setitem__(0, now[0] + seconds), clock=lambda: now[0]
    )
    wanted = module.spec.wish(
        {**DEFAULTS, "bucket": "example-site", "public_prefix": "public", "public_access_confirmed": True}
    )
    named = wanted._replace(public_prefix="", closed_prefix="public", create=True)
    closed = module.plan.after(module.spec.State(), module.plan.plan(named, module.spec.State()))
    steps = module.plan.plan(wanted, closed)
    assert [type(step) for step in steps] == [SetPublicAccessBlock, SetPolicy]
    with pytest.raises(BucketError, match="allow s3:PutBucketPolicy") as caught:
        bucket.apply(wanted, closed, steps)
    assert list(caught.value.done) == [*steps[0].actions, *said]
    assert blocks == []


def test_a_block_that_was_not_lifted_is_not_set_again():
    sent = []
    bucket = apply.BucketSettings(
        client(lambda request: (sent.append(request.url) or 403, {})), "example-site", clock=lambda: 0.0
    )
    wanted = module.spec.wish({**DEFAULTS, "bucket": "example-site"})
    block = dict.fromkeys(module.spec.SWITCHES, True)
    state = module.spec.State(exists=True, block=block, ownership=module.spec.ENFORCED)
    with pytest.raises(BucketError) as caught:
        bucket.apply(wanted, state, module.plan.plan(wanted, state))
    assert caught.value.done == ()
    assert len(sent) == 1


def test_a_bucket_that_never_becomes_as_planned_is_reported(monkeypatch):
    now = [0.0]
    bucket = apply.BucketSettings(
        None, "example-site", pause=lambda seconds: now.__setitem__(0, now[0] + seconds), clock=lambda: now[0]
    )
    wanted = module.spec.wish({**DEFAULTS, "bucket": "example-site", "create": True})
    steps = module.plan.plan(wanted, module.spec.State())
    good = module.plan.after(module.spec.State(), steps)
    monkeypatch.setattr(bucket, "do", lambda step: None)
    late = iter([good._replace(versioning=""), good._replace(block=None), good])
    monkeypatch.setattr(bucket, "read", lambda: next(late))
    assert bucket.apply(wanted, good, steps) == [action for step in steps for action in step.actions]
    monkeypatch.setattr(bucket, "read", lambda: good._replace(versioning=""))
    with pytest.raises(BucketError, match="is not as it was set, there is still to keep the versions") as caught:
        bucket.apply(wanted, good, steps)
    assert list(caught.value.done) == [action for step in steps for action in step.actions]
    assert apply.SETTLE < now[0] < 2 * apply.SETTLE


OPEN = {"public_prefix": "public", "public_access_confirmed": True}
CLOSING = [
    "remove the policy's statement SamefilesPublicRead: nobody reads anything without credentials",
    "switch BlockPublicPolicy on",
    "switch RestrictPublicBuckets on",
]


@pytest.fixture
def site(moto, request, monkeypatch):
    """Runs the module on a bucket of this test; its words, what fails in the proof, and what S3 refuses to the client."""
    name = f"proved-{abs(hash(request.node.name))}"
    connect = apply.connect
    monkeypatch.setattr(apply, "SETTLE", 0.5)

    def run(proof=None, refused=(), **more):
        def prove(bucket, *_words):
            for method in refused:
                fault = {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}

                def refuse(method=method, fault=fault, **_words):
                    raise ClientError(fault, "".join(part.title() for part in method.split("_")))

                monkeypatch.setattr(bucket.client, method, refuse, raising=False)
            if proof:
                raise proof
            return ["proved"]

        monkeypatch.setattr(module.verify, "prove", prove)
        options = {"bucket": name, "endpoint_url": moto, "region": "eu-central-1", "create": True, "prove": True}
        return module.run({**DEFAULTS, **KEYS, **options, **more}, False)

    run.state = lambda: connect({**DEFAULTS, **KEYS, "bucket": name, "endpoint_url": moto, "region": "eu-central-1"})[
        0
    ].read()
    return run


def opened(state) -> list[str]:
    return [item["Resource"].rpartition(":::")[2].partition("/")[2] for item in state.policy["Statement"][1:]]


@pytest.mark.parametrize("new", [True, False])
def test_what_a_run_has_opened_is_closed_again_when_the_proof_fails(site, new):
    if not new:
        site()
    with pytest.raises(
        BucketError, match="^GET x got 403; public/, which this run has opened, is closed again$"
    ) as caught:
        site(BucketError("GET x got 403"), **OPEN)
    assert list(caught.value.done[-4:]) == [
        "add the policy's statement SamefilesPublicRead, which lets everybody read public/", *CLOSING
    ]  # fmt: skip
    state = site.state()
    assert (opened(state), set(state.block.values())) == ([], {True})
    assert site(**OPEN)["proof"] == ["proved"]
    assert opened(site.state()) == ["public/*"]


def test_what_was_open_before_stays_open_when_the_proof_fails(site):
    site(**OPEN)
    before = site.state()
    with pytest.raises(BucketError, match="^GET x got 403$") as caught:
        site(BucketError("GET x got 403"), **OPEN, versioning=False)
    assert list(caught.value.done) == ["keep no more versions of objects; those that exist stay"]
    assert site.state() == before._replace(versioning="Suspended")


def test_another_prefix_than_before_is_closed_again(site):
    site(**OPEN)
    with pytest.raises(BucketError, match="; p2/, which this run has opened, is closed again$"):
        site(BucketError("GET x got 403"), **{**OPEN, "public_prefix": "p2"})
    assert (opened(site.state()), set(site.state().block.values())) == ([], {True})


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), OSError("gone")])
def test_whatever_ends_the_proof_closes_it(site, fault):
    with pytest.raises(type(fault)):
        site(fault, **OPEN)
    assert (opened(site.state()), set(site.state().block.values())) == ([], {True})


@pytest.mark.parametrize(
    ("refused", "left", "block", "closing"),
    [
        (["put_bucket_policy"], ["public/*"], {True}, CLOSING[1:]),
        (["put_public_access_block"], [], {True, False}, CLOSING[:1]),
        (["put_bucket_policy", "put_public_access_block"], ["public/*"], {True, False}, []),
        (["get_bucket_policy"], ["public/*"], {True}, ["set the public-access block again"]),
    ],
)
def test_what_cannot_be_closed_again_is_reported(site, refused, left, block, closing):
    site()
    said = r"^GET x got 403; public/, which this run has opened, may still be open, for closing it again failed \(bucket .*\): run"
    with pytest.raises(BucketError, match=said) as caught:
        site(BucketError("GET x got 403"), refused, **OPEN)
    assert all("".join(part.title() for part in method.split("_")) in str(caught.value) for method in refused)
    assert list(caught.value.done[4:]) == closing
    assert (opened(site.state()), set(site.state().block.values())) == (left, block)


def test_what_is_opened_and_never_as_planned_is_closed_again(site, monkeypatch):
    site()
    monkeypatch.setattr(module.plan, "unproved", lambda *_words: "not as it was set")
    with pytest.raises(
        BucketError, match="^not as it was set; public/, which this run has opened, is closed again$"
    ) as caught:
        site(**OPEN)
    assert list(caught.value.done[-3:]) == CLOSING
    assert (opened(site.state()), set(site.state().block.values())) == ([], {True})
