# Copyright: samefiles.aws contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter openpgp_fingerprint: against keys and fingerprints that GnuPG made, and texts that it must refuse."""

from __future__ import annotations

import base64

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.samefiles.aws.plugins.filter import openpgp_fingerprint as plugin
from hypothesis import given
from hypothesis import strategies as st

# `gpg --armor --export` of an Ed25519 key, and of an RSA key with a subkey; the fingerprints are those of
# `gpg --with-colons --fingerprint`
ED25519 = """\
-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawY4txYJKwYBBAHaRw8BAQdAAuUlyv8glMm5zu3JKCIfTU7DZn236f2pUv8Q
2EsYNkS0IlRlc3Qga2V5IG9uZSA8b25lQGV4YW1wbGUuaW52YWxpZD6IkAQTFggA
OBYhBDElHb4Zh5NAEnG4ynd2hVmkWveaBQJrBji3AhsDBQsJCAcCBhUKCQgLAgQW
AgMBAh4BAheAAAoJEHd2hVmkWvea1I8A/1oD9CeoeRP6cvw00LW66Txy9QR7TMbm
rgXu4MZuVrF6APkBARwA4Lb+HB0jxoTpuS41vcGuTCtfXI7rkagEw86tCw==
=Gcg4
-----END PGP PUBLIC KEY BLOCK-----
"""
ED25519_FINGERPRINT = "31251DBE198793401271B8CA77768559A45AF79A"
RSA = """\
-----BEGIN PGP PUBLIC KEY BLOCK-----

mQENBGsGONgBCADtzJ6VLF0XXGMu01HT7aUqVdRdz9eFuLyx9hPKQlbtIOSTnVLV
Dbxo/w7/66FzQBp4cuCFFY1FScNy83SL+CZEcvJhB5pGF8Gf2Yc3ifIGMAQwhrV/
975FaN3ZSNmsRVwtWziyv2xpbEiema5lid/4A4yePC48gRlPvo9dTbpkP0ArJGdk
4uwpk5aAUvw6Or+kGe18DZ1Ourw1UwwhUwMFPwuD8HXap4LUurRn2Y1fAIfs3SAv
IFJDRnA72DgOK4IJTET9HbKnQ2SZyH596mZKcIunQDHCwb/SUfoCdf75mVSik8C4
AbDi8IbQas0Gi1RJ1gIdVs4eCKAoVb5WijxdABEBAAG0IlRlc3Qga2V5IHR3byA8
dHdvQGV4YW1wbGUuaW52YWxpZD6JAU4EEwEKADgWIQTfDKRfN3hYQn9FWBqJi+JJ
iN+BmQUCawY42AIbAwULCQgHAgYVCgkICwIEFgIDAQIeAQIXgAAKCRCJi+JJiN+B
maJ6CACOKRc2TqHvhWe2QVhX7NEz15agVe5fQue4Rw6WBI96Urdu1XnpkvJCVykS
6o0z6VUutX4AJQa6eG1m/EEnYuL56ww9pGBf4jRv0hkDoK6Kt9qm4m0/+xf0G5rX
n8sUNLs0ZP6oug3X7DYM6/eRR2rydclOJ9e4pRfXG2gvLYA1M6RTahfJjQ41wgDZ
V1vd9LqR7k61fv9FdcHKmXfCAhzEn74+KcnV4NAn02xbnE2uAwqoexoU7PuA6AAQ
tHq/QvgvnVh38kL6mkUBAov5I/JXz5KH4+GkMIHK1K95vxQhZr2TJMvYDb0JJMU0
Xm2+/+XLt2n6bF8Sm6gbewTEcnm3uDgEawY42BIKKwYBBAGXVQEFAQEHQNitvnIH
ja2rf9OdVi5viYCP6+FuBxYo052rMsyDN1xDAwEIB4kBNgQYAQoAIBYhBN8MpF83
eFhCf0VYGomL4kmI34GZBQJrBjjYAhsMAAoJEImL4kmI34GZUX4IAKRS8j/ensZx
XFlbw5HMKvSKAtVDDKxO3BnegGomNMG8ZH395m/ckAG2mal/0m5URUwfPkcn6kRL
jmdmFP1I8ck57qZ4qyKQL89Kmk7CsSEi4TnjiLDzkT+xE8c6rfX6mBxLjNnXa18W
v4ceMzkFOcbsWAjYg4W647Mhwv7K38/iLm6GQorL+qkOaEayppAjY8O85pmJMwim
mQEbCmC6WQFFfMd+z2PC7uGdzdBfhSFlcETVVBZ5nVV1d06Br6gAN/x5DGSKDMKq
c2/iwnUyYf4tYWTDHs8RVJrNeQqD4asyLveeE3wiFW8RznlQZDCD6u+Gqz8Sjch0
4uUmaQNr634=
=W8Gr
-----END PGP PUBLIC KEY BLOCK-----
"""
RSA_FINGERPRINT = "DF0CA45F377858427F45581A898BE24988DF8199"


def armour(data: bytes, label: str = "PUBLIC KEY BLOCK") -> str:
    lines = base64.encodebytes(data).decode()
    total = base64.b64encode(plugin.crc24(data).to_bytes(3, "big")).decode()
    return f"-----BEGIN PGP {label}-----\n\n{lines}={total}\n-----END PGP {label}-----\n"


def new_form(data: bytes) -> bytes:
    """The same packets with headers of the new form, whose lengths are written in another way."""
    out = b""
    for packet_type, body in plugin.packets(data):
        size = len(body)
        if size < 192:
            length = bytes([size])
        elif size < 8384:
            length = bytes([((size - 192) >> 8) + 192, (size - 192) & 0xFF])
        else:
            length = b"\xff" + size.to_bytes(4, "big")
        out += bytes([0xC0 | packet_type]) + length + body
    return out


ed25519, rsa = plugin.dearmour(ED25519), plugin.dearmour(RSA)
GOOD = {
    "Ed25519": (ED25519, ED25519_FINGERPRINT),
    "RSA with a subkey": (RSA, RSA_FINGERPRINT),
    "headers of the new form, one byte of length": (armour(new_form(ed25519)), ED25519_FINGERPRINT),
    "headers of the new form, two bytes of length": (armour(new_form(rsa)), RSA_FINGERPRINT),
    "a length of five bytes": (
        armour(b"\xc6\xff" + len(ed25519[2:53]).to_bytes(4, "big") + ed25519[2:53]),
        ED25519_FINGERPRINT,
    ),
    "blank lines around it": (f"\n\n{ED25519}\n\n", ED25519_FINGERPRINT),
    "a header": (ED25519.replace("-----\n\n", "-----\nVersion: GnuPG v2\n\n", 1), ED25519_FINGERPRINT),
    "no checksum": (ED25519.replace("=Gcg4\n", ""), ED25519_FINGERPRINT),
}
BAD = {
    "no key at all": ("", "not one PGP PUBLIC KEY BLOCK"),
    "not a text": (None, "not one PGP PUBLIC KEY BLOCK"),
    "words before it": (f"pub 4096R\n{ED25519}", "not one PGP PUBLIC KEY BLOCK"),
    "a second block behind it": (ED25519 + RSA, "not one PGP PUBLIC KEY BLOCK"),
    "a second key in the block": (armour(ed25519 + rsa), "holds 2 keys"),
    "a key behind which another hides, compressed": (armour(ed25519 + b"\xa3\x00" + rsa), "no length"),
    "a compressed packet": (armour(ed25519 + b"\xc8\x02\x00\x00"), "other things than"),
    "a secret key": (armour(bytes([0x94]) + ed25519[1:]), "other things than"),
    "a block of another kind": (armour(ed25519, "MESSAGE"), "not one PGP PUBLIC KEY BLOCK"),
    "a subkey that comes first": (armour(b"\xce" + ed25519[1:]), "other things than"),
    "a damaged letter": (ED25519.replace("mDME", "mDMF"), "checksum"),
    "a cut end": (armour(ed25519[:-5]), "cut off"),
    "a cut header": (armour(ed25519 + b"\xc2"), "index out of range"),
    "a packet in parts": (armour(b"\xc6\xe1" + ed25519[2:]), "in parts"),
    "not a packet": (armour(ed25519 + b"hello"), "not a packet"),
    "a key of version 3": (armour(ed25519[:2] + b"\x03" + ed25519[3:]), "version 4"),
    "an empty key": (armour(b"\xc6\x00"), "version 4"),
    "an empty block": (armour(b""), "not an armoured"),
    "Windows line ends": (ED25519.replace("\n", "\r\n"), "not one PGP PUBLIC KEY BLOCK"),
    "padding amid the data": (ED25519.replace("mDME", "mD=="), "not an armoured"),
}


@pytest.mark.parametrize(("text", "expected"), GOOD.values(), ids=GOOD)
def test_fingerprint(text, expected):
    assert plugin.openpgp_fingerprint(text) == expected


@pytest.mark.parametrize(("text", "reason"), BAD.values(), ids=BAD)
def test_refuses(text, reason):
    with pytest.raises(AnsibleFilterError, match=reason):
        plugin.openpgp_fingerprint(text)
    assert plugin.openpgp_fingerprint(text, default="") == ""


# from byte 2 on: the two before it are the packet's header, which can be written in two ways
@given(st.integers(2, 52), st.integers(1, 255))
def test_no_other_key_has_the_fingerprint(at, flip):
    """Whatever byte of the key's own packet body is changed: the text is refused, or has another fingerprint."""
    changed = bytearray(ed25519)
    changed[at] ^= flip
    assert plugin.openpgp_fingerprint(armour(bytes(changed)), default="") != ED25519_FINGERPRINT


@given(st.text())
def test_any_text_ends_in_words(text):
    assert plugin.openpgp_fingerprint(text, default="no") == "no"


@given(st.binary())
def test_any_packets_end_in_words(data):
    fingerprint = plugin.openpgp_fingerprint(armour(data), default="no")
    assert fingerprint == "no" or len(fingerprint) == 40


def test_the_filter_has_its_name():
    assert plugin.FilterModule().filters() == {"openpgp_fingerprint": plugin.openpgp_fingerprint}
