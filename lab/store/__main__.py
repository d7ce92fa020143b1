"""Runs the lab's S3 inside its container: python3 -m lab.store. A program that ends is started again."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import threading
import time

from lab.store import front, imds, settings, weed

HAPROXY = ["/usr/sbin/haproxy", "-db", "-f", str(pathlib.Path(__file__).with_name("haproxy.cfg"))]


def main() -> None:
    """Start everything, and keep it up until SIGTERM."""
    running: dict[str, subprocess.Popen[bytes]] = {}

    def leave(*_signal: object) -> None:
        for process in running.values():
            process.kill()  # SeaweedFS keeps what it has confirmed; its own shutdown takes 16 s
        os._exit(0)

    signal.signal(signal.SIGTERM, leave)
    subprocess.run(["ip", "address", "replace", f"{imds.ADDRESS}/32", "dev", "eth0"], check=True)
    for program in (front.serve, imds.serve):
        threading.Thread(target=program, daemon=True).start()
    starts = {"weed": lambda: weed.start(settings.read()), "haproxy": lambda: subprocess.Popen(HAPROXY)}
    while True:
        for name, start in starts.items():
            if name not in running or running[name].poll() is not None:
                if name in running:
                    print(f"{name} ended with code {running[name].returncode}: it is started again", flush=True)
                running[name] = start()
        time.sleep(0.5)


if __name__ == "__main__":
    main()
