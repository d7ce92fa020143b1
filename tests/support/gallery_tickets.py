"""Uploads by ticket, step by step as the page takes them: ask, send to S3, confirm; and the redirects to S3."""

from __future__ import annotations

import hashlib
import http.client
import json
import urllib.parse

from tests.support.gallery_server import Answer
from tests.support.pictures import small

PNG = small()
DATA = PNG + bytes(range(256)) * 20
JPEG = b"\xff\xd8\xff\xe0 a small one"


def question(data: bytes = DATA, name: str = "a.png", **more) -> dict:
    return {"name": name, "size": len(data), **more}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def ask(server, body: dict) -> Answer:
    return server.request("POST", "/tickets", json.dumps(body), Content_Type="application/json")


def ticket(server, data: bytes = DATA, name: str = "a.png", **more) -> dict:
    answer = ask(server, question(data, name, **more))
    assert answer.status == 201, answer.body
    return answer.json


def send(url: str, method: str = "PUT", body=None, headers: dict | None = None) -> Answer:
    """A request to S3 by a signed address."""
    split = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(split.netloc, timeout=30)
    try:
        connection.request(method, f"{split.path}?{split.query}" if split.query else split.path, body, headers or {})
        return Answer(connection.getresponse())
    finally:
        connection.close()


def put(issued: dict, data: bytes = DATA, **headers: str) -> Answer:
    """The upload as the page does it; headers, written with underscores, stand instead of the ticket's."""
    changed = {name.replace("_", "-"): value for name, value in headers.items()}
    return send(issued["url"], issued["method"], data, {**issued["headers"], **changed})


def confirm(server, key: str, preview: bytes = b"") -> Answer:
    return server.request("POST", f"/tickets/{key}", preview)


def upload(server, data: bytes = DATA, name: str = "a.png", **more) -> dict:
    issued = ticket(server, data, name, **more)
    assert put(issued, data).status == 200
    answer = confirm(server, issued["key"])
    assert answer.status == 201, answer.body
    return answer.json


def listed(server) -> list[str]:
    return [entry["key"] for entry in server.get("/files?limit=200").json["files"]]


def followed(server, path: str, method: str = "GET", **headers: str) -> Answer:
    answer = server.request(method, path)
    assert answer.status == 302, answer.body
    return send(
        answer.headers["Location"], method, None, {name.replace("_", "-"): text for name, text in headers.items()}
    )
