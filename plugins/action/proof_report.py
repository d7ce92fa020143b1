# Copyright: samefiles.aws contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges and writes the proof, on the controller; documented as the module proof_report."""

from __future__ import annotations

import datetime
import json
import os
import secrets
import tempfile
import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.samefiles.aws.plugins.module_utils._proof import judge
from ansible_collections.samefiles.aws.plugins.module_utils._proof.site import content, fetch, file_name, upload
from ansible_collections.samefiles.aws.plugins.plugin_utils import proof_page

RESULTS = {"type": "list", "elements": "dict", "default": []}
ARGUMENTS = {
    "hosts": {"type": "list", "elements": "str", "required": True},
    "inspections": RESULTS,
    "writes": RESULTS,
    "reads": RESULTS,
    "directory": {"type": "path"},
    "site": {
        "type": "dict",
        "options": {
            "url": {"type": "str"},
            "password": {"type": "str", "no_log": True},
            "storage": {"type": "str", "choices": ["efs", "s3"], "default": "efs"},
            "types": {"type": "list", "elements": "str"},
            "ca_file": {"type": "str"},
        },
    },
    "run": {"type": "str"},
    "balancer": {"type": "dict"},
    "gone": RESULTS,
}
_TIMEOUT = 20  # seconds that a file may take to appear through the balancer


def _write(directory: str, name: str, text: str) -> None:
    """Put a file in its place, whole."""
    os.makedirs(directory, exist_ok=True)
    descriptor, part = tempfile.mkstemp(dir=directory, prefix=f".{name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(text)
    os.replace(part, os.path.join(directory, name))


def _through_balancer(site: dict[str, Any], run: str, keys: dict[str, str]) -> dict[str, Any]:
    """Upload a file through the balancer, and fetch every server's through it."""
    result: dict[str, Any] = {"url": site["url"] or "", "read": {}, "problems": []}
    if not site["url"]:
        return result
    until = time.monotonic() + _TIMEOUT
    token = judge.token(run, judge.BALANCER, "site")
    try:
        name = file_name(site, "proof-balancer")
        keys[judge.BALANCER] = upload(site, name, content(name, token), page=site["url"])
    except OSError as fault:
        said = fault.strerror or str(fault)
        result["problems"].append(f"{judge.BALANCER}: uploading a file through {site['url']} failed: {said}")
    for writer, key in keys.items():
        result["read"][writer] = fetch(site, key, judge.token(run, writer, "site"), until)
    return result


class ActionModule(ActionBase):
    """The action; it opens no connection."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Judge what the hosts returned."""
        result = super().run(tmp, task_vars)
        _result, given = self.validate_argument_spec(argument_spec=ARGUMENTS)
        hosts = given["hosts"]
        inspections, writes, reads = (dict(zip(hosts, given[name])) for name in ("inspections", "writes", "reads"))
        gone = [problem for answer in given["gone"] for problem in answer.get("problems") or []]
        keys = {host: answer["key"] for host, answer in writes.items() if answer.get("key")}
        balancer = given["balancer"]
        if given["site"] and not balancer and writes:
            balancer = _through_balancer(given["site"], given["run"] or "", keys)
        site = {**balancer, "problems": balancer["problems"] + gone} if balancer else None
        proof = judge.judge(hosts, inspections, writes, reads, site)
        if not inspections:  # the beginning: what an earlier run wrote must not pass for the outcome of this one
            proof = {**proof, "problems": ["the proof has begun and has not ended"]}
        if given["directory"] and not self._task.check_mode:
            when = datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
            _write(given["directory"], "proof.json", json.dumps(proof, indent=2) + "\n")
            _write(given["directory"], "proof.html", proof_page.page(proof, when))
        result.update(
            changed=False,
            run=secrets.token_hex(8),
            writers=judge.writers(writes),
            uploads=keys,
            balancer=balancer,
            agree=proof["agree"],
            problems=proof["problems"],
            table=judge.table(proof),
            proof=proof,
        )
        return result
