# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redirects browsers to S3 for the bytes of files and previews: no byte passes through this server."""

from __future__ import annotations

import collections

from starlette.responses import RedirectResponse, Response

from gallery.errors import Problem
from gallery.storage.s3 import S3
from gallery.worker_threads import Calls

_KNOWN = 20_000  # previews that are remembered to exist, about 4 MB


class Known:
    """The last so many keys that were added."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._keys: collections.OrderedDict[str, None] = collections.OrderedDict()

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def add(self, key: str) -> None:
        """Remember one, and forget the oldest."""
        self._keys[key] = None
        self._keys.move_to_end(key)
        while len(self._keys) > self._most:
            self._keys.popitem(last=False)

    def forget(self, key: str) -> None:
        """Forget one."""
        self._keys.pop(key, None)


class Direct:
    """Links to files and previews."""

    def __init__(self, storage: S3, calls: Calls) -> None:
        self._storage, self._calls = storage, calls
        self._previews = storage.previews()
        self._known = Known(_KNOWN)

    async def file(self, method: str, key: str, download: bool) -> Response:
        """The redirect to a file. S3 is not asked whether there is one: it says so itself."""
        return await self._to(self._storage, method, key, download)

    async def thumb(self, method: str, key: str) -> Response | None:
        """The redirect to a file's preview; None when it has none."""
        if key in self._previews.missed:
            return None
        if key not in self._known:
            try:
                await self._calls.run(self._previews.stat, key)
            except Problem as problem:
                if problem.status == 404:
                    self._previews.missed.add(key)
                    return None
                raise
            self._known.add(key)
        return await self._to(self._previews, method, key)

    async def _to(self, storage: S3, method: str, key: str, download: bool = False) -> Response:
        link = await self._calls.run(storage.link, method, key, download)
        # a browser must not cache the redirect for longer than its link is valid
        return RedirectResponse(link.url, 302, {"Cache-Control": f"private, max-age={link.left}"})

    def forget(self, key: str) -> None:
        """A file was deleted here, and its preview."""
        self._known.forget(key)
