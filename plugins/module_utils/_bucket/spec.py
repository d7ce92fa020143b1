# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a bucket should be and what it is: the checked options, the rules that follow from them, and how states compare."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from .._s3.endpoint import Endpoint, by_url
from .._s3.errors import EndpointError
from . import policy

SWITCHES = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
ENFORCED = "BucketOwnerEnforced"
CORS, INCOMING, STALE = "samefiles-browser", "samefiles-incoming", "samefiles-stale-uploads"
DELETED, DELETED_PUBLIC = "samefiles-deleted", "samefiles-deleted-public"
LIFECYCLE = (INCOMING, STALE, DELETED, DELETED_PUBLIC)
INCOMING_DAYS, STALE_DAYS = 1, 2
# what a page sends with an upload by ticket; the browser adds Content-Length, which needs no permission
UPLOAD_HEADERS = ("cache-control", "content-disposition", "content-type", "if-none-match", "x-amz-checksum-sha256")
CORS_SECONDS = 3000

# A policy's resource takes * and ? for anything and $ for a variable; what is left needs no quoting in a URL either.
_PART = re.compile(r"[A-Za-z0-9._-]+")
_ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?")


class BucketError(Exception):
    """Why it failed, as one sentence, what was done before, and what S3 answered."""

    done: tuple[str, ...] = ()
    code, status = "", 0


class Wanted(NamedTuple):
    """The wanted settings of a bucket."""

    bucket: str
    key_prefix: str
    public_prefix: str = ""  # only when it is to be open
    closed_prefix: str = ""  # named, but not confirmed
    origins: tuple[str, ...] = ()
    encryption: str = ""  # what the bucket has, and AES256 where it has none
    kms_key_id: str = ""
    versioning: bool = True
    keep_deleted_days: int = 30  # 0: for ever
    create: bool = False
    region: str = ""
    partition: str = "aws"


class State(NamedTuple):
    """The current settings of a bucket."""

    exists: bool = False
    stack: str = ""  # the CloudFormation stack that owns it
    block: dict[str, bool] | None = None
    ownership: str = ""
    policy: dict[str, Any] | None = None
    cors: tuple[dict[str, Any], ...] = ()
    lifecycle: tuple[dict[str, Any], ...] = ()
    least_transition: str = ""  # what S3 keeps beside the lifecycle rules, and forgets when they are sent without it
    encryption: dict[str, Any] = {}  # noqa: RUF012 - a default that nobody changes
    versioning: str = ""


def _path(name: str, given: str, needed: bool) -> str:
    """A key prefix without the slash at its end."""
    path = given[:-1] if given.endswith("/") else given
    if not path and not given and not needed:
        return ""
    if all(_PART.fullmatch(part) and part.strip(".") for part in path.split("/")):
        return path
    raise BucketError(
        f"{name} must be parts of A-Z, a-z, 0-9, '.', '_' and '-' with a slash between them, got {given!r}: "
        "a whole bucket, or a pattern, is never meant"
    )


def _public(options: dict[str, Any], key_prefix: str) -> tuple[str, str]:
    """The prefix that is to be open, and the one that is not although it is named; "" for none."""
    prefix, confirmed = _path("public_prefix", options["public_prefix"], False), options["public_access_confirmed"]
    if confirmed and not prefix:
        raise BucketError(
            "public_access_confirmed is true, but there is no public_prefix: name the prefix that everybody may read"
        )
    if prefix and (f"{prefix}/".startswith(f"{key_prefix}/") or f"{key_prefix}/".startswith(f"{prefix}/")):
        raise BucketError(
            f"public_prefix {prefix!r} and key_prefix {key_prefix!r} lie in each other: what everybody may read needs a "
            "prefix beside the other one"
        )
    return (prefix, "") if confirmed else ("", prefix)


def wish(options: dict[str, Any], partition: str = "aws") -> Wanted:
    """What the options of the module ask for. Raises BucketError for invalid ones."""
    key_prefix = _path("key_prefix", options["key_prefix"], True)
    public, closed = _public(options, key_prefix)
    for origin in options["cors_origins"]:
        if not _ORIGIN.fullmatch(origin):
            raise BucketError(
                f"cors_origins must be origins such as https://files.example.com, in lower case and without a path, "
                f"got {origin!r}"
            )
    key = options["kms_key_id"] or ""
    if key and options["encryption"] != "aws:kms":
        raise BucketError(
            f"kms_key_id is for encryption aws:kms, and encryption is {options['encryption'] or 'not set'}: set it to "
            "aws:kms, or leave the key out"
        )
    if public and options["encryption"] == "aws:kms":
        raise BucketError(
            "public access and encryption aws:kms exclude each other, for S3 decrypts with a KMS key only for those who "
            "sign their request: take AES256"
        )
    days = options["keep_deleted_days"]
    if days < 0:
        raise BucketError(f"keep_deleted_days must be a number of days, 0 for no end, got {days}")
    return Wanted(
        options["bucket"], key_prefix, public, closed, tuple(dict.fromkeys(options["cors_origins"])),
        options["encryption"] or "", key, options["versioning"], days, options["create"], options["region"] or "", partition,
    )  # fmt: skip


def cors_rule(wanted: Wanted) -> dict[str, Any]:
    """What the pages of the site may do from a browser."""
    return {
        "ID": CORS,
        "AllowedOrigins": list(wanted.origins),
        "AllowedMethods": ["GET", "HEAD", "PUT"],
        "AllowedHeaders": list(UPLOAD_HEADERS),
        "ExposeHeaders": ["ETag"],
        "MaxAgeSeconds": CORS_SECONDS,
    }


def _deleted(name: str, prefix: str, days: int) -> dict[str, Any]:
    """What was deleted below a prefix goes for good; so does the delete marker, which would slow listings down for ever."""
    return {
        "ID": name,
        "Status": "Enabled",
        "Filter": {"Prefix": f"{prefix}/"},
        "Expiration": {"ExpiredObjectDeleteMarker": True},
        "NoncurrentVersionExpiration": {"NoncurrentDays": days},
    }


def lifecycle_rules(wanted: Wanted) -> list[dict[str, Any]]:
    """Uploads that nobody confirmed, parts of uploads that nobody ended, and what users deleted go automatically."""
    incoming = {
        "ID": INCOMING,
        "Status": "Enabled",
        "Filter": {"Prefix": f"{wanted.key_prefix}/incoming/"},
        "Expiration": {"Days": INCOMING_DAYS},
        "NoncurrentVersionExpiration": {"NoncurrentDays": INCOMING_DAYS},
    }
    stale = {
        "ID": STALE,
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": STALE_DAYS},
    }
    made, days = [incoming, stale], wanted.keep_deleted_days
    public = wanted.public_prefix or wanted.closed_prefix
    if days:
        made.append(_deleted(DELETED, wanted.key_prefix, days))
    if days and public:
        made.append(_deleted(DELETED_PUBLIC, public, days))
    return made


def statements(wanted: Wanted) -> list[dict[str, Any]]:
    """Our statements that the policy should have."""
    made = [policy.tls_only(wanted.bucket, wanted.partition)]
    if wanted.public_prefix:
        made.append(policy.public_read(wanted.bucket, wanted.partition, wanted.public_prefix))
    return made


def blocked(wanted: Wanted) -> dict[str, bool]:
    """The public-access block: all on, or without the two that stop a public policy."""
    return dict.fromkeys(SWITCHES[:2], True) | dict.fromkeys(SWITCHES[2:], not wanted.public_prefix)


def _sorted(value: Any) -> Any:
    """A value whose lists are in one order."""
    if isinstance(value, dict):
        return {name: _sorted(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return sorted(map(_sorted, value), key=lambda item: json.dumps(item, sort_keys=True, default=str))
    return value


def with_filter(rule: dict[str, Any]) -> dict[str, Any]:
    """A lifecycle rule in today's form: S3 refuses a mix of rules with a Filter and rules with the old Prefix.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_LifecycleRule.html
    """
    if "Prefix" not in rule:
        return rule
    return {
        "Filter" if name == "Prefix" else name: {name: value} if name == "Prefix" else value
        for name, value in rule.items()
    }


def rule_meaning(rule: dict[str, Any]) -> str:
    """What a rule says, in one form for all its spellings: lists in any order, Prefix old and new."""
    said = dict(with_filter(rule))
    if "Filter" in said:
        said["Filter"] = said["Filter"] or {"Prefix": ""}
    if "AllowedHeaders" in said:
        said["AllowedHeaders"] = [word.lower() for word in said["AllowedHeaders"]]
    return json.dumps(_sorted(said), sort_keys=True, default=str)


def with_rules(
    current: tuple[dict[str, Any], ...], wanted: list[dict[str, Any]], names: tuple[str, ...]
) -> list[dict[str, Any]]:
    """The rules with exactly these as ours: those that exist keep their place, and so do all others."""
    left = {rule["ID"]: rule for rule in wanted}
    made = []
    for rule in current:
        if rule.get("ID") not in names:
            made.append(rule)
        elif rule["ID"] in left:
            made.append(left.pop(rule["ID"]))
    return made + list(left.values())


def unmanaged(state: State) -> dict[str, list[str]]:
    """What of a bucket is not ours, in a form that can be compared."""
    rules = ((*state.cors, *state.lifecycle), (CORS, *LIFECYCLE))
    return {
        "policy": sorted(map(policy.meaning, policy.unmanaged(state.policy))),
        "rules": sorted(rule_meaning(rule) for rule in rules[0] if rule.get("ID") not in rules[1]),
    }


def open_prefix(bucket: str, state: State) -> str:
    """The prefix that a bucket opens to everybody as this module does it, "" when it opens none."""
    block = state.block or {}
    for statement in policy.of(state.policy, policy.PUBLIC_READ):
        match = re.fullmatch(rf"arn:([a-z-]+):s3:::{re.escape(bucket)}/(.+)/\*", str(statement.get("Resource")))
        if match and not any(block.get(name) for name in SWITCHES[2:]):
            wanted = policy.public_read(bucket, match.group(1), match.group(2))
            return match.group(2) if policy.meaning(statement) == policy.meaning(wanted) else ""
    return ""


def for_browsers(endpoint: str, bucket: str, region: str) -> Endpoint:
    """The endpoint of tickets and links for browsers, as gallery has it. Raises BucketError for an invalid one."""
    try:
        return by_url(endpoint, bucket, region)
    except EndpointError as fault:
        raise BucketError(f"browser_{fault}") from fault


def view(state: State) -> dict[str, Any]:
    """A state as the diff shows it."""
    if not state.exists:
        return {}
    return {
        "public_access_block": {name: bool((state.block or {}).get(name)) for name in SWITCHES},
        "ownership": state.ownership,
        "policy": policy.statements(state.policy),
        "cors": list(state.cors),
        "lifecycle": list(state.lifecycle),
        "encryption": state.encryption,
        "versioning": state.versioning,
    }
