# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The web application: every URL, and what it does."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import http
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from gallery import access, keys, previews, readiness, uploads
from gallery.errors import Problem, missing, shown, unavailable
from gallery.pages import Pages
from gallery.readiness_check import Watch
from gallery.responses import client_of, file_answer, preview_answer, problem_json, wants_page
from gallery.settings import Settings
from gallery.storage.base import Page, Storage
from gallery.worker_threads import Calls

if TYPE_CHECKING:  # efs needs nothing of it
    from gallery.direct.redirects import Direct
    from gallery.direct.upload_tickets import Tickets

_LOG = logging.getLogger("gallery")
_THREADS = 16  # calls of the storage at once
_UPLOADS = 32  # uploads at once: each needs about 2 MB of memory
_PER_CLIENT = 16  # of them for one client, so that nobody occupies them all; people behind one address are one client
_PAGE, _MOST = 60, 200  # entries of a page, and the most that a client may ask for
_LONG = 60.0  # seconds that a clean-up may take
_TIDY = 600  # seconds from one clean-up to the next


class Gallery:
    """The web application over a storage; password() is the one for uploading and deleting, "" when there is none."""

    def __init__(self, settings: Settings, storage: Storage, password: Callable[[], str]) -> None:
        self._settings = settings
        self._storage = storage
        self._previews = storage.previews()
        self._password = password
        self._pages = Pages(settings)
        self._uploads: collections.Counter[str] = collections.Counter()  # under way, by client
        self._calls: Calls  # made when the event loop runs, as are the rooms for uploads
        # with storage s3 alone
        self._direct: Direct | None = None
        self._tickets: Tickets | None = None
        self._watch: Watch | None = None

    def app(self) -> Starlette:
        """The ASGI application."""
        routes = [
            Route("/", self._index),
            Route("/files", self._list, methods=["GET"]),
            Route("/files", self._upload, methods=["POST"]),
            Route("/files/{key}", self._file, methods=["GET"]),
            Route("/files/{key}", self._delete, methods=["DELETE"]),
            Route("/thumbs/{key}", self._thumb),
            Route("/view/{key}", self._view),
            Route("/view/{key}/delete", self._confirm, methods=["GET"]),
            Route("/view/{key}/delete", self._delete_by_form, methods=["POST"]),
            Route("/tickets", self._ticket, methods=["POST"]),
            Route("/tickets/{key}", self._confirm_ticket, methods=["POST"]),
            Route(access.SIGN_IN, self._sign_in),
            Route("/healthz", self._healthz),
            Route("/readyz", self._readyz),
            Route("/static/{name}", self._static),
        ]
        # each is given an exception of its own class
        handlers: dict[type[Exception], Callable[[Request, Any], Awaitable[Response]]] = {
            Problem: self._explain,
            HTTPException: self._explain_http,
            Exception: self._explain_crash,
        }
        before = [
            Middleware(access.Guard, password=self._password, refuse=self._explain, origin=self._storage.origin),
        ]
        return Starlette(routes=routes, middleware=before, exception_handlers=handlers, lifespan=self._life)

    @contextlib.asynccontextmanager
    async def _life(self, _app: Starlette) -> AsyncIterator[None]:
        self._calls = Calls(_THREADS, self._settings.storage_timeout)
        self._rooms = uploads.Rooms()
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(self._tidy())]
        if self._settings.storage == "s3":
            # only here: efs needs nothing of it
            from gallery.direct.pending import Incoming
            from gallery.direct.redirects import Direct
            from gallery.direct.upload_tickets import Tickets
            from gallery.storage.s3 import S3

            assert isinstance(self._storage, S3)  # it was made by the same settings
            self._direct = Direct(self._storage, self._calls)
            self._tickets = Tickets(self._settings, Incoming(self._storage, self._settings), self._calls)
            self._watch = Watch(self._storage.check, self._settings.probe_interval, self._settings.probe_timeout)
            tasks.append(loop.create_task(self._watch.run()))
        yield
        for task in tasks:
            task.cancel()

    async def _tidy(self) -> None:
        while True:
            try:
                for storage in (self._storage, self._previews):
                    await self._calls.run(storage.tidy, self._settings.cleanup_after, timeout=_LONG)
            except Problem as problem:
                _LOG.warning("cleaning up: %s", problem)
            await asyncio.sleep(_TIDY)

    # what went wrong

    async def _explain(self, request: Request, problem: Problem) -> Response:
        if problem.status >= 500:
            _LOG.warning("%s %s: %s", request.method, request.url.path, problem)
        return self._pages.problem(problem) if wants_page(request) else problem_json(problem)

    async def _explain_http(self, request: Request, fault: HTTPException) -> Response:
        what = f"{request.method} {shown(request.url.path)}"
        said = {404: "There is nothing at this address", 405: "This address does not do that"}
        sentence = f"{said.get(fault.status_code, http.HTTPStatus(fault.status_code).phrase)}: {what}."
        return await self._explain(request, Problem(fault.status_code, sentence, dict(fault.headers or {})))

    async def _explain_crash(self, request: Request, _fault: Exception) -> Response:
        return await self._explain(request, Problem(500, "gallery failed with an internal error; see its log."))

    # pages

    async def _index(self, request: Request) -> Response:
        after, page, problem = self._after(request), Page(), None
        state = self._ready()
        try:
            if state.unavailable:  # whoever checks the storage has waited already: nobody else needs to
                raise unavailable(state.sentence)
            page = await self._calls.run(self._storage.list, after, _PAGE)
        except Problem as fault:
            if not state.unavailable:  # else the log has it from the check
                _LOG.warning("GET /: %s", fault)
            problem = fault
        return self._pages.index(page, after, problem)

    async def _view(self, request: Request) -> Response:
        return self._pages.view(await self._calls.run(self._storage.stat, self._key(request)))

    async def _confirm(self, request: Request) -> Response:
        return self._pages.confirm(await self._calls.run(self._storage.stat, self._key(request)))

    async def _delete_by_form(self, request: Request) -> Response:
        await self._remove(self._key(request))
        return RedirectResponse("/", 303)

    async def _sign_in(self, _request: Request) -> Response:
        return RedirectResponse("/", 303)

    async def _static(self, request: Request) -> Response:
        response = self._pages.static(request.path_params["name"], request.query_params.get("v", ""))
        if response is None:
            raise HTTPException(404)
        return response

    # files

    @staticmethod
    def _key(request: Request) -> str:
        key = request.path_params["key"]
        if not keys.is_key(key):
            raise missing(key)
        return key

    @staticmethod
    def _after(request: Request) -> str:
        after = request.query_params.get("after", "")
        if after and not keys.is_key(after):
            raise Problem(400, f"after is {shown(after)}, which is no key: use the last answer's next.")
        return after

    async def _list(self, request: Request) -> Response:
        text = request.query_params.get("limit") or str(_PAGE)
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= _MOST):
            raise Problem(400, f"limit is {shown(text)}: a number from 1 to {_MOST} is needed.")
        page = await self._calls.run(self._storage.list, self._after(request), int(text))
        answer: dict[str, Any] = {"files": [entry.as_json() for entry in page.entries]}
        return JSONResponse({**answer, "next": page.after} if page.after else answer)

    async def _upload(self, request: Request) -> Response:
        if self._watch and self._watch.readiness().unavailable:
            raise unavailable(self._watch.readiness().sentence)  # a large part would wait a minute for what is known
        with self._slot(client_of(request)):
            entries = await uploads.receive(request, self._settings, self._calls, self._storage, self._rooms)
        if wants_page(request):
            return RedirectResponse("/", 303)
        return JSONResponse([entry.as_json() for entry in entries], 201)

    @contextlib.contextmanager
    def _slot(self, client: str) -> Iterator[None]:
        """One of the places for uploads, for as long as an upload takes."""
        if sum(self._uploads.values()) >= _UPLOADS:
            raise unavailable(f"{_UPLOADS} uploads are under way on this server: try again in a moment.")
        if client and self._uploads[client] >= _PER_CLIENT:
            sentence = f"{_PER_CLIENT} uploads from your address are under way: try again when one of them has ended."
            raise Problem(429, sentence, {"Retry-After": "5"})
        self._uploads[client] += 1
        try:
            yield
        finally:
            self._uploads[client] -= 1
            self._uploads += collections.Counter()  # forgets clients with none

    async def _ticket(self, request: Request) -> Response:
        return await self._of_s3().ask(request)

    async def _confirm_ticket(self, request: Request) -> Response:
        return await self._of_s3().confirm(request)

    def _of_s3(self) -> Tickets:
        if self._tickets is None:
            raise Problem(404, "There are no tickets here: upload to POST /files, as a form does.")
        return self._tickets

    async def _file(self, request: Request) -> Response:
        key = self._key(request)
        if self._direct:
            # browsers honour the attribute `download` of a link only within a site
            return await self._direct.file(request.method, key, "download" in request.query_params)
        return await file_answer(request, self._calls, self._storage, key)

    async def _thumb(self, request: Request) -> Response:
        key = self._key(request)
        if self._direct:
            redirect = await self._direct.thumb(request.method, key)
            if redirect:
                return redirect
        else:
            preview = await self._calls.run(previews.read, self._previews, key)
            if preview:
                return preview_answer(request, *preview)
        # uploaded without a script, or too small to need one
        return self._pages.instead_of_preview(await self._calls.run(self._storage.stat, key))

    async def _remove(self, key: str) -> None:
        # the preview first: it must not outlive its file when the second call fails; and once more, for one that was
        # published between the two, when its uploader still saw the file
        await self._calls.run(previews.delete, self._previews, key)
        await self._calls.run(self._storage.delete, key)
        await self._calls.run(previews.delete, self._previews, key)
        if self._direct:
            self._direct.forget(key)

    async def _delete(self, request: Request) -> Response:
        await self._remove(self._key(request))
        return Response(status_code=204)

    # health

    async def _healthz(self, _request: Request) -> Response:
        return JSONResponse({"ok": True})

    def _ready(self) -> readiness.Readiness:
        return self._watch.readiness() if self._watch else readiness.read(self._settings.status)

    async def _readyz(self, _request: Request) -> Response:
        state = self._ready()
        if state.ready:
            return JSONResponse({"ok": True})
        return JSONResponse({"ok": False, "error": state.sentence}, 503)
