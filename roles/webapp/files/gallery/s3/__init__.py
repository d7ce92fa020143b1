# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One bucket of S3: its objects, the credentials for it, presigned URLs, uploads that are closed."""
