"""Buckets: state and wishes in, steps out. Every plan is carried out on a model that refuses what S3 refuses."""

from __future__ import annotations

import json
import random

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._bucket import plan, policy, spec, verify
from ansible_collections.samefiles.aws.plugins.module_utils._bucket.spec import SWITCHES, BucketError, State
from ansible_collections.samefiles.aws.plugins.module_utils._bucket.steps import (
    CreateBucket,
    SetCors,
    SetEncryption,
    SetLifecycle,
    SetPolicy,
    SetPublicAccessBlock,
    SetVersioning,
)
from ansible_collections.samefiles.aws.plugins.module_utils._s3.endpoint import by_url
from hypothesis import given, settings
from hypothesis import strategies as st

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
    return spec.wish({**OPTIONS, **more})


def statement(sid: str = "", **more) -> dict:
    named = {"Sid": sid} if sid else {}
    return {**named, "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"{ARN}/*", **more}


ROLE = {"AWS": "arn:aws:iam::111122223333:role/backup"}
FOREIGN = [statement("Backup", Principal=ROLE), statement("", Effect="Deny", Action="s3:DeleteBucket", Resource=ARN)]
RULE = {"ID": "logs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 30}}
OTHER_SITE = {"ID": "other", "AllowedOrigins": ["https://other.example.com"], "AllowedMethods": ["GET"]}


def document(*statements: dict) -> dict:
    return {"Version": "2012-10-17", "Statement": list(statements)}


class Bucket:
    """S3 as far as it matters here: what it refuses, and what is open to everybody after each request."""

    def __init__(self, state: State):
        self.state = state

    def do(self, step) -> None:
        if isinstance(step, SetPolicy) and (self.state.block or {}).get("BlockPublicPolicy"):
            public = [one for one in step.policy["Statement"] if policy.is_public(one)]
            assert not public, "S3 takes no public policy while BlockPublicPolicy is on"
        if isinstance(step, SetLifecycle):
            assert {"Filter", "Prefix"} - {name for rule in step.rules for name in rule}, (
                "S3 takes no two forms at once"
            )
        if isinstance(step, CreateBucket):
            self.state = State(there=True, ownership=spec.ENFORCED, block=ALL_ON)
        else:
            self.state = plan.after(self.state, [step])

    def exposed(self) -> set[str]:
        """Which statements let everybody in, and over what."""
        if (self.state.block or {}).get("RestrictPublicBuckets"):
            return set()
        every = policy.statements(self.state.policy)
        tls = policy.meaning(policy.tls_only(NAME, "aws"))
        ways = ["https"] if tls in map(policy.meaning, every) else ["http", "https"]
        return {f"{way} {policy.meaning(one)}" for one in every if policy.is_public(one) for way in ways}


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
    assert plan.unproved(wanted, state if state.there else bucket.state, bucket.state) == ""
    assert spec.view(bucket.state) == spec.view(plan.after(state, steps))
    return bucket.state, [action for step in steps for action in step.actions]


def converged(**more) -> State:
    return converge(wish(create=True, **more), State())[0]


# Options: each that cannot be, in one sentence.


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"public_access_confirmed": True}, "there is no public_prefix"),
        *[({**OPEN, "public_prefix": text}, "public_prefix must be parts of") for text in (
            "/", "*", "public/*", "pub?ic", "a//b", "/public", "public//", ".", "..", "a/../b", "${aws:username}", "a b", "ü", "a\n",
        )],
        ({"public_prefix": "*"}, "public_prefix must be parts of"),
        ({**OPEN, "public_prefix": "gallery"}, "lie in each other"),
        ({**OPEN, "public_prefix": "gallery/files/"}, "lie in each other"),
        ({**OPEN, "key_prefix": "public/gallery"}, "lie in each other"),
        ({"public_prefix": "gallery/files"}, "lie in each other"),
        ({"key_prefix": ""}, "key_prefix must be parts of"),
        ({"key_prefix": "/"}, "key_prefix must be parts of"),
        ({"cors_origins": ["*"]}, "cors_origins must be origins"),
        ({"cors_origins": ["https://files.example.com/"]}, "cors_origins must be origins"),
        ({"cors_origins": ["files.example.com"]}, "cors_origins must be origins"),
        ({"kms_key_id": "1234"}, "kms_key_id is for encryption aws:kms, and encryption is not set: "),
        ({"kms_key_id": "1234", "encryption": "AES256"}, "kms_key_id is for encryption aws:kms, and encryption is AES256: "),
        ({**OPEN, "encryption": "aws:kms"}, "exclude each other"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(options, said):
    with pytest.raises(BucketError, match=said) as caught:
        wish(**options)
    assert "\n" not in str(caught.value)


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


@pytest.mark.parametrize(
    ("more", "public"),
    [
        ({}, True),
        ({"Principal": {"AWS": "*"}}, True),
        ({"Principal": {"AWS": ["arn:aws:iam::111122223333:root", "*"]}}, True),
        ({"Principal": ROLE}, False),
        ({"Principal": {"Service": "cloudfront.amazonaws.com"}}, False),
        ({"Effect": "Deny"}, False),
        ({"Principal": None, "NotPrincipal": ROLE}, True),
        ({"Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}}, False),
        ({"Condition": {"StringLike": {"aws:PrincipalOrgID": "o-*"}}}, True),
        ({"Condition": {"StringNotEquals": {"aws:PrincipalOrgID": "o-1"}}}, True),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}}, False),
        ({"Condition": {"IpAddress": {"aws:SourceIp": ["192.0.2.0/24", "0.0.0.0/0"]}}}, True),
        ({"Condition": {"StringLike": {"aws:Referer": "https://files.example.com"}}}, True),
        ({"Condition": {"StringEquals": {"aws:userid": "AIDAEXAMPLE"}}}, False),
        ({"Condition": {"StringEquals": {"aws:userid": "${aws:userid}"}}}, True),
        ({"Condition": {"StringEquals": {"aws:SourceAccount": ["111122223333", "a${aws:PrincipalAccount}"]}}}, True),
        *[({"Condition": {"IpAddress": {"aws:SourceIp": networks}}}, public) for networks, public in (
            ("10.0.0.0/8", False), ("192.0.2.7", False), ("192.0.2.7/24", False), ("2001:db8::/32", False), ("2001:db8::1", False),
            (["192.0.2.0/24", "198.51.100.0/24", "2001:db8::/48"], False),
            ("0.0.0.0/1", True), ("12.0.0.0/7", True), ("7.0.0.0/0", True), ("0.0.0.0/0.0.0.0", True), (["0.0.0.0/1", "128.0.0.0/1"], True),
            ([f"{first}.0.0.0/8" for first in range(256)], True), (["10.0.0.0/9", "10.128.0.0/9", "11.0.0.0/8"], True),
            ("::/0", True), ("0000::/0", True), ("0:0::0/0", True), ("::/1", True), ("2001:db8::/31", True),
            (["2001:db8::/32", "2001:db9::/32"], True),
            # IPv4 as IPv6, which servers written in Go hold to be the same
            ("::ffff:0:0/96", True), ("::ffff:0.0.0.0/97", True), ("::ffff:192.0.2.0/120", False), ("::ffff:0:0/95", True),
            ("", True), ("everywhere", True), ("192.0.2.0/33", True), ("192.0.2.0/24 ", True), (7, True), (["192.0.2.0/24", "x"], True),
            ("${aws:SourceIp}", True), ([], True),
        )],
        ({"Condition": {"IpAddress": {"aws:SourceIp": "0.0.0.0/1"}, "StringEquals": {"aws:PrincipalOrgID": "o-1"}}}, False),
    ],
)  # fmt: skip
def test_which_statements_let_everybody_in(more, public):
    assert policy.is_public(statement(**more)) is public


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


def test_what_is_asked_without_credentials():
    keys, asked = verify.checks(wish(**OPEN), "run")
    assert keys == ["public/proof/run", "gallery/proof/run"]
    assert [check for check in asked if check.answered] == [asked[0]]
    assert (asked[0].method, asked[0].path) == ("GET", "public/proof/run")
    keys, asked = verify.checks(wish(public_prefix="public"), "run")
    assert len(keys) == 2
    assert not any(check.answered for check in asked)
    assert verify.checks(wish(), "run")[0] == ["gallery/proof/run"]


@pytest.mark.parametrize(
    ("browser", "bucket", "place"),
    [
        ("https://s3.example.com/", "site", "https://site.s3.example.com/"),
        ("https://s3.example.com:8443", "site", "https://site.s3.example.com:8443/"),
        ("https://s3.example.com", "my.site", "https://s3.example.com/my.site/"),
        ("http://10.0.0.6:8080", "site", "http://10.0.0.6:8080/site/"),
    ],
)
def test_browsers_are_proved_to_where_tickets_and_links_lead(browser, bucket, place):
    where = by_url("https://10.0.0.6", bucket, "eu-central-1")
    found = verify.Anybody(where, browser).places
    assert found == [f"https://10.0.0.6/{bucket}/", place]


@pytest.mark.parametrize(
    "browser", ["s3.example.com", "https://", "https://s3.example.com/x", "https://a:x", "ftp://a"]
)
def test_what_is_no_place_for_browsers(browser):
    with pytest.raises(BucketError, match="^browser_endpoint_url "):
        spec.for_browsers(browser, NAME, "")


@pytest.mark.parametrize(
    ("method", "status", "body", "refused"),
    [
        ("GET", 403, b"", True), ("PUT", 401, b"", True), ("GET", 404, b"", False), ("GET", 200, b"x", False),
        # of an object that KMS encrypts
        ("GET", 400, b"<Error><Code>InvalidArgument</Code></Error>", True), ("GET", 400, b"<Error/>", False),
        ("PUT", 400, b"<Error><Code>InvalidArgument</Code></Error>", False),
    ],
)  # fmt: skip
def test_what_counts_as_refused_without_credentials(method, status, body, refused):
    check = verify.Check(method, "k", "nobody")
    said = verify._verdict(check, "https://s3/k", status, body, b"the proof")
    assert (said == "") is refused
    assert refused or f"got {status} and should be refused" in said
