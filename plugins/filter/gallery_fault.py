# Copyright: samefiles.aws contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible filter gallery_fault: why gallery would not start with an environment, in terms of the role's variables."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

DOCUMENTATION = r"""
name: gallery_fault
short_description: Why the reference app would not start
version_added: 0.1.0
description:
  - Reads an environment as gallery, the reference app of role P(samefiles.aws.webapp#role), does when it starts, and gives
    the first thing that it refuses. So check mode shows it, before anything is changed.
positional: _input, host
options:
  _input:
    description: The environment of the app, with the variables C(GALLERY_*).
    type: dict
    required: true
  host:
    description: The host's name in the inventory, for the sentence.
    type: str
    required: true
  added:
    description: The names that C(webapp_environment) adds to the environment.
    type: list
    elements: str
    default: []
author:
  - samefiles.aws contributors (@samefiles)
"""

EXAMPLES = r"""
- name: Refuse settings with which gallery would not start
  ansible.builtin.assert:
    that: fault == ''
    fail_msg: "{{ fault }}"
  vars:
    fault: "{{ {'GALLERY_NAME': 'web-01'} | samefiles.aws.gallery_fault(inventory_hostname) }}"
"""

RETURN = r"""
_value:
  description: One sentence that names the role's variable, its value and the way out; empty if gallery would start.
  type: str
"""

_SETTINGS = "ansible_collections.samefiles.aws.roles.webapp.files.gallery.settings"
# Where the role's variable is not webapp_ and the rest of gallery's name.
_NAMES = {
    "NAME": "inventory_hostname",
    "MAX_BYTES": "webapp_max_upload_mib",
    "PASSWORD_FILE": "webapp_upload_password",
    "PUBLIC_ACCESS": "webapp_public_access_confirmed",
}
_MIB = 1024**2


def variable(name: str) -> str:
    """The role's variable that a variable of gallery's environment is made from."""
    if not name.startswith("GALLERY_"):
        return f"webapp_environment.{name}"
    rest = name[len("GALLERY_") :]
    return _NAMES.get(rest, f"webapp_{rest.lower()}")


def fault(environment: Mapping[str, Any], host: str, added: Iterable[str] = ()) -> str:
    """Why gallery would not start with this environment, "" if it would."""
    settings = importlib.import_module(_SETTINGS)
    unknown = sorted(set(added) - set(settings.WAYS_TO_S3))
    if unknown:
        known = ", ".join(settings.WAYS_TO_S3)
        return (
            f"webapp_environment of {host} has {', '.join(unknown)}: gallery takes {known} from it, leave the rest out."
        )
    try:
        settings.from_environment({name: str(value) for name, value in environment.items()})
    except settings.BadValue as refused:
        value = refused.value
        if refused.variable == "GALLERY_MAX_BYTES" and value.isdigit():
            value = f"{int(value) / _MIB:g}"
        reason = re.sub("GALLERY_[A-Z_]+", lambda match: variable(match[0]), refused.reason)
        return f"{variable(refused.variable)} of {host} is {value or 'empty'}: {reason}."
    return ""


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """By name."""
        return {"gallery_fault": fault}
