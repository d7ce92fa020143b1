"""For all trees, buckets, options and failures: check mode plans what the run does, and an error deletes nothing."""

from __future__ import annotations

import pathlib
import shutil
import tempfile

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._s3_sync import converge
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.s3_server import Fault, Server
from tests.support.s3_sync_runs import content, files, sync, write, writes

NAMES = st.sampled_from(["a", "b.html", "c.css", "d/e", "d/f.html", "g/h/i.css", ".j", "k l", "d/link"])
SIDE = st.dictionaries(NAMES, st.sampled_from([b"", b"1", b"2", b"long"]), max_size=6)
OPTIONS = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(["push", "pull"]), "delete": st.booleans(), "phase": st.sampled_from(["all", "all", "assets", "rest"]),
        "exclude": st.sampled_from([[], [".*"], ["d"], ["d/**"], ["*.css"]]), "include": st.sampled_from([["*"], ["*.html", "d/*"]]),
        "cache_control": st.sampled_from(["", "no-cache"]), "symlinks": st.sampled_from(["follow", "skip", "error"]),
        "max_delete": st.sampled_from([{"count": 99, "percent": 100.0}, {"count": 2, "percent": 50.0}]),
        "key_prefix": st.sampled_from(["", "web"]), "allow_empty_source": st.booleans(),
    }
)  # fmt: skip
FAULTS = st.sampled_from(
    [
        None, ("403", "PUT"), ("403", "GET"), ("403", "COPY"), ("500", "LIST"), ("cut", "LIST"), ("half", "GET"), ("403", "HEAD"),
        ("drop-after", "PUT"), ("503", "PUT"),
    ]
)  # fmt: skip
WORK = ("uploaded", "downloaded", "deleted", "updated_headers", "actions", "diff")


@pytest.fixture(scope="module")
def double():
    """One double for all examples."""
    with Server() as server:
        yield server


def outcome(server, root, check: bool, options: dict) -> tuple[dict, str]:
    """What a sync did or would do, and why it failed."""
    try:
        result, why = sync(server, root, check, **options), ""
    except converge.Refused as fault:
        result, why = fault.result, str(fault)
    return {name: result.get(name) for name in WORK}, why


def set_up(server, root: pathlib.Path, tree: dict, bucket: dict, prefix: str) -> None:
    """Make both sides, and neighbours of the prefix."""
    server.things.clear()
    server.log.clear()
    for path, data in tree.items():
        if path == "d/link":
            (root / "d").mkdir(exist_ok=True)
            (root / "d/link").symlink_to("../a")
        else:
            write(root / path, data)
    for path, data in bucket.items():
        server.seed(f"{prefix}/{path}".lstrip("/"), data, content_type="text/plain")
    for key in ("web2/x", "we") if prefix else ():
        server.seed(key, b"neighbour")


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=SIDE, bucket=SIDE, options=OPTIONS, fault=FAULTS)
def test_check_mode_is_the_run_and_an_error_deletes_nothing(double, tree, bucket, options, fault):
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory) / "root"
        root.mkdir()
        set_up(double, root, tree, bucket, options["key_prefix"])
        bucket_before, files_before = content(double), files(root)
        # the plan: only reads
        planned, refusal = outcome(double, root, True, options)
        assert (content(double), files(root), writes(double)) == (bucket_before, files_before, [])
        # with a failure: whatever else is done, nothing is missing afterwards
        if fault:
            double.faults.append(Fault(*fault, count=999))
            _done, why = outcome(double, root, False, options)
            double.faults.clear()
            if why:
                assert set(bucket_before) <= set(content(double))
                assert set(files_before) <= set(files(root))
            shutil.rmtree(root)
            root.mkdir()
            set_up(double, root, tree, bucket, options["key_prefix"])
        # the run: what was planned, and the neighbours untouched
        done, why = outcome(double, root, False, options)
        assert (done, why) == (planned, refusal)
        assert all(content(double)[key] == b"neighbour" for key in ("web2/x", "we") if options["key_prefix"])
        # what succeeded leaves nothing to do; what failed may be repaired by what it did
        again, why = outcome(double, root, True, options)
        if not refusal:
            assert not why
            assert not any(again[name] for name in ("uploaded", "downloaded", "deleted", "updated_headers"))
