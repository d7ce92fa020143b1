# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bucket's policy: the two statements that are ours, whether two say the same, and which let everybody in."""

from __future__ import annotations

import ipaddress
import json
from typing import Any

TLS_ONLY, PUBLIC_READ = "SamefilesTlsOnly", "SamefilesPublicRead"
OURS = (TLS_ONLY, PUBLIC_READ)
VERSION = "2012-10-17"

# Conditions on these keep a statement from being public, as Amazon judges it.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html
_NARROW = {
    "aws:sourceip", "aws:sourcearn", "aws:sourcevpc", "aws:sourcevpce", "aws:sourceowner", "aws:sourceaccount", "aws:userid",
    "aws:principalarn", "aws:principalaccount", "aws:principalorgid", "aws:principalorgpaths", "s3:dataaccesspointaccount",
    "s3:dataaccesspointarn", "s3:x-amz-server-side-encryption-aws-kms-key-id",
}  # fmt: skip
_NARROWING = ("stringequals", "stringlike", "arnequals", "arnlike", "ipaddress")
# Amazon counts broader networks as public. It judges each alone; here they are joined first, so that two halves are the whole.
_BROADEST_IPV4, _BROADEST_IPV6 = 8, 32
_MAPPED = ipaddress.ip_network("::ffff:0:0/96")  # IPv4-mapped IPv6 addresses, which some servers treat as IPv4


def tls_only(bucket: str, partition: str) -> dict[str, Any]:
    """Nobody gets anything over an unencrypted connection."""
    arn = f"arn:{partition}:s3:::{bucket}"
    return {
        "Sid": TLS_ONLY,
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, f"{arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def public_read(bucket: str, partition: str, prefix: str) -> dict[str, Any]:
    """Everybody reads what lies below one prefix, and lists nothing."""
    return {
        "Sid": PUBLIC_READ,
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:{partition}:s3:::{bucket}/{prefix}/*",
    }


def _many(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _word(value: Any) -> str:
    """A value as text: AWS may return true for "true"."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _condition(condition: Any) -> list[Any]:
    if not isinstance(condition, dict):
        return [_word(condition)]
    return sorted(
        (operator.lower(), key.lower(), sorted(map(_word, _many(values))))
        for operator, keys in condition.items()
        for key, values in (keys.items() if isinstance(keys, dict) else [("", keys)])
    )


def _principal(principal: Any) -> list[tuple[str, list[str]]]:
    """Who is meant; "*" and {"AWS": "*"} are the same."""
    if not isinstance(principal, dict):
        principal = {"AWS": principal}
    return sorted((principal_type, sorted(map(_word, _many(names)))) for principal_type, names in principal.items())


def meaning(statement: Any) -> str:
    """What a statement says, in one form for all its spellings: AWS may return a list of one as text, and reorder lists."""
    if not isinstance(statement, dict):
        return json.dumps(statement, sort_keys=True, default=str)
    said: dict[str, list[Any]] = {}
    for name, value in statement.items():
        if name in ("Principal", "NotPrincipal"):
            said[name] = _principal(value)
        elif name == "Condition":
            said[name] = _condition(value)
        elif name in ("Action", "NotAction"):
            said[name] = sorted(_word(item).lower() for item in _many(value))
        else:
            said[name] = sorted(map(_word, _many(value)))
    return json.dumps({name: value for name, value in said.items() if value != []}, sort_keys=True)


def statements(policy: dict[str, Any] | None) -> list[Any]:
    """The statements of a policy."""
    return _many((policy or {}).get("Statement", []))


def sid(statement: Any) -> str:
    """The name of a statement, "" without one."""
    return str(statement.get("Sid", "")) if isinstance(statement, dict) else ""


def of(policy: dict[str, Any] | None, name: str) -> list[dict[str, Any]]:
    """The statements with a Sid; AWS has at most one, other servers may have more."""
    return [statement for statement in statements(policy) if sid(statement) == name]


def unmanaged(policy: dict[str, Any] | None) -> list[Any]:
    """The statements that are not ours."""
    return [statement for statement in statements(policy) if sid(statement) not in OURS]


def with_ours(policy: dict[str, Any] | None, wanted: list[dict[str, Any]]) -> dict[str, Any]:
    """The policy with exactly these statements as ours: those that exist keep their place, and so do all others."""
    by_sid = {statement["Sid"]: statement for statement in wanted}
    made = []
    for statement in statements(policy):
        name = sid(statement)
        if name not in OURS:
            made.append(statement)
        elif name in by_sid:
            made.append(by_sid.pop(name))
    rest = {name: value for name, value in (policy or {}).items() if name != "Statement"}
    return {"Version": VERSION, **rest, "Statement": made + list(by_sid.values())}


def same(policy: dict[str, Any] | None, wanted: list[dict[str, Any]]) -> bool:
    """Whether our statements are exactly these."""
    current = sorted(meaning(statement) for statement in statements(policy) if sid(statement) in OURS)
    return current == sorted(map(meaning, wanted))


def _network(word: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """A network as it is meant, whatever its spelling. Raises ValueError for what is none."""
    network = ipaddress.ip_network(word, strict=False)
    if network.version == 6 and network.overlaps(_MAPPED):
        first = int(network.network_address) & 0xFFFFFFFF
        return ipaddress.ip_network((first, max(network.prefixlen - 96, 0)), strict=False)
    return network


def _known_addresses(words: list[str]) -> bool:
    """Whether networks name known addresses: none is invalid, and none too broad."""
    try:
        networks = [_network(word) for word in words]
    except ValueError:
        return False
    ipv4 = ipaddress.collapse_addresses(item for item in networks if isinstance(item, ipaddress.IPv4Network))
    ipv6 = ipaddress.collapse_addresses(item for item in networks if isinstance(item, ipaddress.IPv6Network))
    return all(item.prefixlen >= _BROADEST_IPV4 for item in ipv4) and all(
        item.prefixlen >= _BROADEST_IPV6 for item in ipv6
    )


def _fixed(key: str, words: list[str]) -> bool:
    """Whether the values of a condition are fixed ones; a policy variable is whatever the request says."""
    if not words or any("*" in word or "?" in word or "${" in word for word in words):
        return False
    return key != "aws:sourceip" or _known_addresses(words)


def _narrow(condition: Any) -> bool:
    """Whether a condition leaves only those whom its author knows."""
    if not isinstance(condition, dict):
        return False
    for operator, keys in condition.items():
        if operator.lower() not in _NARROWING or not isinstance(keys, dict):
            continue
        for key, values in keys.items():
            if key.lower() in _NARROW and _fixed(key.lower(), [_word(value) for value in _many(values)]):
                return True
    return False


def is_public(statement: Any) -> bool:
    """Whether a statement lets people in whom nobody named."""
    if not isinstance(statement, dict) or statement.get("Effect") != "Allow":
        return False
    who = statement.get("Principal")
    named = _many(who.get("AWS", [])) if isinstance(who, dict) else _many(who)
    anybody = "NotPrincipal" in statement or any("*" in _word(name) for name in named)
    return anybody and not _narrow(statement.get("Condition"))
