# Copyright: samefiles.aws contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible filter mount_unit: the name of the systemd unit of a mount."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.samefiles.aws.plugins.module_utils._host import systemd

DOCUMENTATION = r"""
name: mount_unit
short_description: The systemd unit of the mount at a path
version_added: 0.1.0
description:
  - Gives the name that systemd has for the mount at a path, as C(systemd-escape --path --suffix=mount) prints it.
positional: _input
options:
  _input:
    description: An absolute path.
    type: str
    required: true
author:
  - samefiles.aws contributors (@samefiles)
"""

EXAMPLES = r"""
- name: Show the unit
  ansible.builtin.debug:
    msg: "{{ '/srv/my-files' | samefiles.aws.mount_unit }}" # srv-my\x2dfiles.mount
"""

RETURN = r"""
_value:
  description: The unit's name.
  type: str
"""


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[[str], str]]:
        """By name."""
        return {"mount_unit": lambda path: f"{systemd.escape_path(path)}.mount"}
