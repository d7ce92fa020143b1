"""The headers of an object: from its path and the rules, and what differs."""

from __future__ import annotations

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._s3.responses import Head
from ansible_collections.samefiles.aws.plugins.module_utils._s3_sync import headers as _headers
from ansible_collections.samefiles.aws.plugins.module_utils._s3_sync.rules import HeaderRule, Rules


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("a.html", {"content-type": "text/html; charset=utf-8"}),
        ("A.HTML", {"content-type": "text/html; charset=utf-8"}),
        ("a.css.gz", {"content-type": "text/css; charset=utf-8", "content-encoding": "gzip"}),
        ("a.js.br", {"content-type": "text/javascript; charset=utf-8", "content-encoding": "br"}),
        ("a.tar.gz", {"content-type": "application/gzip"}),
        ("a.gz", {"content-type": "application/gzip"}),
        ("README", {"content-type": "application/octet-stream"}),
        ("a.unknown", {"content-type": "application/octet-stream"}),
        ("css", {"content-type": "application/octet-stream"}),
        ("img/x.webp", {"content-type": "image/webp"}),
    ],
)
def test_types_and_encodings(path, headers):
    assert _headers.headers(Rules(), path) == headers


def test_the_later_rule_wins_header_by_header():
    rules = Rules(
        cache_control="one",
        headers=(
            HeaderRule(("*",), cache_control="two", content_language="en"),
            HeaderRule(("a/*",), cache_control="three"),
            HeaderRule(("a/b.*",), content_language="", content_type="x/y"),
        ),
    )
    assert _headers.headers(rules, "a/b.txt") == {"content-type": "x/y", "cache-control": "three"}
    assert _headers.headers(rules, "c.png") == {
        "content-type": "image/png",
        "cache-control": "two",
        "content-language": "en",
    }


def head(**change) -> Head:
    fields = {
        "size": 1, "etag": "e", "modified": 0, "date": 9.0, "headers": {"content-type": "text/plain; charset=utf-8"}, "metadata": {},
        "storage_class": "STANDARD", "encryption": None, "kms_key": None, "checksums": {}, "checksum_type": None,
    }  # fmt: skip
    return Head(**{**fields, **change})


@pytest.mark.parametrize(
    ("rules", "current", "why"),
    [
        (Rules(), head(), ""),
        (Rules(), head(headers={}), "content-type 'none' -> 'text/plain; charset=utf-8'"),
        (Rules(), head(metadata={"mtime": "1"}), ""),
        (Rules(), head(headers={**head().headers, "cache-control": "x"}), "cache-control 'x' -> 'none'"),
        (Rules(encryption="AES256"), head(encryption="AES256"), ""),
        (Rules(encryption="aws:kms", kms_key="k"), head(encryption="aws:kms", kms_key="arn:aws:kms:r:1:key/k"), ""),
        (
            Rules(encryption="aws:kms", kms_key="k"),
            head(encryption="aws:kms", kms_key="arn:aws:kms:r:1:key/ok"),
            "encryption key",
        ),
        (
            Rules(encryption="aws:kms", kms_key="arn:aws:kms:r:1:key/k"),
            head(encryption="aws:kms", kms_key="arn:aws:kms:r:1:key/k"),
            "",
        ),
        (
            Rules(encryption="aws:kms", kms_key="arn:aws:kms:r:2:key/k"),
            head(encryption="aws:kms", kms_key="arn:aws:kms:r:1:key/k"),
            "encryption key",
        ),
        (Rules(encryption="aws:kms"), head(encryption="AES256"), "encryption"),
        (Rules(storage_class="GLACIER"), head(storage_class="STANDARD_IA"), ""),
    ],
)
def test_drift_of_headers(rules, current, why):
    assert _headers.drift(rules, "a.txt", current)[1] == why


def test_a_copy_keeps_what_is_not_ours():
    current = head(
        metadata={"mtime": "1"},
        storage_class="STANDARD_IA",
        encryption="aws:kms",
        kms_key="k",
        headers={"expires": "never"},
    )
    assert _headers.drift(Rules(), "a.txt", current)[0] == {
        "content-type": "text/plain; charset=utf-8", "x-amz-meta-mtime": "1", "x-amz-storage-class": "STANDARD_IA", "expires": "never",
        "x-amz-server-side-encryption": "aws:kms", "x-amz-server-side-encryption-aws-kms-key-id": "k",
    }  # fmt: skip
