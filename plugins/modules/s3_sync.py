#!/usr/bin/python
# Copyright: samefiles.aws contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies a directory tree to a key prefix of an S3 bucket, or a key prefix to a directory."""

from __future__ import annotations

DOCUMENTATION = r"""
module: s3_sync
short_description: Copy a directory tree to an S3 key prefix, or a key prefix to a directory
version_added: 0.1.0
author: The samefiles.aws contributors (@samefiles)
description:
  - Copies a directory tree to a key prefix (V(push)), or a key prefix to a directory (V(pull)). With O(delete) it also deletes
    what exists only in the destination. The parameters of C(community.aws.s3_sync) keep their names; what differs, and why, is in
    C(docs/s3_sync.md).
  - Compares content, not times. A listing shows size and ETag of each object; files are hashed, and the hashes are cached by
    device, inode, size, mtime and ctime in nanoseconds. Objects whose ETag is no hash (multipart, KMS) need a HEAD request.
  - Manages headers as well. Content types come from a table of this module, not of the host. An object with wrong headers is
    repaired by a copy, without an upload.
  - A source that is missing, unreadable or, with O(delete), empty fails the task, and nothing is deleted. Deletes come last, only
    when all else succeeded, and never more than O(max_delete).
  - Excluded files and objects are untouched on both sides. A key prefix is a path, so V(web) never means C(web2/).
  - Writes are conditional (C(If-None-Match), C(If-Match)), so that two controllers never silently overwrite each other.
  - If a file fails, the task reports it and fails; the other files are synced, nothing is deleted, and the next run converges.
requirements:
  - botocore, where credentials, region or endpoint are not all given
attributes:
  action_group:
    description: Use C(group/samefiles.aws.s3) in C(module_defaults) to set the S3 options of all modules of this group.
    support: full
    membership: [samefiles.aws.s3]
  check_mode:
    description: Makes the whole plan with read-only requests.
    support: full
  diff_mode:
    description: Shows the plan, one line for each file.
    support: full
extends_documentation_fragment: [samefiles.aws.s3_sync, samefiles.aws.s3]
seealso:
  - name: s3_sync beside community.aws.s3_sync
    description: Each difference, and which tool notices which change.
    link: https://github.com/samefiles/aws/blob/main/docs/s3_sync.md
"""

EXAMPLES = r"""
- name: Publish a site, with headers by pattern
  samefiles.aws.s3_sync:
    bucket: example-site
    file_root: build/
    key_prefix: www
    delete: true
    headers:
      - patterns: ["assets/**"]
        cache_control: public, max-age=31536000, immutable
      - patterns: ["*.html"]
        cache_control: no-cache
  delegate_to: localhost
  run_once: true

- name: Show what would change
  samefiles.aws.s3_sync:
    bucket: example-site
    file_root: build/
    key_prefix: www
    delete: true
  check_mode: true
  diff: true

- name: Restore the backups of a host
  samefiles.aws.s3_sync:
    bucket: example-backups
    key_prefix: "hosts/{{ inventory_hostname }}"
    file_root: /var/restore
    mode: pull
"""

RETURN = r"""
actions:
  description: The actions done, or in check mode planned, with counts and bytes.
  returned: always
  type: list
  elements: str
uploaded:
  description: Number of uploaded files.
  returned: always
  type: int
downloaded:
  description: Number of downloaded files.
  returned: always
  type: int
deleted:
  description: Number of deleted objects or files.
  returned: always
  type: int
updated_headers:
  description: Number of objects whose headers were updated.
  returned: always
  type: int
bytes:
  description: Number of transferred bytes.
  returned: always
  type: int
requests:
  description: Number of requests by operation, including failed attempts.
  returned: always
  type: dict
  sample: {LIST: 10}
files:
  description: The paths by action.
  returned: with O(report=full)
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.samefiles.aws.plugins.module_utils._s3_sync import converge
from ansible_collections.samefiles.aws.plugins.module_utils._s3_sync.arguments import ARGUMENTS

NOTHING = {
    "changed": False,
    "actions": [],
    "uploaded": 0,
    "downloaded": 0,
    "deleted": 0,
    "updated_headers": 0,
    "bytes": 0,
    "requests": {},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        result = converge.sync({**module.params, "diff": module._diff}, module.check_mode)
    except converge.Refused as fault:
        for warning in fault.result.pop("warnings", []):
            module.warn(warning)
        module.fail_json(msg=str(fault), **{**NOTHING, **fault.result})
    for warning in result.pop("warnings", []):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
