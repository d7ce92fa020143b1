# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packs gallery and all that it needs into one file: build.py OUT.tar.gz. Prints its SHA-256.

Unpacked into a directory, `python3 DIRECTORY` runs it on any Python from 3.9 on: nothing in it is compiled. The same inputs
give the same bytes, whenever and wherever it is built with the same Python and zlib.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile

_HERE = os.path.dirname(os.path.abspath(__file__))
_KEPT = (".py", ".html", ".css", ".js", ".svg", ".txt", ".md", ".rst")
_LIBRARY = "ansible_collections/samefiles/aws/plugins/module_utils/_s3"
# what differs from machine to machine, or is of no use at run time
_DROPPED = (".pyc", ".pyi", ".c", ".typed")
_DROPPED_NAMES = ("RECORD", "WHEEL", "INSTALLER", "REQUESTED", "direct_url.json", "entry_points.txt")
_DROPPED_DIRECTORIES = ("__pycache__", "bin", "tests")
# markupsafe has no wheel without a binary, but works without it; the others are pure Python
_SPEEDUPS = "markupsafe/_speedups."
# one platform for all controllers: the bytes must not depend on where they are built
_PLATFORM = ("--platform", "manylinux2014_x86_64", "--python-version", "3.9", "--implementation", "cp", "--abi", "cp39")


class CannotBuild(Exception):
    """Why it failed, in one sentence."""


def install(directory: str) -> None:
    """Install the pinned dependencies into a directory, each checked by its hash."""
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode:
        raise CannotBuild(f"{sys.executable} has no pip: install it, or run build.py with a Python that has it.")
    argv = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    argv += ["--only-binary", ":all:", *_PLATFORM, "--no-deps", "--require-hashes", "--target", directory]
    argv += ["--requirement", os.path.join(_HERE, "requirements.txt")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotBuild(f"pip could not install requirements.txt: {' '.join(done.stderr.split())}")


def add_gallery(directory: str) -> None:
    """Put our own package beside its dependencies, and the file that Python runs at the top."""
    source = os.path.join(_HERE, "gallery")
    shutil.copytree(source, os.path.join(directory, "gallery"))
    shutil.copyfile(os.path.join(source, "__main__.py"), os.path.join(directory, "__main__.py"))


def add_library(directory: str) -> None:
    """Put the collection's S3 library, the whole package, where gallery imports it from."""
    source = os.path.join(_HERE, "../../../plugins/module_utils/_s3")
    shutil.copytree(source, os.path.join(directory, _LIBRARY), ignore=shutil.ignore_patterns("__pycache__"))
    place = directory
    for part in _LIBRARY.split("/"):
        place = os.path.join(place, part)
        # a package, not a part of one: the host may have collections of its own
        with open(os.path.join(place, "__init__.py"), "ab"):
            pass


def _is_wanted(name: str) -> bool:
    """Whether a file, named from the top of the tree, belongs into it; an unexpected file stops the build."""
    directories, base = os.path.split(name)
    if set(directories.split(os.sep)) & set(_DROPPED_DIRECTORIES) or base in _DROPPED_NAMES:
        return False
    if name.endswith(_DROPPED) or name.startswith(_SPEEDUPS):
        return False
    if not name.endswith(_KEPT) and ".dist-info" + os.sep not in name:
        raise CannotBuild(f"{name} is no source file: gallery must run on every machine, so find a version without it.")
    return True


def names(directory: str) -> list[str]:
    """The files that belong into the tree, in order."""
    paths = []
    for place, _directories, files in os.walk(directory):
        paths += [os.path.relpath(os.path.join(place, file), directory) for file in files]
    return [name for name in sorted(paths) if _is_wanted(name)]


def pack(directory: str) -> bytes:
    """The files of a directory as a tar.gz that depends on their names and bytes alone."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in names(directory):
            with open(os.path.join(directory, name), "rb") as file:
                data = file.read()
            if b"\0" in data:
                raise CannotBuild(
                    f"{name} holds binary data: gallery must run on every machine, so find a pure version."
                )
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o644
            archive.addfile(member, io.BytesIO(data))
    return gzip.compress(raw.getvalue(), 9, mtime=0)


def main(argv: list[str]) -> int:
    """Build; prints the SHA-256 of the file."""
    if len(argv) != 1 or not argv[0].endswith(".tar.gz"):
        print("usage: build.py OUT.tar.gz", file=sys.stderr)
        return 2
    try:
        with tempfile.TemporaryDirectory() as directory:
            install(directory)
            add_gallery(directory)
            add_library(directory)
            data = pack(directory)
        with open(argv[0], "wb") as out:
            out.write(data)
    except (CannotBuild, OSError) as fault:
        print(f"build.py: {fault}", file=sys.stderr)
        return 1
    print(hashlib.sha256(data).hexdigest())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
