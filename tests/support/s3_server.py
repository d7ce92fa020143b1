"""A test double of S3, in memory: quick, strict, and able to fail in every way that a test needs.

It answers the requests of s3_sync and the common tools, and checks signatures, checksums and conditions as S3's
documentation says. Tests use it where SeaweedFS of the lab alters keys, and benchmarks where the server must not be the
bottleneck.
`python tests/support/s3_server.py PORT [--tls]` runs it alone and prints one line of JSON.
"""

from __future__ import annotations

import base64
import collections
import contextlib
import dataclasses
import datetime
import email.utils
import hashlib
import hmac
import ipaddress
import itertools
import json
import os
import pathlib
import re
import socket
import ssl
import sys
import tempfile
import threading
import time
import urllib.parse
import zlib
from xml.sax.saxutils import escape

REGION = "eu-central-1"
KEY, SECRET = "AKIDOUBLE", "secret-of-the-double"
_CONTENT = ("content-type", "content-encoding", "cache-control", "content-disposition", "content-language", "expires")
_KMS = "x-amz-server-side-encryption"


@dataclasses.dataclass
class Thing:
    """An object."""

    chunks: list[bytes]
    etag: str
    modified: float
    headers: dict[str, str]
    checksums: dict[str, str]
    checksum_type: str = "FULL_OBJECT"

    @property
    def size(self) -> int:
        return sum(map(len, self.chunks))

    @property
    def data(self) -> bytes:
        return self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)


@dataclasses.dataclass
class Upload:
    """A multipart upload that is not complete."""

    key: str
    headers: dict[str, str]
    uploaded: dict[int, tuple[bytes, str, dict[str, str]]] = dataclasses.field(default_factory=dict)


class Refusal(Exception):
    """An error as S3 reports it."""

    def __init__(
        self, status: int, code: str, headers: dict | None = None, extra: str = "", message: str = "said the double"
    ):
        super().__init__(code)
        self.status, self.code, self.headers, self.extra, self.message = status, code, headers or {}, extra, message


@dataclasses.dataclass
class Request:
    """A request as it arrived."""

    method: str
    path: str  # still encoded
    query: dict[str, str]
    raw_query: str
    headers: dict[str, str]
    body: bytes
    bucket: str = ""
    key: str = ""
    operation: str = ""


@dataclasses.dataclass
class Fault:
    """What goes wrong: for requests of an operation whose key matches a pattern, after SKIP of them, COUNT times."""

    what: str
    operation: str = ".*"
    key: str = ".*"
    count: int = 1
    skip: int = 0
    value: object = None

    def strikes(self, request: Request) -> bool:
        if not re.fullmatch(self.operation, request.operation) or not re.fullmatch(self.key, request.key, re.DOTALL):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.count -= 1
        return self.count >= 0


def certificate(directory: pathlib.Path) -> tuple[str, str]:
    """A CA and a certificate for localhost: paths of the CA's, and of key and certificate."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now = datetime.datetime.now(datetime.timezone.utc)

    def made(name: str, issuer: str, key, signer, *extensions):
        builder = x509.CertificateBuilder(
            issuer_name=x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]),
            subject_name=x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]),
            public_key=key.public_key(), serial_number=x509.random_serial_number(),
            not_valid_before=now - datetime.timedelta(days=1), not_valid_after=now + datetime.timedelta(days=30),
        )  # fmt: skip
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    ca = made("double CA", "double CA", ca_key, ca_key, (x509.BasicConstraints(True, None), True), (usage, True),
              (x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), False))  # fmt: skip
    names = x509.SubjectAlternativeName(
        [x509.DNSName("localhost"), x509.DNSName("*.localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    )
    own = made("localhost", "double CA", key, ca_key, (names, False),
               (x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), False))  # fmt: skip
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (directory / "ca.pem").write_bytes(ca)
    (directory / "own.pem").write_bytes(private + own)
    return str(directory / "ca.pem"), str(directory / "own.pem")


class Server:
    """The double; a context manager that listens while it is entered."""

    def __init__(self, port: int = 0, tls: bool = False, signatures: bool = True):
        self.tls, self.signatures = tls, signatures
        self.buckets: dict[str, dict[str, Thing]] = {"bkt": {}}
        self.regions: dict[str, str] = {}
        self.keys = {KEY: (SECRET, None)}
        self.faults: list[Fault] = []
        self.hook = None  # called with each request before it is carried out
        self.log: list[tuple[str, str, int]] = []
        self.counts: collections.Counter = collections.Counter()
        self.bytes_in = 0
        self.skew = 0.0  # of the server's clock, in seconds
        self.encryption = ""  # of the bucket, where a request names none
        self.page = 1000
        self._uploads: dict[str, Upload] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=256)
        self._open: set[socket.socket] = set()
        self.port = self._listener.getsockname()[1]
        self._secure = None
        self.ca = ""
        if tls:
            self._directory = tempfile.TemporaryDirectory(prefix="samefiles-s3-double-")
            self.ca, own = certificate(pathlib.Path(self._directory.name))
            self._secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._secure.load_cert_chain(own)

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def things(self) -> dict[str, Thing]:
        """The objects of the first bucket."""
        return self.buckets["bkt"]

    def options(self, **more) -> dict:
        """The options with which s3_sync uses this server."""
        settings = {
            "bucket": "bkt", "endpoint_url": self.url, "region": REGION, "access_key": KEY, "secret_key": SECRET,
            "aws_ca_bundle": self.ca or None, "cache": "none",
        }  # fmt: skip
        return {**settings, **more}

    def seed(self, key: str, data: bytes = b"", **headers: str) -> Thing:
        """Store an object, as if somebody else had; its headers written with underscores."""
        stored = {
            "content-type": "application/octet-stream",
            **{name.replace("_", "-"): text for name, text in headers.items()},
        }
        self.things[key] = Thing([data], hashlib.md5(data).hexdigest(), self.now(), stored, {})
        return self.things[key]

    def seed_multipart(self, key: str, chunks: list[bytes], **headers: str) -> Thing:
        """Store a multipart object, as if somebody else had."""
        thing = self.seed(key, b"", **headers)
        thing.chunks = chunks
        thing.etag = (
            f"{hashlib.md5(b''.join(hashlib.md5(chunk).digest() for chunk in chunks)).hexdigest()}-{len(chunks)}"
        )
        return thing

    def now(self) -> float:
        """The time by the server's clock."""
        return time.time() + self.skew

    def __enter__(self) -> Server:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_exc) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for plain in list(self._open):
            with contextlib.suppress(OSError):
                plain.shutdown(socket.SHUT_RDWR)
        if self.tls:
            self._directory.cleanup()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _address = self._listener.accept()
                threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    # HTTP

    def _serve(self, plain: socket.socket) -> None:
        self._open.add(plain)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._secure:
                plain = self._secure.wrap_socket(plain, server_side=True)
                self._open.add(plain)
            rest = b""
            while True:
                request, rest = self._read(plain, rest)
                if request is None or not self._answer(plain, request):
                    return
        except (OSError, ValueError):
            return
        finally:
            self._open.discard(plain)
            with contextlib.suppress(OSError):
                plain.close()

    def _read(self, plain: socket.socket, data: bytes) -> tuple[Request | None, bytes]:
        while (end := data.find(b"\r\n\r\n")) < 0:
            block = plain.recv(65536)
            if not block:
                return None, b""
            data += block
        lines = data[:end].decode("utf-8", "surrogateescape").split("\r\n")
        method, target, _version = lines[0].split(" ")
        headers = {}
        for line in lines[1:]:
            name, _colon, value = line.partition(":")
            headers[name.lower()] = value.strip(" \t")
        rest = data[end + 4 :]
        if "100-continue" in headers.get("expect", "").lower():
            plain.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body, rest = self._read_chunks(plain, rest)
            return self._made(method, target, headers, body), rest
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            body = bytearray(length)
            body[: len(rest)] = rest
            view, received = memoryview(body), len(rest)
            while received < length:
                count = plain.recv_into(view[received:])
                if not count:
                    return None, b""
                received += count
            view.release()
            body, rest = bytes(body), b""
        else:
            body, rest = rest[:length], rest[length:]
        return self._made(method, target, headers, body), rest

    @staticmethod
    def _read_chunks(plain: socket.socket, data: bytes) -> tuple[bytes, bytes]:
        """A chunked body, as SDKs send it with a trailing checksum."""
        body = []
        while True:
            while (end := data.find(b"\r\n")) < 0:
                data += plain.recv(65536)
            size = int(data[:end].split(b";")[0], 16)
            while len(data) < end + 4 + size:
                data += plain.recv(1 << 20)
            if not size:
                return b"".join(body), data[end + 4 :]
            body.append(data[end + 2 : end + 2 + size])
            data = data[end + 4 + size :]

    @staticmethod
    def _made(method: str, target: str, headers: dict, body: bytes) -> Request:
        if target.startswith("http://"):  # through a proxy
            target = "/" + target.split("/", 3)[3]
        path, _mark, raw = target.partition("?")
        query = {}
        for pair in filter(None, raw.split("&")):
            name, _equals, value = pair.partition("=")
            query[urllib.parse.unquote(name)] = urllib.parse.unquote(value.replace("+", "%2B" if "%" in value else " "))
        return Request(method, path, query, raw, headers, body)

    def _answer(self, plain: socket.socket, request: Request) -> bool:
        """Answer a request; False if the connection must not be used again."""
        self._route(request)
        fault = None
        with self._lock:
            self.counts[request.operation] += 1
            self.bytes_in += len(request.body)
            fault = next((item for item in self.faults if item.strikes(request)), None)
        what = fault.what if fault else ""
        if self.hook:
            self.hook(request)
        if what == "drop-before":
            return False
        if what == "hang":
            time.sleep(float(fault.value or 3600))
            return False
        try:
            if what.isdigit() or what == "refuse":
                raise (
                    fault.value
                    if isinstance(fault.value, Refusal)
                    else Refusal(int(what), str(fault.value or "InternalError"))
                )
            status, headers, body = self._carry_out(request, what)
            if request.operation in ("PUT", "BEGIN", "COPY") and request.headers.get("x-amz-server-side-encryption"):
                headers["x-amz-server-side-encryption"] = request.headers["x-amz-server-side-encryption"]
        except Refusal as refusal:
            status, headers = refusal.status, {"content-type": "application/xml", **refusal.headers}
            body = (
                f'<?xml version="1.0"?><Error><Code>{refusal.code}</Code><Message>{refusal.message}</Message>'
                f"{refusal.extra}</Error>"
            ).encode()
        self.log.append((request.operation, request.key, status))
        if what == "drop-after":
            return False
        if what == "error-in-200":
            status, body = 200, b"<Error><Code>InternalError</Code><Message>sorry</Message></Error>"
        if what == "empty":
            body = b""
        if what == "body":
            body = fault.value(body)
        if what == "header":
            headers.update(fault.value)
        if what == "flip" and body:
            body = bytes([body[0] ^ 1]) + body[1:]
        length = headers.pop("content-length", len(body))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {status} X\r\ndate: {email.utils.formatdate(self.now(), usegmt=True)}\r\ncontent-length: {length}\r\n{lines}\r\n"
        sent = b"" if request.method == "HEAD" else body
        if what == "half":
            plain.sendall(head.encode("utf-8", "surrogateescape") + sent[: len(sent) // 2])
            return False
        if len(sent) < 65536:
            plain.sendall(head.encode("utf-8", "surrogateescape") + sent)
        else:
            plain.sendall(head.encode("utf-8", "surrogateescape"))
            plain.sendall(sent)
        return request.headers.get("connection", "").lower() != "close"

    # which operation

    def _route(self, request: Request) -> None:
        host = request.headers.get("host", "").split(":")[0]
        path = request.path[1:]
        if host.endswith(".localhost"):
            request.bucket, key = host[: -len(".localhost")], path
        else:
            request.bucket, _slash, key = path.partition("/")
        request.key = urllib.parse.unquote(key, errors="surrogateescape")
        method, query = request.method, request.query
        if not request.key:
            named = {"GET": "LIST", "POST": "DELETE", "PUT": "CREATE", "HEAD": "HEADBUCKET", "DELETE": "DROP"}
        elif "uploads" in query:
            named = {"POST": "BEGIN"}
        elif "uploadId" in query:
            copied = "x-amz-copy-source" in request.headers
            named = {"PUT": "PARTCOPY" if copied else "PART", "POST": "FINISH", "DELETE": "ABORT", "GET": "PARTS"}
        else:
            copied = "x-amz-copy-source" in request.headers
            named = {"PUT": "COPY" if copied else "PUT", "GET": "GET", "HEAD": "HEAD", "DELETE": "DELETEONE"}
        request.operation = named.get(method, "OTHER")

    def _carry_out(self, request: Request, what: str) -> tuple[int, dict, bytes]:
        self._judge(request)
        self._place(request)
        if request.headers.get("x-amz-content-sha256", "").startswith("STREAMING-"):
            request.body = self._unchunk(request)
        if request.operation not in ("LIST", "HEADBUCKET", "CREATE", "DROP", "DELETE") and "\0" in request.key:
            raise Refusal(400, "InvalidURI")
        if len(request.key.encode("utf-8", "surrogateescape")) > 1024:
            raise Refusal(400, "KeyTooLongError")
        if request.operation == "LIST":
            return self._list(request, what)
        if request.operation in ("PUT", "PART"):
            self._check_body(request)  # outside the lock: it costs time
        if self.encryption and request.operation in ("PUT", "BEGIN", "COPY"):
            request.headers.setdefault("x-amz-server-side-encryption", self.encryption)
        with self._lock:
            return getattr(self, f"_{request.operation.lower()}")(request)

    def _place(self, request: Request) -> None:
        region = self.regions.get(request.bucket, REGION)
        signed = re.search(r"/\d{8}/([^/]+)/s3/", request.headers.get("authorization", ""))
        if signed and signed[1] != region:
            raise Refusal(
                400, "AuthorizationHeaderMalformed", {"x-amz-bucket-region": region}, f"<Region>{region}</Region>"
            )
        if request.bucket not in self.buckets and request.operation != "CREATE":
            raise Refusal(404, "NoSuchBucket")

    # signatures: from AWS's documentation, independent of the code under test

    def _judge(self, request: Request) -> None:
        if not self.signatures:
            return
        authorization = request.headers.get("authorization", "")
        match = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, ?SignedHeaders=([^,]+), ?Signature=(\w{64})",
            authorization,
        )
        if match:
            access, day, region, names, signature = match.groups()
            date, payload = request.headers.get("x-amz-date", ""), request.headers.get("x-amz-content-sha256", "")
            pairs = [pair for pair in request.raw_query.split("&") if pair]
        elif request.query.get("X-Amz-Algorithm"):
            access, day, region = request.query["X-Amz-Credential"].split("/")[:3]
            names, signature = request.query["X-Amz-SignedHeaders"], request.query["X-Amz-Signature"]
            date, payload = request.query["X-Amz-Date"], "UNSIGNED-PAYLOAD"
            pairs = [pair for pair in request.raw_query.split("&") if pair and not pair.startswith("X-Amz-Signature=")]
        else:
            raise Refusal(403, "AccessDenied")
        if access not in self.keys:
            raise Refusal(403, "InvalidAccessKeyId")
        secret, token = self.keys[access]
        if token and request.headers.get("x-amz-security-token") != token:
            raise Refusal(403, "InvalidToken")
        then = datetime.datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc).timestamp()
        if abs(then - self.now()) > 900:
            raise Refusal(403, "RequestTimeTooSkewed")
        lines = "".join(
            f"{name}:{' '.join(filter(None, request.headers.get(name, '').split(' ')))}\n" for name in names.split(";")
        )
        query = "&".join(sorted(pair if "=" in pair else f"{pair}=" for pair in pairs))
        canonical = "\n".join([request.method, request.path, query, lines, names, payload])
        key = f"AWS4{secret}".encode()
        for part in (day, region, "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), "sha256").digest()
        digest = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{date}\n{day}/{region}/s3/aws4_request\n{digest}"
        if not hmac.compare_digest(hmac.new(key, text.encode(), "sha256").hexdigest(), signature):
            raise Refusal(403, "SignatureDoesNotMatch")
        if re.fullmatch(r"[0-9a-f]{64}", payload) and hashlib.sha256(request.body).hexdigest() != payload:
            raise Refusal(400, "XAmzContentSHA256Mismatch")

    @staticmethod
    def _unchunk(request: Request) -> bytes:
        """A body in aws-chunked coding, its trailing checksum as a header."""
        data, out, place = request.body, [], 0
        while True:
            end = data.index(b"\r\n", place)
            size = int(data[place:end].split(b";")[0], 16)
            if not size:
                for line in data[end + 2 :].decode().split("\r\n"):
                    name, _colon, value = line.partition(":")
                    if name:
                        request.headers[name.lower()] = value.strip()
                return b"".join(out)
            out.append(data[end + 2 : end + 2 + size])
            place = end + 4 + size

    @staticmethod
    def _check_body(request: Request) -> None:
        body, headers = request.body, request.headers
        if "content-md5" in headers:
            request.headers["-md5"] = hashlib.md5(body).hexdigest()
            if base64.b64encode(bytes.fromhex(request.headers["-md5"])).decode() != headers["content-md5"]:
                raise Refusal(400, "BadDigest")
        makers = {
            "crc32": lambda: zlib.crc32(body).to_bytes(4, "big"), "sha256": lambda: hashlib.sha256(body).digest(),
            "sha1": lambda: hashlib.sha1(body).digest(),
        }  # fmt: skip
        for name, make in makers.items():
            expected = headers.get(f"x-amz-checksum-{name}")
            if expected is not None and base64.b64encode(make()).decode() != expected:
                raise Refusal(400, "BadDigest")

    # conditions and headers

    def _thing(self, request: Request) -> Thing:
        thing = self.buckets[request.bucket].get(request.key)
        if thing is None:
            raise Refusal(404, "NoSuchKey")
        return thing

    def _writable(self, request: Request) -> None:
        current, headers = self.buckets[request.bucket].get(request.key), request.headers
        if headers.get("if-none-match") == "*" and current:
            raise Refusal(412, "PreconditionFailed")
        wanted = headers.get("if-match")
        if wanted is not None and current is None:
            raise Refusal(404, "NoSuchKey")
        if wanted is not None and wanted.strip('"') != current.etag:
            raise Refusal(412, "PreconditionFailed")

    @staticmethod
    def _kept(headers: dict[str, str]) -> dict[str, str]:
        wanted = ("x-amz-meta-", "x-amz-storage-class", "x-amz-server-side-encryption", "x-amz-website-redirect")
        kept = {name: value for name, value in headers.items() if name in _CONTENT or name.startswith(wanted)}
        coding = ",".join(
            word for word in kept.get("content-encoding", "").split(",") if word.strip() not in ("aws-chunked", "")
        )
        kept.pop("content-encoding", None)
        if coding:
            kept["content-encoding"] = coding
        kept.setdefault("content-type", "binary/octet-stream")
        key = kept.get(f"{_KMS}-aws-kms-key-id", "")
        if key and not key.startswith("arn:"):  # S3 answers with the key's ARN, whatever named it
            named = "1234abcd-0000-0000-0000-000000000000" if key.startswith("alias/") else key
            kept[f"{_KMS}-aws-kms-key-id"] = f"arn:aws:kms:{REGION}:123456789012:key/{named}"
        if "acl" in "".join(headers):
            kept["-acl"] = "sent"
        return kept

    def _etag(self, md5: str, headers: dict[str, str]) -> str:
        """The ETag of an object; with KMS it is no hash of the content."""
        if headers.get("x-amz-server-side-encryption", "").startswith("aws:kms"):
            return hashlib.md5(f"{md5}{next(self._numbers)}".encode()).hexdigest()
        return md5

    def _object_headers(self, thing: Thing, headers: dict[str, str]) -> dict[str, str]:
        fields = {
            "etag": f'"{thing.etag}"', "last-modified": email.utils.formatdate(int(thing.modified), usegmt=True),
            "accept-ranges": "bytes", **{name: value for name, value in thing.headers.items() if name[0] != "-"},
        }  # fmt: skip
        if headers.get("x-amz-checksum-mode") == "ENABLED" and "range" not in headers:
            fields.update({f"x-amz-checksum-{name}": value for name, value in thing.checksums.items()})
            if thing.checksums:
                fields["x-amz-checksum-type"] = thing.checksum_type
        return fields

    # operations

    def _list(self, request: Request, what: str) -> tuple[int, dict, bytes]:
        query = request.query
        prefix, after = (
            query.get("prefix", ""),
            query.get("continuation-token") or query.get("start-after") or query.get("marker", ""),
        )
        if query.get("continuation-token"):
            after = bytes.fromhex(after).decode("utf-8", "surrogateescape")
        most, url = min(int(query.get("max-keys", "1000")), self.page), query.get("encoding-type") == "url"
        with self._lock:
            order = sorted(self.buckets[request.bucket], key=lambda key: key.encode("utf-8", "surrogateescape"))
            things = dict(self.buckets[request.bucket])
        start = after.encode("utf-8", "surrogateescape")
        keys = [key for key in order if key.startswith(prefix) and key.encode("utf-8", "surrogateescape") > start]
        shown, common = [], {}
        for key in keys:
            delimiter = query.get("delimiter")
            cut = key.find(delimiter, len(prefix)) if delimiter else -1
            if cut >= 0:
                common[key[: cut + 1]] = True
            else:
                shown.append(key)
        more, shown = len(shown) > most, shown[:most]

        def word(text: str) -> str:
            return urllib.parse.quote(text, safe="/", errors="surrogateescape") if url else escape(text)

        entries = "".join(
            f"<Contents><Key>{word(key)}</Key><LastModified>"
            f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(things[key].modified))}.000Z</LastModified>"
            f"<ETag>&quot;{things[key].etag}&quot;</ETag><Size>{things[key].size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            for key in shown
        )
        entries += "".join(f"<CommonPrefixes><Prefix>{word(text)}</Prefix></CommonPrefixes>" for text in common)
        token = shown[-1].encode("utf-8", "surrogateescape").hex() if more else ""
        if what == "no-token":
            more, token = True, ""
        body = (
            f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{request.bucket}</Name><Prefix>{word(prefix)}</Prefix><KeyCount>{len(shown) + len(common)}</KeyCount>"
            f"<MaxKeys>{most}</MaxKeys>{'<EncodingType>url</EncodingType>' if url else ''}"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>"
            f"{f'<NextContinuationToken>{token}</NextContinuationToken>' if token else ''}{entries}</ListBucketResult>"
        ).encode("utf-8", "surrogateescape")
        if what == "cut":
            body = body[: len(body) // 2]
        return 200, {"content-type": "application/xml"}, body

    def _create(self, request: Request):
        self.buckets.setdefault(request.bucket, {})
        return 200, {}, b""

    def _headbucket(self, request: Request):
        return 200, {"x-amz-bucket-region": REGION}, b""

    def _head(self, request: Request):
        thing = self._thing(request)
        fields = self._object_headers(thing, request.headers)
        if "partNumber" in request.query and len(thing.chunks) > 1:
            size = len(thing.chunks[int(request.query["partNumber"]) - 1])
            return 206, {**fields, "content-length": size, "content-range": f"bytes 0-{size - 1}/{thing.size}"}, b""
        return 200, {**fields, "content-length": thing.size}, b""

    def _get(self, request: Request):
        thing = self._thing(request)
        if request.headers.get("if-match", f'"{thing.etag}"').strip('"') != thing.etag:
            raise Refusal(412, "PreconditionFailed")
        fields, span = self._object_headers(thing, request.headers), request.headers.get("range")
        if not span:
            return 200, fields, thing.data
        start, end = (int(word) if word else None for word in span[6:].split("-"))
        end = thing.size - 1 if end is None else min(end, thing.size - 1)
        if start > end:
            raise Refusal(416, "InvalidRange")
        if len(thing.chunks) == 1:
            data = thing.chunks[0][start : end + 1]
        else:
            data, place = b"", 0
            for chunk in thing.chunks:
                if place < end + 1 and place + len(chunk) > start:
                    data += chunk[max(0, start - place) : end + 1 - place]
                place += len(chunk)
        return 206, {**fields, "content-range": f"bytes {start}-{end}/{thing.size}"}, data

    def _put(self, request: Request):
        self._writable(request)
        headers = self._kept(request.headers)
        checksums = {
            name[15:]: value
            for name, value in request.headers.items()
            if name.startswith("x-amz-checksum-") and name[15:] in ("crc32", "sha256", "sha1", "crc32c")
        }
        etag = self._etag(request.headers.get("-md5") or hashlib.md5(request.body).hexdigest(), headers)
        self.buckets[request.bucket][request.key] = Thing([request.body], etag, self.now(), headers, checksums)
        return 200, {"etag": f'"{etag}"'}, b""

    def _copy(self, request: Request):
        self._writable(request)
        source = urllib.parse.unquote(request.headers["x-amz-copy-source"].lstrip("/"), errors="surrogateescape")
        bucket, _slash, key = source.partition("/")
        thing = self.buckets[bucket].get(key)
        if thing is None:
            raise Refusal(404, "NoSuchKey")
        wanted = request.headers.get("x-amz-copy-source-if-match")
        if wanted and wanted.strip('"') != thing.etag:
            raise Refusal(412, "PreconditionFailed")
        replace = request.headers.get("x-amz-metadata-directive") == "REPLACE"
        headers = self._kept(request.headers) if replace else thing.headers
        etag = self._etag(hashlib.md5(thing.data).hexdigest(), headers)
        make = {
            "crc32": lambda raw: zlib.crc32(raw).to_bytes(4, "big"), "sha256": lambda raw: hashlib.sha256(raw).digest(),
        }  # fmt: skip
        wanted = request.headers.get("x-amz-checksum-algorithm", "").lower()  # else the algorithm of the source
        names = [wanted] if wanted else [name for name in thing.checksums if name in make]
        checksums = {name: base64.b64encode(make[name](thing.data)).decode() for name in names}
        self.buckets[request.bucket][request.key] = Thing([thing.data], etag, self.now(), headers, checksums)
        return 200, {}, f"<CopyObjectResult><ETag>&quot;{etag}&quot;</ETag></CopyObjectResult>".encode()

    def _begin(self, request: Request):
        name = f"upload-{next(self._numbers)}"
        self._uploads[name] = Upload(request.key, dict(request.headers))
        return (
            200,
            {},
            f"<InitiateMultipartUploadResult><UploadId>{name}</UploadId></InitiateMultipartUploadResult>".encode(),
        )

    def _upload(self, request: Request) -> Upload:
        upload = self._uploads.get(request.query["uploadId"])
        if upload is None or upload.key != request.key:
            raise Refusal(404, "NoSuchUpload")
        return upload

    def _part(self, request: Request):
        checksums = {
            name[15:]: value
            for name, value in request.headers.items()
            if name in ("x-amz-checksum-crc32", "x-amz-checksum-sha256")
        }
        md5 = request.headers.get("-md5") or hashlib.md5(request.body).hexdigest()
        self._upload(request).uploaded[int(request.query["partNumber"])] = (request.body, md5, checksums)
        return 200, {"etag": f'"{md5}"'}, b""

    def _partcopy(self, request: Request):
        source = urllib.parse.unquote(request.headers["x-amz-copy-source"].lstrip("/"), errors="surrogateescape")
        bucket, _slash, key = source.partition("/")
        start, end = (int(word) for word in request.headers["x-amz-copy-source-range"][6:].split("-"))
        data = self.buckets[bucket][key].data[start : end + 1]
        self._upload(request).uploaded[int(request.query["partNumber"])] = (data, hashlib.md5(data).hexdigest(), {})
        return (
            200,
            {},
            f"<CopyPartResult><ETag>&quot;{hashlib.md5(data).hexdigest()}&quot;</ETag></CopyPartResult>".encode(),
        )

    def _finish(self, request: Request):
        upload = self._upload(request)
        self._writable(request)
        finished = []
        for entry in re.findall(r"<Part>(.*?)</Part>", request.body.decode(), re.DOTALL):
            part = upload.uploaded.get(int(re.search(r"<PartNumber>(\d+)<", entry)[1]))
            if part is None or part[1] not in entry:
                raise Refusal(400, "InvalidPart")
            finished.append(part)
        if any(len(body) < 5 << 20 for body, _md5, _checksums in finished[:-1]):
            raise Refusal(400, "EntityTooSmall")
        headers = self._kept(upload.headers)
        whole = hashlib.md5(b"".join(bytes.fromhex(md5) for _body, md5, _checksums in finished)).hexdigest()
        checksums = {}
        for name, make in (
            ("crc32", lambda raw: zlib.crc32(raw).to_bytes(4, "big")),
            ("sha256", lambda raw: hashlib.sha256(raw).digest()),
        ):
            if all(name in given for _body, _md5, given in finished):
                raw = b"".join(base64.b64decode(given[name]) for _body, _md5, given in finished)
                checksums[name] = f"{base64.b64encode(make(raw)).decode()}-{len(finished)}"
        etag = f"{self._etag(whole, headers)}-{len(finished)}"
        self.buckets[request.bucket][request.key] = Thing(
            [body for body, _md5, _checksums in finished], etag, self.now(), headers, checksums, "COMPOSITE"
        )
        del self._uploads[request.query["uploadId"]]
        return (
            200,
            {},
            f"<CompleteMultipartUploadResult><ETag>&quot;{etag}&quot;</ETag></CompleteMultipartUploadResult>".encode(),
        )

    def _abort(self, request: Request):
        self._upload(request)
        del self._uploads[request.query["uploadId"]]
        return 204, {}, b""

    def unfinished(self) -> int:
        """Number of multipart uploads that are neither completed nor aborted."""
        return len(self._uploads)

    def _deleteone(self, request: Request):
        current, wanted = self.buckets[request.bucket].get(request.key), request.headers.get("if-match")
        if current and wanted and wanted.strip('"') != current.etag:
            raise Refusal(412, "PreconditionFailed")
        self.buckets[request.bucket].pop(request.key, None)
        return 204, {}, b""

    def _delete(self, request: Request):
        text, failed = request.body.decode("utf-8", "surrogateescape"), ""
        for entry in re.findall(r"<Object>(.*?)</Object>", text, re.DOTALL):
            key = re.search(r"<Key>(.*?)</Key>", entry, re.DOTALL)[1]
            if re.search("[\x00-\x08\x0b\x0c\x0e-\x1f]|&#(x0*|0*)([0-8]|11|12|1[4-9]|2[0-9]|3[01]);", key):
                raise Refusal(400, "MalformedXML")
            key = key.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&apos;", "'")
            key = re.sub(r"&#(\d+);", lambda match: chr(int(match[1])), key).replace("&amp;", "&")
            wanted, current = re.search(r"<ETag>(.*?)</ETag>", entry), self.buckets[request.bucket].get(key)
            denied = next(
                (item for item in self.faults if item.what == "delete-error" and re.fullmatch(item.key, key)), None
            )
            if denied:
                failed += f"<Error><Key>{escape(key)}</Key><Code>AccessDenied</Code><Message>no</Message></Error>"
            elif wanted and current and wanted[1].strip('"') != current.etag:
                failed += (
                    f"<Error><Key>{escape(key)}</Key><Code>PreconditionFailed</Code><Message>changed</Message></Error>"
                )
            else:
                self.buckets[request.bucket].pop(key, None)
        return 200, {}, f"<DeleteResult>{failed}</DeleteResult>".encode("utf-8", "surrogateescape")


def main() -> None:
    """Run the double alone until standard input ends; each line there is a question, answered by a line of JSON."""
    server = Server(int(sys.argv[1]), tls="--tls" in sys.argv, signatures="--unsigned" not in sys.argv)
    with server:
        print(json.dumps({"url": server.url, "ca": server.ca, "pid": os.getpid()}), flush=True)
        for line in sys.stdin:
            word = line.strip()
            if word == "counts":
                print(json.dumps(server.counts), flush=True)
                server.counts.clear()
            elif word == "clear":
                server.things.clear()
                print("{}", flush=True)
            elif word == "size":
                print(json.dumps({"objects": len(server.things)}), flush=True)


if __name__ == "__main__":
    main()
