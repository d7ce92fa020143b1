# Copyright: samefiles.aws contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the inventory of a lab that does not run as an empty one, so that the playbook can say so in one sentence."""

from __future__ import annotations

import re
import socket
from typing import Any

from ansible.plugins.inventory import BaseInventoryPlugin

DOCUMENTATION = """
name: no_lab
short_description: The inventory of a lab that does not run
description:
  - Takes files named C(lab.aws_ec2.yml) whose endpoint on this machine refuses connections, and finds no host in them.
  - While the lab runs, it leaves the file to C(amazon.aws.aws_ec2).
"""


class InventoryModule(BaseInventoryPlugin):
    """The plugin; ansible.cfg lets it look at a file before the others do."""

    NAME = "no_lab"

    def verify_file(self, path: str) -> bool:
        """Whether the file is the inventory of a lab that does not run."""
        if not path.endswith("/lab.aws_ec2.yml") or not super().verify_file(path):
            return False
        with open(path, encoding="utf-8") as file:
            port = re.search(r"^endpoint_url: http://127\.0\.0\.1:(\d+)$", file.read(), re.MULTILINE)
        if not port:
            return False
        with socket.socket() as probe:
            probe.settimeout(2)
            return probe.connect_ex(("127.0.0.1", int(port.group(1)))) != 0

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Find no host."""
        super().parse(inventory, loader, path, cache)
