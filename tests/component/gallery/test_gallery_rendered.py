"""What the role writes for its two nginx: room for their workers, and which setting reloads the front."""

from __future__ import annotations

import os
import re
import subprocess

import pytest
import yaml

from tests.support.gallery_nginx import ROLE, render


def number(pattern: str, text: str) -> int:
    return int(re.search(pattern, text, re.MULTILINE).group(1))


@pytest.mark.parametrize("part", ["front", "files"])
def test_former_workers_leave_room_for_new_ones(part):
    unit = render("webapp-nginx.service.j2", part=part)
    workers = number(r"n < (\d+) \? n : \1\)", unit)
    most, busy = number(r"^TasksMax=(\d+)", unit), number(r"-ge (\d+) \]", unit)
    # when the guard lets a reload pass, there are at most so many processes, its own included
    assert busy - 1 + workers <= most
    # the master, the guard's shell, its subshell and systemctl, and several generations
    assert 1 + 3 + 8 * workers < busy
    # the guard runs first: a reload that it refuses never reaches nginx
    reloads = re.findall("^ExecReload=(.*)", unit, re.MULTILINE)
    assert ["-ge" in reloads[0], "nginx -t" in reloads[1], "-HUP" in reloads[2]] == [True] * 3
    assert number(r"^worker_shutdown_timeout (\d+)s;", render(f"{part}.conf.j2")) == 900


@pytest.mark.parametrize(("tasks", "code"), [("5", 0), ("55", 0), ("56", 1), ("64", 1), ("[not set]", 0), ("", 0)])
def test_a_reload_without_room_is_refused_in_one_sentence(tasks, code, tmp_path):
    unit = render("webapp-nginx.service.j2", part="front")
    line = re.search(r"^ExecReload=\+/bin/sh -c '([^']*)'$", unit, re.MULTILINE).group(1)
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(f'#!/bin/sh\n[ "$4" = webapp-front.service ] && echo "{tasks}"\n')
    systemctl.chmod(0o755)
    # as systemd reads the line
    script = line.replace("$$", "$").replace("%n", "webapp-front.service")
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(["sh", "-c", script], env={"PATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == code
    if code:
        assert done.stderr == "too many former workers still end their requests: reload again in a while\n"


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (3, 3), (4, 4), (96, 4)])
def test_there_are_no_more_workers_than_cores(tmp_path, cores, workers):
    unit = render("webapp-nginx.service.j2", part="files")
    line = re.search(r"^ExecStart=/bin/sh -c '([^']*)'$", unit, re.MULTILINE).group(1)
    for name, says in (("nproc", f"echo {cores}"), ("nginx", 'shift 4; echo "$@"')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{says}\n")
        (tmp_path / name).chmod(0o755)
    script = line.replace("$$", "$").replace("/usr/sbin/nginx", str(tmp_path / "nginx"))
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(["sh", "-c", script], env={"PATH": path}, capture_output=True, text=True, check=True)
    assert done.stdout == f"-g worker_processes {workers};\n"


# reloads

GIVEN = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
BASE = {"webapp_server_names": ["files.example.com"], "webapp_directory": "/srv/files/gallery"}
OTHER = {
    "webapp_storage": "s3",
    "webapp_mount": "",
    "webapp_media": {"/more/": "/srv/files/more"},
    "webapp_trusted_proxies": ["10.0.0.0/8"],
}


def other(name: str):
    """Another value of a variable."""
    value = BASE.get(name, GIVEN[name])
    if name in OTHER:
        return OTHER[name]
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, str)):
        return value + (1 if isinstance(value, int) else "x")
    return {"x": "y"} if isinstance(value, dict) else [*value, "x"]


def changes(template: str, **always) -> set[str]:
    """The variables of which a file of the role depends."""
    before = render(template, **BASE, **always)
    return {name for name in GIVEN if render(template, **{**BASE, **always, name: other(name)}) != before}


def test_the_readme_names_every_setting_that_reloads_the_front_and_no_other():
    depends = changes("front.conf.j2") | changes("front.conf.j2", __webapp_gallery=False)
    readme = " ".join((ROLE / "README.md").read_text().split())
    said = re.search(r"configuration of `webapp-front` is made of (.*?)[.]\s", readme).group(1)
    assert set(re.findall("`(webapp_[a-z_]+)`", said)) == depends


def test_a_changed_setting_of_the_app_reloads_no_nginx():
    settings = {
        "webapp_title", "webapp_allowed_extensions", "webapp_public_uploads", "webapp_upload_password", "webapp_environment",
        "webapp_command", "webapp_memory_max", "webapp_storage_timeout", "webapp_cleanup_after", "webapp_start_timeout",
        "webapp_keep_releases", "webapp_probe_interval", "webapp_probe_timeout", "webapp_metrics_file", "webapp_packages",
    }  # fmt: skip
    for gallery in (True, False):
        for template in ("front.conf.j2", "files.conf.j2"):
            assert not changes(template, __webapp_gallery=gallery) & settings
        # their units do not change either
        for part in ("front", "files"):
            assert changes("webapp-nginx.service.j2", __webapp_gallery=gallery, part=part) == set()
