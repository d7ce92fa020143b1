#!/usr/bin/python
# Copyright: samefiles.aws contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action proof_report, which plugins/action carries out on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: proof_report
short_description: Judge the proof that every server serves the same files, and write it down
version_added: 0.1.0
description:
  - Runs on the controller; give it C(run_once). At its beginning it makes the number of a run, which every host's token
    depends on; once all have written, it uploads a file through the balancer and fetches everybody's; at its end
    it judges what M(samefiles.aws.proof) returned on all hosts, and writes C(proof.json) and C(proof.html).
  - Disagreement does not make the module fail, so that the proof is written and shown first; see RV(agree).
options:
  hosts:
    description: The names of all hosts that take part. A host without results did not answer.
    type: list
    elements: str
    required: true
  inspections:
    description: What V(step=inspect) of M(samefiles.aws.proof) returned, in the order of O(hosts). Empty at the beginning.
    type: list
    elements: dict
    default: []
  writes:
    description: What V(step=write) returned.
    type: list
    elements: dict
    default: []
  reads:
    description: What V(step=read) returned.
    type: list
    elements: dict
    default: []
  gone:
    description: What V(step=gone) returned.
    type: list
    elements: dict
    default: []
  site:
    description: The site as its users reach it, for the time when all hosts have uploaded.
    type: dict
    suboptions:
      url:
        description: Through the balancer. Without it, only the hosts prove the site.
        type: str
      password:
        description: The password for uploads.
        type: str
      storage:
        description:
          - Where the site keeps its files. With V(s3) they are uploaded to S3 and read there, as browsers do; and S3 is
            asked whether it lets pages of O(site.url) upload.
        type: str
        choices: [efs, s3]
        default: efs
      types:
        description: The extensions of the files that the site takes. Without it, C(txt) is among them.
        type: list
        elements: str
      ca_file:
        description: The file with the CA certificates that the site's and S3's are checked against.
        type: str
  run:
    description: The RV(run) of the beginning, for O(site).
    type: str
  balancer:
    description: The RV(balancer) of the upload step, for the judgement.
    type: dict
  directory:
    description: >-
      Where the proof is written; a relative path begins at the working directory. Without it nothing is written.
    type: path
attributes:
  action:
    support: full
    description: Runs nothing on the hosts.
  check_mode:
    support: full
    description: Judges, and writes nothing.
  diff_mode:
    support: none
    description: A proof is new each time.
  platform:
    support: full
    platforms: posix
    description: Any.
author:
  - samefiles.aws contributors (@samefiles)
seealso:
  - module: samefiles.aws.proof
"""

EXAMPLES = r"""
- name: Begin a proof
  samefiles.aws.proof_report:
    hosts: "{{ ansible_play_hosts_all }}"
  run_once: true
  register: proof_begin
"""

RETURN = r"""
run:
  description: A number that makes this run's tokens unlike any others.
  returned: always
  type: str
writers:
  description: The hosts that wrote a token, by path.
  returned: always
  type: dict
uploads:
  description: The keys of the files that were uploaded, by who did.
  returned: always
  type: dict
balancer:
  description: What was read through the balancer.
  returned: with O(site) or O(balancer)
  type: dict
agree:
  description: Whether every host served the right bytes and nothing else is wrong.
  returned: always
  type: bool
problems:
  description: What is wrong, in sentences.
  returned: always
  type: list
  elements: str
table:
  description: The matrix host x host as text.
  returned: always
  type: str
proof:
  description: What is written to C(proof.json).
  returned: always
  type: dict
"""
