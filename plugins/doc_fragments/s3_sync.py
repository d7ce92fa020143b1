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
        description: Name of the sync, and of its files and units. Up to 48 of a-z, 0-9, V(-) and V(_), first a letter or digit.
        type: str
        required: true
      side:
        description: Only V(host), for timers run on hosts.
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
            description: Maximum random delay in seconds.
            type: int
            default: 0
          timeout:
            description: Maximum run time in seconds.
            type: int
            default: 21600
          user:
            description: The user of the host that runs it.
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
    description: The directory, or for a push a single file. A pull creates the directory, but not its parent.
    type: path
    required: true
  key_prefix:
    description: Path in the bucket, with or without slashes at its ends. The default is the whole bucket.
    type: str
    default: ""
  mode:
    description: V(push) makes the bucket like the tree, V(pull) the tree like the bucket.
    type: str
    choices: [push, pull]
    default: push
  include:
    description: Only files that match one of these globs. A glob without a slash matches the name, one with a slash the whole path;
      V(*) matches within a name, V(**) across slashes.
    type: list
    elements: str
    default: ["*"]
  exclude:
    description: No files that match one of these globs, and nothing below a directory whose name matches one without a slash.
    type: list
    elements: str
    default: [".*"]
  delete:
    description: Whether to delete what exists only in the destination.
    type: bool
    default: false
  max_delete:
    description: Limits of the deletes. If one is exceeded, the task fails before it changes anything, in each O(phase).
    type: dict
    suboptions:
      count:
        description: Number of files.
        type: int
        default: 100
      percent:
        description: Percentage of the files in the destination.
        type: float
        default: 25
  allow_empty_source:
    description: Whether an empty source may empty the destination.
    type: bool
    default: false
  phase:
    description: V(assets) only adds files that are new and no pages; it neither replaces nor deletes. V(rest) does the rest,
      V(all) does both.
    type: str
    choices: [all, assets, rest]
    default: all
  pages:
    description: Globs of the files that refer to others, and are therefore transferred after them. The default is HTML, manifests, service
      workers, feeds, C(sitemap*.xml) and C(robots.txt).
    type: list
    elements: str
  file_change_strategy:
    description: V(force) stores every file again. The other two are accepted for compatibility with C(community.aws.s3_sync); both
      compare the content.
    type: str
    choices: [checksum, date_size, force]
    default: checksum
  headers:
    description: Headers by globs; of several that match, the later wins, header by header. An empty text removes a header, except
      the type, which each object has.
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
        description: The header Content-Encoding. C(NAME.EXTENSION.gz) (C(.br), C(.zst)) gets it automatically.
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
        description: User metadata (C(x-amz-meta-NAME)). Other metadata stays while the content is unchanged; an object with new content
          has only the metadata set here. An empty text removes one.
        type: dict
  mime_map:
    description: Content types by extension; they override the module's own table.
    type: dict
  cache_control:
    description: The header Cache-Control of all files.
    type: str
    default: ""
  permission:
    description: Refused. No ACL is ever sent, because new buckets refuse them; use a bucket policy to make a key prefix public.
    type: str
  storage_class:
    description: Storage class of new objects. Existing objects keep theirs, which lifecycle rules may have changed.
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
    description: Server-side encryption; an object that is encrypted otherwise is copied. The default is the setting of the bucket.
    type: str
    choices: [AES256, "aws:kms"]
  kms_key_id:
    description: The key for O(encryption=aws:kms), by its id or ARN; an alias is refused, for S3 reports none with its objects.
      The default is the AWS managed key of the account.
    type: str
  checksum:
    description: The checksum that is sent with each body. V(auto) is MD5 for whole objects, CRC32 for parts and SHA-256 with KMS;
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
      checksum the size alone. Bodies are sent with a checksum anyway. A pull compares without it, but judges two kinds of objects by
      size, since nothing shows their content. These are objects of KMS that were stored with none of CRC32, SHA-256 and SHA-1, and
      objects in parts whose sizes the server does not report.
    type: bool
    default: false
  concurrency:
    description: Concurrent requests, 1 to 64.
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
    description: Mode of the files that a pull writes, in quotes and with its leading 0 (V('0644')). By default a file keeps its mode, and
      a new one has V(0666) minus the umask. As root, a replaced file keeps its owner and group; a new one belongs to the user who
      runs this.
    type: str
  cache:
    description: Directory of the cache of hashes and headers, or V(none). Without it each run reads every file and requests every
      object. Each run also reads the files on file systems that are not known to keep a change time, which are all but NFS and
      the local ones of Linux.
    type: str
    default: ~/.cache/samefiles/s3_sync
  progress_file:
    description: File that gets a line every three seconds while files are transferred. Ansible shows no output of a module before it
      ends; use C(tail -f) on this file.
    type: path
  report:
    description: V(full) adds RV(files).
    type: str
    choices: [summary, full]
    default: summary
"""

    # annotated, for ansible-test's yamllint takes each plain assignment here for a literal
    SCHEDULES: str = _SCHEDULES + _nested(DOCUMENTATION) + _nested(Connection.DOCUMENTATION)
