#!/usr/bin/python
# Copyright: samefiles.aws contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module bucket: its options and results, and the run that reads, plans, applies and proves."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: bucket
short_description: Close an S3 bucket, open one prefix of it if asked for, and prove both
version_added: 0.1.0
description:
  - Sets up a bucket for a site, unless a CloudFormation stack owns it. All objects are its owner's
    (C(BucketOwnerEnforced)); it is closed to the public, accepts TLS only, and is encrypted and versioned. Pages of the
    site may upload to it, and unfinished uploads are deleted automatically.
  - The module owns the public-access block, the ownership controls, the default encryption, versioning, the statements
    C(SamefilesTlsOnly) and C(SamefilesPublicRead) of the policy, the CORS rule C(samefiles-browser), and the lifecycle
    rules C(samefiles-incoming), C(samefiles-stale-uploads), C(samefiles-deleted) and C(samefiles-deleted-public). All
    other statements and rules stay as they are.
  - All settings are read first. Check mode reads the same and reports the same actions; after a change everything is
    read again until it is as planned, and any difference is a failure.
  - Public access needs two options, O(public_prefix) and O(public_access_confirmed). At no moment of a run is the
    bucket more public than in the more public of its two states, before and after. To open, the run switches off the
    public-access block, then adds the policy statement; to close, it removes the statement first. A run that ends in
    between leaves the bucket closed, or as it was, and the next run goes on. If O(prove) fails, what this run has
    opened is closed again, and the error says so, or that it failed; a prefix that was open already stays open. One
    case leaves the prefix open, a run that opened it and was killed during the proof.
  - A bucket whose policy has another public statement is never opened, since that would open the other one as well.
  - The module changes no objects except those of O(prove).
options:
  bucket:
    description: Name of the bucket.
    type: str
    required: true
  create:
    description: Whether to create a bucket that does not exist, in O(region).
    type: bool
    default: false
  key_prefix:
    description: Where the site keeps its files, a path. Objects below its C(incoming/) are deleted after a day.
    type: str
    default: gallery
  public_prefix:
    description: The prefix that everybody may read once that is confirmed; a path beside O(key_prefix). The whole bucket, or a
      pattern, is refused.
    type: str
    default: ""
  public_access_confirmed:
    description: Whether everybody on the internet may read all that lies below O(public_prefix). Without it the prefix is
      closed like the rest. Where the bucket encrypts with C(aws:kms) it is refused, since S3 serves such objects only
      to signed requests.
    type: bool
    default: false
  cors_origins:
    description: The site as its users' browsers know it, such as V(https://files.example.com); its pages may GET, HEAD and PUT.
      Without one the rule is removed.
    type: list
    elements: str
    default: []
  encryption:
    description: How S3 encrypts new objects by default. Without it the bucket keeps its encryption, and gets V(AES256) if it has
      none; to change a bucket from V(aws:kms), set V(AES256).
    type: str
    choices: [AES256, "aws:kms"]
  kms_key_id:
    description: The key for O(encryption=aws:kms); without it the account's AWS managed key.
    type: str
  versioning:
    description: Whether versions of objects that are replaced or deleted are kept. V(false) suspends versioning; S3 cannot
      switch it off.
    type: bool
    default: true
  keep_deleted_days:
    description: Days after which what was deleted or replaced below O(key_prefix) and O(public_prefix) is removed permanently, if
      versions are kept; V(0) keeps it for ever.
    type: int
    default: 30
  prove:
    description: Whether to prove access with anonymous requests. Two small objects are put below C(proof/) of O(key_prefix) and
      O(public_prefix), requested without credentials, and removed permanently. Check mode skips this.
    type: bool
    default: false
  browser_endpoint_url:
    description: The endpoint of S3 for browsers, if it differs from that of this module; O(prove) uses it too.
    type: str
extends_documentation_fragment: [samefiles.aws.s3]
requirements:
  - botocore 1.29 or newer
notes:
  - The public-access block of the account, or of its organization, is not changed, and S3 does not report it with the bucket.
    If it forbids public policies the task fails and the bucket stays closed; check mode cannot foresee this.
  - The default encryption is set only when it differs. A botocore older than 1.41 does not know C(BlockedEncryptionTypes)
    and then drops it.
attributes:
  action_group:
    description: Use C(group/samefiles.aws.s3) in C(module_defaults) to set the S3 options of all modules of this group.
    support: full
    membership: [samefiles.aws.s3]
  check_mode:
    description: Reads everything and reports the same actions; sets nothing and proves nothing.
    support: full
  diff_mode:
    description: Shows the settings before and after.
    support: full
seealso:
  - module: samefiles.aws.s3_sync
author:
  - samefiles.aws contributors (@samefiles)
"""

EXAMPLES = r"""
- name: Make a bucket for a site, closed to the public
  samefiles.aws.bucket:
    bucket: example-site
    create: true
    region: eu-central-1
    cors_origins: ["https://files.example.com"]
  delegate_to: localhost
  run_once: true

- name: Open one prefix to everybody, and prove that nothing else is open
  samefiles.aws.bucket:
    bucket: example-site
    cors_origins: ["https://files.example.com"]
    public_prefix: public
    public_access_confirmed: true
    prove: true
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be, in words; one for each difference.
  returned: always
  type: list
  elements: str
public_prefix:
  description: The prefix that everybody may read, empty without one.
  returned: success
  type: str
proof:
  description: What holds for those without credentials, in words.
  returned: success
  type: list
  elements: str
  sample: ["everybody reads what lies below public/", "nobody lists the bucket"]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.samefiles.aws.plugins.module_utils._bucket import apply, plan, spec, verify
from ansible_collections.samefiles.aws.plugins.module_utils._s3.arguments import CONNECTION

ARGUMENTS = {
    "bucket": {"type": "str", "required": True},
    "create": {"type": "bool", "default": False},
    "key_prefix": {"type": "str", "default": "gallery", "no_log": False},
    "public_prefix": {"type": "str", "default": ""},
    "public_access_confirmed": {"type": "bool", "default": False},
    "cors_origins": {"type": "list", "elements": "str", "default": []},
    "encryption": {"type": "str", "choices": ["AES256", "aws:kms"]},
    "kms_key_id": {"type": "str", "no_log": False},
    "versioning": {"type": "bool", "default": True},
    "keep_deleted_days": {"type": "int", "default": 30},
    "prove": {"type": "bool", "default": False},
    "browser_endpoint_url": {"type": "str"},
    **CONNECTION,
}


def run(options: dict[str, Any], check: bool) -> dict[str, Any]:
    """Read, plan, apply, prove; the result. Raises BucketError."""
    spec.wish(options)  # whatever is wrong with the options is reported before the first request
    browser = options["browser_endpoint_url"] or ""
    if browser:
        spec.for_browsers(browser, options["bucket"], "")
    bucket, endpoint = apply.connect(options)
    wanted = spec.wish({**options, "region": endpoint.region}, apply.partition(endpoint.region))
    before = bucket.read()
    steps = plan.plan(wanted, before)
    actions = [action for step in steps for action in step.actions]
    after = plan.after(before, steps)
    if steps and not check:
        bucket.apply(wanted, before, steps)
    result = {
        "changed": bool(steps),
        "actions": actions,
        "public_prefix": wanted.public_prefix,
        "proof": [],
        "diff": {"before": spec.view(before), "after": spec.view(after)},
    }
    if options["prove"] and not check:
        with bucket.or_closed(wanted, before, list(actions)):
            result["proof"] = verify.prove(bucket, endpoint, wanted, browser)
    return result


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        result = run(module.params, module.check_mode)
    except spec.BucketError as fault:
        module.fail_json(msg=str(fault), changed=bool(fault.done), actions=list(fault.done))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
