# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Browsers and S3 without a server between them: upload tickets, their confirmation, redirects to files."""
