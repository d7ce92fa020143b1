#!/usr/bin/python
# Copyright: samefiles.aws contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module proof: its options and results, and the one step of the proof that a call does on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: proof
short_description: Take part in the proof that every server of a fleet serves the same files
version_added: 0.1.0
description:
  - The part of one host in the proof; the playbook C(samefiles.aws.verify) runs its steps on all hosts, each step
    everywhere before the next begins, and hands the results to M(samefiles.aws.proof_report).
  - Tokens are written and read as the owner of the file system's root directory, in the directory C(.samefiles-proof) in it,
    which is removed at the end.
  - A problem never makes the module fail. It is reported, so that one broken host does not hide what is wrong with the others.
options:
  step:
    description:
      - V(inspect) compares the mounts with what they should be, and asks for every host's token before any exists.
      - V(write) publishes this host's token.
      - V(read) opens every host's token.
      - V(clean) removes this host's token.
      - V(gone) asks the site for the files that were deleted.
    type: str
    choices: [inspect, write, read, clean, gone]
    required: true
  host:
    description: This host's name in the inventory.
    type: str
    required: true
  hosts:
    description: The names of all hosts that take part.
    type: list
    elements: str
    default: []
  inspected:
    description: The RV(mounts) that V(inspect) returned on this host, for the other steps.
    type: list
    elements: dict
    default: []
  writers:
    description: The RV(samefiles.aws.proof_report#module:writers), for V(read). Other hosts' tokens are not waited for.
    type: dict
    default: {}
  site:
    description:
      - Where this host serves the reference app. With it V(write) uploads a file too, V(read) fetches all uploaded files,
        V(clean) deletes them, V(gone) sees that they are gone.
    type: dict
    suboptions:
      url:
        description: The site on this host, without the balancer.
        type: str
        required: true
      host:
        description: The name by which the site is asked for. Without it, the host of O(site.url).
        type: str
      password:
        description: The password for uploads.
        type: str
      storage:
        description:
          - Where the site keeps its files. With V(s3), V(write) uploads straight to S3 with a ticket of this host, V(read)
            follows this host's links there and looks for the files in its list.
        type: str
        choices: [efs, s3]
        default: efs
      types:
        description: The extensions of the files that the site takes. Without it, C(txt) is among them.
        type: list
        elements: str
      bucket:
        description: The bucket of V(s3), for the report.
        type: str
      ca_file:
        description: The file with the CA certificates that S3's is checked against.
        type: str
  uploads:
    description: The RV(samefiles.aws.proof_report#module:uploads) - keys by who uploaded them.
    type: dict
    default: {}
  run:
    description: What M(samefiles.aws.proof_report) returned at its beginning; makes the tokens of this run unlike any others.
    type: str
    default: ''
  wait:
    description: Seconds that a written file may take to appear on another host.
    type: int
    default: 40
  timeout:
    description: Seconds after which a mount that does not answer counts as hanging.
    type: int
    default: 20
attributes:
  check_mode:
    support: partial
    details: V(inspect) compares and asks for nothing; the other steps do nothing.
    description: Can run in check mode.
  diff_mode:
    support: none
    description: Nothing stays changed.
  platform:
    support: full
    platforms: posix
    description: Linux.
author:
  - samefiles.aws contributors (@samefiles)
extends_documentation_fragment: [samefiles.aws.mounts]
seealso:
  - module: samefiles.aws.efs_mount
  - module: samefiles.aws.proof_report
"""

EXAMPLES = r"""
- name: Compare the mounts with what they should be, and ask for names that do not exist yet
  samefiles.aws.proof:
    step: inspect
    host: "{{ inventory_hostname }}"
    hosts: "{{ ansible_play_hosts_all }}"
    mounts: "{{ efs_mount_mounts }}"
    region: "{{ efs_mount_region }}"
  register: proof_inspect
"""

RETURN = r"""
problems:
  description: What is wrong on this host, in sentences.
  returned: always
  type: list
  elements: str
mounts:
  description: At V(inspect), the mounts that are proved.
  returned: when O(step=inspect)
  type: list
  elements: dict
written:
  description: SHA-256 of the token by path.
  returned: when O(step=write)
  type: dict
key:
  description: The key of the file that was uploaded.
  returned: when O(step=write) and O(site)
  type: str
bucket:
  description: The bucket in which the site's files are; empty where they are on EFS.
  returned: when O(step=write) and O(site)
  type: str
site:
  description: As RV(read), for the files of the site, by who uploaded them.
  returned: when O(step=read) and O(site)
  type: dict
read:
  description: By path and host, whether its bytes were right, and after how many milliseconds from the first open.
  returned: when O(step=read)
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.samefiles.aws.plugins.module_utils._efs_mount import spec
from ansible_collections.samefiles.aws.plugins.module_utils._proof import host, judge


def _inspect(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    items, faults = spec.wanted(given["mounts"], given["region"], given["transport"])
    if faults:
        module.fail_json(msg="; ".join(faults), problems=faults)
    hosts = [] if module.check_mode else given["hosts"]
    return host.inspect(items, given["host"], hosts, given["timeout"])


def _step(given: dict[str, Any]) -> list[dict[str, Any]]:
    """Do one step on the mounts and on the site; the results of both."""
    hostname, mounts, run, wait, timeout = (given[name] for name in ("host", "inspected", "run", "wait", "timeout"))
    site, keys = given["site"], given["uploads"]
    if given["step"] == "write":
        results = [host.write(mounts, hostname, run, timeout)]
        return results + ([host.site_write(site, hostname, run, timeout)] if site else [])
    if given["step"] == "read":
        results = [host.read(mounts, hostname, given["writers"], run, wait, timeout)]
        return results + ([host.site_read(site, hostname, keys, run, wait, timeout)] if site else [])
    if given["step"] == "clean":
        results = [host.clean(mounts, hostname, timeout)]
        mine = [
            key
            for writer, key in keys.items()
            if writer == hostname or (writer, hostname) == (judge.BALANCER, min(given["hosts"]))
        ]
        return results + ([host.site_clean(site, hostname, mine, timeout)] if site else [])
    return [host.site_gone(site, hostname, keys, wait, timeout)] if site else []


def main() -> None:
    """Run the module."""
    site = {
        "url": {"type": "str", "required": True},
        "host": {"type": "str"},
        "password": {"type": "str", "no_log": True},
        "storage": {"type": "str", "choices": ["efs", "s3"], "default": "efs"},
        "types": {"type": "list", "elements": "str"},
        "bucket": {"type": "str"},
        "ca_file": {"type": "str"},
    }
    module = AnsibleModule(
        argument_spec={
            "step": {"type": "str", "choices": ["inspect", "write", "read", "clean", "gone"], "required": True},
            "host": {"type": "str", "required": True},
            "hosts": {"type": "list", "elements": "str", "default": []},
            "inspected": {"type": "list", "elements": "dict", "default": []},
            "writers": {"type": "dict", "default": {}},
            **spec.ARGUMENTS,
            "site": {"type": "dict", "options": site},
            "uploads": {"type": "dict", "default": {}},
            "run": {"type": "str", "default": ""},
            "wait": {"type": "int", "default": 40},
            "timeout": {"type": "int", "default": 20},
        },
        supports_check_mode=True,
    )
    if module.params["step"] == "inspect":
        module.exit_json(changed=False, **_inspect(module))
    result: dict[str, Any] = {"problems": []}
    for answer in [] if module.check_mode else _step(module.params):
        result = {**result, **answer, "problems": result["problems"] + answer["problems"]}
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
