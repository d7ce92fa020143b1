"""gallery that answers after some seconds that an upload is still being stored: python -m tests.support.gallery_hasty SECONDS."""

from __future__ import annotations

import os
import sys

from gallery.direct import upload_tickets
from gallery.server import serve

upload_tickets.PATIENCE = float(sys.argv[1])
serve(os.environ)
