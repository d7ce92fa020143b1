# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where gallery keeps its files: the contract, and the two storages that keep it."""
