# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps from a bucket as it is to one as it should be. At no point between them is it more open than at the end.

Closing comes first: the statement goes, then the block is set. Opening comes last, and only onto a policy that has nothing
in it that would be opened with the prefix: the block is lifted, then the statement set.
"""

from __future__ import annotations

from . import policy, spec
from .spec import BucketError, State, Wanted
from .steps import (
    CreateBucket,
    SetCors,
    SetEncryption,
    SetLifecycle,
    SetOwnership,
    SetPolicy,
    SetPublicAccessBlock,
    SetVersioning,
    Step,
)


def _refuse(wanted: Wanted, state: State) -> None:
    """Raise for a bucket that is not ours to change."""
    name = wanted.bucket
    if not state.exists and not wanted.create:
        raise BucketError(f"bucket {name} does not exist: fix its name, or set create: true")
    if state.stack:
        raise BucketError(
            f"bucket {name} belongs to the CloudFormation stack {state.stack}: change it there, for the stack would "
            "undo what is changed here"
        )
    kept = "" if wanted.encryption else _algorithm(state)
    if wanted.public_prefix and kept.startswith("aws:kms"):
        raise BucketError(
            f"bucket {name} encrypts new objects with {kept}, which S3 decrypts only for those who sign their request: set "
            "encryption to AES256, or leave public_access_confirmed out"
        )
    public = [policy.sid(item) or "without a Sid" for item in policy.unmanaged(state.policy) if policy.is_public(item)]
    if public and wanted.public_prefix:
        raise BucketError(
            f"bucket {name} has another public statement ({', '.join(public)}), which would be open as well as "
            f"{wanted.public_prefix}/: remove it from the bucket's policy first"
        )
    if public and _on(state, "BlockPublicPolicy") and not policy.same(state.policy, spec.statements(wanted)):
        raise BucketError(
            f"bucket {name} has another public statement ({', '.join(public)}), with which S3 takes no policy while the "
            "bucket is closed to the public: remove it from the bucket's policy first"
        )


def _algorithm(state: State) -> str:
    """How the bucket encrypts new objects, "" when it says nothing."""
    return state.encryption.get("ApplyServerSideEncryptionByDefault", {}).get("SSEAlgorithm", "")


def _on(state: State, switch: str) -> bool:
    return bool((state.block or {}).get(switch))


def _policy_actions(wanted: Wanted, state: State) -> list[str]:
    """What is different in the policy, in words."""
    actions = []
    for statement in spec.statements(wanted):
        current = policy.of(state.policy, statement["Sid"])
        if [policy.meaning(item) for item in current] != [policy.meaning(statement)]:
            how = "fix" if current else "add"
            what = "refuses whatever comes without TLS"
            if statement["Sid"] == policy.PUBLIC_READ:
                what = f"lets everybody read {wanted.public_prefix}/"
            actions.append(f"{how} the policy's statement {statement['Sid']}, which {what}")
    if not wanted.public_prefix and policy.of(state.policy, policy.PUBLIC_READ):
        actions.append(f"remove the policy's statement {policy.PUBLIC_READ}: nobody reads anything without credentials")
    return actions


def _block_step(wanted: Wanted, state: State) -> list[Step]:
    actions = []
    for switch, on in spec.blocked(wanted).items():
        if _on(state, switch) != on:
            why = "" if on else f", so that {wanted.public_prefix}/ can be opened"
            actions.append(f"switch {switch} {'on' if on else 'off'}{why}")
    return [SetPublicAccessBlock(spec.blocked(wanted), tuple(actions))] if actions else []


def _access(wanted: Wanted, state: State) -> list[Step]:
    """Policy and public-access block, in the order that is safe."""
    ours = spec.statements(wanted)
    actions, block = _policy_actions(wanted, state), _block_step(wanted, state)
    whole = policy.with_ours(state.policy, ours)
    last: list[Step] = [SetPolicy(whole, tuple(actions))] if actions else []
    if not wanted.public_prefix:
        return last + block
    closed = [statement for statement in ours if statement["Sid"] != policy.PUBLIC_READ]
    # while the block is on, somebody may have set a statement that is wider than ours: it is removed before the block is lifted
    if actions and _on(state, "RestrictPublicBuckets") and not policy.same(state.policy, closed):
        narrow = policy.with_ours(state.policy, closed)
        first = SetPolicy(narrow, tuple(_policy_actions(wanted._replace(public_prefix=""), state)))
        actions = _policy_actions(wanted, state._replace(policy=narrow))
        return [first, *block, SetPolicy(whole, tuple(actions))]
    return block + last


def _ownership(wanted: Wanted, state: State) -> list[Step]:
    if state.ownership == spec.ENFORCED:
        return []
    action = f"give the bucket's owner every object, and switch ACLs off (it was {state.ownership or 'not set'})"
    return [SetOwnership(spec.ENFORCED, (action,))]


def _encryption(wanted: Wanted, state: State) -> list[Step]:
    if not wanted.encryption and _algorithm(state):
        return []  # AES256 may be weaker than what somebody has chosen
    algorithm = wanted.encryption or "AES256"
    current = state.encryption.get("ApplyServerSideEncryptionByDefault", {})
    key = current.get("KMSMasterKeyID") or ""
    kms = algorithm == "aws:kms"
    same_key = key == wanted.kms_key_id or (wanted.kms_key_id and key.endswith(f":key/{wanted.kms_key_id}"))
    as_kms = same_key and state.encryption.get("BucketKeyEnabled")
    if _algorithm(state) == algorithm and (as_kms or not kms):
        return []
    rule = {"SSEAlgorithm": algorithm, **({"KMSMasterKeyID": wanted.kms_key_id} if wanted.kms_key_id else {})}
    value = {**state.encryption, "ApplyServerSideEncryptionByDefault": rule, "BucketKeyEnabled": kms}
    name = f"{algorithm} {wanted.kms_key_id}".strip()
    before = f"{_algorithm(state) or 'not set'} {key}".strip()
    action = f"encrypt new objects with {name}{' and a bucket key' if kms else ''} (it was {before})"
    return [SetEncryption(value, (action,))]


def _versioning(wanted: Wanted, state: State) -> list[Step]:
    if wanted.versioning:
        if state.versioning == "Enabled":
            return []
        return [SetVersioning("Enabled", ("keep the versions of objects that are replaced or deleted",))]
    if state.versioning != "Enabled":
        return []
    return [SetVersioning("Suspended", ("keep no more versions of objects; those that exist stay",))]


def _lifecycle(wanted: Wanted, state: State) -> list[Step]:
    rules, actions = spec.lifecycle_rules(wanted), []
    public = wanted.public_prefix or wanted.closed_prefix
    what = {
        spec.INCOMING: f"removes what lies in {wanted.key_prefix}/incoming/ after {spec.INCOMING_DAYS} day",
        spec.STALE: f"removes uploads in parts that were not ended after {spec.STALE_DAYS} days",
        spec.DELETED: f"removes what was deleted in {wanted.key_prefix}/ for good after {wanted.keep_deleted_days} days",
        spec.DELETED_PUBLIC: f"removes what was deleted in {public}/ for good after {wanted.keep_deleted_days} days",
    }
    for rule in rules:
        current = [spec.rule_meaning(item) for item in state.lifecycle if item.get("ID") == rule["ID"]]
        if current != [spec.rule_meaning(rule)]:
            actions.append(f"{'fix' if current else 'add'} the lifecycle rule {rule['ID']}, which {what[rule['ID']]}")
    names = tuple(rule["ID"] for rule in rules)
    # the rule of a public prefix that is no longer named stays: it still removes what was deleted below it
    unwanted = (spec.DELETED, spec.DELETED_PUBLIC) if not wanted.keep_deleted_days else ()
    actions += [f"remove the lifecycle rule {rule['ID']}" for rule in state.lifecycle if rule.get("ID") in unwanted]
    if actions:
        actions += [
            f"write the lifecycle rule {rule.get('ID', 'without a name')} with a Filter, for S3 takes it beside ours in no other form"
            for rule in state.lifecycle
            if "Prefix" in rule and rule.get("ID") not in names + unwanted
        ]
    value = spec.with_rules(tuple(map(spec.with_filter, state.lifecycle)), rules, names + unwanted)
    return [SetLifecycle(value, state.least_transition, tuple(actions))] if actions else []


def _cors(wanted: Wanted, state: State) -> list[Step]:
    rules = [spec.cors_rule(wanted)] if wanted.origins else []
    current = [spec.rule_meaning(item) for item in state.cors if item.get("ID") == spec.CORS]
    if current == [spec.rule_meaning(rule) for rule in rules]:
        return []
    if rules:
        action = f"{'fix' if current else 'add'} the CORS rule {spec.CORS}, for pages of {', '.join(wanted.origins)}"
    else:
        action = f"remove the CORS rule {spec.CORS}: no other site's page uploads or reads"
    return [SetCors(spec.with_rules(state.cors, rules, (spec.CORS,)), (action,))]


def plan(wanted: Wanted, state: State) -> list[Step]:
    """The steps. Raises BucketError for a bucket that must not be changed."""
    _refuse(wanted, state)
    made: list[Step] = []
    if not state.exists:
        place = f" in {wanted.region}" if wanted.region else ""
        made.append(CreateBucket(wanted.region, (f"make the bucket {wanted.bucket}{place}, its owner's alone",)))
        state = after(state, made)
    access = _access(wanted, state)
    rest = [step for part in (_ownership, _encryption, _versioning, _lifecycle, _cors) for step in part(wanted, state)]
    return made + (rest + access if wanted.public_prefix else access + rest)


def opens(wanted: Wanted, before: State) -> bool:
    """Whether a prefix will be open that was not."""
    if not wanted.public_prefix:
        return False
    ours = policy.meaning(policy.public_read(wanted.bucket, wanted.partition, wanted.public_prefix))
    current = map(policy.meaning, policy.of(before.policy, policy.PUBLIC_READ))
    return _on(before, "RestrictPublicBuckets") or ours not in current


def closing(wanted: Wanted, state: State) -> list[Step]:
    """The steps that close the public prefix, and nothing else."""
    return _access(wanted._replace(public_prefix="", closed_prefix=wanted.public_prefix), state)


def after(state: State, steps: list[Step]) -> State:
    """The state after the steps."""
    for step in steps:
        state = step.state_after(state)
    return state


def unproved(wanted: Wanted, before: State, current: State) -> str:
    """What is not as it was planned, as one sentence; "" when all is."""
    if not current.exists:
        return f"bucket {wanted.bucket} is gone again: somebody else deletes it"
    left = [action for step in plan(wanted, current) for action in step.actions]
    if left:
        return f"bucket {wanted.bucket} is not as it was set, there is still to {'; '.join(left)}: run it again"
    if spec.unmanaged(before) != spec.unmanaged(current):
        return (
            f"bucket {wanted.bucket} has other statements or rules than before, besides ours: somebody else changed it "
            "meanwhile, see the diff"
        )
    return ""
