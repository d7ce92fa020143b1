"""gallery whose storage hangs, as a frozen mount does, for as long as a file `frozen` lies beside its directory."""

from __future__ import annotations

import contextlib
import os
import time

from gallery.server import serve
from gallery.storage.efs import Efs


class Frozen(Efs):
    """Every call of the storage passes here, those on open files too."""

    @contextlib.contextmanager
    def explained(self, doing):
        """Wait like a hard mount: without an end, and without being interrupted."""
        while os.path.exists(os.path.join(os.path.dirname(os.environ["GALLERY_DIRECTORY"]), "frozen")):
            time.sleep(0.01)
        with super().explained(doing):
            yield


serve(os.environ, lambda settings: Frozen(settings.directory, settings.mount))
