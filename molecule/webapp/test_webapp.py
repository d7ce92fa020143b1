# Copyright: samefiles.aws contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases, units and responses of the web app, checked from outside with the host's own tools."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time

import pytest

OWN = "samefiles-molecule-webapp-own"
GREETING = 'it costs $5, "she" said'


@pytest.fixture
def gallery(server):
    return server("webapp-gallery")


@pytest.fixture
def own(server):
    return server("webapp-own")


def ask(host, path: str, port: int = 80, *options: str) -> str:
    """A request with the host's own Python; the status and the body."""
    code = (
        "import sys, urllib.request, urllib.error\n"
        "r = urllib.request.Request(sys.argv[1], method=sys.argv[2], data=sys.argv[3].encode() if len(sys.argv) > 3 else None)\n"
        "try:\n    a = urllib.request.urlopen(r, timeout=10)\n"
        "except urllib.error.HTTPError as e:\n    a = e\n"
        "print(a.status, a.headers['X-Served-By'], a.read().decode())"
    )
    method, *body = options or ("GET",)
    return host.check_output(
        "python3 -c %s %s %s %s", code, f"http://127.0.0.1:{port}{path}", method, *(body or [""])
    ).strip()


def until(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.5)


@pytest.mark.parametrize("name", ["webapp-gallery", "webapp-own"])
def test_units_run_and_start_at_boot_and_the_stock_nginx_does_not(server, name):
    host = server(name)
    release = host.check_output("readlink /opt/webapp/current").rpartition("/")[2]
    for unit in ("webapp-front", "webapp-files", "webapp-probe", f"webapp@{release}"):
        assert host.service(unit).is_running, unit
        assert host.service(unit).is_enabled, unit
    assert not host.service("nginx").is_running
    assert not host.service("nginx").is_enabled
    assert host.user("webapp").uid == 5000
    workers = host.check_output("ps -o user= -C nginx")
    assert set(workers.split()) == {"webapp"}


def test_gallery_answers_and_wants_its_password(gallery):
    assert ask(gallery, "/healthz", 8000).startswith("200 samefiles-molecule-webapp-gallery")
    status, name, body = ask(gallery, "/files", 8000).split(" ", 2)
    assert (status, json.loads(body)["files"]) == ("200", [])
    assert ask(gallery, "/files", 8000, "POST", "x").startswith("401 ")
    assert ask(gallery, "/readyz", 8000).startswith("200 ")


def test_the_password_is_in_one_file_that_others_cannot_read(gallery):
    file = gallery.file("/etc/webapp/upload-password")
    assert (file.user, file.group, file.mode) == ("root", "webapp", 0o640)
    search = gallery.run(
        "grep -rl 'open sesame 42' /etc /opt /run /var/log /var/lib 2>/dev/null; journalctl | grep 'open sesame 42'"
    )
    assert search.stdout.split() == ["/etc/webapp/upload-password"]


def test_an_app_of_the_user_s_own_gets_its_environment(own):
    status, name, body = ask(own, "/").split(" ", 2)
    assert (status, name) == ("200", OWN)
    assert json.loads(body)["greeting"] == GREETING


def test_a_client_cannot_say_who_it_is(own):
    code = "import urllib.request as u; print(u.urlopen(u.Request('http://127.0.0.1/', headers={'X-Forwarded-For': '6.6.6.6'})).read().decode())"
    assert json.loads(own.check_output("python3 -c %s", code))["from"] == "127.0.0.1"


def test_an_app_is_not_ready_while_its_file_system_is_not_mounted(own):
    status, name, body = ask(own, "/readyz").split(" ", 2)
    assert (status, name) == ("503", OWN)
    assert "webapp-probe" in json.loads(body)["error"]
    assert "no file system is mounted at /srv/files" in own.check_output("cat /run/webapp-probe/status.json")
    assert ask(own, "/healthz").startswith("200 ")


def test_a_probe_that_hangs_does_not_leave_the_host_ready(gallery):
    ready = "/run/webapp-probe/ready"
    assert gallery.file(ready).exists
    gallery.check_output("systemctl kill --kill-whom=main --signal=STOP webapp-probe")
    until(lambda: not gallery.file(ready).exists)
    until(lambda: gallery.file(ready).exists)


def test_another_release_serves_and_the_last_three_stay(converge, own):
    before = own.check_output("readlink /opt/webapp/current")
    workers = own.check_output("ps -o pid= -C nginx")
    for greeting in ("two", "three", "four"):
        converged = converge("--extra-vars", json.dumps({"webapp_environment": {"GREETING": greeting}}), hosts=OWN)[OWN]
        assert converged.failure == ""
        assert json.loads(ask(own, "/").split(" ", 2)[2])["greeting"] == greeting
    # no nginx was reloaded
    assert own.check_output("ps -o pid= -C nginx") == workers
    releases = own.check_output("ls /opt/webapp/releases").split()
    assert len(releases) == 3
    assert before.rpartition("/")[2] not in releases
    running = own.check_output(
        "systemctl list-units --state=active --plain --no-legend 'webapp@*.service'"
    ).splitlines()
    assert len(running) == 1


def test_a_release_that_does_not_start_leaves_the_old_one_serving(converge, own):
    before = ask(own, "/")
    state = "readlink /opt/webapp/current; ls /opt/webapp/releases; find /etc/systemd/system /etc/webapp | sort"
    files = own.check_output(state)
    broken = {"webapp_environment": {"GREETING": "five", "BROKEN": "1"}, "webapp_start_timeout": 60}
    failed = converge("--extra-vars", json.dumps(broken), hosts=OWN)[OWN]
    assert "does not answer GET /healthz (" in failed.failure
    assert "this release is broken" in failed.failure
    assert ask(own, "/") == before
    assert own.check_output(state) == files


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"webapp_server_names": ["a{b"]}, "webapp-front.service"),
        ({"webapp_media": {"/media/": "relative{"}}, "webapp-files.service"),
        (
            {"webapp_source": "/no/such/app"},
            "source must be a directory or an archive on the controller, got '/no/such/app'",
        ),
        ({"webapp_keep_releases": 1}, "keep_releases must be at least 2"),
        ({"webapp_health_path": "healthz"}, "health_path must be a path that begins with '/'"),
    ],
)
def test_bad_input_changes_nothing(converge, own, settings, said):
    state = "readlink /opt/webapp/current; ls /opt/webapp/releases; find /etc/systemd/system /etc/webapp -printf '%p %s\\n' | sort; cat /etc/webapp/*"
    before, files = ask(own, "/"), own.check_output(state)
    greeting = json.loads(before.split(" ", 2)[2])["greeting"]
    variables = {"webapp_environment": {"GREETING": greeting}, **settings}
    refused = converge("--extra-vars", json.dumps(variables), hosts=OWN)[OWN]
    assert said in refused.failure
    assert ask(own, "/") == before
    assert own.check_output(state) == files


def test_sandboxes(gallery, capsys):
    release = gallery.check_output("readlink /opt/webapp/current").rpartition("/")[2]
    for unit in ("webapp-front", "webapp-files", "webapp-probe", f"webapp@{release}"):
        rating = gallery.check_output(f"systemd-analyze security {unit}.service --no-pager | tail -n 1")
        level = float(re.search(r": ([0-9.]+) ", rating).group(1))
        with capsys.disabled():
            print(f"\nsystemd-analyze security {unit}: {level} (at most 3.0)", end="")
        assert level <= 3.0


def test_a_killed_app_comes_back_and_no_request_is_refused(own):
    code = (
        "import subprocess, urllib.request as u\n"
        "unit = subprocess.check_output(['systemctl', 'list-units', '--plain', '--no-legend', '--state=active', 'webapp@*.service'], text=True).split()[0]\n"
        "subprocess.run(['systemctl', 'kill', '--signal=KILL', unit], check=True)\n"
        "print(u.urlopen('http://127.0.0.1/', timeout=20).status)"
    )
    assert own.check_output("python3 -c %s", code) == "200"


# Requests that do not end hold a few workers of each generation, until there is no room for another one.
MANY_RELOADS = r"""
import json, socket, subprocess, time, urllib.request
connections, reloads = [], 0
for _ in range(70):
    for _ in range(4):
        connections.append(socket.create_connection(("127.0.0.1", 80), 20))
        connections[-1].sendall(b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 6\r\n\r\nabc")
    time.sleep(0.15)
    refused = subprocess.run(["systemctl", "reload", "webapp-front"], capture_output=True).returncode
    if refused:
        break
    reloads += 1
    time.sleep(0.15)
status = urllib.request.urlopen("http://127.0.0.1/", timeout=20).status
statuses = []
for connection in connections:
    connection.sendall(b"def")
    statuses.append(connection.recv(100)[9:12].decode())
print(json.dumps([reloads, refused, status, sorted(set(statuses))]))
"""


def test_many_reloads_under_load_leave_workers_that_serve(own):
    reloads, refused, status, statuses = json.loads(own.check_output("python3 -c %s", MANY_RELOADS))
    assert reloads >= 12  # more where there are fewer than four cores
    assert refused != 0
    assert (status, statuses) == (200, ["200"])
    assert "too many former workers" in own.check_output("journalctl --unit=webapp-front --lines=20 --output=cat")
    # the master and its workers, of both nginx
    workers = min(4, int(own.check_output("nproc")))
    until(lambda: len(own.check_output("ps -o pid= -C nginx").split()) == 2 * (1 + workers))
    own.check_output("systemctl reload webapp-front")


def test_an_app_may_come_as_an_archive(converge, own, tmp_path):
    app = os.path.join(os.environ["MOLECULE_PROJECT_DIRECTORY"], "tests/support/apps/tiny")
    (tmp_path / "from-the-archive").touch()
    archive = str(tmp_path / "shop.tar.gz")
    # as people pack it: every name begins with ./
    subprocess.run(["tar", "-czf", archive, "-C", app, ".", "-C", tmp_path, "./from-the-archive"], check=True)
    given = {"webapp_source": archive, "webapp_environment": {"GREETING": "packed"}}
    first = converge("--extra-vars", json.dumps(given), hosts=OWN)[OWN]
    assert first.failure == ""
    assert json.loads(ask(own, "/").split(" ", 2)[2])["greeting"] == "packed"
    assert own.file("/opt/webapp/current/app/from-the-archive").exists
    again = converge("--extra-vars", json.dumps(given), hosts=OWN)[OWN]
    assert (again.failure, again.changed) == ("", 0)
