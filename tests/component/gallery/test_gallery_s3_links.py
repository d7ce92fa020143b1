"""Where gallery sends browsers for files and previews in S3, and what the servers' role may do there."""

from __future__ import annotations

import botocore.exceptions
import pytest
from gallery import keys

from tests.support.gallery_server import check, form, part
from tests.support.gallery_tickets import DATA, JPEG, PNG, confirm, followed, listed, put, send, sha256, ticket, upload
from tests.support.seaweedfs import BUCKET, environment

PREFIX = "gallery/links"


@pytest.fixture(scope="module")
def server(start, weed):
    """A gallery with the role's temporary credentials."""
    return start(aws=environment(weed.role()), **weed.settings(KEY_PREFIX=PREFIX, MAX_BYTES="2000000"))


@pytest.fixture(scope="module")
def second(start, weed):
    """Another server of the same site, with credentials of its own."""
    return start(aws=environment(weed.role()), **weed.settings(KEY_PREFIX=PREFIX, MAX_BYTES="2000000"))


def test_where_files_are_read(server, second, weed):
    entry = upload(server)
    responses = [host.get(entry["url"]) for host in (server, server, second)]
    assert responses[0].headers["Location"] == responses[1].headers["Location"]
    assert responses[0].headers["Location"].startswith(f"{weed.url}/{BUCKET}/gallery/links/files/{entry['key']}?")
    life = int(responses[0].headers["Cache-Control"].removeprefix("private, max-age="))
    assert 1790 <= life <= 3600
    assert followed(server, entry["url"], "HEAD").headers["Content-Length"] == str(len(DATA))
    assert followed(server, entry["url"], Range="bytes=1-3").body == DATA[1:4]
    assert send(responses[0].headers["Location"], "HEAD").status == 403
    assert send(responses[0].headers["Location"], "DELETE").status == 403
    # gallery does not ask S3 whether the file exists: S3 answers the browser
    assert followed(server, f"/files/{keys.new_key('a.png')}").status == 404
    check(server.get("/files/x"), 404, "There is no file")
    for address in (f"{weed.url}/{BUCKET}/gallery/links/files/{entry['key']}", f"{weed.url}/{BUCKET}/"):
        assert send(address, "GET").status == 403


def test_previews(server, second):
    issued = ticket(server)
    put(issued)
    entry = confirm(server, issued["key"], JPEG).json
    for host in (second, server):
        answer = followed(host, f"/thumbs/{entry['key']}")
        assert (answer.body, answer.headers["Content-Type"]) == (JPEG, "image/jpeg")
    assert server.get(f"/thumbs/{entry['key']}").headers["Cache-Control"].startswith("private, max-age=")
    assert server.request("DELETE", entry["url"]).status == 204
    assert server.request("DELETE", entry["url"]).status == 404
    check(server.get(f"/thumbs/{entry['key']}"), 404, "There is no file")
    assert second.get(f"/thumbs/{entry['key']}").status == 302  # it remembers one, and S3 says that it is gone
    assert followed(second, f"/thumbs/{entry['key']}").status == 404


@pytest.mark.parametrize("preview", [b"", b"<svg/>", JPEG + bytes(64 * 1024), b"GIF89a"])
def test_what_is_no_preview_is_left_out(server, preview):
    issued = ticket(server)
    put(issued)
    entry = confirm(server, issued["key"], preview).json
    answer = server.get(f"/thumbs/{entry['key']}")  # so small that the grid shows the picture itself
    assert (answer.status, answer.headers["Location"]) == (302, entry["url"])


def test_nobody_gives_a_listed_file_a_preview(server, second, weed):
    entry = upload(server)
    for host in (server, second):
        assert confirm(host, entry["key"], JPEG).json == entry
        assert host.get(f"/thumbs/{entry['key']}").headers["Location"] == entry["url"]
    assert weed.keys(f"{PREFIX}/previews/{entry['key']}") == []


def test_a_form_works_without_a_script(server, weed):
    large = PNG + bytes(1_500_000)
    items = [part("a.png", large), part("preview", JPEG, "preview"), part("b.txt", b"x"), part("c.bin", bytes(400_000))]
    answer = server.post(form(*items), Accept="application/json")
    assert answer.status == 201, answer.body
    first, paper, binary = answer.json
    assert first["sha256"] == sha256(large)
    assert followed(server, first["url"]).body == large
    assert followed(server, f"/thumbs/{first['key']}").body == JPEG
    assert followed(server, paper["url"]).body == b"x"
    assert followed(server, binary["url"]).body == bytes(400_000)
    assert server.post(form(part("a.png", PNG)), Accept="text/html").status == 303
    check(server.post(form(part("a.png", PNG), part("b.png", b"no picture"))), 415, "no png picture inside")
    check(server.post(form(part("a.bin", bytes(2_000_001)))), 413, "larger")
    assert weed.unfinished("gallery/links/") == []


def test_the_page_may_load_from_s3(server, weed):
    policy = server.get("/").headers["Content-Security-Policy"]
    assert f"img-src 'self' blob: {weed.url};" in policy
    assert f"connect-src 'self' {weed.url};" in policy


def test_browsers_may_have_an_address_of_their_own(start, weed):
    other = weed.url.replace("127.0.0.1", "localhost")
    server = start(aws=environment(weed.role()), **weed.settings(BROWSER_ENDPOINT_URL=other))
    issued = ticket(server)
    assert issued["url"].startswith(f"{other}/{BUCKET}/")
    assert put(issued).status == 200
    entry = confirm(server, issued["key"]).json
    assert server.get(entry["url"]).headers["Location"].startswith(f"{other}/")
    assert followed(server, entry["url"]).body == DATA
    assert f"connect-src 'self' {other};" in server.get("/").headers["Content-Security-Policy"]


@pytest.mark.parametrize("opened", ["true", "false"])
def test_a_public_prefix(start, weed, opened):
    settings = weed.settings(PUBLIC_PREFIX=f"public/{opened}", PUBLIC_ACCESS=opened)
    server = start(aws=environment(weed.role()), **settings)
    entry = upload(server)
    address = f"{weed.url}/{BUCKET}/public/{opened}/{entry['key']}"
    location = server.get(entry["url"]).headers["Location"]
    assert (location == address, location.startswith(address)) == (opened == "true", True)
    cached = weed.client.head_object(Bucket=BUCKET, Key=f"public/{opened}/{entry['key']}")["CacheControl"]
    assert cached.split(",")[0] == ("public" if opened == "true" else "private")
    assert listed(server) == [entry["key"]]
    assert weed.keys(f"{settings['KEY_PREFIX']}/files/") == []
    # other headers need a signature
    kept = send(server.get(f"{entry['url']}?download").headers["Location"], "GET")
    assert (kept.status, kept.headers["Content-Disposition"]) == (200, f'attachment; filename="{entry["name"]}"')
    # the switch here opens nothing: the bucket's policy does
    assert send(address, "GET").status == 403
    assert server.request("DELETE", entry["url"]).status == 204


# the role


def test_the_role_cannot_leave_its_prefixes(weed):
    weed.client.put_object(Bucket=BUCKET, Key="hosts/secret", Body=b"x")
    role = weed.with_keys(weed.role())
    asks = [
        lambda: role.get_object(Bucket=BUCKET, Key="hosts/secret"),
        lambda: role.put_object(Bucket=BUCKET, Key="hosts/new", Body=b"x"),
        lambda: role.delete_object(Bucket=BUCKET, Key="hosts/secret"),
        lambda: role.list_objects_v2(Bucket=BUCKET, Prefix="hosts/"),
        lambda: role.list_objects_v2(Bucket=BUCKET),
        lambda: role.put_object(Bucket="other", Key="gallery/a", Body=b"x"),
        lambda: role.get_bucket_policy(Bucket=BUCKET),
        lambda: role.put_bucket_policy(Bucket=BUCKET, Policy="{}"),
        lambda: role.delete_bucket(Bucket=BUCKET),
        lambda: role.copy_object(Bucket=BUCKET, Key="gallery/a", CopySource=f"{BUCKET}/hosts/secret"),
    ]
    for ask_for in asks:
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            ask_for()
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert role.list_objects_v2(Bucket=BUCKET, Prefix="gallery/")["KeyCount"] >= 0
