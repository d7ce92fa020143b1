# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTML pages: templates and static files, all read from the server's own disk at the start."""

from __future__ import annotations

import hashlib
import os
import time

import jinja2
from starlette.responses import HTMLResponse, RedirectResponse, Response

from gallery import access, media_types, previews
from gallery.errors import Problem
from gallery.settings import Settings
from gallery.storage.base import Entry, Page

_HERE = os.path.dirname(os.path.abspath(__file__))
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_FOREVER, _CHECKED = "public, max-age=31536000, immutable", "no-cache"
_SOON = "private, max-age=300"  # a file's preview may be a moment behind it


def size_text(size: int) -> str:
    """A size for people: 1.4 MB."""
    if size == 1:
        return "1 byte"
    amount, units = float(size), ["bytes", "kB", "MB", "GB", "TB"]
    while amount >= 999.5 and len(units) > 1:
        amount /= 1000
        units.pop(0)
    return f"{amount:.1f} {units[0]}" if amount < 9.95 and units[0] != "bytes" else f"{amount:.0f} {units[0]}"


def _moment(seconds: float, form: str) -> str:
    return time.strftime(form, time.gmtime(seconds))


def taken(types: tuple[str, ...]) -> str:
    """The extensions that may be uploaded, for people: Pictures, pdf, txt."""
    pictures = [extension for extension in types if media_types.is_image(extension)]
    others = [extension for extension in types if not media_types.is_image(extension)]
    return ", ".join((["Pictures"] if set(media_types.IMAGES) <= set(types) else pictures) + others)


class Pages:
    """Makes the pages of one gallery."""

    def __init__(self, settings: Settings) -> None:
        self._files: dict[str, tuple[bytes, str]] = {}  # bytes and version, by name
        for name in sorted(os.listdir(os.path.join(_HERE, "static"))):
            with open(os.path.join(_HERE, "static", name), "rb") as file:
                data = file.read()
            self._files[name] = (data, hashlib.sha256(data).hexdigest()[:12])
        loader = jinja2.FileSystemLoader(os.path.join(_HERE, "templates"))
        environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
        environment.filters.update(size=size_text, moment=_moment)
        environment.globals.update(
            settings=settings, images=media_types.IMAGES, sign_in=access.SIGN_IN, static=self._address
        )
        environment.globals.update(taken=taken(settings.allowed_extensions))
        self._templates = environment

    def _address(self, name: str) -> str:
        return f"/static/{name}?v={self._files[name][1]}"

    def static(self, name: str, version: str) -> Response | None:
        """A file that goes with the pages; None when there is none of that name."""
        if name not in self._files:
            return None
        data, own = self._files[name]
        # while a new release takes over, an old one may be asked for a file of the new one's: that must not be kept
        cache = _FOREVER if version == own else _CHECKED
        return Response(data, 200, {"Cache-Control": cache}, _TYPES[os.path.splitext(name)[1]])

    def _page(
        self, template: str, status: int = 200, headers: dict[str, str] | None = None, **values: object
    ) -> Response:
        return HTMLResponse(self._templates.get_template(template).render(values), status, headers)

    def index(self, page: Page, after: str, problem: Problem | None) -> Response:
        """The grid, or why there is none."""
        status, headers = (problem.status, problem.headers) if problem else (200, {})
        return self._page("index.html", status, headers, page=page, after=after, problem=problem)

    def view(self, entry: Entry) -> Response:
        """One file."""
        return self._page("view.html", entry=entry)

    def confirm(self, entry: Entry) -> Response:
        """The question before a file is deleted."""
        return self._page("delete.html", entry=entry)

    def instead_of_preview(self, entry: Entry) -> Response:
        """What the grid shows of a file without a preview: a small picture itself, of others type and size in words."""
        headers = {"Cache-Control": _SOON}
        if entry.is_image and entry.size <= previews.SMALL:
            return RedirectResponse(f"/files/{entry.key}", 302, headers)
        headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
        return Response(previews.placeholder(entry, size_text(entry.size)), 200, headers, "image/svg+xml")

    def problem(self, problem: Problem) -> Response:
        """What went wrong, for a person."""
        return self._page("problem.html", problem.status, problem.headers, problem=problem)
