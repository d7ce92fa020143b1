"""What gallery asks of a bucket: addresses signed as botocore signs them, single pages, copies, and answers of all kinds."""

from __future__ import annotations

import datetime
import urllib.parse

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._s3 import errors, sigv4
from ansible_collections.samefiles.aws.plugins.module_utils._s3.endpoint import Keys, by_url
from ansible_collections.samefiles.aws.plugins.module_utils._s3.objects import Bucket
from botocore import auth, awsrequest, credentials
from gallery.s3 import objects, presign
from hypothesis import given
from hypothesis import strategies as st

from tests.support.s3_server import KEY, REGION, SECRET, Fault, Refusal

SECOND = 1_790_000_000
TICKET = {
    "content-length": "5",
    "content-type": "image/png",
    "content-disposition": 'attachment; filename="a  b.png"',
    "cache-control": "private, max-age=31536000, immutable",
    "if-none-match": "*",
    "x-amz-checksum-sha256": "LCa0a2j/xo/5m0U8HTBBNBNCLXBkg7+g+YpeiGJm564=",
}


def by_botocore(monkeypatch, endpoint, method, key, headers, keys, second, seconds) -> str:
    """The address that botocore signs."""
    then = datetime.datetime.fromtimestamp(second, datetime.timezone.utc)
    monkeypatch.setattr(auth, "get_current_datetime", lambda *_words, **_more: then)
    url = f"{presign.origin(endpoint)}{endpoint.base}{sigv4.quote(key)}"
    request = awsrequest.AWSRequest(method, url, headers=headers)
    credential = credentials.Credentials(keys.access_key, keys.secret_key, keys.token)
    auth.S3SigV4QueryAuth(credential, "s3", endpoint.region, expires=seconds).add_auth(request)
    return request.url


def signed(url: str) -> dict[str, list[str]]:
    return urllib.parse.parse_qs(urllib.parse.urlsplit(url).query, strict_parsing=True)


PLACES = [
    "https://s3.eu-central-1.amazonaws.com",
    "http://10.0.0.1:8333",
    "https://s3.example.com:8443",
    "http://localhost",
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("token", [None, "a/session+token=="])
@pytest.mark.parametrize(
    ("method", "headers"), [("GET", {}), ("HEAD", {}), ("PUT", TICKET), ("PUT", {"if-none-match": "*"})]
)
@pytest.mark.parametrize("key", ["gallery/files/0abc-a.png", "a b/ü+%&=?#'()*!~.txt", "x"])
def test_addresses_are_signed_as_botocore_does(monkeypatch, place, token, method, headers, key):
    endpoint, keys = by_url(place, "bkt", REGION), Keys("AKID", "secret", token)
    ours = presign.url(endpoint, method, key, headers, keys, SECOND, 900)
    theirs = by_botocore(monkeypatch, endpoint, method, key, headers, keys, SECOND, 900)
    assert signed(ours) == signed(theirs)
    assert urllib.parse.urlsplit(ours)[:3] == urllib.parse.urlsplit(theirs)[:3]


@given(st.integers(0, 4_000_000_000), st.integers(1, 604_800), st.text(max_size=40), st.text(min_size=1, max_size=60))
def test_any_moment_and_any_key(second, seconds, secret, key):
    endpoint, keys = by_url("https://s3.example.com", "bkt", REGION), Keys("AKID", secret)
    url = presign.url(endpoint, "GET", key, {}, keys, second, seconds)
    with pytest.MonkeyPatch.context() as patch:
        assert signed(url) == signed(by_botocore(patch, endpoint, "GET", key, {}, keys, second, seconds))


@pytest.fixture
def bucket(server):
    endpoint = by_url(server.url, "bkt", REGION)
    made = Bucket(endpoint, lambda: Keys(KEY, SECRET), seconds=5, attempts=3)
    yield made
    made.close()


def test_pages(server, bucket):
    for number in range(5):
        server.seed(f"f/{number} ü", b"x" * number)
    server.seed("g/other")
    page = objects.page(bucket, "f/", "f/1 ü", 2)
    assert [(entry.key, entry.size) for entry in page.objects] == [("f/2 ü", 2), ("f/3 ü", 3)]
    assert page.token
    last = objects.page(bucket, "f/", "f/3 ü", 2)
    assert ([entry.key for entry in last.objects], last.token) == (["f/4 ü"], "")
    assert objects.page(bucket, "f/", "f/4 ü", 2).objects == []
    assert server.counts["LIST"] == 3


EMPTY = b"""<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>
<NextContinuationToken>%s</NextContinuationToken></ListBucketResult>"""


def test_an_empty_page_has_a_next_one(server, bucket):
    server.seed("f/1")
    server.faults.append(Fault("body", "LIST", value=lambda _body: EMPTY % b"f/0".hex().encode()))
    first = objects.page(bucket, "f/", "", 2)
    assert (first.objects, bool(first.token)) == ([], True)
    second = objects.page(bucket, "f/", "", 2, first.token)
    assert ([entry.key for entry in second.objects], second.token) == (["f/1"], "")


def test_a_page_that_is_cut_short_is_asked_for_again(server, bucket):
    server.seed("f/1")
    server.faults.append(Fault("cut", "LIST"))
    assert len(objects.page(bucket, "f/", "", 2).objects) == 1
    server.faults.append(Fault("cut", "LIST", count=9))
    with pytest.raises(errors.S3Error, match="cut short"):
        objects.page(bucket, "f/", "", 2)


FORBIDDEN = Fault("403", "HEAD|GET", count=99, value="AccessDenied")


def test_what_is_missing_is_no_error_and_what_is_forbidden_is(server, bucket):
    server.seed("there", b"12345")
    assert objects.head(bucket, "gone") is None
    assert objects.get(bucket, "gone", 9) is None
    assert objects.get(bucket, "there", 3)[1] == b"123"
    assert objects.get(bucket, "there", 3)[0].size == 5
    server.seed("empty")
    assert objects.get(bucket, "empty", 3)[1] == b""
    # a policy that allows lists below a prefix only makes S3 answer 403 to both
    server.faults.append(FORBIDDEN)
    for ask in (objects.head, lambda bucket, key: objects.get(bucket, key, 3)):
        assert ask(bucket, "gone") is None
        assert ask(bucket, "the") is None
        with pytest.raises(errors.Denied):
            ask(bucket, "there")
    server.faults.append(Fault("403", "LIST", value="AccessDenied"))
    with pytest.raises(errors.Denied):
        objects.head(bucket, "gone")


def test_a_copy_replaces_nothing(server, bucket):
    etag = server.seed("from", b"12345", content_type="text/plain", cache_control="no-store").etag
    checksum = objects.copy(bucket, "from", etag, "to", {"content-type": "image/png"})
    assert checksum == ""  # the double keeps it, but does not say so
    assert server.things["to"].checksums["sha256"]
    assert (server.things["to"].data, server.things["to"].headers) == (b"12345", {"content-type": "image/png"})
    for source, tag, target in (("from", etag, "to"), ("from", "0" * 32, "new"), ("gone", etag, "new")):
        with pytest.raises(errors.Changed):
            objects.copy(bucket, source, tag, target, {"content-type": "text/plain"})
    assert "new" not in server.things


@pytest.mark.parametrize("what", ["error-in-200", "drop-after"])
def test_a_copy_is_tried_again(server, bucket, what):
    etag = server.seed("from", b"12345").etag
    server.faults.append(Fault(what, "COPY"))
    # the first try was carried out: only a look at the target shows that it was ours
    with pytest.raises(errors.Changed):
        objects.copy(bucket, "from", etag, "to", {})
    assert server.things["to"].data == b"12345"


@pytest.mark.parametrize(
    ("code", "made", "tries"),
    [
        ("InternalError", errors.S3Error, 3),  # tried again, to no avail
        ("AccessDenied", errors.Denied, 1),
        ("PreconditionFailed", errors.Changed, 1),
    ],
)
def test_an_error_within_the_200_of_a_copy_is_what_its_code_says(server, bucket, code, made, tries):
    etag = server.seed("from", b"12345").etag
    server.faults.append(Fault("refuse", "COPY", count=9, value=Refusal(200, code)))
    with pytest.raises(made, match=f"200 {code} said the double") as caught:
        objects.copy(bucket, "from", etag, "to", {})
    assert (caught.value.code, server.counts["COPY"]) == (code, tries)
    assert "to" not in server.things


def test_a_copy_about_which_nothing_is_said_is_a_failure(server, bucket):
    etag = server.seed("from", b"12345").etag
    server.faults.append(Fault("empty", "COPY"))
    with pytest.raises(errors.S3Error, match="does not say"):
        objects.copy(bucket, "from", etag, "to", {})


def test_deleting_what_is_not_there(server, bucket):
    server.seed("a")
    objects.delete(bucket, "a")
    objects.delete(bucket, "a")
    assert server.things == {}


def test_uploads_under_way(server, bucket):
    entry = "<Upload><Key>f/a+b%C3%BC</Key><UploadId>U&amp;1</UploadId><Initiated>2026-01-02T03:04:05.000Z</Initiated></Upload>"
    head = "<ListMultipartUploadsResult><EncodingType>url</EncodingType>"
    bodies = [f"{head}{entry}</ListMultipartUploadsResult>", "<html/>"]
    server.faults += [Fault("body", "LIST", value=lambda _body, text=text: text.encode()) for text in bodies]
    (upload,) = objects.uploads(bucket, "f/")
    initiated = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc).timestamp()
    assert upload == ("f/a bü", "U&1", initiated)
    with pytest.raises(errors.S3Error, match="no list of uploads"):
        objects.uploads(bucket, "f/")


def test_the_clock_is_the_servers(server, bucket):
    server.skew = 7200.0
    objects.page(bucket, "", "", 1)
    assert abs(bucket.now() - server.now()) < 5


def test_a_refusal_is_reported(server, bucket):
    server.faults.append(Fault("refuse", "LIST", value=Refusal(403, "AccessDenied")))
    with pytest.raises(errors.Denied, match="allow it to the role"):
        objects.page(bucket, "", "", 1)
