# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""gallery: pictures and files in a storage that all servers of a fleet use. The reference app of samefiles.aws."""
