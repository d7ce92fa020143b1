# Copyright: samefiles.aws contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module webapp, and sends it the app's archive when the host does not have that release yet."""

from __future__ import annotations

import os
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.samefiles.aws.plugins.module_utils._webapp import identity

MODULE = "samefiles.aws.webapp"


def _app_units(files: list[dict[str, Any]]) -> dict[str, str]:
    """The units of the app itself: a change of theirs makes a release."""
    return {file["path"]: file["content"] for file in files if "/webapp@." in str(file.get("path"))}


class ActionModule(ActionBase):
    """The action: one call of the module where nothing has to be sent, two where it has."""

    TRANSFERS_FILES = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Name the release, run the module, send the archive when it asks for it."""
        result = super().run(tmp, task_vars)
        given = dict(self._task.args)
        archive = given.get("archive")
        if not isinstance(archive, str) or not os.path.isfile(archive):
            raise AnsibleActionFail(f"archive must be a file on the controller, got {archive!r}")
        checksum = identity.checksum(archive)
        environment = {name: str(value) for name, value in (given.get("environment") or {}).items()}
        content = identity.checksum(archive, unpacked=True)
        release = identity.identity(content, environment, _app_units(given.get("files") or []))
        given.update(archive="", checksum=checksum, release=release, environment=environment)
        answer = self._execute_module(module_name=MODULE, module_args=given, task_vars=task_vars)
        if answer.pop("needs_archive", False):
            given["archive"] = self._send(archive)
            answer = self._execute_module(module_name=MODULE, module_args=given, task_vars=task_vars)
            self._remove_tmp_path(self._connection._shell.tmpdir)
        result.update(answer)
        return result

    def _send(self, archive: str) -> str:
        """Copy the archive to the host; returns its place there."""
        shell = self._connection._shell
        if not shell.tmpdir:
            self._make_tmp_path()
        place = shell.join_path(shell.tmpdir, "app.tar")
        self._transfer_file(archive, place)
        self._fixup_perms2((shell.tmpdir, place))
        return place
