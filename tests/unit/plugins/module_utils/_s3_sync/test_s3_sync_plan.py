"""The plan of a sync: tables of its rules, and laws that hold for all trees, buckets and options."""

from __future__ import annotations

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._s3 import endpoint, errors, responses, sigv4
from ansible_collections.samefiles.aws.plugins.module_utils._s3.responses import Head, Listed
from ansible_collections.samefiles.aws.plugins.module_utils._s3_sync import headers as _headers
from ansible_collections.samefiles.aws.plugins.module_utils._s3_sync import plan as _plan
from ansible_collections.samefiles.aws.plugins.module_utils._s3_sync import rules as _rules
from ansible_collections.samefiles.aws.plugins.module_utils._s3_sync.rules import Chooser, HeaderRule, Rules
from hypothesis import assume, given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("include", "exclude", "path", "taken"),
    [
        (("*",), (".*",), "a/b.css", True),
        (("*",), (".*",), ".hidden", False),
        (("*",), (".*",), ".git/config", False),
        (("*",), (".*",), "a/.git/deep/x", False),
        (("*.css",), (), "a/b.css", True),
        (("*.css",), (), "b.css/c.js", False),
        (("css/*",), (), "css/a.css", True),
        (("css/*",), (), "css/deep/a.css", False),
        (("css/**",), (), "css/deep/a.css", True),
        (("**/x.txt",), (), "x.txt", True),
        (("**/x.txt",), (), "a/b/x.txt", True),
        (("/a.txt",), (), "a.txt", True),
        (("*",), ("cache/**",), "cache/a/b", False),
        (("*",), ("cache/",), "cache/a/b", False),
        (("*",), ("cache/",), "a/cache/b", True),
        (("*",), ("cache",), "a/cache/b", False),
        (("*",), ("cache*/",), "cache1/x", False),
        (("*",), ("**/tmp/",), "a/b/tmp/x", False),
        (("*",), ("*/tmp/",), "a/tmp/x/y", False),
        (("css/",), (), "css/deep/a.css", True),
        (("css/",), (), "css2/a.css", False),
        (("*",), ("[!]a].txt",), "b.txt", False),
        (("*",), ("[!]a].txt",), "].txt", True),
        (("*",), ("[[]x",), "[x", False),
        (("*",), ("[a&&b]",), "&", False),
        (("*",), ("[^a]",), "^", False),
        (("*",), ("[^a]",), "b", True),
        (("img[!0-9]a/x",), (), "img/a/x", False),
        (("*",), ("a?c",), "abc", False),
        (("*",), ("a?c",), "a/c", True),
        (("*",), ("[ab].txt",), "b.txt", False),
        (("*",), ("[!ab].txt",), "c.txt", False),
        (("*",), ("[!ab].txt",), "a.txt", True),
        (("*",), ("[",), "[", False),
        (("*",), ("a.b",), "axb", True),
    ],
)
def test_which_files_take_part(include, exclude, path, taken):
    assert Chooser(Rules(include=include, exclude=exclude)).takes(path) is taken


@pytest.mark.parametrize(
    ("exclude", "folder", "entered"),
    [
        ("a/**", "a", False), ("a/**", "a/b", False), ("a/", "a", False), ("a/x**/**", "a", True), ("a/x**/**", "a/x1", False),
        ("a/b", "a", True), ("**/tmp/", "a/tmp", False), ("**/tmp/", "tmp/b", False), ("**/x/*", "x", True), ("?//", "a", True), ("*.d", "a.d/b", False),
    ],
)  # fmt: skip
def test_which_folders_are_entered(exclude, folder, entered):
    assert Chooser(Rules(exclude=(exclude,))).enters(folder) is entered


@given(
    exclude=st.text(st.sampled_from("ab/*x?"), min_size=1, max_size=6), folder=st.text(st.sampled_from("abx/"), min_size=1, max_size=5),
    name=st.text(st.sampled_from("abxy/"), min_size=1, max_size=3),
)  # fmt: skip
def test_no_folder_is_passed_by_that_holds_what_takes_part(exclude, folder, name):
    path = f"{folder}/{name}"
    assume(not _plan.unsafe(path))
    choose = Chooser(Rules(exclude=(exclude,)))
    if choose.takes(path):
        parts = path.split("/")
        assert all(choose.enters("/".join(parts[:count])) for count in range(1, len(parts)))


@pytest.mark.parametrize(
    ("given", "wanted"), [("", ""), ("web", "web/"), ("/web/", "web/"), ("a/b", "a/b/"), ("/", "")]
)
def test_a_prefix_is_a_path(given, wanted):
    assert _rules.prefix(given) == wanted


@pytest.mark.parametrize("given", ["a//b", "a/../b", "./a", "..", "a/."])
def test_a_prefix_that_is_none(given):
    with pytest.raises(ValueError, match="key_prefix must be a path"):
        _rules.prefix(given)


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
    there = _plan.objects([listed(key, data) for key, data in bucket.items()], rules)
    told = _plan.sort_out(
        {path: len(data) for path, data in tree.items()}, {path: item.size for path, item in there.items()}
    )
    differ = {path: "other content" for path in told.open if bucket[prefix + path] != tree[path]}
    plan = _plan.push(told, {path: len(data) for path, data in tree.items()}, there, rules, differ, {})
    if _plan.too_many(told.extra, len(there), rules):
        assert len(told.extra) > most
        return
    after = dict(bucket)
    for item in plan.sends:
        assert item.expect == (there[item.path].etag if item.path in there else "")
        after[prefix + item.path] = tree[item.path]
    for item in plan.deletes:
        assert after.pop(prefix + item.path).hex() == item.etag
    ours = {key for key in bucket if key.startswith(prefix) and key[len(prefix) :] in there}
    assert {key: data for key, data in after.items() if key not in ours and key[len(prefix) :] not in tree} == {
        key: data for key, data in bucket.items() if key not in ours and key[len(prefix) :] not in tree
    }
    if phase == "assets":
        assert not plan.deletes
        assert all(path not in there for path in (item.path for item in plan.sends))
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
    there = _plan.objects([listed(key, data) for key, data in bucket.items()], rules)
    blocked = _plan.blocked(there)
    source = {path: item.size for path, item in there.items() if path not in blocked}
    told = _plan.sort_out(source, {path: len(data) for path, data in tree.items()})
    told.extra = [path for path in told.extra if path not in blocked]
    differ = {path: "other content" for path in told.open if bucket[path] != tree[path]}
    plan = _plan.pull(told, {path: len(data) for path, data in tree.items()}, there, rules, differ, blocked)
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


def head(**change) -> Head:
    told = {
        "size": 1, "etag": "e", "modified": 0, "date": 9.0, "headers": {"content-type": "text/plain; charset=utf-8"}, "metadata": {},
        "storage_class": "STANDARD", "encryption": None, "kms_key": None, "checksums": {}, "checksum_type": None,
    }  # fmt: skip
    return Head(**{**told, **change})


@pytest.mark.parametrize(
    ("rules", "there", "why"),
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
def test_drift_of_headers(rules, there, why):
    assert _headers.drift(rules, "a.txt", there)[1] == why


def test_a_copy_keeps_what_is_not_ours():
    there = head(
        metadata={"mtime": "1"},
        storage_class="STANDARD_IA",
        encryption="aws:kms",
        kms_key="k",
        headers={"expires": "never"},
    )
    assert _headers.drift(Rules(), "a.txt", there)[0] == {
        "content-type": "text/plain; charset=utf-8", "x-amz-meta-mtime": "1", "x-amz-storage-class": "STANDARD_IA", "expires": "never",
        "x-amz-server-side-encryption": "aws:kms", "x-amz-server-side-encryption-aws-kms-key-id": "k",
    }  # fmt: skip


# answers

PAGE = (
    '<?xml version="1.0"?><ListBucketResult><KeyCount>{count}</KeyCount><EncodingType>url</EncodingType>'
    "<IsTruncated>{more}</IsTruncated>{rest}{entries}</ListBucketResult>"
)
ENTRY = "<Contents><Key>a%20b</Key><LastModified>T</LastModified><ETag>&quot;e&quot;</ETag><Size>5</Size></Contents>"
TURNED = '<Contents><Size>5</Size><ETag>"e"</ETag><Owner><ID>x</ID></Owner><Key>a%20b</Key><LastModified>T</LastModified></Contents>'


@pytest.mark.parametrize("entry", [ENTRY, TURNED])
def test_a_page_of_a_listing(entry):
    told = responses.page(PAGE.format(count=2, more="false", rest="", entries=entry * 2).encode())
    assert told == ([("a b", 5, "e", "T")] * 2, "")


@pytest.mark.parametrize(
    "text",
    [
        "", "<html>", PAGE.format(count=1, more="false", rest="", entries=ENTRY)[:-9],
        PAGE.format(count=2, more="false", rest="", entries=ENTRY), PAGE.format(count=1, more="true", rest="", entries=ENTRY),
        PAGE.format(count=1, more="false", rest="", entries="<Contents><Key>a</Key></Contents>"),
        PAGE.format(count=1, more="", rest="", entries=ENTRY),
    ],
)  # fmt: skip
def test_a_page_that_cannot_be_believed(text):
    with pytest.raises(errors.Malformed):
        responses.page(text.encode())


def test_the_example_of_amazon_s_documentation():
    """GET Object of docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html."""
    keys = endpoint.Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    headers = {
        "host": "examplebucket.s3.amazonaws.com", "range": "bytes=0-9", "x-amz-content-sha256": sigv4.EMPTY,
        "x-amz-date": "20130524T000000Z",
    }  # fmt: skip
    told = sigv4.sign("GET", "/test.txt", "", headers, sigv4.EMPTY, keys, "us-east-1")
    assert told.endswith("Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")


@pytest.mark.parametrize(
    ("url", "bucket", "header", "base"),
    [
        ("https://s3.eu-central-1.amazonaws.com", "site", "site.s3.eu-central-1.amazonaws.com", "/"),
        ("https://s3.eu-central-1.amazonaws.com", "my.site", "s3.eu-central-1.amazonaws.com", "/my.site/"),
        ("http://127.0.0.1:8333", "site", "127.0.0.1:8333", "/site/"),
        ("https://localhost", "site", "localhost", "/site/"),
        ("https://[::1]:9000", "site", "[::1]:9000", "/site/"),
    ],
)
def test_where_a_bucket_is(url, bucket, header, base):
    where = endpoint.by_url(url, bucket, "r")
    assert (where.header, where.base) == (header, base)


@pytest.mark.parametrize("url", ["s3.example.com", "ftp://x", "https://x/path", "https://x:y"])
def test_an_endpoint_that_is_none(url):
    with pytest.raises(errors.WhereError, match="endpoint_url"):
        endpoint.by_url(url, "site", "r")


@pytest.mark.parametrize(
    ("names", "host", "spared"),
    [
        ("*", "a.b", True), ("b.c", "a.b.c", True), (".b.c", "a.b.c", True), ("b.c", "ab.c", False), ("", "a", False),
        ("10.0.0.0/8", "10.1.2.3", True), ("10.0.0.0/8", "11.1.2.3", False), ("x/y", "10.1.2.3", False), ("*.b.c", "a.b.c", True),
    ],
)  # fmt: skip
def test_no_proxy(names, host, spared):
    assert (endpoint.proxy_of(True, host, {"https_proxy": "http://p:1", "no_proxy": names}) is None) is spared


@pytest.mark.parametrize(
    "url",
    [
        "http://p:99999",
        "http://p:0",
        "http://p:abc",
        "http://[::1",
        "https://p:1",
        "http://me:ge#heim@p:1",
        "https://me:ge@heim@p:1",
        "me:ge@heim@p:x",
    ],
)
def test_a_proxy_that_is_none_is_told_without_its_password(url):
    with pytest.raises(errors.WhereError, match="^https_proxy must be http://, a host and a port, got '") as caught:
        endpoint.proxy_of(True, "s3.example.com", {"HTTPS_PROXY": url})
    assert "heim" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://h:99999", "https://h:0", "https://[::1", "https://me:ge/heim@h", "https://me:ge@heim@h:x"]
)
def test_an_endpoint_that_is_none_is_told_without_its_password(url):
    with pytest.raises(errors.WhereError, match="^endpoint_url ") as caught:
        endpoint.by_url(url, "bkt", "eu-central-1")
    assert "heim" not in str(caught.value)
