"""s3_sync against a real S3 server, SeaweedFS, which judges signatures, conditions and checksums on its own."""

from __future__ import annotations

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._s3_sync import converge

from tests.support.s3_sync_runs import files, write
from tests.support.seaweedfs import BUCKET, KEY, REGION, SECRET, Weed

KEYS = {"access_key": KEY, "secret_key": SECRET}
ALL = {"count": 99, "percent": 100}


@pytest.fixture(scope="module")
def weed():
    """A SeaweedFS with one bucket; its endpoint."""
    store = Weed()
    yield store.url
    store.end()


def sync(weed, root, **options) -> dict:
    settings = {"bucket": BUCKET, "endpoint_url": weed, "region": REGION, "cache": "none", **KEYS, **options}
    return converge.sync({**settings, "file_root": str(root)})


def test_both_ways(weed, tree, tmp_path):
    write(tree / "a b", b"in directory order this comes after a/b")
    write(tree / "a/b", b"below")
    write(tree / 'ü +%&<>"', b"odd")
    write(tree / "empty", b"")
    write(tree / "large.bin", bytes(range(256)) * 80_000)
    options = {"key_prefix": "both", "delete": True, "max_delete": ALL}
    assert sync(weed, tree, **options)["uploaded"] == 10
    assert not sync(weed, tree, **options)["changed"]
    assert sync(weed, tree, cache_control="no-cache", **options)["updated_headers"] == 10
    assert not sync(weed, tree, cache_control="no-cache", **options)["changed"]
    write(tree / "css/site.css", b"new")
    (tree / "img/a.png").unlink()
    result = sync(weed, tree, cache_control="no-cache", **options)
    assert (result["uploaded"], result["deleted"]) == (1, 1)
    sync(weed, tmp_path / "back", mode="pull", key_prefix="both")
    assert files(tmp_path / "back") == files(tree)


def test_more_than_a_page(weed, tmp_path):
    for number in range(1100):
        write(tmp_path / f"many/{number % 10}/{number}", b"%d" % number)
    assert sync(weed, tmp_path / "many", key_prefix="many")["uploaded"] == 1100
    result = sync(weed, tmp_path / "many", key_prefix="many", delete=True, phase="assets")
    assert not result["changed"]
    assert result["requests"] == {"LIST": 2}


def test_a_wrong_key_is_refused(weed, tree):
    with pytest.raises(
        converge.Refused, match="cannot be listed, so nothing was changed: LIST 'bkt/': 403 SignatureDoesNotMatch"
    ):
        sync(weed, tree, secret_key="another")


def test_a_missing_source_deletes_nothing(weed, tree, tmp_path):
    sync(weed, tree, key_prefix="safe")
    with pytest.raises(converge.Refused, match="is not there: nothing was changed"):
        sync(weed, tmp_path / "typo", key_prefix="safe", delete=True, max_delete=ALL)
    assert not sync(weed, tree, key_prefix="safe", delete=True)["changed"]
