# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts gallery: `python3 DIRECTORY` on the unpacked tree, `python3 -m gallery` in a clone."""

from gallery.server import main

if __name__ == "__main__":
    main()
