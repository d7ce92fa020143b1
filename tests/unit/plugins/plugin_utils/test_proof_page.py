"""The page of a proof: it says what the proof says, and loads nothing."""

from __future__ import annotations

import html.parser
import json

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._proof import judge
from ansible_collections.samefiles.aws.plugins.plugin_utils import proof_page

from tests.support.proof_results import good, hung


class Page(html.parser.HTMLParser):
    """What a page loads and what it says."""

    def __init__(self):
        super().__init__()
        self.loads, self.words, self.tags = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.loads += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.words.append(data)


@pytest.mark.parametrize(
    ("fault", "title"), [(None, "All 3 servers serve the same files"), (hung, "The servers do not agree")]
)
def test_the_page_says_it_and_loads_nothing(fault, title):
    results = good()
    if fault:
        fault(results)
    proof = judge.judge(**results)
    page = Page()
    page.feed(proof_page.page(proof, "2026-11-25"))
    assert (page.loads, "script" in page.tags) == ([], False)
    assert page.words.count(title) == 2
    for problem in proof["problems"]:
        assert problem in page.words
    json.dumps(proof)


def test_names_on_the_page_are_only_names():
    name = '<img src=x onerror="alert(1)">'
    results = good([name, "web-02"], "/srv/<b>")
    results["reads"]["web-02"]["read"]["/srv/<b>"][name] = {"same": False, "fault": "<i>"}
    page = Page()
    page.feed(proof_page.page(judge.judge(**results), "now"))
    assert not {"img", "b", "i"} & set(page.tags)
    assert name in page.words
