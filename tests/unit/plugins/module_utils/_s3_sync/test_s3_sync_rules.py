"""The rules of a sync: which files and directories take part, where their keys begin."""

from __future__ import annotations

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._s3_sync import plan as _plan
from ansible_collections.samefiles.aws.plugins.module_utils._s3_sync import rules as _rules
from ansible_collections.samefiles.aws.plugins.module_utils._s3_sync.rules import Chooser, Rules
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
    ("exclude", "directory", "entered"),
    [
        ("a/**", "a", False), ("a/**", "a/b", False), ("a/", "a", False), ("a/x**/**", "a", True), ("a/x**/**", "a/x1", False),
        ("a/b", "a", True), ("**/tmp/", "a/tmp", False), ("**/tmp/", "tmp/b", False), ("**/x/*", "x", True), ("?//", "a", True), ("*.d", "a.d/b", False),
    ],
)  # fmt: skip
def test_which_directories_are_entered(exclude, directory, entered):
    assert Chooser(Rules(exclude=(exclude,))).enters(directory) is entered


@given(
    exclude=st.text(st.sampled_from("ab/*x?"), min_size=1, max_size=6), directory=st.text(st.sampled_from("abx/"), min_size=1, max_size=5),
    name=st.text(st.sampled_from("abxy/"), min_size=1, max_size=3),
)  # fmt: skip
def test_no_directory_is_passed_by_that_holds_what_takes_part(exclude, directory, name):
    path = f"{directory}/{name}"
    assume(not _plan.unsafe(path))
    choose = Chooser(Rules(exclude=(exclude,)))
    if choose.takes(path):
        names = path.split("/")
        assert all(choose.enters("/".join(names[:count])) for count in range(1, len(names)))


@pytest.mark.parametrize(
    ("given", "wanted"), [("", ""), ("web", "web/"), ("/web/", "web/"), ("a/b", "a/b/"), ("/", "")]
)
def test_a_prefix_is_a_path(given, wanted):
    assert _rules.prefix(given) == wanted


@pytest.mark.parametrize("given", ["a//b", "a/../b", "./a", "..", "a/."])
def test_a_prefix_that_is_none(given):
    with pytest.raises(ValueError, match="key_prefix must be a path"):
        _rules.prefix(given)
