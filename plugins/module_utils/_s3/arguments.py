# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that say where S3 is and with which credentials it is used, as Ansible checks them.

Their documentation is the fragment samefiles.aws.s3.
"""

from __future__ import annotations

from typing import Any

CONNECTION: dict[str, dict[str, Any]] = {
    "region": {"type": "str", "aliases": ["aws_region", "ec2_region"]},
    "endpoint_url": {"type": "str", "aliases": ["aws_endpoint_url", "s3_url"]},
    "addressing_style": {"type": "str", "choices": ["auto", "path", "virtual"]},
    "use_fips_endpoint": {"type": "bool"},
    "use_dualstack_endpoint": {"type": "bool"},
    "access_key": {"type": "str", "aliases": ["aws_access_key_id", "aws_access_key"], "no_log": False},
    "secret_key": {"type": "str", "aliases": ["aws_secret_access_key", "aws_secret_key"], "no_log": True},
    "session_token": {
        "type": "str", "aliases": ["aws_session_token", "security_token", "aws_security_token"], "no_log": True,
    },
    "profile": {"type": "str", "aliases": ["aws_profile"]},
    "aws_ca_bundle": {"type": "path"},
    "validate_certs": {"type": "bool", "default": True},
}  # fmt: skip
