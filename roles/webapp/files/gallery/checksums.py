# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checksum of an upload, a SHA-256: hexadecimal for clients, base64 for S3.

It is computed by the storage's Writer as the blocks of a form are written, by the browser (static/tickets.js) for an upload
that goes straight to S3, and by S3 itself for what is stored there.
"""

from __future__ import annotations

import base64
import re


def is_sha256(text: str) -> bool:
    """Whether a text is a SHA-256 in hexadecimal."""
    return re.fullmatch("[0-9a-fA-F]{64}", text) is not None


def for_s3(sha256: str) -> dict[str, str]:
    """The header by which S3 refuses other bytes; none where no checksum is known."""
    return {"x-amz-checksum-sha256": base64.b64encode(bytes.fromhex(sha256)).decode()} if sha256 else {}


def from_s3(checksums: dict[str, str]) -> str:
    """The SHA-256 of a whole object in hexadecimal; "" when S3 knows none. That of one in parts is none of its bytes."""
    checksum = checksums.get("sha256", "")
    return base64.b64decode(checksum).hex() if checksum and "-" not in checksum else ""
