"""Who may write: those with the password, and no other site's page."""

from __future__ import annotations

import base64

import pytest

from tests.support.gallery_server import check
from tests.support.pictures import small

PNG = small()


@pytest.fixture(scope="module")
def locked(start, tmp_path_factory):
    """A gallery with a password."""
    path = tmp_path_factory.mktemp("secret") / "password"
    path.write_text("open sesame\nsecond line\n")
    return start(PUBLIC_UPLOADS="false", PASSWORD_FILE=str(path))


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (None, 401),
        ("", 401),
        ("Basic", 401),
        ("Basic !!!", 401),
        ("Bearer open sesame", 401),
        (basic("me:"), 401),
        (basic("me:open sesam"), 401),
        (basic("me:open sesame "), 401),
        (basic("open sesame"), 401),
        (basic("me:open sesame"), 201),
        (basic(":open sesame"), 201),
    ],
)
def test_the_password(locked, given, status):
    headers = {} if given is None else {"Authorization": given}
    answer = locked.upload("a.png", PNG, **headers)
    assert answer.status == status
    if status == 401:
        check(answer, 401, "need the password")
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    assert locked.temporary() == []


def test_what_needs_the_password_and_what_does_not(locked):
    right = {"Authorization": basic("me:open sesame")}
    entry = locked.upload("a.png", PNG, **right).json[0]
    for path in ("/", "/files", entry["url"], f"/view/{entry['key']}", f"/view/{entry['key']}/delete", "/healthz"):
        assert locked.get(path).status == 200
    assert locked.get("/login").status == 401
    assert locked.get("/login", **right).status == 303
    assert locked.request("DELETE", entry["url"]).status == 401
    assert locked.request("POST", f"/view/{entry['key']}/delete").status == 401
    assert locked.get(entry["url"]).status == 200
    assert locked.request("DELETE", entry["url"], **right).status == 204
    assert b"sign in" in locked.get("/").body


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"Origin": "http://gallery.test"}, True),
        ({"Origin": "https://Gallery.Test", "Sec_Fetch_Site": "same-origin"}, True),
        ({"Sec_Fetch_Site": "none"}, True),
        ({"Origin": "http://evil.test"}, False),
        ({"Origin": "http://gallery.test.evil.test"}, False),
        ({"Origin": "http://gallery.test:8080"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "gallery.test"}, False),
        ({"Sec_Fetch_Site": "cross-site"}, False),
        ({"Sec_Fetch_Site": "same-site"}, False),
        ({"Origin": "http://gallery.test", "Sec_Fetch_Site": "cross-site"}, False),
    ],
)
def test_another_sites_page_cannot_write(server, headers, allowed):
    entry = server.upload("a.png", PNG).json[0]
    uploaded = server.upload("a.png", PNG, **headers)
    posted = server.request("POST", f"/view/{entry['key']}/delete", **headers)
    deleted = server.request("DELETE", server.upload("a.png", PNG).json[0]["url"], **headers)
    assert server.get(entry["url"], **headers).status == (404 if allowed else 200)
    if allowed:
        assert [uploaded.status, posted.status, deleted.status] == [201, 303, 204]
    else:
        for answer in (uploaded, posted, deleted):
            check(answer, 403, "another site")
