"""Credentials that live for seconds while the site works, and secrets that appear nowhere.

GALLERY_SHORT_LIVES says for how many seconds (30).
"""

from __future__ import annotations

import os
import re
import time

import botocore.exceptions
import pytest
from gallery import keys

from tests.support.gallery_server import Answer, check, form, part
from tests.support.gallery_tickets import DATA, JPEG, ask, confirm, put, question, send, ticket
from tests.support.seaweedfs import BUCKET, Provider

BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"
SECONDS = float(os.environ.get("GALLERY_SHORT_LIVES", "30"))
LIFE = 20


class Listening:
    """A gallery all of whose answers are kept, as text."""

    def __init__(self, server) -> None:
        self._server = server
        self.heard: list[str] = []

    def keep(self, answer: Answer) -> Answer:
        self.heard.append(f"{answer.headers}\n{answer.body.decode(errors='replace')}")
        return answer

    def request(self, *words, **more) -> Answer:
        return self.keep(self._server.request(*words, **more))

    def get(self, path: str, **more) -> Answer:
        return self.request("GET", path, **more)


def work(server: Listening, number: int) -> None:
    """What visitors do in a moment; each request must succeed."""
    issued = ticket(server)
    assert put(issued).status == 200
    entry = confirm(server, issued["key"], JPEG).json
    assert entry["key"] == issued["key"]
    assert entry["key"] in [item["key"] for item in server.get("/files").json["files"]]
    for path in (entry["url"], f"/thumbs/{entry['key']}"):
        answer = server.get(path)
        assert answer.status == 302
        assert send(answer.headers["Location"], "GET").status == 200
        assert int(answer.headers["Cache-Control"].rpartition("=")[2]) <= LIFE
    assert server.get("/", Accept=BROWSER).status == 200
    assert server.get(f"/view/{entry['key']}", Accept=BROWSER).status == 200
    assert server.get("/readyz").status == 200
    if number % 5 == 0:
        large = form(part("a.bin", bytes(6_000_000)))
        content_type = "multipart/form-data; boundary=limit-of-parts"
        answer = server.request("POST", "/files", large, Content_Type=content_type)
        assert answer.status == 201
        assert server.request("DELETE", answer.json[0]["url"]).status == 204
    assert server.request("DELETE", entry["url"]).status == 204
    for path in (f"/files/{keys.new_key('a.png')}", "/files/x", "/nowhere"):
        server.get(path)


def refused(weed, credentials: dict) -> bool:
    try:
        weed.with_keys(credentials).list_objects_v2(Bucket=BUCKET, Prefix="gallery/")
    except botocore.exceptions.ClientError as fault:
        assert fault.response["ResponseMetadata"]["HTTPStatusCode"] == 403
        return True
    return False


@pytest.fixture(scope="module")
def provider(weed):
    """The address that hands out short-lived credentials."""
    made = Provider(weed, LIFE)
    yield made
    made.end()


def test_short_lives(start, weed, provider, capsys):
    settings = weed.settings(PROBE_INTERVAL="0.5")
    plain = start(aws=provider.environment(), **settings)
    server, until, rounds = Listening(plain), time.monotonic() + SECONDS, 0
    while plain.get("/readyz").status != 200:
        time.sleep(0.05)
    first = provider.given[0]
    assert not refused(weed, first)
    while time.monotonic() < until:
        work(server, rounds)
        rounds += 1
        time.sleep(0.2)
    assert len(provider.given) >= SECONDS / LIFE
    assert refused(weed, first)
    assert "renewed" not in plain.log.read_text()
    with capsys.disabled():
        lives = len(provider.given)
        print(f"\n  {rounds} rounds, {len(server.heard)} requests in {SECONDS:.0f} s with {lives} sets of credentials")
    assert_no_secret(provider, plain.log.read_text(), *server.heard)
    # no new credentials: the last ones are used until they expire, then the page says why it cannot go on
    provider.end()
    while plain.get("/readyz").status == 200:
        time.sleep(0.2)
        assert time.monotonic() < until + 2 * LIFE
    assert refused(weed, provider.given[-1])
    assert plain.get("/healthz").status == 200
    time.sleep(3)  # S3 may refuse the last ones before they expire here
    said = plain.get("/", Accept=BROWSER)
    assert said.status == 503
    assert b"credentials cannot be renewed" in said.body, said.body
    assert_no_secret(provider, plain.log.read_text(), said.body.decode())
    # nothing can be signed either
    for answer in (plain.get(f"/files/{keys.new_key('a.png')}"), ask(plain, question())):
        check(answer, 503, "Signing failed, S3 refuses this server: the credentials cannot be renewed")


def assert_no_secret(provider: Provider, *texts: str) -> None:
    """No secret key anywhere, and session tokens only where an address is signed with them."""
    assert any("X-Amz-Security-Token=" in text for text in texts) or len(texts) == 2
    for text in texts:
        bare = re.sub('X-Amz-Security-Token=[^&"]+', "", text)
        for credentials in provider.given:
            assert credentials["SecretAccessKey"] not in text
            assert credentials["SessionToken"] not in bare
            assert credentials["SessionToken"].rpartition(".")[2] not in bare


def test_a_link_never_outlives_the_credentials(start, weed, provider):
    made = Provider(weed, LIFE)
    try:
        server = start(aws=made.environment(), **weed.settings())
        answer = server.get(f"/files/{keys.new_key('a.png')}")
        left = int(answer.headers["Cache-Control"].rpartition("=")[2])
        assert LIFE / 2 - 3 <= left <= LIFE
        assert ticket(server)["expires"] <= LIFE
        assert ticket(server, DATA)["expires"] >= LIFE / 2 - 3
    finally:
        made.end()
