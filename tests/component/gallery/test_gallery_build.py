"""The one file that hosts get: reproducible, without binaries, and whole: it runs with no other package at hand."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pathlib
import subprocess
import sys
import tarfile

import pytest

from tests.support import ROOT
from tests.support.gallery_server import FILES
from tests.support.seaweedfs import Provider

_SPEC = importlib.util.spec_from_file_location("build_gallery", FILES / "build.py")
build = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(build)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The file, and what building it printed."""
    out = tmp_path_factory.mktemp("built") / "gallery.tar.gz"
    done = subprocess.run(
        [sys.executable, str(FILES / "build.py"), str(out)], capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return out, done.stdout.strip()


def test_what_is_in_it(built):
    out, printed = built
    assert hashlib.sha256(out.read_bytes()).hexdigest() == printed
    with tarfile.open(out) as archive:
        members = archive.getmembers()
    names = [member.name for member in members]
    assert names == sorted(names)
    assert {"__main__.py", "gallery/__main__.py", "gallery/static/gallery.css", "gallery/templates/index.html"} < set(
        names
    )
    assert {(member.mtime, member.uid, member.gid, member.uname, member.mode) for member in members} == {
        (0, 0, 0, "", 0o644)
    }
    assert all(member.isreg() for member in members)
    assert not [name for name in names if name.endswith((".so", ".pyc")) or "/tests/" in name or name.startswith("/")]
    licences = {name.split("-")[0] for name in names if "LICENSE" in name}
    assert licences == {name.split("-")[0] for name in names if ".dist-info/" in name}  # each goes with its licence
    assert out.stat().st_size < 1_000_000


def test_it_runs_with_nothing_else_at_hand(built, tmp_path, start):
    with tarfile.open(built[0]) as archive:
        archive.extractall(tmp_path / "app")
    # -S: no site-packages, -I: no environment
    server = start("-I", "-S", "-B", str(tmp_path / "app"))
    assert server.upload("a.txt", b"x").status == 201
    assert b"a.txt" in server.get("/").body


def host_packages(directory: pathlib.Path) -> str:
    """A directory with nothing but botocore and what it needs, as the host's package has it."""
    directory.mkdir()
    for name in ("botocore", "jmespath", "dateutil", "urllib3", "six"):
        spec = importlib.util.find_spec(name)
        place = pathlib.Path(spec.origin)
        place = place.parent if place.name == "__init__.py" else place
        (directory / place.name).symlink_to(place)
    return str(directory)


def test_it_runs_on_s3_with_nothing_but_the_hosts_botocore(built, tmp_path, start, weed):
    app = tmp_path / "app"
    with tarfile.open(built[0]) as archive:
        archive.extractall(app)
    # a collection on the host, which must not come between
    other = tmp_path / "host" / "ansible_collections"
    host = host_packages(tmp_path / "host")
    (other / "samefiles/aws/plugins/module_utils").mkdir(parents=True)
    (other / "__init__.py").write_text("raise ImportError('of the host')")
    program = f"import runpy, sys; sys.path[:0] = [{str(app)!r}]; sys.path += [{host!r}]; runpy.run_path({str(app)!r}, run_name='__main__')"
    provider = Provider(weed, 900)  # keys of the environment would need no botocore
    server = start("-I", "-S", "-B", "-c", program, aws=provider.environment(), **weed.settings())
    entry = server.upload("a.txt", b"x").json[0]
    assert b"a.txt" in server.get("/").body
    assert server.get(entry["url"]).status == 302
    assert server.request("DELETE", entry["url"]).status == 204
    provider.end()


def test_the_library_in_it_is_the_collections_own(built):
    place = "ansible_collections/samefiles/aws/plugins/module_utils/_s3"
    own = {f"{place}/{path.name}": path.read_bytes() for path in (ROOT / "plugins/module_utils/_s3").glob("*.py")}
    with tarfile.open(built[0]) as archive:
        names = [name for name in archive.getnames() if name.startswith("ansible_collections/")]
        texts = {name: archive.extractfile(name).read() for name in names}
    assert {name: text for name, text in texts.items() if not name.endswith("__init__.py")} == own
    assert len(own) >= 9
    assert not any(text for name, text in texts.items() if name.endswith("__init__.py"))
    directories = {os.path.dirname(name) for name in names}
    assert {f"{directory}/__init__.py" for directory in directories} <= set(names)  # packages all of them


def make(directory, files):
    """A tree with these files."""
    for name, data in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return str(directory)


def test_the_same_files_give_the_same_bytes(tmp_path):
    first = make(tmp_path / "one", {"b.py": b"b", "a/c.py": b"c"})
    rubbish = {
        "markupsafe/_speedups.cpython-39-x86_64-linux-gnu.so": b"\x7fELF\0",
        "a/__pycache__/c.pyc": b"\0",
        "bin/x": b"#!",
    }
    second = make(tmp_path / "two", {**rubbish, "a/c.py": b"c", "b.py": b"b"})
    os.utime(os.path.join(second, "b.py"), (1, 1))
    os.chmod(os.path.join(second, "b.py"), 0o700)
    assert build.pack(first) == build.pack(second)


@pytest.mark.parametrize(
    ("name", "data"), [("fast.so", b"\x7fELF"), ("fast.pyd", b"x"), ("code.py", b"\0"), ("tool", b"#!")]
)
def test_a_binary_stops_the_build(tmp_path, name, data):
    with pytest.raises(build.CannotBuild) as caught:
        build.pack(make(tmp_path, {name: data}))
    assert str(caught.value).startswith(name)


@pytest.mark.parametrize(
    ("python", "said"),
    [
        ("/bin/false", "/bin/false has no pip: install it, or run build.py with a Python that has it."),
        ("/bin/true", "nowhere/out.tar.gz"),  # a pip that installs nothing: only the place is wrong
    ],
)
def test_a_build_that_fails_is_one_sentence(tmp_path, monkeypatch, capsys, python, said):
    monkeypatch.setattr(sys, "executable", python)
    assert build.main([str(tmp_path / "nowhere" / "out.tar.gz")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("build.py: ")
    assert said in error
    assert error.count("\n") == 1
