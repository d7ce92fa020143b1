"""The role's two nginx in front of a gallery: its own templates, with the paths and the port of a test."""

from __future__ import annotations

import functools
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import jinja2
import yaml

from tests.support import ROOT
from tests.support.gallery_server import FILES, Server, free_port
from tests.support.needs import needs

ROLE = FILES.parent
CACHE = ROOT / ".cache"


@functools.cache
def nginx() -> pathlib.Path | None:
    """The directory over which nginx is installed; on Debian its package is only unpacked, since an installed one would start."""
    if shutil.which("nginx") or pathlib.Path("/usr/sbin/nginx").exists():
        return pathlib.Path("/")
    root = CACHE / "nginx"
    if not (root / "usr/sbin/nginx").exists() and shutil.which("apt-get"):
        root.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root.parent) as directory:
            # a machine whose lists of packages are empty has to read them first
            for command in (["true"], ["apt-get", "-qq", "update"]):
                subprocess.run(command, capture_output=True, timeout=300)
                got = subprocess.run(
                    ["apt-get", "-qq", "download", "nginx", "nginx-common"],
                    cwd=directory,
                    capture_output=True,
                    timeout=300,
                )
                if got.returncode == 0:
                    break
            for package in pathlib.Path(directory).glob("*.deb"):
                subprocess.run(["dpkg", "-x", package, root], check=True)
    return root if (root / "usr/sbin/nginx").exists() else None


needs_nginx = needs(nginx() is not None, "nginx (Debian: it is downloaded and unpacked automatically)")


def render(template: str, **settings) -> str:
    """A template of the role, with its defaults and variables and these settings."""
    values = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    values.update(yaml.safe_load((ROLE / "vars/main.yml").read_text()))
    values.update({"__webapp_gallery": True, "inventory_hostname": "web-01"}, **settings)
    values["__webapp_s3"] = values["__webapp_gallery"] and values["webapp_storage"] == "s3"  # as vars/main.yml has it
    loader = jinja2.FileSystemLoader(ROLE / "templates")
    # as Ansible reads templates
    environment = jinja2.Environment(
        loader=loader, trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template(template).render(values)


class Fronted(Server):
    """A gallery behind webapp-front and webapp-files; `role` are variables of the role."""

    def __init__(self, directory: pathlib.Path, python: tuple[str, ...], role: dict, **settings: str) -> None:
        self.front_port = 0
        super().__init__(directory, python, **settings)
        self._put_nginx_before(directory, role)

    def _put_nginx_before(self, directory: pathlib.Path, role: dict) -> None:
        self._directory, self.nginx = directory, []
        port = free_port()
        role = {"webapp_port": port, "webapp_directory": str(self.files), "webapp_trusted_proxies": [], **role}
        try:
            assert nginx(), "nginx is missing"
            for part in ("files", "front"):
                self.nginx.append(self._start(part, role))
            self._wait_for(port)
        except BaseException:
            self.end()
            raise
        self.front_port = port

    def _start(self, part: str, role: dict) -> subprocess.Popen:
        root = nginx()
        (self._directory / f"webapp-{part}").mkdir()
        text = render(f"{part}.conf.j2", **role)
        for old, new in {
            "/run/webapp-": f"{self._directory}/webapp-",
            "/var/log/webapp/": f"{self._directory}/webapp-{part}/",
            "/opt/webapp/current/app.sock": self.socket,
            "/etc/nginx/mime.types": str(root / "etc/nginx/mime.types"),
        }.items():
            text = text.replace(old, new)
        path = self._directory / f"{part}.conf"
        path.write_text(text)
        # the directory of a test is root's alone
        globals_ = "worker_processes 4;" + (" user root;" if os.geteuid() == 0 else "")
        command = [root / "usr/sbin/nginx", "-e", "stderr", "-c", path, "-g", globals_]
        with open(self._directory / f"{part}.err", "wb") as log:
            return subprocess.Popen(command, stderr=log)

    def _wait_for(self, port: int) -> None:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            for process in self.nginx:
                said = "".join(path.read_text() for path in self._directory.glob("*.err"))
                assert process.poll() is None, said
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError("the front does not listen")

    def _place(self):
        return ("127.0.0.1", self.front_port) if self.front_port else super()._place()

    def end(self) -> None:
        """End all three."""
        for process in self.nginx:
            process.terminate()
            process.wait()
        super().end()

    def workers(self, part: str = "front") -> list[int]:
        """The workers of webapp-front or webapp-files, former ones that still end included."""
        pid = self.nginx[("files", "front").index(part)].pid
        return [int(word) for word in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Own(Fronted):
    """tests/support/apps/tiny as an app of the user's own behind webapp-front; the probe's directory is `probe`."""

    def __init__(self, directory: pathlib.Path, role: dict) -> None:
        self.front_port = self.port = 0
        self.socket, self.files, self.probe = str(directory / "s"), directory / "files", directory / "webapp-probe"
        self.files.mkdir()
        self.probe.mkdir()
        with socket.socket(socket.AF_UNIX) as listener, open(directory / "log", "wb") as log:
            listener.bind(self.socket)
            listener.listen()
            # as file descriptor 3, as from systemd
            command = [
                "sh",
                "-c",
                'exec "$@" 3<&0 </dev/null',
                "sh",
                sys.executable,
                ROOT / "tests/support/apps/tiny",
            ]
            self.process = subprocess.Popen(command, stdin=listener, stderr=log, cwd=directory)
        self._put_nginx_before(directory, {"__webapp_gallery": False, **role})
