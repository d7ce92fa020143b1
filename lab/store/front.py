"""Corrects misleading answers of SeaweedFS, which judges the signature of each request first.

- Listings in the order of keys, with pages that continue where they ended; its own are in the order of directories, and
  `aws s3 sync --delete` then deletes good objects.
- The public-access block, stored and enforced: it knows none. A bucket begins with all four switches on, as on AWS.
- Where a bucket is (it does not report it), and the ETag of a copy (without quotes).
- A batch delete whose keys it would rewrite to those of other objects.
- An object that does not exist, to those without credentials: AWS reports that only to those who may list.
"""

from __future__ import annotations

import http.client
import http.server
import json
import re
import threading
import time
import urllib.parse
import xml.etree.ElementTree as ET
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

from lab.store import settings, weed

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
SPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
SWITCHES = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
MOST = 65535  # keys that SeaweedFS lists in one page, since its pages lose some
_KEPT = 120.0  # seconds that a listing is kept for its next page
_HOP = {"connection", "keep-alive", "transfer-encoding", "x-lab-secure", "expect"}
_ODD = re.compile(r"(^|/)/|\\|^/|\.versions(/|$)")


class Refusal(Exception):
    """An error as S3 reports it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = f"{HEAD}<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>".encode()


class Row(NamedTuple):
    """An object of a listing."""

    key: str
    modified: str
    etag: str
    size: str
    storage_class: str


def listing(rows: list[Row], bucket: str, query: dict[str, str]) -> tuple[bytes, str]:
    """One page of a listing as S3 writes it, and where the next one continues ("" at the end). Rows are sorted by key."""
    second, prefix, delimiter = query.get("list-type") == "2", query.get("prefix", ""), query.get("delimiter", "")
    most = min(int(query.get("max-keys") or 1000), 1000)
    after = query.get("start-after" if second else "marker", "")
    if second and query.get("continuation-token"):
        after = bytes.fromhex(query["continuation-token"]).decode()
    coded = query.get("encoding-type") == "url"

    def text(word: str) -> str:
        return urllib.parse.quote_plus(word, safe="/") if coded else escape(word)

    entries: list[str] = []
    last, more, past = "", False, after.encode()
    for row in rows:
        at = row.key.find(delimiter, len(prefix)) if delimiter else -1
        name = row.key[: at + len(delimiter)] if at >= 0 else row.key
        if name.encode() <= past or name == last:
            continue
        # below a directory that the last page ended with
        if after and delimiter and after.endswith(delimiter) and row.key.startswith(after):
            continue
        if len(entries) >= most:
            more = most > 0
            break
        last = name
        if at >= 0:
            entries.append(f"<CommonPrefixes><Prefix>{text(name)}</Prefix></CommonPrefixes>")
        else:
            entries.append(
                f"<Contents><Key>{text(row.key)}</Key><LastModified>{row.modified}</LastModified>"
                f"<ETag>{escape(row.etag)}</ETag><Size>{row.size}</Size>"
                f"<StorageClass>{row.storage_class}</StorageClass></Contents>"
            )
    head = f"<Name>{bucket}</Name><Prefix>{text(prefix)}</Prefix><MaxKeys>{most}</MaxKeys>"
    head += f"<IsTruncated>{str(more).lower()}</IsTruncated>"
    head += f"<Delimiter>{text(delimiter)}</Delimiter>" if delimiter else ""
    head += "<EncodingType>url</EncodingType>" if coded else ""
    if second:
        head += f"<KeyCount>{len(entries)}</KeyCount>"
        head += f"<NextContinuationToken>{last.encode().hex()}</NextContinuationToken>" if more else ""
    else:
        head += f"<Marker>{text(after)}</Marker>" + (f"<NextMarker>{text(last)}</NextMarker>" if more else "")
    body = f'{HEAD}<ListBucketResult xmlns="{SPACE}">{head}{"".join(entries)}</ListBucketResult>'
    return body.encode(), last if more else ""


def is_public(policy: bytes) -> bool:
    """Whether a bucket policy lets anybody in; SeaweedFS refuses an invalid one."""
    try:
        statements = json.loads(policy)["Statement"]
        for statement in statements if isinstance(statements, list) else [statements]:
            who = statement.get("Principal")
            anybody = who == "*" or (isinstance(who, dict) and "*" in _words(who.get("AWS")))
            if statement.get("Effect") == "Allow" and anybody:
                return True
    except (ValueError, KeyError, AttributeError, TypeError):
        pass
    return False


def _words(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


class Blocks:
    """The public-access blocks of all buckets."""

    def __init__(self) -> None:
        self._file = settings.DATA / "public-access.json"
        self._lock = threading.Lock()

    def _all(self) -> dict[str, dict[str, bool] | None]:
        return json.loads(self._file.read_text()) if self._file.exists() else {}

    def of(self, bucket: str) -> dict[str, bool] | None:
        """The switches of a bucket; None when they were deleted."""
        return self._all().get(bucket, dict.fromkeys(SWITCHES, True))

    def on(self, bucket: str, switch: str) -> bool:
        """Whether a switch is on."""
        return bool((self.of(bucket) or {}).get(switch))

    def put(self, bucket: str, switches: dict[str, bool] | None) -> None:
        """Keep the switches of a bucket."""
        with self._lock:
            part = self._file.with_suffix(".part")
            part.write_text(json.dumps({**self._all(), bucket: switches}))
            part.rename(self._file)


class Front(http.server.BaseHTTPRequestHandler):
    """One connection from HAProxy."""

    protocol_version = "HTTP/1.1"
    # head and body go in two packets: the second must not wait for HAProxy's acknowledgement of the first (40 ms)
    disable_nagle_algorithm = True
    blocks = Blocks()
    kept: dict[tuple[str, str, str], tuple[float, list[Row]]] = {}

    def log_message(self, *_words: object) -> None:
        """Nothing is logged."""

    def _serve(self) -> None:
        self.split = urllib.parse.urlsplit(self.path)
        self.query = dict(urllib.parse.parse_qsl(self.split.query, keep_blank_values=True))
        path = urllib.parse.unquote(self.split.path).lstrip("/")
        self.bucket, _slash, self.key = path.partition("/")
        self.body = self._read_body()
        try:
            self._route()
        except Refusal as refusal:
            self._say(refusal.status, refusal.body)
        except Exception as fault:
            print(f"front: {self.command} {self.split.path}: {fault!r}", flush=True)
            self._say(500, Refusal(500, "InternalError", f"the lab's front failed: {fault!r}").body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_OPTIONS = _serve

    def _read_body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _route(self) -> None:
        anonymous = self.anonymous = not (
            "Authorization" in self.headers or "X-Amz-Signature" in self.query or "Signature" in self.query
        )
        if anonymous and self.blocks.on(self.bucket, "RestrictPublicBuckets"):
            raise Refusal(403, "AccessDenied", "Access Denied")
        if self.key:
            self._pass_on()
        elif "publicAccessBlock" in self.query:
            self._block()
        elif "delete" in self.query:
            self._delete()
        elif "policy" in self.query:
            if self.blocks.on(self.bucket, "BlockPublicPolicy") and is_public(self.body):
                why = "public policies are prevented by the BlockPublicPolicy setting in S3 Block Public Access."
                raise Refusal(403, "AccessDenied", f"Access Denied: {why}")
            self._pass_on()
        elif "location" in self.query:
            self._location()
        elif self.command == "GET" and "policyStatus" not in self.query:
            self._list()
        else:
            self._pass_on()

    # SeaweedFS

    def _ask(self) -> http.client.HTTPResponse:
        """Pass the client's own request on unchanged, over TLS if it came over TLS."""
        upstream = self.upstream = weed.connect(bool(self.headers.get("X-Lab-Secure")))
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in _HOP | {"content-length"}:
                upstream.putheader(name, value)
        if self.body or self.command in ("PUT", "POST"):
            upstream.putheader("Content-Length", str(len(self.body)))
        upstream.endheaders(self.body or None)
        return upstream.getresponse()

    def _pass_on(self) -> None:
        answer = self._ask()
        if self.anonymous and self.key and answer.status == 404:
            self.upstream.close()
            raise Refusal(403, "AccessDenied", "Access Denied")
        copied = "x-amz-copy-source" in self.headers and answer.status == 200
        body = answer.read() if copied else b""
        if copied:
            body = re.sub(rb"<ETag>([0-9a-f][^<&]*)</ETag>", rb"<ETag>&quot;\1&quot;</ETag>", body)
        self.send_response_only(answer.status)
        length = str(len(body)) if copied else answer.getheader("Content-Length")
        for name, value in answer.getheaders():
            if name.lower() not in _HOP | {"content-length"}:
                self.send_header(name, value)
        if length is None:  # the end of the connection ends it
            self.close_connection = True
        else:
            self.send_header("Content-Length", length)
        self.end_headers()
        if copied:
            self.wfile.write(body)
        while block := b"" if copied else answer.read(1 << 18):
            self.wfile.write(block)
        self.upstream.close()

    def _judged(self) -> tuple[int, bytes]:
        """The answer of SeaweedFS to the client's own request."""
        answer = self._ask()
        body = answer.read()
        self.upstream.close()
        return answer.status, body

    def _say(self, status: int, body: bytes = b"") -> None:
        self.send_response_only(status)
        if status != 204:
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    # what the front does instead

    def _block(self) -> None:
        status, body = self._judged()
        if status != 501:  # it refuses the one who asks
            self._say(status, body)
        elif self.command == "PUT":
            tags = {element.tag.rpartition("}")[2]: (element.text or "") for element in ET.fromstring(self.body).iter()}
            self.blocks.put(self.bucket, {name: tags.get(name, "").strip().lower() == "true" for name in SWITCHES})
            self._say(200)
        elif self.command == "DELETE":
            self.blocks.put(self.bucket, None)
            self._say(204)
        else:
            switches = self.blocks.of(self.bucket)
            if switches is None:
                code = "NoSuchPublicAccessBlockConfiguration"
                raise Refusal(404, code, "The public access block configuration was not found")
            inner = "".join(f"<{name}>{str(on).lower()}</{name}>" for name, on in switches.items())
            name = "PublicAccessBlockConfiguration"
            self._say(200, f'{HEAD}<{name} xmlns="{SPACE}">{inner}</{name}>'.encode())

    def _delete(self) -> None:
        try:
            keys = [element.text or "" for element in ET.fromstring(self.body).iter() if element.tag.endswith("Key")]
        except ET.ParseError:
            keys = []  # SeaweedFS refuses it
        for key in keys:
            if _ODD.search(key):
                raise Refusal(400, "InvalidArgument", f"The lab cannot keep the key {key!r}, and would delete another.")
        self._pass_on()

    def _location(self) -> None:
        status, body = self._judged()
        if status == 200:
            region = settings.read().region
            place = "" if region == "us-east-1" else region
            body = f'{HEAD}<LocationConstraint xmlns="{SPACE}">{place}</LocationConstraint>'.encode()
        self._say(status, body)

    def _list(self) -> None:
        status, body = self._judged()
        if status != 200:
            self._say(status, body)
            return
        self._check()
        prefix, token = (
            self.query.get("prefix", ""),
            self.query.get("continuation-token") or self.query.get("marker", ""),
        )
        kept = self.kept.pop((self.bucket, prefix, token), None) if token else None
        rows = kept[1] if kept and time.monotonic() - kept[0] < _KEPT else self._rows(prefix)
        page, after = listing(rows, self.bucket, self.query)
        for key, (then, _rows) in list(self.kept.items()):
            if time.monotonic() - then > _KEPT:
                self.kept.pop(key, None)
        if after:
            again = after.encode().hex() if self.query.get("list-type") == "2" else after
            self.kept[(self.bucket, prefix, again)] = (time.monotonic(), rows)
        self._say(200, page)

    def _check(self) -> None:
        most, token = self.query.get("max-keys") or "0", self.query.get("continuation-token", "")
        if not most.isdigit():
            raise Refusal(400, "InvalidArgument", "Argument maxKeys must be an integer between 0 and 2147483647")
        try:
            bytes.fromhex(token).decode()
        except ValueError:
            raise Refusal(400, "InvalidArgument", "The continuation token provided is incorrect") from None

    def _rows(self, prefix: str) -> list[Row]:
        query = {"list-type": "2", "prefix": prefix, "max-keys": str(MOST)}
        status, body = weed.ask(settings.read(), "GET", f"/{self.bucket}", query)
        if status != 200:
            raise Refusal(status, "InternalError", f"SeaweedFS does not list: {body[:200]!r}")
        tree = ET.fromstring(body)
        inside = f"{{{SPACE}}}"
        if tree.findtext(f"{inside}IsTruncated") == "true":
            raise Refusal(500, "InternalError", f"The lab lists at most {MOST} objects below one prefix.")
        rows = [
            Row(*(element.findtext(f"{inside}{name}") or "" for name in ("Key", "LastModified", "ETag", "Size", "StorageClass")))
            for element in tree.iter(f"{inside}Contents")
        ]  # fmt: skip
        return sorted(rows, key=lambda row: row.key.encode("utf-8", "surrogateescape"))


def serve() -> None:
    """Answer until the program ends."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", settings.FRONT), Front)
    server.daemon_threads = True
    server.serve_forever()
