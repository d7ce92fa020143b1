"""What a server signs for browsers: links that stay the same for a while, and tickets for just one file."""

from __future__ import annotations

import datetime
import json
import urllib.parse

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._s3 import endpoint
from ansible_collections.samefiles.aws.plugins.module_utils._s3.endpoint import Keys
from gallery.direct import upload_tickets
from gallery.errors import Problem
from gallery.s3 import credentials, presign
from gallery.settings import from_environment
from hypothesis import assume, given
from hypothesis import strategies as st

ENDPOINT = endpoint.by_url("https://s3.example.com", "bkt", "eu-central-1")
KEYS = Keys("AKID", "secret", "token")
KEY = "0123456789a0123456789abcdef-a.png"
PAPER = "0123456789a0123456789abcdef-a.pdf"
NOW = 1_790_000_100.5


def query(url: str) -> dict[str, str]:
    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))


@pytest.mark.parametrize(
    ("now", "life", "end", "second", "seconds"),
    [
        (7200.0, 3600, None, 7200, 3600),
        (8999.9, 3600, None, 7200, 3600),
        (9000.0, 3600, None, 9000, 3600),
        (8999.9, 3600, 9001.5, 7200, 1801),
        (8999.9, 3600, 99999.0, 7200, 3600),
        (7.0, 2, None, 7, 2),
        (7.5, 3, None, 7, 3),
    ],
)
def test_when_a_link_holds(now, life, end, second, seconds):
    assert presign.window(now, life, end) == (second, seconds)


@given(st.floats(1e9, 4e9), st.integers(2, 604_800), st.one_of(st.none(), st.floats(1, 1e6)), st.floats(0, 1))
def test_a_link_holds_for_half_of_its_life_and_stays_the_same(now, life, left, later):
    end = None if left is None else now + left
    second, seconds = presign.window(now, life, end)
    assert second <= now < second + max(1, life // 2)
    assert 1 <= seconds <= life
    if end is None:
        assert second + seconds - now >= life / 2 - 1
    else:
        assert second + seconds <= max(end, second + 1)
    then = now + later * (second + max(1, life // 2) - now)
    assume(then < second + max(1, life // 2))
    assert presign.window(then, life, end) == (second, seconds)


def test_a_link():
    links = [
        presign.link(ENDPOINT, presign.Signer(KEYS, None, now), "GET", f"g/{KEY}", 3600) for now in (NOW, NOW + 60)
    ]
    assert links[0].url == links[1].url
    assert (links[0].left - links[1].left, links[0].left > 1800) == (60, True)
    assert links[0].url != presign.link(ENDPOINT, presign.Signer(KEYS, None, NOW), "HEAD", f"g/{KEY}", 3600).url
    asked = query(links[0].url)
    then = datetime.datetime.strptime(asked["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
    assert then.timestamp() + int(asked["X-Amz-Expires"]) - NOW == pytest.approx(links[0].left, abs=1)
    assert asked["X-Amz-SignedHeaders"] == "host"
    short = presign.link(ENDPOINT, presign.Signer(KEYS, NOW + 20, NOW), "GET", f"g/{KEY}", 3600)
    assert 18 <= short.left <= 20
    assert "secret" not in short.url


@pytest.mark.parametrize("sha256", ["", "ab" * 32])
@pytest.mark.parametrize("key", [KEY, PAPER])
def test_a_ticket(key, sha256):
    ticket = presign.ticket(ENDPOINT, presign.Signer(KEYS, None, NOW), f"g/incoming/{key}", key, 5, sha256, 900)
    assert (ticket["key"], ticket["method"], ticket["expires"]) == (key, "PUT", 900)
    assert ticket["url"].startswith(f"https://bkt.s3.example.com/g/incoming/{key}?")
    signed = set(query(ticket["url"])["X-Amz-SignedHeaders"].split(";"))
    assert signed == {*ticket["headers"], "host", "content-length"}
    wanted = {"content-type", "cache-control", "if-none-match"}
    wanted |= {"x-amz-checksum-sha256"} if sha256 else set()
    wanted |= {"content-disposition"} if key == PAPER else set()
    assert set(ticket["headers"]) == wanted
    assert ticket["headers"]["content-type"] == ("image/png" if key == KEY else "application/octet-stream")
    assert query(ticket["url"])["X-Amz-Expires"] == "900"
    short = presign.ticket(ENDPOINT, presign.Signer(KEYS, NOW + 20, NOW), "x", key, 5, "", 900)
    assert short["expires"] == 20


SETTINGS = from_environment(
    {"GALLERY_NAME": "n", "GALLERY_STORAGE": "s3", "GALLERY_BUCKET": "bkt", "GALLERY_PUBLIC_UPLOADS": "true",
     "GALLERY_REGION": "eu-central-1", "GALLERY_MAX_BYTES": "1000"}
)  # fmt: skip
GOOD = {"name": "A b.PNG", "size": 5, "type": "image/png", "sha256": "AB" * 32}


def test_a_good_question():
    assert upload_tickets.parse(json.dumps(GOOD).encode(), SETTINGS) == ("A-b.png", 5, "ab" * 32)
    bare = {"name": "a.txt", "size": 1000, "type": None, "more": [1]}
    assert upload_tickets.parse(json.dumps(bare).encode(), SETTINGS) == ("a.txt", 1000, "")


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"name": ""}, 400, "empty"),
        ({"name": "a\0.png"}, 400, "control character"),
        ({"name": 5}, 400, "texts"),
        ({"name": "a.exe"}, 415, "not accepted"),
        ({"name": "a"}, 415, "not accepted"),
        ({"size": 0}, 400, "nothing to keep"),
        ({"size": -1}, 400, "nothing to keep"),
        ({"size": True}, 400, "whole number"),
        ({"size": 1.5}, 400, "whole number"),
        ({"size": "5"}, 400, "whole number"),
        ({"size": 1001}, 413, "larger than 1000 bytes"),
        ({"type": "image/jpeg"}, 415, "image/jpeg by its content"),
        ({"name": "a.txt"}, 415, "image/png by its content"),
        ({"type": ["image/png"]}, 400, "texts"),
        ({"sha256": "ab" * 31}, 400, "64 hexadecimal digits"),
        ({"sha256": "zz" * 32}, 400, "64 hexadecimal digits"),
    ],
)
def test_a_bad_question(change, status, said):
    with pytest.raises(Problem) as caught:
        upload_tickets.parse(json.dumps({**GOOD, **change}).encode(), SETTINGS)
    assert (caught.value.status, said in caught.value.sentence) == (status, True)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"null", b"5", b'"x"', b"{}", b'{"name": "a.png"}', b"\xff", b"[" * 9999]
)
def test_what_is_no_question(text):
    with pytest.raises(Problem) as caught:
        upload_tickets.parse(text, SETTINGS)
    assert caught.value.status == 400


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner)),
       st.sampled_from(["name", "size", "type", "sha256"]))  # fmt: skip
def test_no_question_is_a_fault(value, field):
    try:
        name, size, sha256 = upload_tickets.parse(json.dumps({**GOOD, field: value}).encode(), SETTINGS)
    except Problem as problem:
        assert problem.status in (400, 413, 415)
    else:
        assert (1 <= size <= 1000, len(sha256) in (0, 64), name.endswith(".png")) == (True, True, True)


def test_an_allowance():
    now = [0.0]
    allowance = upload_tickets.Allowance(2, 100, lambda: now[0])
    allowance.take("a")
    allowance.take("a")
    allowance.take("b")
    for _ in range(5):
        allowance.take("")  # a client without an address
    with pytest.raises(Problem) as caught:
        allowance.take("a")
    assert (caught.value.status, caught.value.headers["Retry-After"]) == (429, "101")
    now[0] = 100.0
    allowance.take("a")


class Provider:
    """Credentials with an end, as botocore's; asks counts the questions."""

    def __init__(self, end: float | None) -> None:
        self.end, self.asks, self.broken = end, 0, False

    def __call__(self) -> Keys:
        if self.broken:
            raise OSError("the metadata service is away")
        self.asks += 1
        return Keys(f"A{self.asks}", "secret")


def cached_keys(end: float | None) -> tuple[credentials.CachedCredentials, Provider, list[float]]:
    provider, now = Provider(end), [1000.0]
    return credentials.CachedCredentials(provider, lambda: now[0], lambda work: work()), provider, now


@pytest.mark.parametrize(("end", "asked_again"), [(None, 1060.0), (1020.0, 1005.0), (9999.0, 1060.0)])
def test_credentials_are_held_for_a_moment(end, asked_again):
    keys, provider, now = cached_keys(end)
    assert keys().access_key == "A1"
    now[0] = asked_again - 0.1
    assert (keys().access_key, keys.both()[1]) == ("A1", end)
    now[0] = asked_again
    assert (keys().access_key, provider.asks) == ("A2", 2)


def test_credentials_are_used_to_their_end_while_no_others_can_be_had():
    keys, provider, now = cached_keys(1020.0)
    keys()
    provider.broken = True
    now[0] = 1019.9
    assert keys().access_key == "A1"
    now[0] = 1020.0
    with pytest.raises(OSError, match="away"):
        keys()
    provider.broken, provider.end = False, 1040.0
    now[0] = 1021.5
    assert keys().access_key == "A2"


def test_nobody_waits_for_other_credentials_while_there_are_good_ones():
    work = []
    provider, now = Provider(1020.0), [1000.0]
    keys = credentials.CachedCredentials(provider, lambda: now[0], work.append)
    keys()
    now[0] = 1010.0
    assert [keys().access_key for _ in range(9)] == ["A1"] * 9
    assert len(work) == 1
    provider.end = 1040.0
    work[0]()
    assert keys.both() == (Keys("A2", "secret"), 1040.0)


def test_after_a_long_sleep_credentials_are_asked_for_first():
    keys, provider, now = cached_keys(1020.0)
    keys()
    now[0], provider.end = 5000.0, 6000.0
    assert keys().access_key == "A2"


def test_credentials_that_s3_refuses_are_asked_for_anew():
    keys, provider, _now = cached_keys(None)
    keys()
    keys.renew()
    assert keys().access_key == "A2"
