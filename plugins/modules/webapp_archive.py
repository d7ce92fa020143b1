#!/usr/bin/python
# Copyright: samefiles.aws contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action webapp_archive, which plugins/action carries out on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: webapp_archive
short_description: Make one archive of a web app, on the controller
version_added: 0.1.0
description:
  - Makes a directory, or what a program builds from it, into one archive for M(samefiles.aws.webapp). The same files give the
    same bytes, whoever packs them and when, so the release has the same id everywhere.
  - Runs on the controller; no host is reached. An archive that was made before from the same files is used again.
options:
  source:
    description: A directory on the controller, or a tar archive, which is taken as it is.
    type: path
    required: true
  builder:
    description:
      - A Python program that makes the archive from O(source), and is called with the path where it has to lie. Without it
        the directory O(source) itself is packed.
    type: path
  builder_reads:
    description:
      - Files and directories that O(builder) reads beside those in O(source). A change in one makes another archive.
    type: list
    elements: path
    default: []
  cache:
    description: The directory on the controller that keeps finished archives.
    type: path
    default: ~/.cache/samefiles/webapp
attributes:
  check_mode:
    support: full
    description: Makes the archive in check mode too, because the id of the release follows from it.
  diff_mode:
    support: none
    description: Nothing changes on a host.
  platform:
    support: full
    platforms: posix
    description: The controller's.
author:
  - samefiles.aws contributors (@samefiles)
seealso:
  - module: samefiles.aws.webapp
"""

EXAMPLES = r"""
- name: Pack the app
  samefiles.aws.webapp_archive:
    source: files/shop
  register: packed
"""

RETURN = r"""
archive:
  description: The archive's path on the controller.
  returned: success
  type: str
checksum:
  description: Its SHA-256.
  returned: success
  type: str
"""
