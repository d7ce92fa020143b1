"""What the hosts of a fleet say in a proof: all is well, or one of them hangs."""

from __future__ import annotations

import copy

from tests.support.efs_host import FS

HOSTS = ["web-01", "web-02", "web-03"]
PATH = "/srv/files"


def good(hosts=HOSTS, path=PATH) -> dict:
    """The results of hosts that agree, as judge() takes them."""
    inspections = {host: {"mounts": [{"path": path, "file_system": FS}], "problems": []} for host in hosts}
    writes = {host: {"written": {path: "sum"}, "problems": []} for host in hosts}
    read = {writer: {"same": True, "lag_ms": 2.5} for writer in hosts}
    reads = {host: {"read": {path: copy.deepcopy(read)}, "problems": []} for host in hosts}
    return {"hosts": list(hosts), "inspections": inspections, "writes": writes, "reads": reads}


def hung(results):
    """Let the file system of web-02 hang."""
    results["inspections"]["web-02"]["problems"] = [f"web-02: {FS} at {PATH} does not answer"]
    del results["writes"]["web-02"], results["reads"]["web-02"]
    for host in ("web-01", "web-03"):
        results["reads"][host]["read"][PATH].pop("web-02")
