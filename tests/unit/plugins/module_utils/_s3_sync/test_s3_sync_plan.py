"""The plan of a sync: laws that hold for all trees, buckets and options."""

from __future__ import annotations

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._s3.responses import Listed
from ansible_collections.samefiles.aws.plugins.module_utils._s3_sync import plan as _plan
from ansible_collections.samefiles.aws.plugins.module_utils._s3_sync import rules as _rules
from ansible_collections.samefiles.aws.plugins.module_utils._s3_sync.rules import Chooser, Rules
from hypothesis import given
from hypothesis import strategies as st

PATHS = st.text(st.sampled_from("ab./&%é\n"), min_size=1, max_size=6).filter(lambda path: not _plan.unsafe(path))
TREE = st.dictionaries(PATHS, st.binary(max_size=3), max_size=6)
BUCKET = st.dictionaries(st.text(st.sampled_from("abw/2."), min_size=1, max_size=7), st.binary(max_size=3), max_size=8)


def listed(key: str, data: bytes) -> Listed:
    return Listed(key, len(data), data.hex(), "t")


@given(
    tree=TREE, bucket=BUCKET, prefix=st.sampled_from(["", "w/", "w/a/"]), delete=st.booleans(), force=st.booleans(),
    exclude=st.sampled_from([(), ("a",), ("*.a",), (".*",)]), most=st.integers(0, 9), phase=st.sampled_from(["all", "assets", "rest"]),
)  # fmt: skip
def test_a_push_makes_equal_and_touches_nothing_else(tree, bucket, prefix, delete, force, exclude, most, phase):
    rules = Rules(
        prefix=prefix,
        exclude=exclude,
        delete=delete,
        force=force,
        most_deletes=most,
        most_percent=100,
        phase=phase,
        pages=("*.",),
    )
    choose = Chooser(rules)
    tree = {path: data for path, data in tree.items() if choose.takes(path)}
    listing = _plan.objects([listed(key, data) for key, data in bucket.items()], rules)
    sides = _plan.sort_out(
        {path: len(data) for path, data in tree.items()}, {path: item.size for path, item in listing.items()}
    )
    differ = {path: "other content" for path in sides.open if bucket[prefix + path] != tree[path]}
    plan = _plan.push(sides, {path: len(data) for path, data in tree.items()}, listing, rules, differ, {})
    if _plan.too_many(sides.extra, len(listing), rules):
        assert len(sides.extra) > most
        return
    after = dict(bucket)
    for item in plan.sends:
        assert item.expect == (listing[item.path].etag if item.path in listing else "")
        after[prefix + item.path] = tree[item.path]
    for item in plan.deletes:
        assert after.pop(prefix + item.path).hex() == item.etag
    ours = {key for key in bucket if key.startswith(prefix) and key[len(prefix) :] in listing}
    assert {key: data for key, data in after.items() if key not in ours and key[len(prefix) :] not in tree} == {
        key: data for key, data in bucket.items() if key not in ours and key[len(prefix) :] not in tree
    }
    if phase == "assets":
        assert not plan.deletes
        assert all(path not in listing for path in (item.path for item in plan.sends))
        return
    assert {path: after[prefix + path] for path in tree} == tree
    if delete:
        assert {key[len(prefix) :] for key in after if key in ours or key[len(prefix) :] in tree} == set(tree)
    pages = [_rules.is_page(rules, item.path) for item in plan.sends]
    assert pages == sorted(pages)


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("index.html", True),
        ("a/index.html.gz", True),
        ("sitemap.xml.br", True),
        ("a.css.gz", False),
        ("html.gz", False),
    ],
)
def test_a_compressed_page_is_a_page(path, page):
    assert _rules.is_page(Rules(), path) is page


@given(tree=TREE, bucket=TREE, delete=st.booleans())
def test_a_pull_makes_equal_but_for_what_cannot_be_a_file(tree, bucket, delete):
    rules = Rules(exclude=(), delete=delete, most_deletes=99, most_percent=100)
    listing = _plan.objects([listed(key, data) for key, data in bucket.items()], rules)
    blocked = _plan.blocked(listing)
    source = {path: item.size for path, item in listing.items() if path not in blocked}
    sides = _plan.sort_out(source, {path: len(data) for path, data in tree.items()})
    sides.extra = [path for path in sides.extra if path not in blocked]
    differ = {path: "other content" for path in sides.open if bucket[path] != tree[path]}
    plan = _plan.pull(sides, {path: len(data) for path, data in tree.items()}, listing, rules, differ, blocked)
    after = dict(tree)
    for item in plan.fetches:
        after[item.path] = bucket[item.path]
    for item in plan.deletes:
        del after[item.path]
    assert {path: after[path] for path in source} == {path: bucket[path] for path in source}
    assert not any(path in blocked and path not in tree for path in after)
    if delete:
        assert set(after) - set(source) <= set(blocked)


@pytest.mark.parametrize("path", ["../a", "a/..", "/a", "a//b", "a/", "./a", "a\0b", "x" * 256, "é" * 128])
def test_keys_that_can_be_no_file(path):
    assert _plan.unsafe(path)


@pytest.mark.parametrize("path", ["a", "a/b", "..a", "a..", "a/...", "é" * 127, "a\nb", "a\\b"])
def test_keys_that_can_be_a_file(path):
    assert not _plan.unsafe(path)
