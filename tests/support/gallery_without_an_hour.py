"""gallery that removes what uploads left as soon as their time is over, without the hour that a slow one may last."""

from __future__ import annotations

import runpy

from gallery import settings

settings._LATE = 0
runpy.run_module("gallery", run_name="__main__")
