# Copyright: samefiles.aws contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges and writes the proof, on the controller; documented as the module efs_proof_report."""

from __future__ import annotations

import datetime
import json
import os
import secrets
import tempfile

from ansible.plugins.action import ActionBase
from ansible_collections.samefiles.aws.plugins.module_utils import _proof

RESULTS = {"type": "list", "elements": "dict", "default": []}
ARGUMENTS = {
    "hosts": {"type": "list", "elements": "str", "required": True},
    "looks": RESULTS,
    "writes": RESULTS,
    "reads": RESULTS,
    "folder": {"type": "path"},
}


def _write(folder: str, name: str, text: str) -> None:
    """Put a file in its place, whole."""
    os.makedirs(folder, exist_ok=True)
    descriptor, part = tempfile.mkstemp(dir=folder, prefix=f".{name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(text)
    os.replace(part, os.path.join(folder, name))


class ActionModule(ActionBase):
    """The action; it opens no connection."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        """Judge what the hosts returned."""
        result = super().run(tmp, task_vars)
        _result, given = self.validate_argument_spec(argument_spec=ARGUMENTS)
        hosts = given["hosts"]
        looks, writes, reads = (dict(zip(hosts, given[name])) for name in ("looks", "writes", "reads"))
        proof = _proof.judge(hosts, looks, writes, reads)
        if given["folder"] and not self._task.check_mode:
            when = datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
            _write(given["folder"], "proof.json", json.dumps(proof, indent=2) + "\n")
            _write(given["folder"], "proof.html", _proof.page(proof, when))
        result.update(
            changed=False,
            run=secrets.token_hex(8),
            writers=_proof.writers(writes),
            agree=proof["agree"],
            problems=proof["problems"],
            table=_proof.table(proof),
            proof=proof,
        )
        return result
