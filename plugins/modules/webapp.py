#!/usr/bin/python
# Copyright: samefiles.aws contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module webapp."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: webapp
short_description: Serve one release of a web app, and change releases without a broken request
version_added: 0.1.0
description:
  - Unpacks a release beside those that exist, starts it on a socket of its own, waits until it answers, and only then
    routes requests to it, by one atomic change of a link that nginx follows for each request. The release that served
    before ends when its last request has, or when its unit's C(TimeoutStopSec) is over.
  - A release is what an archive, an environment and the app's units are together. A change of any of them makes another
    release, so a changed setting goes live as new code does.
  - A release that does not start or answer leaves everything as it was, and the module fails.
  - The files and units beside the app (nginx, the storage probe) are kept as they are given; a unit whose files changed is
    reloaded or restarted, and no other. A reload of nginx closes the connections that wait for their next request, and so
    may break one, which a new release alone does not.
  - The role P(samefiles.aws.webapp#role) calls it; you can also call it yourself.
options:
  archive:
    description: A tar archive on the controller; its root is the app's directory. See M(samefiles.aws.webapp_archive).
    type: path
    required: true
  environment:
    description: The app's environment. Only root can read its file, but it is no place for secrets.
    type: dict
    default: {}
  files:
    description: The files beside the releases - units, configuration of nginx.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Where it lies.
        type: path
        required: true
      content:
        description: Its text.
        type: str
      secret:
        description: Its text, in place of O(files[].content), where nobody may see it.
        type: str
      mode:
        description: Its mode, an octal number in quotes.
        type: str
        default: "0644"
      group:
        description: The group of the file, which belongs to root.
        type: str
      unit:
        description: The unit that has to take up a change.
        type: str
      how:
        description:
          - How the unit takes it up. V(reload_first) reloads it before requests are routed to another release, where the
            former one can do with the changed file and the new one cannot do without it. V(next_start) leaves a unit that
            runs alone, for units whose restart would break requests; the change holds from its next start on.
        type: str
        choices: [reload, reload_first, restart, next_start]
        default: reload
  units:
    description: The units beside the app that start at boot and run, in the order in which they start.
    type: list
    elements: str
    default: []
  account:
    description: The user that everything runs as, and its group; they are made where they are missing.
    type: dict
    suboptions:
      name:
        description: The name of both.
        type: str
        required: true
      uid:
        description: The user's number, which should be the same on every server.
        type: int
        required: true
      gid:
        description: The group's number.
        type: int
        required: true
  unneeded:
    description:
      - Units of packages that would take the site's port at the next boot, such as C(nginx.service). They are disabled; one
        that runs is left alone.
    type: list
    elements: str
    default: []
  absent:
    description:
      - Files that a former configuration may have left. A unit among these files is stopped and does not start at boot any
        more.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Where the file lies.
        type: path
        required: true
      drain:
        description:
          - Of a unit that serves, the seconds that its last requests have. It is stopped, and not waited for.
        type: int
        default: 0
  root:
    description: The directory that holds C(releases) and the link C(current).
    type: path
    default: /opt/webapp
  keep_releases:
    description: How many releases stay on the disk, the one that serves included.
    type: int
    default: 3
  port:
    description: The port on which the site answers, asked on 127.0.0.1 after a change.
    type: int
    default: 80
  health_path:
    description: The path that answers 200 when the app works.
    type: str
    default: /healthz
  start_timeout:
    description: Seconds that a release may take until it answers.
    type: int
    default: 60
  timeout:
    description: Seconds that each command may take.
    type: int
    default: 30
  apply:
    description:
      - V(all) does everything. V(safe) only unpacks the release, and reports the rest as RV(pending); on a host that
        serves nothing yet it does everything.
    type: str
    choices: [all, safe]
    default: all
  checksum:
    description: The SHA-256 of O(archive); set by the action plugin.
    type: str
  release:
    description: The id of the release; set by the action plugin.
    type: str
attributes:
  check_mode:
    support: full
    description: Reports exactly what would be done.
  diff_mode:
    support: full
    description: Shows the files and the release before and after.
  platform:
    support: full
    platforms: posix
    description: Linux with systemd 244 or newer.
author:
  - samefiles.aws contributors (@samefiles)
seealso:
  - module: samefiles.aws.webapp_archive
"""

EXAMPLES = r"""
- name: Serve the release that the archive makes
  samefiles.aws.webapp:
    archive: "{{ packed.archive }}"
    environment:
      GALLERY_DIRECTORY: /srv/files/gallery
    files:
      - path: /etc/systemd/system/webapp@.service
        content: "{{ lookup('ansible.builtin.template', 'webapp@.service.j2') }}"
      - path: /etc/systemd/system/webapp@.socket
        content: "{{ lookup('ansible.builtin.template', 'webapp@.socket.j2') }}"
"""

RETURN = r"""
actions:
  description: What was done (in check mode - what would be done), one sentence for each step, in order.
  returned: always
  type: list
  elements: str
pending:
  description: What O(apply=safe) left undone because it concerns the release that serves.
  returned: always
  type: list
  elements: str
release:
  description: The id of the wanted release.
  returned: always
  type: str
current:
  description: The id of the release that serves requests at the end.
  returned: always
  type: str
"""

import grp
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.samefiles.aws.plugins.module_utils._host.executor import Failed
from ansible_collections.samefiles.aws.plugins.module_utils._host.steps import file_diff, steps_diff
from ansible_collections.samefiles.aws.plugins.module_utils._webapp import collect, identity
from ansible_collections.samefiles.aws.plugins.module_utils._webapp.apply import Executor
from ansible_collections.samefiles.aws.plugins.module_utils._webapp.plan import Facts, Plan
from ansible_collections.samefiles.aws.plugins.module_utils._webapp.plan import make as make_plan
from ansible_collections.samefiles.aws.plugins.module_utils._webapp.spec import Account, File, Leftover, Wanted
from ansible_collections.samefiles.aws.plugins.module_utils._webapp.steps import (
    SwitchRelease,
    UnpackRelease,
    WriteSiteFile,
)

FILE = {
    "path": {"type": "path", "required": True},
    "content": {"type": "str"},
    "secret": {"type": "str", "no_log": True},
    "mode": {"type": "str", "default": "0644"},
    "group": {"type": "str"},
    "unit": {"type": "str"},
    "how": {"type": "str", "choices": ["reload", "reload_first", "restart", "next_start"], "default": "reload"},
}
ARGUMENTS = {
    "archive": {"type": "path", "required": True},
    "environment": {"type": "dict", "default": {}},
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": FILE,
        "required_one_of": [("content", "secret")],
        "mutually_exclusive": [("content", "secret")],
    },
    "units": {"type": "list", "elements": "str", "default": []},
    "account": {
        "type": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "uid": {"type": "int", "required": True},
            "gid": {"type": "int", "required": True},
        },
    },
    "unneeded": {"type": "list", "elements": "str", "default": []},
    "absent": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"path": {"type": "path", "required": True}, "drain": {"type": "int", "default": 0}},
    },
    "root": {"type": "path", "default": "/opt/webapp"},
    "keep_releases": {"type": "int", "default": 3},
    "port": {"type": "int", "default": 80},
    "health_path": {"type": "str", "default": "/healthz"},
    "start_timeout": {"type": "int", "default": 60},
    "timeout": {"type": "int", "default": 30},
    "apply": {"type": "str", "choices": ["all", "safe"], "default": "all"},
    "checksum": {"type": "str"},
    "release": {"type": "str"},
}


def _group(module: AnsibleModule, name: str | None) -> int:
    account, gid = module.params["account"], 0
    if account and name == account["name"]:
        return int(account["gid"])
    try:
        gid = grp.getgrnam(name).gr_gid if name else 0
    except KeyError:
        module.fail_json(msg=f"files[].group is {name!r}, which this server does not know: create it first")
    return gid


def _wanted(module: AnsibleModule) -> Wanted:
    given = module.params
    if given["keep_releases"] < 2:
        module.fail_json(
            msg=f"keep_releases must be at least 2, the new release and the one before, got {given['keep_releases']}"
        )
    if not given["health_path"].startswith("/"):
        module.fail_json(msg=f"health_path must be a path that begins with '/', got {given['health_path']!r}")
    files = tuple(
        File(
            path=file["path"], text=file["secret"] if file["content"] is None else file["content"],
            mode=int(file["mode"], 8), group=_group(module, file["group"]), secret=file["secret"] is not None,
            unit=file["unit"] or "", how=file["how"],
        )
        for file in given["files"]
    )  # fmt: skip
    account = Account(**given["account"]) if given["account"] else None
    return Wanted(
        given["root"],
        given["release"],
        files,
        tuple(given["units"]),
        given["keep_releases"],
        account,
        tuple(given["unneeded"]),
        tuple(Leftover(**item) for item in given["absent"]),
    )


def _diff(wanted: Wanted, facts: Facts, plan: Plan) -> list[dict]:
    """The steps, then the files before and after, and the release."""
    entries = steps_diff(plan.steps)
    for step in plan.steps:
        if isinstance(step, WriteSiteFile):
            before = facts.files.get(step.path, ("", 0))[0]
            texts = ("(secret)\n", "(another secret)\n") if step.secret else (before, step.contents)
            entries.append(file_diff(step.path, *texts))
        elif isinstance(step, SwitchRelease):
            entries.append(file_diff("release", f"{facts.current or 'none'}\n", f"{wanted.release}\n"))
    return entries


def _check_archive(module: AnsibleModule) -> None:
    checksum = identity.checksum(module.params["archive"])
    if checksum != module.params["checksum"]:
        module.fail_json(
            msg=f"the archive arrived with the checksum {checksum}, not {module.params['checksum']}: try again"
        )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    given = module.params
    wanted = _wanted(module)
    facts = collect.read(wanted, given["timeout"])
    plan = make_plan(wanted, facts, given["apply"] == "safe")
    report: dict[str, Any] = {"pending": plan.pending, "release": wanted.release, "diff": _diff(wanted, facts, plan)}
    if plan.problems:
        report.update(diff=[], pending=[])
        module.fail_json(msg="; ".join(plan.problems), changed=False, actions=[], current=facts.current, **report)
    unpacks = any(isinstance(step, UnpackRelease) for step in plan.steps)
    if unpacks and not given["archive"] and not module.check_mode:
        module.exit_json(changed=False, needs_archive=True)
    if not module.check_mode and plan.steps:
        if unpacks:
            _check_archive(module)
        executor = Executor(given["timeout"], given)
        try:
            executor.run(plan.steps)
        except Failed as fault:
            report["diff"] = []
            module.fail_json(msg=str(fault), changed=False, actions=[], current=facts.current, **report)
        facts = collect.read(wanted, given["timeout"])
    module.exit_json(
        changed=bool(plan.steps),
        actions=[step.text for step in plan.steps],
        current=facts.current,
        **report,
    )


if __name__ == "__main__":
    main()
