# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the options of a sync mean, and what is wrong with them. Pure, but for the user's own directory in a path."""

from __future__ import annotations

import os
import re

from . import headers, rules
from .rules import HeaderRule, Rules

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, 5.6.2


class Refused(Exception):
    """Why a sync was not made, or not wholly, as one sentence; result is what was done nevertheless."""

    def __init__(self, text: str, result: dict | None = None):
        super().__init__(text)
        self.result = result or {}


def _patterns(options: dict, name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    given = options.get(name)
    if given is None:
        return default
    words = given if isinstance(given, list) else given.split(",")
    patterns = tuple(word.strip() for word in words if word.strip())
    for word in patterns:
        try:
            rules.fits(word, "x")
        except re.error:
            raise Refused(f"{name} must be a list of globs such as '*.css' or 'img/**', got {word!r}") from None
    return patterns


def _header(name: str, value: str | None) -> None:
    """Refuse what no header can hold, or what S3 would answer otherwise than it was sent."""
    if value and not (value.isascii() and value.isprintable() and value == value.strip()):
        raise Refused(f"{name} must be printable ASCII without blanks at its ends, as a header is, got {value!r}")


def _header_rules(options: dict) -> tuple[HeaderRule, ...]:
    made = []
    for number, item in enumerate(options.get("headers") or []):
        patterns = _patterns(item, "patterns", ())
        if not patterns:
            raise Refused(f"headers[{number}].patterns must name at least one glob, got {item.get('patterns')!r}")
        values = {name: item.get(name) for name in headers.FIELDS}
        if values["content_encoding"]:
            values["content_encoding"] = values["content_encoding"].replace(" ", "")  # as S3 reports it
        metadata = tuple(sorted((str(k), str(v)) for k, v in (item.get("metadata") or {}).items()))
        for name, value in values.items():
            _header(f"headers[{number}].{name}", value)
        if values["content_type"] == "":
            raise Refused(
                f"headers[{number}].content_type is empty, but S3 gives each object a type: name one such as text/plain, or leave it out"
            )
        for name, value in metadata:
            if not _TOKEN.fullmatch(name):
                raise Refused(
                    f"headers[{number}].metadata must have names of letters, digits and -_.!#$%&'*+^`|~, as headers have, got {name!r}"
                )
            _header(f"headers[{number}].metadata.{name}", value)
        made.append(HeaderRule(patterns, **values, metadata=metadata))
    return tuple(made)


def rules_of(options: dict) -> Rules:
    """The rules that options make. Raises Refused."""
    if options.get("permission"):
        raise Refused(
            f"permission is {options['permission']!r}, but no ACL is ever sent: leave it out, and open a key prefix to the public "
            "by the bucket's policy if it must be"
        )
    limit = options.get("max_delete") or {}
    count, percent = limit.get("count"), limit.get("percent")
    count, percent = 100 if count is None else count, 25.0 if percent is None else percent
    if count < 0 or not 0 <= percent <= 100:
        raise Refused(
            f"max_delete must have a count of 0 or more and a percent from 0 to 100, got {count} and {percent:g}"
        )
    encryption, mime_map = options.get("encryption"), options.get("mime_map") or {}
    for name in ("cache_control", "kms_key_id"):
        _header(name, options.get(name))
    for extension, media_type in mime_map.items():
        if not media_type:
            raise Refused(f"mime_map[{str(extension)!r}] must be a type such as text/plain, got {media_type!r}")
        _header(f"mime_map[{str(extension)!r}]", str(media_type))
    if options.get("kms_key_id") and encryption != "aws:kms":
        raise Refused(f"kms_key_id needs encryption: aws:kms, got {encryption!r}")
    if re.match(r"(arn:.*:)?alias/", options.get("kms_key_id") or ""):
        raise Refused(
            f"kms_key_id is the alias {options['kms_key_id']!r}, by which S3 names the key of no object: give the key's "
            "id or ARN"
        )
    try:
        prefix = rules.prefix(options.get("key_prefix") or "")
    except ValueError as fault:
        raise Refused(str(fault)) from fault
    conditional = options.get("conditional_writes")
    return Rules(
        prefix=prefix, include=_patterns(options, "include", ("*",)), exclude=_patterns(options, "exclude", (".*",)),
        pages=_patterns(options, "pages", rules.PAGES), phase=options.get("phase") or "all",
        delete=bool(options.get("delete")), most_deletes=count, most_percent=percent,
        force=options.get("file_change_strategy") == "force",
        mime_map=tuple(sorted((str(k), str(v)) for k, v in mime_map.items())),
        cache_control=options.get("cache_control") or None, headers=_header_rules(options),
        storage_class=options.get("storage_class"), encryption=encryption, kms_key=options.get("kms_key_id"),
        conditional=conditional is None or bool(conditional), verify=bool(options.get("verify")),
    )  # fmt: skip


def mode_of(options: dict) -> int | None:
    """The mode of new files, None for what umask says. Raises Refused."""
    given = options.get("file_mode")
    if given is None:
        return None
    # 0644 without quotes arrives as 420, which is octal as well
    if not re.fullmatch(r"0[0-7]{3}", str(given)):
        raise Refused(
            f"file_mode must be an octal number in quotes such as '0644', got {given!r}: without quotes YAML makes 0644 the "
            "number 420, so quote it, with its leading 0"
        )
    return int(str(given), 8)


def root_of(options: dict) -> str:
    """The tree, as an absolute path. Raises Refused."""
    given = options["file_root"]
    # of a variable that is not set; to the system it would be the directory that this happens to run in
    if not given.strip():
        raise Refused(f"file_root must be the path of a tree, got {given!r}: give a path")
    if "\0" in given:
        raise Refused(f"file_root must be a path, which holds no NUL byte, got {given!r}")
    return os.path.abspath(os.path.expanduser(given))
