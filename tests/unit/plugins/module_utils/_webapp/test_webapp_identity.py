"""What makes another release, and what does not."""

from __future__ import annotations

import gzip
import hashlib

from ansible_collections.samefiles.aws.plugins.module_utils._webapp import identity


def test_any_change_makes_another_release():
    same = identity.identity("sum", {"A": "1", "B": "2"}, {"/u": "text"})
    assert same == identity.identity("sum", {"B": "2", "A": "1"}, {"/u": "text"})
    assert identity.RELEASE.fullmatch(same)
    others = {
        identity.identity("SUM", {"A": "1", "B": "2"}, {"/u": "text"}),
        identity.identity("sum", {"A": "1", "B": "3"}, {"/u": "text"}),
        identity.identity("sum", {"A": "1", "B": "2"}, {"/u": "TEXT"}),
    }
    assert len(others | {same}) == 4


def test_an_archive_is_identified_by_its_content_not_by_how_it_was_packed(tmp_path):
    data = b"x" * 100_000
    for level in (1, 9):
        (tmp_path / f"{level}.gz").write_bytes(gzip.compress(data, level, mtime=level))
    (tmp_path / "plain").write_bytes(data)
    checksums = {identity.checksum(str(tmp_path / name), unpacked=True) for name in ("1.gz", "9.gz", "plain")}
    assert checksums == {hashlib.sha256(data).hexdigest()}
    assert identity.checksum(str(tmp_path / "1.gz")) != identity.checksum(str(tmp_path / "9.gz"))
