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
    FOREIGN,
    NAME,
    OPEN,
    OTHER_SITE,
    ROLE,
    RULE,
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
    shorter, told = converge(wish(keep_deleted_days=7), converged())
    assert told == [
        "mend the lifecycle rule samefiles-deleted, which removes what was deleted in gallery/ for good after 7 days"
    ]
    kept, told = converge(wish(keep_deleted_days=0), shorter)
    assert told == ["remove the lifecycle rule samefiles-deleted"]
    assert [rule["ID"] for rule in kept.lifecycle] == ["samefiles-incoming", "samefiles-stale-uploads"]


# Buckets that are not changed.


@pytest.mark.parametrize(
    ("state", "options", "said"),
    [
        (State(), {}, "does not exist: mend its name, or set create: true"),
        (State(there=True, stack="shared-storage"), {}, "belongs to the CloudFormation stack shared-storage"),
        (State(there=True, policy=document(statement("Old"))), OPEN, r"another public statement \(Old\)"),
        (State(there=True, policy=document(statement())), OPEN, r"another public statement \(without a Sid\)"),
        (State(there=True, block=ALL_ON, policy=document(statement("Old"))), {}, "S3 takes no policy while"),
    ],
)
def test_what_is_not_ours_to_change(state, options, said):
    with pytest.raises(BucketError, match=said):
        plan.plan(wish(**options), state)


# One thing broken on a converged bucket, and the sentence of the run that mends it.

CLOSED = {
    "block": (None, "switch BlockPublicAcls on; switch IgnorePublicAcls on; switch BlockPublicPolicy on; switch RestrictPublicBuckets on"),
    "one switch": ({"block": {**ALL_ON, "IgnorePublicAcls": False}}, "switch IgnorePublicAcls on"),
    "ownership": ({"ownership": "ObjectWriter"}, "give the bucket's owner every object, and switch ACLs off (it was ObjectWriter)"),
    "no policy": ({"policy": None}, "add the policy's statement SamefilesTlsOnly, which refuses whatever comes without TLS"),
    "other policy": (
        {"policy": document(statement("SamefilesTlsOnly", Effect="Deny", Principal=ROLE))},
        "mend the policy's statement SamefilesTlsOnly, which refuses whatever comes without TLS",
    ),
    "cors": ({"cors": ()}, "add the CORS rule samefiles-browser, for pages of https://files.example.com"),
    "cors of another": (
        {"cors": (OTHER_SITE, {"ID": "samefiles-browser", "AllowedOrigins": ["*"], "AllowedMethods": ["GET"]})},
        "mend the CORS rule samefiles-browser, for pages of https://files.example.com",
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
def test_each_difference_is_mended_with_its_sentence(name):
    broken, said = CLOSED[name]
    good = converged()
    state = good._replace(**({"block": None} if broken is None else broken))
    mended, told = converge(wish(), state)
    assert "; ".join(told) == said
    assert plan.unproved(wish(), mended, state) != ""


def test_a_new_bucket_closed_and_open():
    for more in ({}, OPEN):
        state, told = converge(wish(create=True, **more), State())
        assert told[0] == "make the bucket example-site in eu-central-1, its owner's alone"
        assert state.block == {**ALL_ON, **dict.fromkeys(SWITCHES[2:], not more)}


def test_the_second_switch_and_back():
    opened, told = converge(wish(**OPEN), converged())
    assert told == [
        "add the lifecycle rule samefiles-deleted-public, which removes what was deleted in public/ for good after 30 days",
        "switch BlockPublicPolicy off, so that public/ can be opened",
        "switch RestrictPublicBuckets off, so that public/ can be opened",
        "add the policy's statement SamefilesPublicRead, which lets everybody read public/",
    ]
    assert opened.policy["Statement"][1]["Resource"] == f"{ARN}/public/*"
    assert spec.open_prefix(NAME, opened) == "public"
    steps = plan.plan(wish(), opened)
    assert [type(step) for step in steps] == [SetPolicy, SetPublicAccessBlock]
    closed, told = converge(wish(), opened)
    assert told[0] == "remove the policy's statement SamefilesPublicRead: nobody reads anything without credentials"
    assert closed == converged()._replace(lifecycle=opened.lifecycle)
    moved, told = converge(wish(public_prefix="p2", public_access_confirmed=True), opened)
    assert told == [
        "mend the lifecycle rule samefiles-deleted-public, which removes what was deleted in p2/ for good after 30 days",
        "mend the policy's statement SamefilesPublicRead, which lets everybody read p2/",
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
    told = converge(wish(**OPEN), state._replace(policy=wide))[1]
    assert told == [
        "remove the policy's statement SamefilesPublicRead: nobody reads anything without credentials",
        "switch BlockPublicPolicy off, so that public/ can be opened",
        "switch RestrictPublicBuckets off, so that public/ can be opened",
        "add the policy's statement SamefilesPublicRead, which lets everybody read public/",
    ]
    assert spec.open_prefix(NAME, state._replace(policy=wide)) == ""


def test_an_end_in_the_middle_is_mended():
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
    ("there", "key", "told"),
    [
        ({"SSEAlgorithm": "AES256"}, KEY, f"encrypt new objects with aws:kms {KEY} and a bucket key (it was AES256)"),
        ({"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY}, KEY, ""),
        ({"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": f"arn:aws:kms:eu-central-1:111122223333:key/{KEY}"}, KEY, ""),
        ({"SSEAlgorithm": "aws:kms"}, "", ""),
        ({"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "x"}, "", "encrypt new objects with aws:kms and a bucket key (it was aws:kms x)"),
    ],
)  # fmt: skip
def test_encryption_with_a_key(there, key, told):
    rule = {
        "ApplyServerSideEncryptionByDefault": there,
        "BucketKeyEnabled": True,
        "BlockedEncryptionTypes": {"x": ["SSE-C"]},
    }
    state = converged()._replace(encryption=rule)
    made, actions = converge(wish(encryption="aws:kms", kms_key_id=key), state)
    assert "; ".join(actions) == told
    assert made.encryption["BlockedEncryptionTypes"] == {"x": ["SSE-C"]}
    plain = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": True}
    assert converge(wish(), state._replace(encryption=plain))[1] == []


@pytest.mark.parametrize("there", ["AES256", "aws:kms", "aws:kms:dsse"])
def test_a_bucket_keeps_its_encryption_unless_another_is_asked_for(there):
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": there}, "BucketKeyEnabled": False}
    state = converged()._replace(encryption=rule)
    assert converge(wish(), state)[1] == []
    said = [f"encrypt new objects with AES256 (it was {there})"]
    assert converge(wish(encryption="AES256"), state)[1] == ([] if there == "AES256" else said)


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
    state, told = converge(wish(versioning=False), converged())
    assert (state.versioning, told) == ("Suspended", ["keep no more versions of objects; those that are there stay"])


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
    state, _told = converge(wish(), converged()._replace(policy=document(ours, FOREIGN[0], ours)))
    assert state.policy["Statement"] == [ours, FOREIGN[0]]


def test_rules_of_old_are_sent_as_s3_takes_them_beside_ours():
    old = {name: told for name, told in RULE.items() if name != "Filter"} | {"Prefix": "logs/"}
    state, told = converge(wish(), State(there=True, lifecycle=(old,)))
    assert state.lifecycle[0] == RULE
    assert [one for one in told if "logs" in one] == [
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


# Whatever a bucket is like: what is foreign stays, the plan ends in what was wanted, and nothing is opened on the way.

SIDS = st.sampled_from(["", "Backup", "Old", "SamefilesTlsOnly", "SamefilesPublicRead"])
WHO = st.sampled_from(["*", {"AWS": "*"}, ROLE, {"Service": "cloudfront.amazonaws.com"}])
STATEMENTS = st.builds(
    lambda sid, who, effect, path: statement(sid, Principal=who, Effect=effect, Resource=f"{ARN}/{path}"),
    SIDS, WHO, st.sampled_from(["Allow", "Deny"]), st.sampled_from(["*", "public/*", "logs/*"]),
) | st.sampled_from([policy.tls_only(NAME, "aws"), policy.public_read(NAME, "aws", "public")])  # fmt: skip
POLICIES = st.none() | st.lists(STATEMENTS, max_size=5).map(lambda found: document(*found))
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
    there=st.just(True),
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
        foreign = [one for one in policy.foreign(state.policy) if policy.is_public(one)]
        assert foreign
        assert wanted.public_prefix or state.block["BlockPublicPolicy"]
        return
    found, told = converge(wanted, state)
    assert len(told) == len(set(told))
    assert spec.foreign(found) == spec.foreign(state)
    assert [one for one in policy.statements(found.policy) if one.get("Sid") not in policy.OURS] == [
        one for one in policy.statements(state.policy) if one.get("Sid") not in policy.OURS
    ]
    assert bool(told) == (found != state or bool(plan.plan(wanted, state)))


@given(STATEMENTS, st.randoms(use_true_random=False))
def test_a_meaning_does_not_depend_on_spelling(one, chance: random.Random):
    other = json.loads(json.dumps(one))
    for name, value in list(other.items()):
        if name in ("Action", "Resource"):
            many = value if isinstance(value, list) else [value]
            chance.shuffle(many)
            other[name] = many if len(many) > 1 or chance.random() < 0.5 else many[0]
    names = list(other)
    chance.shuffle(names)
    assert policy.meaning({name: other[name] for name in names}) == policy.meaning(one)


def test_what_somebody_else_changed_meanwhile_is_told():
    before = converged()._replace(policy=document(*converged().policy["Statement"], FOREIGN[0]))
    assert "somebody else changed it meanwhile" in plan.unproved(wish(), before, converged())
    assert "gone again" in plan.unproved(wish(), before, State())
    assert "there is still to switch" in plan.unproved(wish(), before, before._replace(block=None))
