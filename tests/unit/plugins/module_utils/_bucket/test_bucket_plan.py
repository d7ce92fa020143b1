"""Buckets: state and wishes in, steps out. Every plan is carried out on a model that refuses what S3 refuses."""

from __future__ import annotations

import json
import random

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._bucket import plan, policy, spec
from ansible_collections.samefiles.aws.plugins.module_utils._bucket.spec import SWITCHES, BucketError, State
from ansible_collections.samefiles.aws.plugins.module_utils._bucket.steps import (
    SetCors,
    SetEncryption,
    SetLifecycle,
    SetPolicy,
    SetPublicAccessBlock,
    SetVersioning,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.bucket_model import (
    ALL_ON,
    ARN,
    NAME,
    OPEN,
    OTHER_SITE,
    ROLE,
    RULE,
    UNMANAGED,
    Bucket,
    converge,
    converged,
    document,
    statement,
    wish,
)


def test_a_prefix_that_is_not_confirmed_is_closed():
    wanted = wish(public_prefix="public/")
    assert (wanted.public_prefix, wanted.closed_prefix) == ("", "public")
    assert converge(wanted, converged(public_prefix="public"))[1] == []
    assert wish(key_prefix="gallery/").key_prefix == "gallery"
    assert wish(public_prefix="gallery2", public_access_confirmed=True).public_prefix == "gallery2"


def test_what_was_deleted_is_kept_as_long_as_is_asked_for():
    assert wish().keep_deleted_days == 30
    with pytest.raises(BucketError, match="keep_deleted_days must be a number of days, 0 for no end, got -1"):
        wish(keep_deleted_days=-1)
    shorter, actions = converge(wish(keep_deleted_days=7), converged())
    assert actions == [
        "fix the lifecycle rule samefiles-deleted, which removes what was deleted in gallery/ for good after 7 days"
    ]
    kept, actions = converge(wish(keep_deleted_days=0), shorter)
    assert actions == ["remove the lifecycle rule samefiles-deleted"]
    assert [rule["ID"] for rule in kept.lifecycle] == ["samefiles-incoming", "samefiles-stale-uploads"]


# Buckets that are not changed.


@pytest.mark.parametrize(
    ("state", "options", "said"),
    [
        (State(), {}, "does not exist: fix its name, or set create: true"),
        (State(exists=True, stack="shared-storage"), {}, "belongs to the CloudFormation stack shared-storage"),
        (State(exists=True, policy=document(statement("Old"))), OPEN, r"another public statement \(Old\)"),
        (State(exists=True, policy=document(statement())), OPEN, r"another public statement \(without a Sid\)"),
        (State(exists=True, block=ALL_ON, policy=document(statement("Old"))), {}, "S3 takes no policy while"),
    ],
)
def test_what_is_not_ours_to_change(state, options, said):
    with pytest.raises(BucketError, match=said):
        plan.plan(wish(**options), state)


# One thing broken on a converged bucket, and the sentence of the run that fixes it.

CLOSED = {
    "block": (None, "switch BlockPublicAcls on; switch IgnorePublicAcls on; switch BlockPublicPolicy on; switch RestrictPublicBuckets on"),
    "one switch": ({"block": {**ALL_ON, "IgnorePublicAcls": False}}, "switch IgnorePublicAcls on"),
    "ownership": ({"ownership": "ObjectWriter"}, "give the bucket's owner every object, and switch ACLs off (it was ObjectWriter)"),
    "no policy": ({"policy": None}, "add the policy's statement SamefilesTlsOnly, which refuses whatever comes without TLS"),
    "other policy": (
        {"policy": document(statement("SamefilesTlsOnly", Effect="Deny", Principal=ROLE))},
        "fix the policy's statement SamefilesTlsOnly, which refuses whatever comes without TLS",
    ),
    "cors": ({"cors": ()}, "add the CORS rule samefiles-browser, for pages of https://files.example.com"),
    "cors of another": (
        {"cors": (OTHER_SITE, {"ID": "samefiles-browser", "AllowedOrigins": ["*"], "AllowedMethods": ["GET"]})},
        "fix the CORS rule samefiles-browser, for pages of https://files.example.com",
    ),
    "lifecycle": (
        {"lifecycle": (RULE,)},
        "add the lifecycle rule samefiles-incoming, which removes what lies in gallery/incoming/ after 1 day; "
        "add the lifecycle rule samefiles-stale-uploads, which removes uploads in parts that were not ended after 2 days; "
        "add the lifecycle rule samefiles-deleted, which removes what was deleted in gallery/ for good after 30 days",
    ),
    "encryption": ({"encryption": {}}, "encrypt new objects with AES256 (it was not set)"),
    "versioning": ({"versioning": "Suspended"}, "keep the versions of objects that are replaced or deleted"),
}  # fmt: skip


@pytest.mark.parametrize("name", CLOSED)
def test_each_difference_is_fixed_with_its_sentence(name):
    broken, said = CLOSED[name]
    good = converged()
    state = good._replace(**({"block": None} if broken is None else broken))
    fixed, actions = converge(wish(), state)
    assert "; ".join(actions) == said
    assert plan.unproved(wish(), fixed, state) != ""


def test_a_new_bucket_closed_and_open():
    for more in ({}, OPEN):
        state, actions = converge(wish(create=True, **more), State())
        assert actions[0] == "make the bucket example-site in eu-central-1, its owner's alone"
        assert state.block == {**ALL_ON, **dict.fromkeys(SWITCHES[2:], not more)}


def test_the_second_switch_and_back():
    opened, actions = converge(wish(**OPEN), converged())
    assert actions == [
        "add the lifecycle rule samefiles-deleted-public, which removes what was deleted in public/ for good after 30 days",
        "switch BlockPublicPolicy off, so that public/ can be opened",
        "switch RestrictPublicBuckets off, so that public/ can be opened",
        "add the policy's statement SamefilesPublicRead, which lets everybody read public/",
    ]
    assert opened.policy["Statement"][1]["Resource"] == f"{ARN}/public/*"
    assert spec.open_prefix(NAME, opened) == "public"
    steps = plan.plan(wish(), opened)
    assert [type(step) for step in steps] == [SetPolicy, SetPublicAccessBlock]
    closed, actions = converge(wish(), opened)
    assert actions[0] == "remove the policy's statement SamefilesPublicRead: nobody reads anything without credentials"
    assert closed == converged()._replace(lifecycle=opened.lifecycle)
    moved, actions = converge(wish(public_prefix="p2", public_access_confirmed=True), opened)
    assert actions == [
        "fix the lifecycle rule samefiles-deleted-public, which removes what was deleted in p2/ for good after 30 days",
        "fix the policy's statement SamefilesPublicRead, which lets everybody read p2/",
    ]
    assert spec.open_prefix(NAME, moved) == "p2"


def test_closing_comes_first_and_opening_last():
    opened = converged(**OPEN)._replace(versioning="", encryption={}, cors=())
    made = [type(step) for step in plan.plan(wish(), opened)]
    assert made == [SetPolicy, SetPublicAccessBlock, SetEncryption, SetVersioning, SetCors]
    closed = converged()._replace(versioning="", encryption={}, cors=())
    made = [type(step) for step in plan.plan(wish(**OPEN), closed)]
    assert made == [SetEncryption, SetVersioning, SetLifecycle, SetCors, SetPublicAccessBlock, SetPolicy]


def test_a_wider_statement_behind_the_block_is_never_let_out():
    state = converged(public_prefix=OPEN["public_prefix"])
    wide = document(*state.policy["Statement"], statement("SamefilesPublicRead"))
    steps = plan.plan(wish(**OPEN), state._replace(policy=wide))
    assert [type(step) for step in steps] == [SetPolicy, SetPublicAccessBlock, SetPolicy]
    actions = converge(wish(**OPEN), state._replace(policy=wide))[1]
    assert actions == [
        "remove the policy's statement SamefilesPublicRead: nobody reads anything without credentials",
        "switch BlockPublicPolicy off, so that public/ can be opened",
        "switch RestrictPublicBuckets off, so that public/ can be opened",
        "add the policy's statement SamefilesPublicRead, which lets everybody read public/",
    ]
    assert spec.open_prefix(NAME, state._replace(policy=wide)) == ""


def test_an_end_in_the_middle_is_fixed():
    for begin, more in ((converged(), OPEN), (converged(**OPEN), {})):
        steps = plan.plan(wish(**more), begin)
        for count in range(len(steps) + 1):
            bucket = Bucket(begin)
            for step in steps[:count]:
                bucket.do(step)
            assert bucket.exposed() <= Bucket(begin).exposed() | Bucket(converged(**more)).exposed()
            converge(wish(**more), bucket.state)


KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.mark.parametrize(
    ("current", "key", "expected"),
    [
        ({"SSEAlgorithm": "AES256"}, KEY, f"encrypt new objects with aws:kms {KEY} and a bucket key (it was AES256)"),
        ({"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY}, KEY, ""),
        ({"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": f"arn:aws:kms:eu-central-1:111122223333:key/{KEY}"}, KEY, ""),
        ({"SSEAlgorithm": "aws:kms"}, "", ""),
        ({"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "x"}, "", "encrypt new objects with aws:kms and a bucket key (it was aws:kms x)"),
    ],
)  # fmt: skip
def test_encryption_with_a_key(current, key, expected):
    rule = {
        "ApplyServerSideEncryptionByDefault": current,
        "BucketKeyEnabled": True,
        "BlockedEncryptionTypes": {"x": ["SSE-C"]},
    }
    state = converged()._replace(encryption=rule)
    made, actions = converge(wish(encryption="aws:kms", kms_key_id=key), state)
    assert "; ".join(actions) == expected
    assert made.encryption["BlockedEncryptionTypes"] == {"x": ["SSE-C"]}
    plain = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": True}
    assert converge(wish(), state._replace(encryption=plain))[1] == []


@pytest.mark.parametrize("current", ["AES256", "aws:kms", "aws:kms:dsse"])
def test_a_bucket_keeps_its_encryption_unless_another_is_asked_for(current):
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": current}, "BucketKeyEnabled": False}
    state = converged()._replace(encryption=rule)
    assert converge(wish(), state)[1] == []
    said = [f"encrypt new objects with AES256 (it was {current})"]
    assert converge(wish(encryption="AES256"), state)[1] == ([] if current == "AES256" else said)


def test_a_prefix_is_not_opened_where_s3_would_decrypt_for_nobody():
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
    state = converged()._replace(encryption=rule)
    with pytest.raises(BucketError, match="encrypts new objects with aws:kms, which .*: set encryption to AES256"):
        plan.plan(wish(**OPEN), state)
    assert converge(wish(**OPEN, encryption="AES256"), state)[1][0] == (
        "encrypt new objects with AES256 (it was aws:kms)"
    )


def test_versions_are_suspended_only_where_they_were_kept():
    assert converge(wish(versioning=False), converged()._replace(versioning=""))[1] == []
    state, actions = converge(wish(versioning=False), converged())
    assert (state.versioning, actions) == ("Suspended", ["keep no more versions of objects; those that exist stay"])


def test_what_s3_keeps_beside_the_lifecycle_rules_is_sent_with_them():
    state = converged()._replace(lifecycle=(RULE,), least_transition="varies_by_storage_class")
    [step] = plan.plan(wish(), state)
    assert isinstance(step, SetLifecycle)
    assert step.rules == [RULE, *spec.lifecycle_rules(wish())]
    assert step.least_transition == "varies_by_storage_class"


# Spellings: AWS stores a policy as it likes.


@pytest.mark.parametrize(
    "respelled",
    [
        {"Principal": {"AWS": "*"}},
        {"Principal": {"AWS": ["*"]}},
        {"Action": ["s3:*"]},
        {"Action": "S3:*"},
        {"Resource": [f"{ARN}/*", ARN]},
        {"Condition": {"Bool": {"aws:SecureTransport": ["false"]}}},
        {"Condition": {"bool": {"AWS:SecureTransport": False}}},
    ],
)
def test_another_spelling_is_no_difference(respelled):
    ours = {**policy.tls_only(NAME, "aws"), **respelled}
    assert converge(wish(), converged()._replace(policy={"Version": "2012-10-17", "Statement": ours}))[1] == []


@pytest.mark.parametrize(
    "changed",
    [
        {"Principal": ROLE}, {"Action": "s3:GetObject"}, {"Resource": ARN}, {"Effect": "Allow"}, {"Condition": {}},
        {"Condition": {"Bool": {"aws:SecureTransport": "true"}}}, {"NotAction": "s3:GetObject"},
    ],
)  # fmt: skip
def test_another_meaning_is_a_difference(changed):
    ours = {**policy.tls_only(NAME, "aws"), **changed}
    assert converge(wish(), converged()._replace(policy=document(ours)))[1] != []


def test_a_sid_that_is_there_twice_becomes_one():
    ours = policy.tls_only(NAME, "aws")
    state, _actions = converge(wish(), converged()._replace(policy=document(ours, UNMANAGED[0], ours)))
    assert state.policy["Statement"] == [ours, UNMANAGED[0]]


def test_rules_of_old_are_sent_as_s3_takes_them_beside_ours():
    old = {name: value for name, value in RULE.items() if name != "Filter"} | {"Prefix": "logs/"}
    state, actions = converge(wish(), State(exists=True, lifecycle=(old,)))
    assert state.lifecycle[0] == RULE
    assert [item for item in actions if "logs" in item] == [
        "write the lifecycle rule logs with a Filter, for S3 takes it beside ours in no other form"
    ]
    # where nothing of ours is to be changed it stays as it is
    assert converge(wish(), converged()._replace(lifecycle=(old, *converged().lifecycle)))[1] == []


def test_rules_in_another_spelling_are_no_difference():
    state = converged()
    old = {name: value for name, value in state.lifecycle[1].items() if name != "Filter"} | {"Prefix": ""}
    cors = {**state.cors[0], "AllowedMethods": ["PUT", "HEAD", "GET"], "AllowedHeaders": ["If-None-Match"]}
    cors["AllowedHeaders"] = [word.title() for word in reversed(state.cors[0]["AllowedHeaders"])]
    assert (
        converge(wish(), state._replace(lifecycle=(state.lifecycle[0], old, state.lifecycle[2]), cors=(cors,)))[1] == []
    )


# Whatever a bucket is like: what is unmanaged stays, the plan ends in what was wanted, and nothing is opened on the way.

SIDS = st.sampled_from(["", "Backup", "Old", "SamefilesTlsOnly", "SamefilesPublicRead"])
WHO = st.sampled_from(["*", {"AWS": "*"}, ROLE, {"Service": "cloudfront.amazonaws.com"}])
STATEMENTS = st.builds(
    lambda sid, who, effect, path: statement(sid, Principal=who, Effect=effect, Resource=f"{ARN}/{path}"),
    SIDS, WHO, st.sampled_from(["Allow", "Deny"]), st.sampled_from(["*", "public/*", "logs/*"]),
) | st.sampled_from([policy.tls_only(NAME, "aws"), policy.public_read(NAME, "aws", "public")])  # fmt: skip
POLICIES = st.none() | st.lists(STATEMENTS, max_size=5).map(lambda statements: document(*statements))
RULES = st.lists(
    st.sampled_from([RULE, *spec.lifecycle_rules(wish()), {**RULE, "ID": "samefiles-incoming"}, {**RULE, "ID": "z"}])
)
CORS = st.lists(
    st.sampled_from(
        [OTHER_SITE, spec.cors_rule(wish()), {**OTHER_SITE, "ID": "samefiles-browser"}, {**OTHER_SITE, "ID": "q"}]
    )
)
STATES = st.builds(
    State,
    exists=st.just(True),
    stack=st.just(""),
    least_transition=st.just(""),
    block=st.none() | st.fixed_dictionaries(dict.fromkeys(SWITCHES, st.booleans())),
    ownership=st.sampled_from(["", "ObjectWriter", "BucketOwnerPreferred", spec.ENFORCED]),
    policy=POLICIES,
    cors=CORS.map(tuple),
    lifecycle=RULES.map(tuple),
    encryption=st.sampled_from([{}, {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]),
    versioning=st.sampled_from(["", "Enabled", "Suspended"]),
)
WISHES = st.sampled_from([{}, OPEN, {"public_prefix": "public"}, {"cors_origins": []}, {**OPEN, "versioning": False}])


@settings(max_examples=500, deadline=None)
@given(STATES, WISHES)
def test_every_bucket_converges_safely_or_is_refused(state, options):
    wanted = wish(**options)
    try:
        plan.plan(wanted, state)
    except BucketError:
        public = [item for item in policy.unmanaged(state.policy) if policy.is_public(item)]
        assert public
        assert wanted.public_prefix or state.block["BlockPublicPolicy"]
        return
    after, actions = converge(wanted, state)
    assert len(actions) == len(set(actions))
    assert spec.unmanaged(after) == spec.unmanaged(state)
    assert [item for item in policy.statements(after.policy) if item.get("Sid") not in policy.OURS] == [
        item for item in policy.statements(state.policy) if item.get("Sid") not in policy.OURS
    ]
    assert bool(actions) == (after != state or bool(plan.plan(wanted, state)))


@given(STATEMENTS, st.randoms(use_true_random=False))
def test_a_meaning_does_not_depend_on_spelling(original, chance: random.Random):
    other = json.loads(json.dumps(original))
    for name, value in list(other.items()):
        if name in ("Action", "Resource"):
            many = value if isinstance(value, list) else [value]
            chance.shuffle(many)
            other[name] = many if len(many) > 1 or chance.random() < 0.5 else many[0]
    names = list(other)
    chance.shuffle(names)
    assert policy.meaning({name: other[name] for name in names}) == policy.meaning(original)


def test_what_somebody_else_changed_meanwhile_is_reported():
    before = converged()._replace(policy=document(*converged().policy["Statement"], UNMANAGED[0]))
    assert "somebody else changed it meanwhile" in plan.unproved(wish(), before, converged())
    assert "gone again" in plan.unproved(wish(), before, State())
    assert "there is still to switch" in plan.unproved(wish(), before, before._replace(block=None))
