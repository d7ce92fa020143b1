"""make bench-web: the site's speed as ratios against peers in the same run, on the first server of a lab.

1. A file of 100 KiB through front and files unit, against a bare pair of nginx, and against one nginx.
2. The CPU of the app for the first page of a list of 100,000 files, seeded on the volume of the file system, and for a later one.

Ends with 1 when a bar is missed.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
from lab import engine
from tests.support.fleet import Fleet, sh
from tests.support.visitors import ask, noise, upload

ROUNDS, SECONDS = 5, 4
COUNT = 100_000
BASE = """
daemon off; worker_processes auto; pid /tmp/bench/{name}.pid; error_log /tmp/bench/{name}.err; user webapp;
events {{ worker_connections 4096; }}
http {{ access_log /tmp/bench/{name}.log combined buffer=32k flush=5s; sendfile on; tcp_nopush on;
{http}
}}
"""
FILES = "root /srv/files/gallery; rewrite ^/files/((...)(..).*)$ /$2/$3/$1 break;"
PEERS = {
    "files": f"server {{{{ listen unix:/tmp/bench/files.sock; {FILES} }}}}",
    "front": "upstream files {{ server unix:/tmp/bench/files.sock; }} server {{ listen 8081; location / {{ "
    "proxy_pass http://files; proxy_http_version 1.1; proxy_set_header Connection ''; proxy_max_temp_file_size 0; }} }}",
    "single": f"server {{{{ listen 8082; {FILES} }}}}",
}
# keys of gallery: time and random part in its 32 digits, spread over the directories as a year of uploads would
SEED = """
import os
digits = "0123456789abcdefghjkmnpqrstvwxyz"
def word(number, width):
    out = ""
    for _ in range(width):
        out = digits[number % 32] + out
        number //= 32
    return out
year = 365 * 86400 * 10**6
now = 32**11 - 1 - {now}
for number in range({count}):
    key = word(now + number * year // {count}, 11) + word(number, 16) + "-seed.txt"
    directory = "/export/gallery/%s/%s" % (key[:3], key[3:5])
    os.makedirs(directory, exist_ok=True)
    open(directory + "/" + key, "w").close()
os.system("chown -R 5000:5000 /export/gallery")
"""


def rate(url: str) -> float:
    """Requests per second that wrk reaches."""
    out = sh(["wrk", "-t1", "-c16", f"-d{SECONDS}s", url]).stdout
    assert "Non-2xx" not in out, out
    return float(re.search(r"Requests/sec:\s+([0-9.]+)", out).group(1))


def start_peers(server) -> None:
    """Start the bare pair and the single nginx on a server."""
    server.run("mkdir -p /tmp/bench && chmod 777 /tmp/bench && systemctl stop bench-* 2>/dev/null; true")
    for name, text in PEERS.items():
        conf = BASE.format(name=name, http=text.replace("{{", "{").replace("}}", "}"))
        subprocess.run(
            [*server.ssh, "sudo", "tee", f"/tmp/bench/{name}.conf"],
            input=conf,
            text=True,
            check=True,
            capture_output=True,
        )
        server.run(f"systemd-run --quiet --collect --unit bench-{name} nginx -c /tmp/bench/{name}.conf")


def file_ratios(server, front: str) -> bool:
    """Compare the ways to one file; whether the bar is met."""
    uploaded = upload(front, "bench.txt", noise(1, 100 * 1024), 100 * 1024)
    start_peers(server)
    time.sleep(2)
    ways = {
        "site (front and files unit)": f"{front}/files/{uploaded['key']}",
        "bare pair of nginx": f"http://{server.address}:8081/files/{uploaded['key']}",
        "one nginx": f"http://{server.address}:8082/files/{uploaded['key']}",
    }
    rates: dict[str, list[float]] = {way: [] for way in ways}
    try:
        for _ in range(ROUNDS):
            for way, url in ways.items():
                rates[way].append(rate(url))
    finally:
        server.run("systemctl stop bench-front bench-files bench-single; rm -rf /tmp/bench")
        ask(front, f"/files/{uploaded['key']}", "DELETE")
    site, pair, single = (statistics.median(rates[way]) for way in ways)
    for way, reached in rates.items():
        print(f"100 KiB, {way}: {statistics.median(reached):.0f} requests/s (median of {ROUNDS})")
    print(f"site / bare pair: {site / pair:.2f} (bar: 0.90)")
    print(f"site / one nginx: {site / single:.2f}")
    return site / pair >= 0.9


def cpu(server, pid: str) -> float:
    """CPU seconds that a process has used."""
    fields = server.run(f"cat /proc/{pid}/stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def listing(fleet, server, front: str) -> bool:
    """CPU of the first page and of a later one, with 100,000 files; whether the bar is met."""
    sh(
        ["docker", "exec", "-i", fleet.storage, "python3", "-"],
        input=SEED.format(now=int(time.time() * 1e6), count=COUNT),
    )
    unit = server.run("systemctl list-units --plain --no-legend --state=active webapp@*.service").split()[0]
    pid = server.run(f"systemctl show --property MainPID --value {unit}")
    worst = 0.0
    try:
        later = f"/files?after={json.loads(ask(front, '/files')[1])['next']}"
        for what, path in (("first page", "/files"), ("page in HTML", "/"), ("second page", later)):
            before, runs = cpu(server, pid), 20
            for _ in range(runs):
                status, _, _ = ask(front, path)
                assert status == 200
            spent = (cpu(server, pid) - before) / runs * 1000
            worst = max(worst, spent)
            print(f"{COUNT} files, {what}: {spent:.0f} ms of CPU (bar: 100 ms)")
    finally:
        sh(
            [
                "docker",
                "exec",
                fleet.storage,
                "sh",
                "-c",
                "find /export/gallery -name '*-seed.txt' -delete; find /export/gallery -mindepth 1 -type d -empty -delete",
            ]
        )
    return worst < 100


def main() -> int:
    """Measure on the lab that LAB names; the exit code."""
    engine.install("wrk", "wrk")
    fleet = Fleet(os.environ.get("LAB", "lab"))
    server, front = fleet.servers[0], fleet.status["hosts"][0]["http"]
    on_efs = fleet.status["storage"] == "efs"
    if not on_efs:
        fleet.play("site.yml", "--skip-tags", "proof", "-e", "webapp_storage=efs")
    try:
        met = [file_ratios(server, front), listing(fleet, server, front)]
    finally:
        if not on_efs:
            fleet.play("site.yml", "--skip-tags", "proof")
    return 0 if all(met) else 1


sys.exit(main())
