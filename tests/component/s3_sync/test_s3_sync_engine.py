"""The engine against a server and a network that fail: it tries again if that helps, and else reports the failure."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import socket
import threading
import time

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._s3 import (
    client,
    errors,
    multipart,
    objects,
    session,
)
from ansible_collections.samefiles.aws.plugins.module_utils._s3.endpoint import Keys, by_url

from tests.support.s3_server import Fault, Refusal, Server
from tests.support.s3_sync_runs import content, files, refused, sync, write, writes

MIB = 1 << 20


def open_bucket(server, **options) -> objects.Bucket:
    """A bucket of the double."""
    endpoint, keys = session.resolve("bkt", server.options())
    return objects.Bucket(endpoint, keys, **options)


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("503", "SlowDown"), ("500", "InternalError"), ("502", None), ("504", None), ("429", "TooManyRequests"),
        ("400", "RequestTimeout"), ("400", "BadDigest"), ("409", "ConditionalRequestConflict"), ("drop-before", None),
        ("drop-after", None), ("half", None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("operation", ["PUT", "LIST", "HEAD", "PART", "BEGIN", "FINISH", "DELETE", "COPY", "GET"])
def test_what_passes_is_tried_again(server, tree, tmp_path, operation, what, value):
    if operation == "HEAD" and what in ("400", "409"):
        pytest.skip("an answer to HEAD has no body that holds the code")
    write(tree / "big.bin", os.urandom(9 * MIB))
    server.seed("old", b"old")
    server.seed("css/site.css", (tree / "css/site.css").read_bytes(), content_type="wrong/type")
    server.faults.append(Fault(what, operation, count=2, value=value))
    everything = {"count": 9, "percent": 100}
    result = sync(server, tree, delete=True, max_delete=everything)
    assert (result["uploaded"], result["deleted"], result["updated_headers"]) == (5, 1, 1)
    assert content(server) == files(tree)
    # nobody knows the id of an upload if the answer with it was lost: the bucket's lifecycle rule ends such uploads
    assert server.unfinished() == (2 if operation == "BEGIN" and what in ("drop-after", "half") else 0)
    sync(server, tmp_path / "back", mode="pull")
    assert files(tmp_path / "back") == files(tree)


def test_a_third_of_all_puts_is_refused(server, tmp_path):
    for number in range(200):
        write(tmp_path / f"site/{number}", b"%d" % number)
    server.faults += [
        Fault("503", "PUT", str(number), count=1 + number % 4, value="SlowDown") for number in range(0, 200, 3)
    ]
    assert sync(server, tmp_path / "site")["uploaded"] == 200
    assert server.counts["PUT"] > 300


def test_pauses_grow_and_differ(server, monkeypatch):
    pauses = []
    bucket = open_bucket(server, pause=pauses.append)
    server.faults.append(Fault("503", "PUT", count=99, value="SlowDown"))
    with pytest.raises(errors.S3Error, match="503 SlowDown"):
        bucket.put("a", b"x", {}, bytes(16), None)
    assert len(pauses) == 7
    assert all(0 <= pause <= min(20, 0.2 * 2 ** (number + 1)) for number, pause in enumerate(pauses))
    assert len(set(pauses)) == 7
    bucket.close()


def test_a_server_that_never_answers(server):
    server.faults.append(Fault("hang", "HEAD", count=99, value=5))
    bucket = open_bucket(server, seconds=0.2, attempts=2, pause=lambda seconds: None)
    with pytest.raises(errors.S3Error, match="no answer in time: see whether 127.0.0.1 can be reached"):
        bucket.head("a")
    bucket.close()


def test_what_took_long_is_not_tried_again(server):
    server.faults.append(Fault("hang", "HEAD", count=99, value=5))
    bucket = open_bucket(server, seconds=0.5, attempts=3, again=0.3)
    began = time.monotonic()
    with pytest.raises(errors.Unreachable, match="no answer in time"):
        bucket.head("a")
    assert 0.5 <= time.monotonic() - began < 4.5
    assert server.counts["HEAD"] == 1
    bucket.close()


@pytest.mark.parametrize("what", ["503", "500", "drop-before"])
def test_what_fails_quickly_is_tried_again_by_who_has_little_time(server, what):
    server.faults.append(Fault(what, "HEAD", count=2))
    bucket = open_bucket(server, seconds=5, attempts=3, again=2)
    assert bucket.head("a") is None
    assert server.counts["HEAD"] == 3
    bucket.close()


def test_who_has_little_time_does_not_wait_as_long_as_the_server_asks(server):
    pauses = []
    server.faults.append(Fault("refuse", "HEAD", count=9, value=Refusal(503, "SlowDown", {"retry-after": "15"})))
    bucket = open_bucket(server, attempts=3, again=10, pause=pauses.append)
    with pytest.raises(errors.Unreachable):
        bucket.head("a")
    assert (pauses, server.counts["HEAD"]) == ([], 1)
    patient = open_bucket(server, attempts=3, pause=pauses.append)
    with pytest.raises(errors.Unreachable):
        patient.head("a")
    assert server.counts["HEAD"] == 4
    assert 30 <= sum(pauses) < 32  # twice, before each further try and not after the last
    for made in (bucket, patient):
        made.close()


def test_a_lost_answer_is_settled_by_a_look(server, tmp_path):
    write(tmp_path / "site/a", b"a")
    write(tmp_path / "site/big", os.urandom(9 * MIB))
    server.faults += [Fault("drop-after", "PUT"), Fault("drop-after", "FINISH")]
    assert sync(server, tmp_path / "site")["uploaded"] == 2
    assert content(server) == files(tmp_path / "site")


def test_an_error_within_a_200(server, tree):
    write(tree / "big.bin", os.urandom(9 * MIB))
    server.faults.append(Fault("error-in-200", "FINISH|COPY", count=2))
    assert sync(server, tree)["uploaded"] == 6
    server.faults.append(Fault("error-in-200", "COPY", count=1))
    assert sync(server, tree, cache_control="x")["updated_headers"] == 6


def pending_upload(server, data: bytes) -> tuple:
    """A bucket, and a function that finishes an upload of these bytes."""
    bucket = open_bucket(server)
    upload = multipart.Upload.begin(bucket, "big", {})
    part = upload.put(1, data)
    return bucket, lambda: upload.finish([part], "")


@pytest.mark.parametrize(
    ("status", "code"), [(412, "PreconditionFailed"), (200, "PreconditionFailed"), (200, "NoSuchUpload")]
)
def test_the_end_of_an_upload_that_fails_because_it_was_done_already(server, status, code):
    bucket, end = pending_upload(server, b"ours")
    server.faults += [Fault("drop-after", "FINISH"), Fault("refuse", "FINISH", value=Refusal(status, code))]
    assert end().etag == server.things["big"].etag
    assert server.counts["HEAD"] == 1
    bucket.close()


def test_the_end_of_an_upload_whose_key_somebody_else_took(server):
    bucket, end = pending_upload(server, b"ours")
    server.seed("big", b"theirs")
    server.faults.append(Fault("refuse", "FINISH", value=Refusal(200, "PreconditionFailed")))
    with pytest.raises(errors.Changed, match="200 PreconditionFailed"):
        end()
    assert server.things["big"].data == b"theirs"
    bucket.close()


@pytest.mark.parametrize(("operation", "size"), [("COPY", 10), ("FINISH", 20_000_000)])
def test_a_200_that_says_nothing_is_no_success(server, tmp_path, operation, size):
    write(tmp_path / "site/a.bin", b"x" * size)
    if operation == "COPY":
        sync(server, tmp_path / "site")
    server.faults.append(Fault("empty", operation))
    if operation == "COPY":
        assert "does not say what became of it" in str(refused(server, tmp_path / "site", cache_control="no-cache"))
    else:  # a HEAD request settles it
        assert sync(server, tmp_path / "site")["uploaded"] == 1
    assert not sync(server, tmp_path / "site", cache_control="no-cache" if operation == "COPY" else None)["changed"]


def test_another_s_object_of_the_same_bytes_is_not_ours(server):
    bucket, md5 = open_bucket(server), hashlib.md5(b"same").digest()
    server.seed("a", b"same", content_type="text/html")
    with pytest.raises(errors.Changed):
        bucket.put("a", b"same", {"content-type": "text/plain"}, md5, "")
    assert bucket.put("a", b"same", {"content-type": "text/html"}, md5, "").etag == md5.hex()
    bucket.close()


def test_a_lost_answer_with_kms_is_settled_too(server, tmp_path):
    write(tmp_path / "site/a.txt", b"secret")
    server.faults.append(Fault("drop-after", "PUT"))
    assert sync(server, tmp_path / "site", encryption="aws:kms")["uploaded"] == 1
    assert server.things["a.txt"].data == b"secret"


def test_keys_that_cannot_be_renewed_are_one_sentence(server):
    def gone():
        raise RuntimeError("the metadata service\n is away")

    endpoint, _keys = session.resolve("bkt", server.options())
    bucket = objects.Bucket(endpoint, gone)
    with pytest.raises(errors.Denied, match="^the credentials cannot be renewed: the metadata service is away$"):
        bucket.head("a")
    bucket.close()


@pytest.mark.parametrize("size", [10, 9 * MIB])
def test_verify_asks_for_what_was_stored(server, tmp_path, size):
    write(tmp_path / "site/a", os.urandom(size))
    assert sync(server, tmp_path / "site", verify=True)["requests"]["HEAD"] == 1
    write(tmp_path / "site/a", os.urandom(size + 1))

    def harm(request):
        if request.operation == "HEAD":
            server.things["a"].chunks = [b"other"]

    server.hook = harm
    assert "and not the" in str(refused(server, tmp_path / "site", verify=True))


def test_parts_are_given_up_after_a_failure(server, tmp_path):
    write(tmp_path / "site/big", os.urandom(20 * MIB))
    server.faults.append(Fault("403", "PART", count=99, value="AccessDenied"))
    assert "403 AccessDenied" in str(refused(server, tmp_path / "site"))
    assert server.counts["ABORT"] == 1
    assert server.unfinished() == 0


def test_parts_that_must_be_larger_are_fewer_at_a_time(server, tmp_path, monkeypatch):
    monkeypatch.setattr(multipart, "MAX_PART_COUNT", 4)
    at_once, most, lock = [0], [0], threading.Lock()

    def slow(request) -> None:
        if request.operation == "PART":
            with lock:
                at_once[0] += 1
                most[0] = max(most[0], at_once[0])
            time.sleep(0.2)
            with lock:
                at_once[0] -= 1

    server.hook = slow
    write(tmp_path / "site/big", os.urandom(80 * MIB))
    assert sync(server, tmp_path / "site")["requests"]["PART"] == 4
    assert most[0] == 2  # of 20 MiB each; of 8 MiB six are allowed


def test_a_listing_that_goes_in_circles(server, tree):
    tokens = itertools.cycle(["aa", "bb"])

    def turn(body: bytes) -> bytes:
        end = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{next(tokens)}</NextContinuationToken>"
        return body.replace(b"<IsTruncated>false</IsTruncated>", end.encode())

    server.faults.append(Fault("body", "LIST", count=99, value=turn))
    assert "the same page again and again" in str(refused(server, tree))
    assert writes(server) == []


def test_a_range_that_begins_elsewhere_is_torn(server):
    server.seed("a", b"0123456789")
    bucket, etag = open_bucket(server), server.things["a"].etag
    server.faults.append(Fault("header", "GET", value={"content-range": "bytes 2-5/10"}))
    with pytest.raises(errors.ContentMismatch, match="came, and not from byte 4"):
        bucket.get("a", etag, 4, 4)
    bucket.close()


def test_every_body_travels_with_a_checksum(secure, tmp_path):
    seen = {}

    def record(request):
        if request.operation in ("PUT", "PART", "DELETE"):
            names = {name for name in request.headers if name == "content-md5" or name.startswith("x-amz-checksum-")}
            seen.setdefault(request.operation, set()).add(frozenset(names))

    secure.hook = record
    write(tmp_path / "site/a", b"a")
    write(tmp_path / "site/big", os.urandom(9 * MIB))
    secure.seed("old")
    sync(secure, tmp_path / "site", delete=True, max_delete={"percent": 100})
    assert seen == {
        "PUT": {frozenset({"content-md5"})}, "PART": {frozenset({"x-amz-checksum-crc32"})}, "DELETE": {frozenset({"content-md5"})},
    }  # fmt: skip


@pytest.mark.parametrize("mode", ["auto", "md5", "crc32", "sha256", "none"])
def test_each_kind_of_checksum(secure, tmp_path, mode):
    write(tmp_path / "site/a", b"a")
    write(tmp_path / "site/big", os.urandom(9 * MIB))
    assert sync(secure, tmp_path / "site", checksum=mode)["uploaded"] == 2
    assert not sync(secure, tmp_path / "site", checksum=mode)["changed"]
    sync(secure, tmp_path / "back", mode="pull")
    assert files(tmp_path / "back") == files(tmp_path / "site")


@pytest.mark.parametrize("how", [{}, {"encryption": "aws:kms", "kms_key_id": "k"}])
@pytest.mark.parametrize("size", [10, 70_000, 9 * MIB])
def test_bytes_that_were_harmed_on_the_way_are_fetched_again(secure, tmp_path, size, how):
    """With KMS the ETag says nothing, and S3 reports a checksum only with the whole object."""
    write(tmp_path / "site/a", os.urandom(size))
    sync(secure, tmp_path / "site", **how)
    secure.faults.append(Fault("flip", "GET", count=1))
    assert sync(secure, tmp_path / "back", mode="pull")["downloaded"] == 1
    assert files(tmp_path / "back") == files(tmp_path / "site")
    secure.faults.append(Fault("flip", "GET", count=999))
    fault = refused(secure, tmp_path / "other", mode="pull")
    assert "'a': what arrived" in str(fault)
    assert files(tmp_path / "other") == {}


def test_a_body_that_is_harmed_on_the_way_is_refused_and_sent_again(server, tree):
    harmed = []

    def harm(request):
        if request.operation == "PUT" and not harmed:
            harmed.append(request.key)
            request.body = b"X" + request.body[1:]

    server.hook = harm
    assert sync(server, tree)["uploaded"] == 5
    assert content(server) == files(tree)
    assert harmed


def test_a_bucket_of_another_region_is_followed(server, tree):
    server.regions["bkt"] = "us-west-2"
    assert sync(server, tree)["uploaded"] == 5
    assert server.log[0][2] == 400
    assert [status for _operation, _key, status in server.log].count(400) == 1


def test_a_clock_that_is_hours_off(server, tree):
    server.skew = 3600 * 5
    assert sync(server, tree)["uploaded"] == 5


def test_what_one_bucket_learns_is_known_to_those_beside_it(server):
    endpoint, keys = session.resolve("bkt", server.options())
    discovered = client.DiscoveredEndpoint(endpoint)
    first, second = (objects.Bucket(endpoint, keys, discovered=discovered) for _bucket in range(2))
    assert second.head("a") is None  # over a connection to the former place
    server.regions["bkt"], server.skew = "us-west-2", 3600 * 5
    list(first.list(""))
    before = len(server.log)
    assert second.endpoint.region == "us-west-2"
    assert abs(second.now() - server.now()) < 5
    assert second.head("a") is None
    assert [status for _operation, _key, status in server.log[before:]] == [404]
    for bucket_of_two in (first, second):
        bucket_of_two.close()


def test_a_region_that_is_learnt_changes_the_address_at_amazon_alone():
    def host(url: str) -> str:
        discovered = client.DiscoveredEndpoint(by_url(url, "bkt", "eu-central-1"))
        assert discovered.move("us-west-2")
        assert discovered.move("us-west-2")  # another thread saw it as well
        assert not discovered.move("eu-west-1")  # to and fro would never end
        assert discovered.endpoint.region == "us-west-2"
        return discovered.endpoint.host

    assert host("https://s3.eu-central-1.amazonaws.com") == "s3.us-west-2.amazonaws.com"
    assert host("https://s3.amazonaws.com") == "s3.us-west-2.amazonaws.com"
    assert host("https://s3.eu-central-1.example.com") == "s3.eu-central-1.example.com"


def test_keys_that_expired_are_asked_for_anew(server, tree):
    endpoint, _keys = session.resolve("bkt", server.options())
    server.keys = {"NEW": ("new-secret", "new-token")}
    given = [Keys("OLD", "old-secret", "old-token"), Keys("NEW", "new-secret", "new-token")]
    server.faults.append(Fault("400", "PUT", value="ExpiredToken"))
    server.signatures = False
    bucket = objects.Bucket(endpoint, lambda: given[min(server.counts["PUT"], 1)])
    bucket.put("a", b"x", {}, hashlib.md5(b"x").digest(), None)
    server.signatures = True
    bucket.put("b", b"x", {}, hashlib.md5(b"x").digest(), None)
    assert set(content(server)) == {"a", "b"}
    bucket.close()


def test_the_certificate_must_hold(secure, tree, tmp_path):
    fault = refused(secure, tree, aws_ca_bundle="/etc/ssl/certs/ca-certificates.crt")
    assert "the certificate of 127.0.0.1 does not hold" in str(fault)
    assert "give its CA as aws_ca_bundle" in str(fault)
    write(tmp_path / "no.pem", b"no certificate")
    assert "cannot be read" in str(refused(secure, tree, aws_ca_bundle=str(tmp_path / "no.pem")))
    assert sync(secure, tree, aws_ca_bundle=None, validate_certs=False)["uploaded"] == 5


def test_the_ca_of_the_environment(secure, tree, monkeypatch):
    monkeypatch.setenv("AWS_CA_BUNDLE", secure.ca)
    assert sync(secure, tree, aws_ca_bundle=None)["uploaded"] == 5


class Proxy:
    """A proxy that forwards CONNECT and plain requests, and records them; a context manager."""

    def __init__(self, refuse: bool = False):
        self._refuse, self.asked = refuse, []
        self._open = [socket.create_server(("127.0.0.1", 0))]
        self._threads = [threading.Thread(target=self._serve)]
        self.url = f"http://me:pass%20word@127.0.0.1:{self._open[0].getsockname()[1]}"

    def __enter__(self):
        self._threads[0].start()
        return self

    def __exit__(self, *_exc):
        for plain in self._open:
            with contextlib.suppress(OSError):
                plain.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for plain in self._open:
            plain.close()

    def _begin(self, work, *arguments) -> None:
        self._threads.append(threading.Thread(target=work, args=arguments))
        self._threads[-1].start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                visitor, _address = self._open[0].accept()
                self._open.append(visitor)
                self._begin(self._handle, visitor)

    def _handle(self, visitor) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            block = visitor.recv(65536)
            if not block:
                return
            data += block
        self.asked.append(data.split(b"\r\n\r\n")[0].decode())
        method, target, _version = self.asked[-1].split("\r\n")[0].split(" ")
        if self._refuse:
            visitor.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            visitor.shutdown(socket.SHUT_RDWR)
            return
        host, _colon, port = (target if method == "CONNECT" else target.split("/")[2]).rpartition(":")
        onward = socket.create_connection((host, int(port)))
        self._open.append(onward)
        if method == "CONNECT":
            visitor.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            onward.sendall(data)
        self._begin(self._carry, visitor, onward)
        self._carry(onward, visitor)

    @staticmethod
    def _carry(source, sink) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(65536):
                sink.sendall(block)
            sink.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("tls", [True, False])
def test_the_proxy_of_the_environment(tree, monkeypatch, tls):
    with Proxy() as proxy, Server(tls=tls) as server:
        monkeypatch.setenv("https_proxy" if tls else "http_proxy", proxy.url)
        assert sync(server, tree)["uploaded"] == 5
        assert proxy.asked
        assert proxy.asked[0].startswith("CONNECT 127.0.0.1:" if tls else "GET http://127.0.0.1:")
        assert "proxy-authorization: basic bwu6cgfzcyb3b3jk" in proxy.asked[0].lower()
        before = len(proxy.asked)
        monkeypatch.setenv("no_proxy", "example.com,127.0.0.0/8")
        assert not sync(server, tree)["changed"]
        assert len(proxy.asked) == before


def test_a_proxy_that_refuses(tree, monkeypatch):
    with Proxy(refuse=True) as proxy, Server(tls=True) as server:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        fault = refused(server, tree)
    assert "refused: HTTP/1.1 407" in str(fault)
    assert "pass" not in str(fault)


def test_a_kept_connection_that_the_server_closed(server, monkeypatch):
    bucket = open_bucket(server)
    assert bucket.head("a") is None
    for plain in list(server._open):
        plain.shutdown(socket.SHUT_RDWR)
    assert bucket.head("a") is None
    assert bucket.request_counts == {"HEAD": 2}
    bucket.close()


def test_what_is_no_http(monkeypatch):
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                visitor, _address = listener.accept()
            except OSError:
                return
            visitor.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")
            visitor.close()

    threading.Thread(target=serve, daemon=True).start()
    endpoint, keys = session.resolve(
        "bkt", {"endpoint_url": f"http://127.0.0.1:{listener.getsockname()[1]}", "access_key": "a", "secret_key": "b"}
    )
    bucket = objects.Bucket(endpoint, keys, attempts=2)
    with pytest.raises(errors.S3Error):
        bucket.head("a")
    bucket.close()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_no_secret_is_shown():
    keys = Keys("AKID", "very-secret", "token-secret")
    assert "secret" not in f"{keys} {keys!r} {[keys]}"


def test_a_redirect_elsewhere_is_not_followed(server, tree):
    refusal = Refusal(307, "TemporaryRedirect", {"location": "http://evil.invalid/"})
    server.faults.append(Fault("refuse", "LIST", count=99, value=refusal))
    assert "307 TemporaryRedirect" in str(refused(server, tree))


def test_virtual_hosts(tree):
    with Server() as server:
        endpoint, keys = session.resolve("bkt", server.options(addressing_style="virtual"))
        endpoint = endpoint._replace(host="localhost")
        bucket = objects.Bucket(endpoint, keys)
        assert endpoint.header == f"bkt.localhost:{server.port}"
        try:
            socket.getaddrinfo("bkt.localhost", server.port)
        except OSError:
            pytest.skip("this resolver knows no names below localhost")
        bucket.put("a/b", b"x", {}, hashlib.md5(b"x").digest(), "")
        assert set(content(server)) == {"a/b"}
        bucket.close()


def test_two_spaces_in_a_header_are_signed_as_s3_reads_them(server, tree):
    assert sync(server, tree, cache_control="private,  max-age=1")["uploaded"] == 5


# requests that are sent ahead


@pytest.mark.parametrize("what", ["503", "drop-before", "drop-after", "half", "flip", "401"])
def test_a_request_sent_ahead_that_fails_is_asked_again(server, tmp_path, what):
    for number in range(300):
        server.seed(f"{number:03}", b"content %d" % number)
    server.faults += [Fault(what, "GET", f"{number:03}", value="ExpiredToken") for number in range(0, 300, 7)]
    result = sync(server, tmp_path, mode="pull", concurrency=4)
    assert result["downloaded"] == 300
    assert files(tmp_path) == content(server)


def test_an_answer_is_never_taken_for_that_of_another_request(server):
    server.seed("one", b"1")
    server.seed("two", b"2")
    made = open_bucket(server)
    in_flight = [made.begin_get(key, server.things[key].etag, 1, 0) for key in ("one", "two")]
    for key, ahead in zip(("one", "two", "one"), (*in_flight, None)):
        assert bytes(made.get(key, server.things[key].etag, 0, 1, ahead).body) == server.things[key].data
    made.close()


def test_few_are_sent_ahead_at_a_time(server, tmp_path):
    for number in range(64):
        server.seed(f"{number:02}", b"x")
    under_way, most, lock = set(), [], threading.Lock()

    def hook(request) -> None:
        with lock:
            under_way.add(threading.get_ident())
            most.append(len(under_way))
        time.sleep(0.01)
        with lock:
            under_way.discard(threading.get_ident())

    server.hook = hook
    assert sync(server, tmp_path, mode="pull", concurrency=3)["downloaded"] == 64
    assert max(most) <= 3


# bodies that are taken as they come


@pytest.mark.parametrize("what", ["half", "503", "drop-after", "flip"])
def test_a_part_that_comes_a_second_time_is_hashed_from_its_beginning(server, tmp_path, what):
    write(tmp_path / "site/big.bin", os.urandom(17 * MIB + 3))
    sync(server, tmp_path / "site")
    server.faults.append(Fault(what, "GET", count=2))
    sync(server, tmp_path / "back", mode="pull")
    assert files(tmp_path / "back") == files(tmp_path / "site")


def test_a_full_disk_is_no_fault_of_the_network(server, tmp_path, monkeypatch):
    write(tmp_path / "site/big.bin", os.urandom(17 * MIB))
    sync(server, tmp_path / "site")

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    before = server.counts["GET"]
    assert "No space left" in str(refused(server, tmp_path / "back", mode="pull"))
    assert server.counts["GET"] - before <= 3
    assert not list((tmp_path / "back").iterdir())
