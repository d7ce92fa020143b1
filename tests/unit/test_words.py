"""The check of words finds what it should, and nothing else."""

from __future__ import annotations

import pytest

from tests import words


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("The role heeded it.", "heeded"),
        ("HEEDS = 1", "HEEDS"),
        ("it is told once", "told"),
        ("told_twice = 1", "told"),
        ("unit_of_the_share", "share"),
        ("several shares", "shares"),
        ("it takes the last\n# step back", "takes the last # step back"),
        ("a rule that leads requests\nto web-02", "leads requests to"),
        ("it starts by itself", "by itself"),
        ("Folders", "Folders"),
    ],
)
def test_a_word_is_found(text, word):
    (problem,) = words.prose("docs/a.md", text)
    assert repr(word) in problem


@pytest.mark.parametrize(
    "text",
    ["/usr/share/doc", "amended", "recommend", "shared", "sharing", "leading zeros", "go back", "a leader", "retold"],
)
def test_other_words_are_left_alone(text):
    assert list(words.prose("docs/a.md", text)) == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("found_files = []", "found_files"),
        ("def look(): pass", "look"),
        ("def f(there): pass", "there"),
        ("for one in []: pass", "one"),
        ("class TornObject: pass", "TornObject"),
        ("class A:\n    def __init__(self):\n        self.kind = 1", "kind"),
    ],
)
def test_a_name_is_found_by_its_parts(text, name):
    (problem,) = words.names("plugins/a.py", text)
    assert f": {name}: " in problem


@pytest.mark.parametrize(
    "text", ["foundation = 1", "access_point = 1", "component = 1", "x.found", "def test_one(): pass"]
)
def test_other_names_are_left_alone(text):
    assert list(words.names("plugins/a.py", text)) == []


def test_names_of_yaml_are_found():
    assert len(list(words.names("a.yml", "- name: x\n  register: found\n  vars:\n    __role_kind: 1\n"))) == 2
    assert list(words.names("a.yml", "- name: One kind\n  loop: []\n")) == []


def test_what_is_kept_has_a_reason():
    assert len(words.KEPT) <= 20
    assert all(why for _place, _pattern, why in words.KEPT)
