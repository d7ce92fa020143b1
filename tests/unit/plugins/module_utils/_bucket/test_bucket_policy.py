"""Which statements of a policy let everybody in."""

from __future__ import annotations

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._bucket import policy

from tests.support.bucket_model import (
    ROLE,
    statement,
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
