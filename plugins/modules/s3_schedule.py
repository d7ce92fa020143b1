#!/usr/bin/python
# Copyright: samefiles.aws contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module s3_schedule."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: s3_schedule
short_description: Have a host make syncs of trees and key prefixes on its own
version_added: 0.1.0
description:
  - Takes all schedules of a host. For each it writes the options of the sync, a service that runs it once, and a timer.
    The program is the module M(samefiles.aws.s3_sync) itself, written to C(/usr/local/lib/samefiles).
  - A run that fails leaves the service C(samefiles-s3-sync-NAME.service) failed, which C(systemctl --failed) and monitoring
    show. The result of the last run, also of a killed one, is in C(/var/lib/samefiles-s3-sync/NAME/last.json), and for
    Prometheus in C(s3_sync.prom) in the same directory; the actions are in the journal. Two runs of a schedule never overlap.
  - No key is written to a host; the sync uses the credentials of the instance role.
  - A schedule that is no longer listed is reported, never removed. V(absent) removes its timer; the synced files stay.
options:
  schedules:
    description:
      - The schedules. Each is a sync, with the options of M(samefiles.aws.s3_sync), a O(schedules[].name), and
        O(schedules[].schedule).
      - Unless it is absent, each needs O(schedules[].file_root), and a bucket, be it O(bucket). It must have none of
        O(schedules[].access_key), O(schedules[].secret_key) and O(schedules[].session_token).
      - An option that is null is not set, whatever O(bucket), O(region), O(endpoint_url) and O(aws_ca_bundle) are.
    type: list
    elements: dict
    required: true
  bucket:
    description: Default bucket of all syncs.
    type: str
  region:
    description: Default region of all syncs.
    type: str
  endpoint_url:
    description: Default endpoint of all syncs.
    type: str
  aws_ca_bundle:
    description: Default CA bundle of all syncs.
    type: path
  timeout:
    description: Seconds that each command may take.
    type: int
    default: 30
extends_documentation_fragment: [samefiles.aws.s3_sync.schedules]
attributes:
  check_mode:
    support: full
    description: Reports exactly what would be done, also on a host without any schedule.
  diff_mode:
    support: full
    description: Shows the steps, and the files before and after.
  platform:
    support: full
    platforms: posix
    description: Linux with systemd 244 or newer.
author:
  - samefiles.aws contributors (@samefiles)
seealso:
  - module: samefiles.aws.s3_sync
"""

EXAMPLES = r"""
- name: Back up the logs of each host to its own key prefix
  samefiles.aws.s3_schedule:
    schedules:
      - name: logs
        bucket: example-backups
        key_prefix: "hosts/{{ inventory_hostname }}/log"
        file_root: /var/log
        include: ["*.gz", "*.log.1"]
        schedule:
          when: daily
          delay: 3600

- name: Remove the schedule
  samefiles.aws.s3_schedule:
    schedules:
      - name: logs
        schedule:
          state: absent
"""

RETURN = r"""
actions:
  description: The actions done, or in check mode planned.
  returned: always
  type: list
  elements: str
unlisted:
  description: Schedules on the host that are not in the list.
  returned: always
  type: list
  elements: str
"""

import os
import sys
from typing import Any

from ansible.module_utils.basic import AnsibleModule, _load_params
from ansible_collections.samefiles.aws.plugins.module_utils._host import executor, process
from ansible_collections.samefiles.aws.plugins.module_utils._host.steps import WriteFile, file_diff, steps_diff
from ansible_collections.samefiles.aws.plugins.module_utils._s3_schedule import apply
from ansible_collections.samefiles.aws.plugins.module_utils._s3_schedule import plan as _plan
from ansible_collections.samefiles.aws.plugins.module_utils._s3_sync import options as _options
from ansible_collections.samefiles.aws.plugins.module_utils._s3_sync.arguments import ARGUMENTS as SYNC

DEFAULTS = ("bucket", "region", "endpoint_url", "aws_ca_bundle")
REQUIRED = [key for key, spec in SYNC.items() if spec.get("required")]  # unless the schedule is absent
WHEN = {
    "when": {"type": "str", "default": ""},
    "delay": {"type": "int", "default": 0},
    "timeout": {"type": "int", "default": 21600},
    "user": {"type": "str", "default": "root"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}
SCHEDULE = {
    "name": {"type": "str", "required": True},
    "side": {"type": "str", "default": "host"},
    "schedule": {"type": "dict", "apply_defaults": True, "options": WHEN},
    **{key: {word: value for word, value in spec.items() if word != "required"} for key, spec in SYNC.items()},
    # Keys must not be there, but if they are they must not be shown either.
    **{key: {**SYNC[key], "no_log": True} for key in _plan.SECRETS},
}
ARGUMENTS = {
    "schedules": {"type": "list", "elements": "dict", "required": True, "options": SCHEDULE},
    "bucket": {"type": "str"},
    "region": {"type": "str"},
    "endpoint_url": {"type": "str"},
    "aws_ca_bundle": {"type": "path"},
    "timeout": {"type": "int", "default": 30},
}

PYTHON = "/usr/bin/python3"


def _nulls(item: Any) -> set[str]:
    """The options that a schedule sets to null, against those of all: once validated, it looks as if it left them out."""
    if not isinstance(item, dict):  # a text such as name=logs, which holds no null
        return set()
    return {key for key in DEFAULTS for word in (key, *SYNC[key].get("aliases", ())) if item.get(word, "") is None}


def _sync(module: AnsibleModule, item: dict[str, Any], nulls: set[str], label: str) -> dict[str, Any]:
    """The options of a schedule's sync that are not the defaults; fails where no run could follow them."""
    options = {key: item[key] for key in SYNC}
    for key in DEFAULTS:
        if options[key] is None and key not in nulls:
            options[key] = module.params[key]
    missing = sorted(key for key in REQUIRED if options[key] is None)
    if missing:
        module.fail_json(msg=f"{label}: missing required arguments: {', '.join(missing)}")
    try:
        _options.rules_of(options)
        _options.root_of(options)
        if not os.path.isabs(options["file_root"]):  # the option's type has expanded ~ already
            raise _options.Refused(
                f"file_root must be absolute, for a timer runs in no directory of its own, got {options['file_root']!r}"
            )
        _options.mode_of(options)
    except _options.Refused as fault:
        module.fail_json(msg=f"{label}: {fault}")
    return {key: value for key, value in options.items() if value != SYNC[key].get("default")}


def _schedule(module: AnsibleModule, item: dict[str, Any], nulls: set[str], label: str) -> _plan.Schedule:
    """A schedule out of what the inventory says."""
    timing = dict(item["schedule"])
    when, present = timing.pop("when"), timing.pop("state") == "present"
    if not present:
        return _plan.Schedule(item["name"], when, {}, present=False)
    changed = _sync(module, item, nulls, label)
    return _plan.Schedule(item["name"], when, changed, side=item["side"] or "host", **timing)


def _times(module: AnsibleModule, schedules: list[_plan.Schedule]) -> list[str]:
    """Sentences about times that systemd does not understand."""
    said = []
    for number, item in enumerate(schedules):
        if item.present:
            done = process.run(["systemd-analyze", "calendar", item.when], module.params["timeout"])
            if done.code:
                said.append(
                    f"schedules[{number}].schedule.when must be a time as systemd's OnCalendar= takes it, such as daily or "
                    f"'Mon *-*-* 03:00', got {item.when!r}"
                )
    return said


def _python() -> str:
    """The interpreter of the timers' program: the same word however Ansible came to it, and one that outlives an upgrade."""
    if sys.prefix == sys.base_prefix and os.path.realpath(sys.executable) == os.path.realpath(PYTHON):
        return PYTHON
    return sys.executable


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    timeout = module.params["timeout"]
    given = zip(module.params["schedules"], _load_params()["schedules"])
    schedules = [
        _schedule(module, item, _nulls(raw), f"schedules[{number}]") for number, (item, raw) in enumerate(given)
    ]
    faults = _plan.faults(schedules) or _times(module, schedules)
    if faults:
        module.fail_json(msg="; ".join(faults))
    program = apply.program()
    facts = apply.read(list(program), timeout)
    plan = _plan.make(schedules, program, _python(), facts)
    diff = steps_diff(plan.steps)
    for step in plan.steps:
        if isinstance(step, WriteFile) and not step.path.startswith(_plan.PROGRAM_DIRECTORY):
            diff.append(file_diff(step.path, facts.files.get(step.path, ""), step.contents))
    if plan.steps and not module.check_mode:
        try:
            apply.Executor(timeout).run(plan.steps)
        except executor.Failed as fault:
            module.fail_json(msg=str(fault), changed=False, actions=[], unlisted=plan.unlisted)
    module.exit_json(
        changed=bool(plan.steps), actions=[step.text for step in plan.steps], unlisted=plan.unlisted, diff=diff
    )


if __name__ == "__main__":
    main()
