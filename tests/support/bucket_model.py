"""A bucket that refuses what S3 refuses, and what tests ask of the module bucket."""

from __future__ import annotations

from ansible_collections.samefiles.aws.plugins.module_utils._bucket import plan, policy, spec
from ansible_collections.samefiles.aws.plugins.module_utils._bucket.spec import SWITCHES, State
from ansible_collections.samefiles.aws.plugins.module_utils._bucket.steps import (
    CreateBucket,
    SetLifecycle,
    SetPolicy,
)

NAME = "example-site"
ARN = f"arn:aws:s3:::{NAME}"
OPTIONS = {
    "bucket": NAME, "create": False, "region": "eu-central-1", "key_prefix": "gallery", "public_prefix": "",
    "public_access_confirmed": False, "cors_origins": ["https://files.example.com"], "encryption": None, "kms_key_id": None,
    "versioning": True, "keep_deleted_days": 30,
}  # fmt: skip
OPEN = {"public_prefix": "public", "public_access_confirmed": True}
ALL_ON = dict.fromkeys(SWITCHES, True)


def wish(**more) -> spec.Wanted:
    """The usual wish, with other options."""
    return spec.wish({**OPTIONS, **more})


def statement(sid: str = "", **more) -> dict:
    """A statement that lets everybody read, unless something else is given."""
    named = {"Sid": sid} if sid else {}
    return {**named, "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"{ARN}/*", **more}


ROLE = {"AWS": "arn:aws:iam::111122223333:role/backup"}
UNMANAGED = [statement("Backup", Principal=ROLE), statement("", Effect="Deny", Action="s3:DeleteBucket", Resource=ARN)]
RULE = {"ID": "logs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 30}}
OTHER_SITE = {"ID": "other", "AllowedOrigins": ["https://other.example.com"], "AllowedMethods": ["GET"]}


def document(*statements: dict) -> dict:
    """A policy of these statements."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


class Bucket:
    """S3 as far as it matters here: what it refuses, and what is open to everybody after each request."""

    def __init__(self, state: State):
        self.state = state

    def do(self, step) -> None:
        """Carry a step out."""
        if isinstance(step, SetPolicy) and (self.state.block or {}).get("BlockPublicPolicy"):
            public = [item for item in step.policy["Statement"] if policy.is_public(item)]
            assert not public, "S3 takes no public policy while BlockPublicPolicy is on"
        if isinstance(step, SetLifecycle):
            assert {"Filter", "Prefix"} - {name for rule in step.rules for name in rule}, (
                "S3 takes no two forms at once"
            )
        if isinstance(step, CreateBucket):
            self.state = State(exists=True, ownership=spec.ENFORCED, block=ALL_ON)
        else:
            self.state = plan.after(self.state, [step])

    def exposed(self) -> set[str]:
        """Which statements let everybody in, and over what."""
        if (self.state.block or {}).get("RestrictPublicBuckets"):
            return set()
        every = policy.statements(self.state.policy)
        tls = policy.meaning(policy.tls_only(NAME, "aws"))
        ways = ["https"] if tls in map(policy.meaning, every) else ["http", "https"]
        return {f"{way} {policy.meaning(item)}" for item in every if policy.is_public(item) for way in ways}


def converge(wanted: spec.Wanted, state: State) -> tuple[State, list[str]]:
    """Carry the plan out; never is anything open that is not at the beginning or at the end."""
    bucket, before = Bucket(state), Bucket(state).exposed()
    steps, seen = plan.plan(wanted, state), []
    assert all(step.actions for step in steps)
    for step in steps:
        bucket.do(step)
        seen.append(bucket.exposed())
    for exposed in seen:
        assert exposed <= before | bucket.exposed()
        if not wanted.public_prefix:
            assert exposed <= before
    assert plan.plan(wanted, bucket.state) == []
    assert plan.unproved(wanted, state if state.exists else bucket.state, bucket.state) == ""
    assert spec.view(bucket.state) == spec.view(plan.after(state, steps))
    return bucket.state, [action for step in steps for action in step.actions]


def converged(**more) -> State:
    """A bucket as the usual wish, with other options, makes it."""
    return converge(wish(create=True, **more), State())[0]
