# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The S3 part of gallery: one bucket, uploads that go straight to it, and redirects to it."""
