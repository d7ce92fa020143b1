#!/usr/bin/python
# Copyright: samefiles.aws contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module efs_mount."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: efs_mount
short_description: Mount EFS file systems on a host, and prove that they are mounted
version_added: 0.1.0
description:
  - Takes all EFS mounts of a host at once, compares them with what is really mounted, and does what is missing.
    It writes its lines of C(/etc/fstab), the units of its TLS tunnels, and makes, changes and removes the mounts.
  - Does not rely on exit codes. After the last step everything is read again, and whatever does not hold is a failure;
    what was done is then rolled back.
  - A mount counts as right when the evidence says so. With O(transport=plain) that is the address that the kernel is
    connected to; with V(stunnel) the port in the mount table, the process that listens there, its unit, and the address
    that process is connected to; with V(efs-utils) the state file of C(mount.efs) and its proxy.
  - Lines of fstab that it owns carry the option C(x-samefiles.aws=FILE_SYSTEM). Every other line stays as it is, byte for
    byte.
  - The directory below a mount is made root-owned with mode 0 and, where the file system can, immutable, so that nothing is
    written to the server's own disk while the file system is away.
  - A file system that is out of reach does not delay the boot. A unit for each mount retries every 15 seconds.
options:
  apply:
    description:
      - V(all) does everything. V(safe) does only what interrupts nobody who uses a mount, and reports the rest as
        RV(pending); it writes nothing of the rest.
    type: str
    choices: [all, safe]
    default: all
  timeout:
    description: Seconds that each command, and each access to a mount, may take.
    type: int
    default: 30
attributes:
  check_mode:
    support: full
    description: Reports exactly what would be done, also on a host without any client.
  diff_mode:
    support: full
    description: Shows the files and the mounts before and after.
  platform:
    support: full
    platforms: posix
    description: Linux 5.2 or newer with systemd 244 or newer.
author:
  - samefiles.aws contributors (@samefiles)
extends_documentation_fragment: [samefiles.aws.mounts]
seealso:
  - module: samefiles.aws.proof
"""

EXAMPLES = r"""
- name: The files of the site, over TLS
  samefiles.aws.efs_mount:
    region: eu-central-1
    mounts:
      - file_system: fs-0123456789abcdef0
        path: /srv/files
        owner: "5000"
        group: "5000"
        mode: "0750"

- name: Through an access point, identified by the instance's role
  samefiles.aws.efs_mount:
    region: eu-central-1
    transport: efs-utils
    mounts:
      - file_system: fs-0123456789abcdef0
        access_point: fsap-0123456789abcdef0
        iam: true
        path: /srv/uploads

- name: Only what interrupts nobody; the rest is reported
  samefiles.aws.efs_mount:
    region: eu-central-1
    apply: safe
    mounts:
      - file_system: fs-0123456789abcdef0
        path: /srv/files
        options: [timeo=300]
"""

RETURN = r"""
actions:
  description: What was done (in check mode - what would be done), one sentence for each step, in order.
  returned: always
  type: list
  elements: str
  sample: ["write /etc/samefiles/fs-0123456789abcdef0.conf", "mount fs-0123456789abcdef0 at /srv/files over stunnel"]
pending:
  description: What O(apply=safe) left undone because it interrupts users of a mount.
  returned: always
  type: list
  elements: str
unlisted:
  description: Paths that this module mounted once and that are not listed any more. They stay mounted.
  returned: always
  type: list
  elements: str
problems:
  description: Why nothing was done, one sentence for each cause.
  returned: failure
  type: list
  elements: str
mounts:
  description: The mounts as they are at the end.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: Where it is mounted.
      type: str
      returned: success
    file_system:
      description: The wanted file system.
      type: str
      returned: success
    transport:
      description: How it is reached.
      type: str
      returned: success
    state:
      description: V(right) when the evidence proves it, V(absent), or what is wrong with it.
      type: str
      returned: success
    source:
      description: The source in the kernel's mount table.
      type: str
      returned: success
    options:
      description: The options in the kernel's mount table.
      type: list
      elements: str
      returned: success
    addresses:
      description: The addresses that it is connected to.
      type: list
      elements: str
      returned: success
    guard:
      description: How the directory below is protected - V(immutable), V(mode) where its file system has no such flag, or V(shared) inside another mount.
      type: str
      returned: success
    read_ahead_kb:
      description: The kernel's read-ahead, in KiB.
      type: int
      returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.samefiles.aws.plugins.module_utils._efs_mount import converge, spec

ARGUMENTS = {
    **spec.ARGUMENTS,
    "apply": {"type": "str", "choices": ["all", "safe"], "default": "all"},
    "timeout": {"type": "int", "default": 30},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    given = module.params
    items, faults = spec.wanted(given["mounts"], given["region"], given["transport"])
    if faults:
        module.fail_json(msg="; ".join(faults), problems=faults, changed=False, actions=[], pending=[], unlisted=[])
    safe = given["apply"] == "safe"
    timeout = given["timeout"]
    check = module.check_mode
    outcome = converge.inspect(items, safe, timeout, False) if check else converge.apply(items, safe, timeout)
    for warning in outcome.plan.warnings:
        module.warn(warning)
    report = {"pending": outcome.plan.pending, "unlisted": outcome.plan.unlisted}
    if outcome.problems:
        module.fail_json(
            msg="; ".join(outcome.problems), problems=outcome.problems, changed=False, actions=[], **report
        )
    module.exit_json(
        changed=bool(outcome.plan.steps),
        actions=[step.text for step in outcome.plan.steps],
        diff=converge.diff(items, outcome),
        mounts=converge.describe(items, outcome.after, outcome.plan),
        **report,
    )


if __name__ == "__main__":
    main()
