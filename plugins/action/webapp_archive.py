# Copyright: samefiles.aws contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes one archive of a web app, on the controller; documented as the module webapp_archive."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.samefiles.aws.plugins.module_utils._webapp import identity
from ansible_collections.samefiles.aws.plugins.plugin_utils.archive import digest, pack

ARGUMENTS = {
    "source": {"type": "path", "required": True},
    "builder": {"type": "path"},
    "builder_reads": {"type": "list", "elements": "path", "default": []},
    "cache": {"type": "path", "default": "~/.cache/samefiles/webapp"},
}
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")
_BUILD_TIMEOUT = 600  # seconds; packages may have to be fetched


def _build(builder: str, archive: str) -> None:
    """Let the app's own program write the archive."""
    part = archive.replace(".tar.gz", f".{os.getpid()}.tar.gz")
    try:
        done = subprocess.run(
            [sys.executable, builder, part], capture_output=True, text=True, timeout=_BUILD_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise AnsibleActionFail(f"{builder} did not end within {_BUILD_TIMEOUT} s: try again") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it printed nothing"]
        raise AnsibleActionFail(f"{builder} failed with code {done.returncode}: {said[-1]}")
    os.replace(part, archive)


def _name(source: str, more: list[str]) -> str:
    """The name of the archive that is made from these files."""
    total = hashlib.sha256(digest(source).encode())
    for path in sorted(more):
        seen = digest(path) if os.path.isdir(path) else identity.checksum(path)
        total.update(f"{os.path.basename(path)} {seen}".encode())
    return f"{total.hexdigest()[:32]}.tar.gz"


def _archive_of(source: str, builder: str | None, more: list[str], cache: str) -> str:
    if os.path.isfile(source) and not builder:
        if not source.endswith(_ARCHIVES):
            raise AnsibleActionFail(
                f"source must be a directory or an archive ({', '.join(_ARCHIVES)}), got {source!r}"
            )
        return source
    if not os.path.isdir(source):
        raise AnsibleActionFail(
            f"source must be a directory or an archive on the controller, got {source!r}, which is none"
        )
    os.makedirs(cache, exist_ok=True)
    archive = os.path.join(cache, _name(source, more))
    # the hosts of a play ask side by side, for the same archive most often: one makes it, the others wait
    with open(os.path.join(cache, ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(archive):
            if builder:
                _build(builder, archive)
            else:
                pack(source, archive)
    return archive


class ActionModule(ActionBase):
    """The action; it opens no connection."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Make the archive unless it is there."""
        result = super().run(tmp, task_vars)
        _result, given = self.validate_argument_spec(argument_spec=ARGUMENTS)
        cache = os.path.expanduser(given["cache"])
        archive = _archive_of(given["source"], given["builder"], given["builder_reads"], cache)
        result.update(changed=False, archive=archive, checksum=identity.checksum(archive))
        return result
