"""A lab as tests use it: its servers by SSH, its containers by docker, the playbooks, and what they returned."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time

from tests.support import ROOT

DISK = ("/etc", "/root", "/home", "/opt", "/tmp", "/usr/local", "/var", "/srv", "/run")  # noqa: S108
_ROLE_KEYS = """
import json, urllib.request
base = "http://169.254.169.254/latest/"
def ask(path, method="GET", **headers):
    return urllib.request.urlopen(urllib.request.Request(base + path, method=method, headers=headers), timeout=10).read().decode()
token = ask("api/token", "PUT", **{"X-aws-ec2-metadata-token-ttl-seconds": "60"})
known = {"X-aws-ec2-metadata-token": token}
role = ask("meta-data/iam/security-credentials/", **known)
print(json.dumps({"id": ask("meta-data/instance-id", **known), **json.loads(ask("meta-data/iam/security-credentials/" + role, **known))}))
"""


def sh(argv: list[str], timeout: float = 600, check: bool = True, **keywords) -> subprocess.CompletedProcess:
    """Run a command; with check a failure shows what it printed."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False, **keywords)
    if check and done.returncode:
        raise AssertionError(f"{argv} ended with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done


@dataclasses.dataclass
class Server:
    """One web server."""

    name: str
    address: str
    zone: str
    container: str
    ssh: list[str]

    def run(self, command: str, check: bool = True, timeout: float = 120) -> str:
        """Run a shell command as root and return what it printed."""
        done = sh([*self.ssh, "sudo", "sh", "-c", f"'{command}'"], timeout, check)
        return (done.stdout + ("" if check else done.stderr)).strip()

    def code(self, command: str, timeout: float = 120) -> int:
        """Run a shell command as root and return its exit code."""
        return sh([*self.ssh, "sudo", "sh", "-c", f"'{command}'"], timeout, check=False).returncode

    def unmount(self, path: str = "/srv/files") -> None:
        """Unmount by hand; the site's probe may use the mount for a moment."""
        self.run(f'timeout 20 sh -c "until umount {path}; do sleep 0.2; done"')

    def responds(self, timeout: float = 8) -> bool:
        """Whether a command gets through by SSH."""
        try:
            return sh([*self.ssh, "true"], timeout, check=False).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def wait_for_ssh(self, timeout: float) -> float:
        """Wait until a command gets through; returns the seconds it took."""
        return wait(self.responds, timeout, f"SSH on {self.name}")

    def modules_run(self) -> int:
        """How many Ansible modules ran here since it was booted, as its journal counts them."""
        return int(self.run('journalctl --no-pager -o cat | grep -c "Invoked wit[h]" || true'))

    def moved(self) -> int:
        """Bytes that came and went over its network since it was booted."""
        rows = self.run("cat /proc/net/dev").splitlines()[2:]
        fields = [row.replace(":", " ").split() for row in rows if not row.strip().startswith("lo:")]
        return sum(int(row[1]) + int(row[9]) for row in fields)

    def mount(self, path: str = "/srv/files") -> str:
        """The row of the kernel's mount table for a path, the topmost; "" when nothing is mounted."""
        rows = [row for row in self.run("cat /proc/self/mountinfo").splitlines() if row.split(" ")[4] == path]
        return rows[-1] if rows else ""


def wait(condition, timeout: float, what: str, every: float = 0.5) -> float:
    """Wait until the condition holds; returns the seconds it took."""
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > timeout:
            raise AssertionError(f"{what}: not within {timeout:.0f} s")
        time.sleep(every)
    return time.monotonic() - begin


@dataclasses.dataclass
class Play:
    """What a playbook run returned."""

    code: int
    seconds: float
    out: str
    error: str
    report: dict

    def results(self, task: str) -> dict[str, dict]:
        """The results of the last task with this name, by host."""
        results = {}
        for play in self.report.get("plays", []):
            for item in play["tasks"]:
                if item["task"]["name"].endswith(task):
                    results.update(item["hosts"])
        return results

    def changed(self) -> dict[str, int]:
        """How many tasks changed something, by host."""
        return {host: stats["changed"] for host, stats in self.report["stats"].items()}

    def changes(self) -> list[str]:
        """The tasks that changed something, with their actions."""
        return [
            f"{host}: {item['task']['name']}: {result.get('actions') or [item.get('actions') for item in result.get('results', [])]}"
            for play in self.report.get("plays", [])
            for item in play["tasks"]
            for host, result in item["hosts"].items()
            if result.get("changed")
        ]

    def said(self) -> str:
        """Every message of every failed task."""
        messages = []
        for play in self.report.get("plays", []):
            for item in play["tasks"]:
                for host, result in item["hosts"].items():
                    if result.get("failed") or result.get("unreachable"):
                        messages.append(f"{host}: {result.get('msg')}")
        return "\n".join(messages) or self.out + self.error


class Fleet:
    """A running lab."""

    def __init__(self, name: str):
        self.name = name
        self.status = json.loads(sh([sys.executable, "-m", "lab", "--lab", name, "status"], cwd=ROOT).stdout)
        self.inventory = self.status["inventory"]
        self.file_system = self.status["file_system"]
        keys = ("name", "address", "zone", "container", "ssh")
        self.servers = [Server(**{key: host[key] for key in keys}) for host in self.status["hosts"]]

    @property
    def storage(self) -> str:
        """The container of the main file system."""
        return f"samefiles-{self.name}-efs-files"

    def config(self, name: str) -> dict:
        """What a file system of the lab was made from: id, addresses, access points."""
        path = pathlib.Path.home() / f".local/state/samefiles/{self.name}/efs/{name}/efs.json"
        return json.loads(path.read_text())

    @property
    def second(self) -> str:
        """The id of the second file system, which tests add."""
        return self.config("second")["file_system"]

    def lab(self, *arguments: str) -> str:
        """Run a command of the lab itself."""
        return sh([sys.executable, "-m", "lab", "--lab", self.name, *arguments], cwd=ROOT).stdout

    def play(self, playbook: str, *arguments: str, timeout: float = 900, check: bool = True) -> Play:
        """Run a playbook against this lab."""
        environment = {
            **os.environ,
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
        }
        begin = time.monotonic()
        argv = ["ansible-playbook", "-i", self.inventory, playbook, *arguments]
        done = sh(argv, timeout, check=False, cwd=ROOT, env=environment)
        start = done.stdout.find("{\n")
        report = json.loads(done.stdout[start:]) if start >= 0 else {}
        play = Play(done.returncode, time.monotonic() - begin, done.stdout, done.stderr, report)
        if check and play.code:
            raise AssertionError(f"{playbook} ended with {play.code}:\n{play.said()}")
        return play

    def module(self, host: str, name: str, arguments: dict, check_mode: bool = False) -> dict:
        """Run one module on one server and return its result."""
        environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1"}
        environment["ANSIBLE_STDOUT_CALLBACK"] = "ansible.posix.json"
        argv = ["ansible", "-i", self.inventory, host, "-m", name, "-a", json.dumps(arguments)]
        done = sh([*argv, *(["--check", "--diff"] if check_mode else [])], check=False, cwd=ROOT, env=environment)
        report = json.loads(done.stdout[done.stdout.find("{\n") :])
        return report["plays"][0]["tasks"][0]["hosts"][host]


def memory(server) -> int:
    """MiB that the app's release has used at most since it started, page cache of the mount not counted."""
    unit = server.run("systemctl list-units --plain --no-legend --state=active webapp@*.service").split()[0]
    pid = server.run(f"systemctl show --property MainPID --value {unit}")
    return int(server.run(f"grep VmHWM /proc/{pid}/status").split()[1]) // 1024


def granted(server) -> dict:
    """The role's credentials, as any program on a server gets them."""
    done = subprocess.run([*server.ssh, "python3", "-"], input=_ROLE_KEYS, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)
