# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Access: the password, requests from other sites (CSRF), and the security headers of every response."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Awaitable, Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gallery.errors import Problem
from gallery.settings import BadSetting

_READING = ("GET", "HEAD", "OPTIONS")
_ASK = {"WWW-Authenticate": 'Basic realm="gallery", charset="UTF-8"'}
SIGN_IN = "/login"
"""A page that asks for the password, so that a browser has it before it sends a large file."""
_SECURITY = {
    # with "no-referrer" browsers would send "Origin: null" with our own forms
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}


def policy(origin: str) -> str:
    """What pages may load. origin is where files lie that browsers fetch themselves; "" for none but our own."""
    other = f" {origin}" if origin else ""
    # pictures of uploads that are under way are blobs of the page itself
    return (
        f"default-src 'self'; img-src 'self' blob:{other}; connect-src 'self'{other}; "
        "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )


def require_own_origin(headers: Headers) -> None:
    """Refuse what another site's page made a browser send. A program sends neither header and is allowed."""
    site = headers.get("sec-fetch-site", "same-origin")
    origin = headers.get("origin", "")
    host = origin.partition("://")[2]
    if site not in ("same-origin", "none") or (origin and host.lower() != headers.get("host", "").lower()):
        raise Problem(403, "The request comes from another site's page: use this site's own.")


def require_password(headers: Headers, password: str) -> None:
    """Refuse a request without the password, by HTTP Basic authentication; any user name will do."""
    scheme, _blank, code = headers.get("authorization", "").partition(" ")
    try:
        given = base64.b64decode(code, validate=True).partition(b":")[2] if scheme.lower() == "basic" else b""
    except binascii.Error:
        given = b""
    # digests have one length, so that the time reveals nothing of the password's
    if not hmac.compare_digest(hashlib.sha256(given).digest(), hashlib.sha256(password.encode()).digest()):
        raise Problem(401, "Uploading and deleting need the password.", _ASK)


class Guard:
    """ASGI middleware. password() is asked at each write, so that a changed one applies at once; "" lets everybody write.

    await refuse(request, problem) makes the answer to a refusal; origin() is where files lie beside this site.
    """

    def __init__(
        self,
        app: ASGIApp,
        password: Callable[[], str],
        refuse: Callable[[Request, Problem], Awaitable[Response]],
        origin: Callable[[], str],
    ) -> None:
        self._app = app
        self._origin = origin
        self._password = password
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SECURITY.items():
                    headers.setdefault(name, value)
                headers.setdefault("Content-Security-Policy", policy(self._origin()))
            await send(message)

        try:
            self._check(scope)
        except Problem as problem:
            answer = await self._refuse(Request(scope), problem)
            await answer(scope, receive, secured)
            return
        await self._app(scope, receive, secured)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        writes = scope["method"] not in _READING
        if writes:
            require_own_origin(headers)
        if writes or scope["path"] == SIGN_IN:
            try:
                password = self._password()
            except BadSetting as fault:
                raise Problem(503, f"Nobody can upload or delete now: {fault}") from None
            if password:
                require_password(headers, password)
