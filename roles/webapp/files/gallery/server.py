# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs gallery as one process: settings from the environment, a unix socket or a port of 127.0.0.1."""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
import sys
from collections.abc import Callable, Mapping

import uvicorn

from gallery.app import Gallery
from gallery.settings import BadSetting, Settings, from_environment, read_password
from gallery.storage.base import Storage
from gallery.storage.efs import Efs

_FIRST_PASSED = 3  # the first descriptor that systemd passes, sd_listen_fds(3)
_IDLE = 75  # seconds that an idle connection is kept: longer than nginx keeps it, so that nginx closes it


def passed_socket(environment: Mapping[str, str]) -> socket.socket | None:
    """The listening socket that systemd passed to this process, if it did."""
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return None
    if environment.get("LISTEN_FDS") != "1":
        raise BadSetting(f"LISTEN_FDS is {environment.get('LISTEN_FDS')!r}: gallery needs one socket.")
    passed = socket.socket(fileno=_FIRST_PASSED)
    # X-Forwarded-For is trusted, so all requests must come from the nginx in front
    if passed.family != socket.AF_UNIX and not ipaddress.ip_address(passed.getsockname()[0]).is_loopback:
        address = passed.getsockname()[0]
        raise BadSetting(f"The passed socket listens on {address}: a unix socket or 127.0.0.1 is needed.")
    return passed


def _own_socket(settings: Settings) -> socket.socket:
    """A new listening socket at the path or port of the settings."""
    path = settings.socket
    try:
        if not path:
            return socket.create_server(("127.0.0.1", settings.port))
        if os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode):
            os.unlink(path)  # left behind by a process that was killed
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(path)
        os.chmod(path, 0o666)  # noqa: S103 - the directory decides who may connect
        return listening
    except OSError as fault:
        raise BadSetting(f"{path or settings.port} cannot be listened on: {fault.strerror}.") from None


def _configuration(settings: Settings, storage: Storage, password: Callable[[], str]) -> uvicorn.Config:
    return uvicorn.Config(
        Gallery(settings, storage, password).app(),
        http="h11",
        ws="none",
        loop="asyncio",
        access_log=False,  # nginx keeps one
        log_level="warning",
        server_header=False,
        headers=[("X-Served-By", settings.name)],
        forwarded_allow_ips="*",  # only the nginx in front can reach us
        timeout_keep_alive=_IDLE,
    )


def _storage(settings: Settings) -> Storage:
    if settings.storage == "efs":
        return Efs(settings.directory, settings.mount)
    # only here: efs needs nothing of it
    from gallery.s3.bucket import Place
    from gallery.storage.s3 import S3

    return S3(Place(settings), settings)


def serve(environment: Mapping[str, str], make_storage: Callable[[Settings], Storage] | None = None) -> None:
    """Serve until SIGTERM, then finish what is under way; make_storage(settings) is for tests.

    uvicorn dies by that signal in the end, so that a thread which waits for a frozen mount does not delay it.
    """
    settings = from_environment(environment)
    passed = passed_socket(environment)
    if not (passed or settings.socket or settings.port):
        raise BadSetting("Neither GALLERY_SOCKET nor GALLERY_PORT is set, and systemd passed no socket: set one.")

    def password() -> str:
        return "" if settings.public_uploads else read_password(settings.password_file)

    password()  # a file that is missing or empty is reported at the start
    listening = passed or _own_socket(settings)
    storage = (make_storage or _storage)(settings)
    server = uvicorn.Server(_configuration(settings, storage, password))
    server.run(sockets=[listening])
    if not server.started:
        sys.exit(1)  # uvicorn has said why


def main() -> None:
    """Run by the environment; exit 2 and one sentence when that cannot work."""
    try:
        serve(os.environ)
    except BadSetting as fault:
        print(f"gallery: {fault}", file=sys.stderr)
        sys.exit(2)
