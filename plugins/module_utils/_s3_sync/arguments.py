# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a sync, as Ansible checks them: of the module s3_sync, and of each schedule of s3_schedule."""

from __future__ import annotations

from typing import Any

from .._s3.arguments import CONNECTION

_HEADERS: dict[str, dict[str, Any]] = {
    "patterns": {"type": "list", "elements": "str", "required": True},
    "content_type": {"type": "str"},
    "content_encoding": {"type": "str"},
    "cache_control": {"type": "str"},
    "content_disposition": {"type": "str"},
    "content_language": {"type": "str"},
    "metadata": {"type": "dict"},
}
_LIMITS: dict[str, dict[str, Any]] = {
    "count": {"type": "int", "default": 100},
    "percent": {"type": "float", "default": 25},
}
_CLASSES = [
    "STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER", "GLACIER_IR", "DEEP_ARCHIVE",
    "OUTPOSTS",
]  # fmt: skip
ARGUMENTS: dict[str, dict[str, Any]] = {
    "bucket": {"type": "str", "required": True},
    "file_root": {"type": "path", "required": True},
    "key_prefix": {"type": "str", "default": "", "no_log": False},
    "mode": {"type": "str", "choices": ["push", "pull"], "default": "push"},
    "include": {"type": "list", "elements": "str", "default": ["*"]},
    "exclude": {"type": "list", "elements": "str", "default": [".*"]},
    "delete": {"type": "bool", "default": False},
    "max_delete": {"type": "dict", "options": _LIMITS},
    "allow_empty_source": {"type": "bool", "default": False},
    "phase": {"type": "str", "choices": ["all", "assets", "rest"], "default": "all"},
    "pages": {"type": "list", "elements": "str"},
    "file_change_strategy": {"type": "str", "choices": ["checksum", "date_size", "force"], "default": "checksum"},
    "headers": {"type": "list", "elements": "dict", "default": [], "options": _HEADERS},
    "mime_map": {"type": "dict"},
    "cache_control": {"type": "str", "default": ""},
    "permission": {"type": "str"},
    "storage_class": {"type": "str", "choices": _CLASSES},
    "encryption": {"type": "str", "choices": ["AES256", "aws:kms"]},
    "kms_key_id": {"type": "str", "no_log": False},
    "checksum": {"type": "str", "choices": ["auto", "md5", "crc32", "sha256", "none"], "default": "auto"},
    "conditional_writes": {"type": "bool", "default": True},
    "verify": {"type": "bool", "default": False},
    "concurrency": {"type": "int", "default": 16},
    "symlinks": {"type": "str", "choices": ["follow", "skip", "error"], "default": "follow"},
    "file_mode": {"type": "str"},
    "cache": {"type": "str", "default": "~/.cache/samefiles/s3_sync"},
    "progress_file": {"type": "path"},
    "report": {"type": "str", "choices": ["summary", "full"], "default": "summary"},
    **CONNECTION,
}
