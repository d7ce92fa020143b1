"""Packing an app's directory: the same bytes for the same files, and it comes out as it was."""

from __future__ import annotations

import os

from ansible_collections.samefiles.aws.plugins.module_utils._webapp import identity, unpack
from ansible_collections.samefiles.aws.plugins.plugin_utils import archive


def make_tree(directory):
    (directory / "sub").mkdir(parents=True)
    (directory / "sub/run").write_text("#!/bin/sh\n")
    (directory / "sub/run").chmod(0o755)
    (directory / "data").write_bytes(b"\0" * 1000)
    (directory / "link").symlink_to("sub/run")
    (directory / "__pycache__").mkdir()
    (directory / "__pycache__/x.pyc").write_bytes(b"x")


def test_an_archive_depends_on_its_files_alone(tmp_path):
    checksums = []
    for number, name in enumerate(("one", "two")):
        directory = tmp_path / name
        directory.mkdir()
        make_tree(directory)
        os.utime(directory / "data", (number, number))
        archive.pack(str(directory), str(tmp_path / f"{name}.tar.gz"))
        checksums.append((identity.checksum(str(tmp_path / f"{name}.tar.gz")), archive.digest(str(directory))))
    assert checksums[0] == checksums[1]
    (tmp_path / "two/data").chmod(0o755)
    assert archive.digest(str(tmp_path / "two")) != checksums[0][1]


def test_a_packed_directory_comes_out_as_it_was(tmp_path):
    (tmp_path / "app").mkdir()
    make_tree(tmp_path / "app")
    archive.pack(str(tmp_path / "app"), str(tmp_path / "app.tar.gz"))
    unpack.unpack(str(tmp_path / "app.tar.gz"), str(tmp_path / "out"))
    out = tmp_path / "out"
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*")) == ["data", "link", "sub", "sub/run"]
    assert (out / "sub/run").stat().st_mode & 0o777 == 0o755
    assert (out / "data").stat().st_mode & 0o777 == 0o644
    assert os.readlink(out / "link") == "sub/run"
