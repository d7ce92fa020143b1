# Copyright: samefiles.aws contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible filter openpgp_fingerprint: the fingerprint of an armoured OpenPGP public key, computed without GnuPG."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator
from typing import Any

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: openpgp_fingerprint
short_description: The fingerprint of an armoured OpenPGP public key
version_added: 0.1.0
description:
  - Computes, on the controller and without GnuPG, the fingerprint of a key whose text is at hand, so that the key can be
    compared with the fingerprint that its owner published before anything trusts it.
  - The text must hold exactly one primary key and nothing else. Package managers trust every key in such a text, so a
    second key behind the expected one, a second block, or words around the block are refused.
  - Version 4 keys only, which is what package repositories sign with.
positional: _input, default
options:
  _input:
    description: The text of the key, from C(-----BEGIN PGP PUBLIC KEY BLOCK-----) to C(-----END PGP PUBLIC KEY BLOCK-----).
    type: str
    required: true
  default:
    description: What to return when the text is no such key. Without it that is an error.
    type: str
author:
  - samefiles.aws contributors (@samefiles)
"""

EXAMPLES = r"""
- name: Stop unless the key is the one that its owner published
  ansible.builtin.assert:
    that: >-
      lookup('ansible.builtin.file', 'repository.asc') | samefiles.aws.openpgp_fingerprint
      == '0123456789ABCDEF0123456789ABCDEF01234567'

- name: Ask a text that may be anything
  ansible.builtin.debug:
    msg: "{{ text | samefiles.aws.openpgp_fingerprint(default='not a key') }}"
"""

RETURN = r"""
_value:
  description: The fingerprint of the primary key, 40 upper-case hexadecimal digits.
  type: str
"""

# blank lines must be empty and only the usual headers may stand above the first one: apt, gpg and rpm each read an
# armoured text in their own way, and all of them read this form alike
ARMOUR = re.compile(
    r"-----BEGIN PGP PUBLIC KEY BLOCK-----\n"
    r"(?:(?:Version|Comment|Hash|Charset): [^\n]*\n)*\n"
    r"(?P<data>(?:[A-Za-z0-9+/=]+\n)+?)"
    r"(?:=(?P<sum>[A-Za-z0-9+/]{4})\n)?"
    r"-----END PGP PUBLIC KEY BLOCK-----"
)
PRIMARY_KEY = 6
# what belongs to one public key: signatures, the key, user names, subkeys, user attributes. Everything else is refused:
# a compressed packet, for one, could hide another key.
PACKET_TYPES = {2, PRIMARY_KEY, 13, 14, 17}


def crc24(data: bytes) -> int:
    """The checksum at the end of an armoured block (RFC 4880, 6.1)."""
    crc = 0xB704CE
    for byte in data:
        crc ^= byte << 16
        for _bit in range(8):
            crc = (crc << 1) ^ (0x1864CFB if crc & 0x800000 else 0)
    return crc


def dearmour(text: str) -> bytes:
    """The binary form of an armoured public key."""
    block = ARMOUR.fullmatch(text.strip())
    if not block:
        raise ValueError("it is not one PGP PUBLIC KEY BLOCK and nothing else")
    data = base64.b64decode(block["data"].replace("\n", ""), validate=True)
    if block["sum"] and crc24(data) != int.from_bytes(base64.b64decode(block["sum"]), "big"):
        raise ValueError("its checksum does not fit its content: it was damaged on its way")
    return data


def body_of(data: bytes, at: int) -> tuple[int, int]:
    """Where the body of the packet at an offset begins and how long it is (RFC 4880, 4.2.1 and 4.2.2)."""
    first = data[at + 1]
    if not data[at] & 0x40:  # the old form: the last two bits say how many bytes the length takes
        width = (1, 2, 4, 0)[data[at] & 3]
        if not width:
            raise ValueError("one of its packets has no length")
        return at + 1 + width, int.from_bytes(data[at + 1 : at + 1 + width], "big")
    if first < 192:
        return at + 2, first
    if first < 224:
        return at + 3, ((first - 192) << 8) + data[at + 2] + 192
    if first < 255:
        raise ValueError("one of its packets comes in parts, as those of a key never do")
    return at + 6, int.from_bytes(data[at + 2 : at + 6], "big")


def packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the type and the body of each packet."""
    at = 0
    while at < len(data):
        if not data[at] & 0x80:
            raise ValueError("it holds something that is not a packet")
        packet_type = data[at] & 0x3F if data[at] & 0x40 else (data[at] & 0x3F) >> 2
        begin, length = body_of(data, at)
        at = begin + length
        if at > len(data):
            raise ValueError("its last packet is cut off")
        yield packet_type, data[begin:at]


def fingerprint(text: str) -> str:
    """The fingerprint of the only key in an armoured text (RFC 4880, 12.2)."""
    pairs = list(packets(dearmour(text)))
    keys = [body for packet_type, body in pairs if packet_type == PRIMARY_KEY]
    if not pairs or pairs[0][0] != PRIMARY_KEY or {packet_type for packet_type, _body in pairs} - PACKET_TYPES:
        raise ValueError("it holds more than, or other things than, a public key")
    if len(keys) > 1:
        raise ValueError(f"it holds {len(keys)} keys, and each of them would be trusted")
    if keys[0][:1] != b"\x04":
        raise ValueError("its key is not of version 4")
    framed = b"\x99" + len(keys[0]).to_bytes(2, "big") + keys[0]
    # version 4 fingerprints are SHA-1 by definition; nothing here could choose another
    return hashlib.sha1(framed, usedforsecurity=False).hexdigest().upper()


def openpgp_fingerprint(text: object, default: Any = None) -> Any:
    """The filter: see DOCUMENTATION."""
    try:
        return fingerprint(text if isinstance(text, str) else "")
    except (ValueError, IndexError) as error:
        if default is not None:
            return default
        raise AnsibleFilterError(f"The text is not an armoured OpenPGP public key: {error}.") from error


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"openpgp_fingerprint": openpgp_fingerprint}
