# Copyright: samefiles.aws contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a sync, documented once: of the module s3_sync, and of each schedule of s3_schedule."""

from __future__ import annotations

import re
import textwrap

from ansible_collections.samefiles.aws.plugins.doc_fragments.s3 import ModuleDocFragment as Connection


def _nested(text: str) -> str:
    """The options of a module as options of each schedule: further in, none required, links to the options beside them."""
    options = text.partition("options:\n")[2]
    options = re.sub(r"^    required: true\n", "", options, flags=re.MULTILINE)
    options = re.sub(r"\bO\(", "O(schedules[].", options)
    options = re.sub(r"\bRV\(", "RV(samefiles.aws.s3_sync#module:", options)
    return textwrap.indent(options, "    ")


_SCHEDULES = r"""
options:
  schedules:
    suboptions:
      name:
        description: Name of the sync, which its files and units carry. Up to 48 of a-z, 0-9, V(-) and V(_), first a letter or digit.
        type: str
        required: true
      side:
        description: May be V(host) and nothing else, for timers run on hosts.
        type: str
        default: host
      schedule:
        description: When the host runs the sync, and how.
        type: dict
        suboptions:
          when:
            description: A time as systemd's C(OnCalendar=) takes it. Required unless O(schedules[].schedule.state=absent).
            type: str
            default: ""
          delay:
            description: The most seconds that it comes later, by chance.
            type: int
            default: 0
          timeout:
            description: The most seconds that it may take.
            type: int
            default: 21600
          user:
            description: The user of the host who makes it.
            type: str
            default: root
          state:
            description: Whether the host has the timer. With V(absent) nothing but O(schedules[].name) is required.
            type: str
            choices: [present, absent]
            default: present
"""


class ModuleDocFragment:
    """Documentation of samefiles.aws.s3_sync, and of samefiles.aws.s3_sync.schedules."""

    DOCUMENTATION = r"""
options:
  bucket:
    description: Name of the bucket.
    type: str
    required: true
  file_root:
    description: The directory, or for a push the one file. A pull makes the directory, but not the one above it.
    type: path
    required: true
  key_prefix:
    description: Where in the bucket; a path, with or without slashes at its ends. The default is the whole bucket.
    type: str
    default: ""
  mode:
    description: V(push) makes the bucket like the tree, V(pull) the tree like the bucket.
    type: str
    choices: [push, pull]
    default: push
  include:
    description: Only files that one of these globs fits. A glob without a slash means the name, one with a slash the whole path;
      V(*) stays within a name, V(**) does not.
    type: list
    elements: str
    default: ["*"]
  exclude:
    description: No files that one of these globs fits, and nothing below a directory whose name one without a slash fits.
    type: list
    elements: str
    default: [".*"]
  delete:
    description: Whether what only the destination has is deleted.
    type: bool
    default: false
  max_delete:
    description: Limits of what may be deleted. When either is exceeded the task fails, before anything was changed; so it does
      in each O(phase), for after V(assets) a fleet would be half changed.
    type: dict
    suboptions:
      count:
        description: Number of files.
        type: int
        default: 100
      percent:
        description: Part of the files in the destination.
        type: float
        default: 25
  allow_empty_source:
    description: Whether an empty source may empty the destination.
    type: bool
    default: false
  phase:
    description: V(assets) only adds files that are new and no pages; it neither replaces nor deletes. V(rest) is all that is left
      after that, V(all) is both.
    type: str
    choices: [all, assets, rest]
    default: all
  pages:
    description: Globs of the files that name others, and therefore go after them. The default is HTML, manifests, service
      workers, feeds, C(sitemap*.xml) and C(robots.txt).
    type: list
    elements: str
  file_change_strategy:
    description: V(force) stores every file again. The other two are accepted for the sake of C(community.aws.s3_sync); content
      decides with both.
    type: str
    choices: [checksum, date_size, force]
    default: checksum
  headers:
    description: Headers by globs; of several that fit, the later wins, header by header. An empty text takes a header away, but
      for the type, which each object has.
    type: list
    elements: dict
    default: []
    suboptions:
      patterns:
        description: Globs as in O(include).
        type: list
        elements: str
        required: true
      content_type:
        description: The header Content-Type.
        type: str
      content_encoding:
        description: The header Content-Encoding. C(NAME.EXTENSION.gz) (C(.br), C(.zst)) has it automatically.
        type: str
      cache_control:
        description: The header Cache-Control.
        type: str
      content_disposition:
        description: The header Content-Disposition.
        type: str
      content_language:
        description: The header Content-Language.
        type: str
      metadata:
        description: Metadata of the user (C(x-amz-meta-NAME)). What is not named here stays while the content does; with new
          content an object has the metadata that is named here, and no other. An empty text takes one away.
        type: dict
  mime_map:
    description: Types by extension, before those of the module's own table.
    type: dict
  cache_control:
    description: The header Cache-Control of all files.
    type: str
    default: ""
  permission:
    description: Refused. No ACL is ever sent, for today's buckets refuse them; open a key prefix by the bucket's policy.
    type: str
  storage_class:
    description: Storage class of what is stored. Objects that are there keep theirs, which lifecycle rules may have changed.
    type: str
    choices:
      - STANDARD
      - REDUCED_REDUNDANCY
      - STANDARD_IA
      - ONEZONE_IA
      - INTELLIGENT_TIERING
      - GLACIER
      - GLACIER_IR
      - DEEP_ARCHIVE
      - OUTPOSTS
  encryption:
    description: How S3 encrypts; an object that is encrypted otherwise is copied. Without it the bucket's setting holds.
    type: str
    choices: [AES256, "aws:kms"]
  kms_key_id:
    description: The key for O(encryption=aws:kms), by its id or ARN; an alias is refused, for S3 reports none with its objects.
      Without it Amazon's own of the account.
    type: str
  checksum:
    description: The checksum that each body travels with. V(auto) is MD5 for whole objects, CRC32 for parts and SHA-256 with KMS;
      V(md5) is SHA-256 with KMS as well, for an ETag says nothing of the content there, and S3 keeps no other MD5. V(none) is for
      servers that know none of them, the signature then covers the body; with KMS nothing shows later what was stored, so that
      O(cache=none) stores all anew in each run.
    type: str
    choices: [auto, md5, crc32, sha256, none]
    default: auto
  conditional_writes:
    description: Whether an object is replaced or deleted only while it is as the listing showed it. V(false) is for servers that
      do not know such requests.
    type: bool
    default: true
  verify:
    description: Whether a push asks for each object that it has stored, and fails unless its size and ETag are those of what was
      sent. With KMS an ETag says nothing of the content; there the SHA-256 is compared, of an object in parts or with another
      checksum the size alone. Bodies travel with a checksum anyway. A pull compares without it, but judges two kinds of objects by
      size, since nothing shows their content. These are objects of KMS that were stored with none of CRC32, SHA-256 and SHA-1, and
      objects in parts whose sizes the server does not report.
    type: bool
    default: false
  concurrency:
    description: Requests at a time, 1 to 64.
    type: int
    default: 16
  symlinks:
    description: V(follow) takes links to what lies within the tree for what they point to; one that points out of it is an error.
      V(skip) leaves links alone on both sides, V(error) fails. A pull always skips them, with a warning for each, and all that
      is below them; where one points out of the tree or to nothing, an object in its place fails. O(file_root) itself may be a link.
    type: str
    choices: [follow, skip, error]
    default: follow
  file_mode:
    description: Mode of the files that a pull makes, in quotes and with its leading 0 (V('0644')); without it a file keeps its
      mode, and a new one has what the umask leaves of V(0666). For root a file that is replaced keeps owner and group as well;
      new ones are those of the user who runs this.
    type: str
  cache:
    description: Directory of what is remembered of files and objects, or V(none). It may save work, never decide; without it each run
      reads every file and asks for every object. Files are read in each run as well where their file system is not known to keep a
      change time, that is on any but NFS and the local ones of Linux.
    type: str
    default: ~/.cache/samefiles/s3_sync
  progress_file:
    description: File that gets a line every three seconds while files are transferred. Ansible shows nothing of a module before it
      has ended; C(tail -f) on this file does.
    type: path
  report:
    description: V(full) adds RV(files).
    type: str
    choices: [summary, full]
    default: summary
"""

    # annotated, for ansible-test's yamllint takes each plain assignment here for a literal
    SCHEDULES: str = _SCHEDULES + _nested(DOCUMENTATION) + _nested(Connection.DOCUMENTATION)
