"""Which changes s3_sync notices: every row of the table in docs/s3_sync.md."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import threading
import time
import zlib

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._s3_sync import cache
from ansible_collections.samefiles.aws.plugins.module_utils._s3_sync import tree as _tree

from tests.support.s3_server import Fault, Refusal
from tests.support.s3_sync_runs import content, files, refused, sync, write, writes

MIB = 1 << 20
NAMES = [
    "with space", "plus+", "percent%20", "ünïcode", "日本", "tab\there", "new\nline", "quote'\"", "back\\slash", "&amp;<xml>", "#hash?",
    "star*", "br[ack]et", "tilde~", "comma,;", "dollar$", "trailing.", "emoji😀", "a=b&c", "very" + "long" * 50,
]  # fmt: skip


@pytest.fixture(params=["cache", "none"])
def how(request, tmp_path):
    """With and without a cache."""
    return {"cache": str(tmp_path / "cache") if request.param == "cache" else "none"}


@pytest.fixture
def sent_file(server, tmp_path, how):
    """A file that was sent, and is known to the cache as well as it can be."""
    path = tmp_path / "site/a.txt"
    write(path, b"before")
    server.skew = -60  # so that what is stored is a minute old
    assert sync(server, path.parent, **how)["uploaded"] == 1
    server.skew = 0
    assert not sync(server, path.parent, **how)["changed"]
    return path


def sent(server, root, how) -> dict[str, int]:
    """What a sync moves, and that the next one moves nothing."""
    server.log.clear()
    result = sync(server, root, **how)
    assert not sync(server, root, **how)["changed"]
    return {name: result[name] for name in ("uploaded", "updated_headers", "deleted") if result[name]}


def test_same_size_new_content_older_time(server, sent_file, how):
    then = os.stat(sent_file).st_mtime
    write(sent_file, b"after!")
    os.utime(sent_file, (then - 9999, then - 9999))
    assert sent(server, sent_file.parent, how) == {"uploaded": 1}
    assert content(server) == {"a.txt": b"after!"}


def test_same_size_new_content_same_time(server, sent_file, how):
    stat = os.stat(sent_file)
    sent_file.write_bytes(b"after!")
    os.utime(sent_file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert sent(server, sent_file.parent, how) == {"uploaded": 1}


def test_changed_within_the_same_second(server, tmp_path, how):
    path = tmp_path / "site/a.txt"
    write(path, b"before", age=0)
    sync(server, path.parent, **how)
    path.write_bytes(b"after!")
    assert sent(server, path.parent, how) == {"uploaded": 1}


def test_touched(server, sent_file, how):
    os.utime(sent_file)
    assert sent(server, sent_file.parent, how) == {}


def test_time_in_the_future(server, sent_file, how):
    os.utime(sent_file, (time.time() + 1e6, time.time() + 1e6))
    assert sent(server, sent_file.parent, how) == {}
    assert sent(server, sent_file.parent, how) == {}


@pytest.mark.parametrize("skew", [3600 * 5, -3600 * 5])
def test_the_server_s_clock_is_wrong(server, sent_file, how, skew):
    server.skew = skew
    assert sent(server, sent_file.parent, how) == {}
    sent_file.write_bytes(b"after!")
    assert sent(server, sent_file.parent, how) == {"uploaded": 1}


def test_an_object_replaced_behind_our_back(server, sent_file, how):
    server.seed("a.txt", b"foreign"[:6])
    assert sent(server, sent_file.parent, how) == {"uploaded": 1}
    assert content(server) == {"a.txt": b"before"}


def test_headers_changed_behind_our_back(server, sent_file, how):
    server.things["a.txt"].headers["content-type"] = "text/html"
    server.things["a.txt"].modified = server.now() - 30
    assert sent(server, sent_file.parent, how) == {"updated_headers": 1}
    assert server.things["a.txt"].headers["content-type"] == "text/plain; charset=utf-8"
    assert "PUT" not in writes(server)


def test_headers_changed_within_the_second_of_the_upload(server, tmp_path, how):
    path = tmp_path / "site/a.txt"
    write(path, b"before")
    sync(server, path.parent, **how)
    server.things["a.txt"].headers["content-type"] = "text/html"  # LastModified, in seconds, is the same
    assert sent(server, path.parent, how) == {"updated_headers": 1}


@pytest.mark.parametrize(
    "word", ["ärger", "\udce4rger", "voilà", "a\u3000"], ids=["utf-8", "latin-1", "ends in a0", "ends in a blank"]
)
def test_a_copy_keeps_what_others_wrote_byte_by_byte(server, sent_file, how, word):
    server.things["a.txt"].headers.update({"x-amz-meta-name": word, "content-type": "text/html"})
    server.things["a.txt"].modified = server.now() - 30
    assert sent(server, sent_file.parent, how) == {"updated_headers": 1}
    assert server.things["a.txt"].headers["x-amz-meta-name"] == word


@pytest.mark.parametrize("size", [0, 1, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 20 * MIB])
def test_sizes_about_the_limit_of_a_part(server, tmp_path, how, size):
    path = tmp_path / "site/a.bin"
    write(path, os.urandom(size))
    assert sync(server, path.parent, **how)["uploaded"] == 1
    assert sent(server, path.parent, how) == {}
    assert content(server)["a.bin"] == path.read_bytes()


def test_parts_of_another_size(server, tmp_path, how):
    from ansible_collections.samefiles.aws.plugins.module_utils._s3 import multipart, objects, session

    data = os.urandom(13 * MIB)
    write(tmp_path / "site/a.bin", data)
    endpoint, keys = session.resolve("bkt", server.options())
    bucket = objects.Bucket(endpoint, keys)
    upload = multipart.Upload.begin(bucket, "a.bin", {"content-type": "application/octet-stream"})
    uploaded = [upload.put(n + 1, data[n * 5 * MIB : (n + 1) * 5 * MIB]) for n in range(3)]
    upload.finish(uploaded, "")
    bucket.close()
    assert sent(server, tmp_path / "site", how) == {}
    write(tmp_path / "site/a.bin", data[:-1] + bytes([data[-1] ^ 1]), age=5)
    assert sent(server, tmp_path / "site", how) == {"uploaded": 1}


UNEQUAL = {
    "as many as equal ones would be": [5 * MIB, 6 * MIB, 100],
    "fewer": [5 * MIB, 20 * MIB],
    "the same sizes at both ends": [5 * MIB, 6 * MIB, 5 * MIB, 5 * MIB - 1],
    "small": [5 * MIB, 2 * MIB],
    "one": [9 * MIB],
    "an empty one": [5 * MIB, 5 * MIB, 0],
}


@pytest.mark.parametrize("sizes", UNEQUAL.values(), ids=UNEQUAL)
def test_parts_of_unequal_sizes(server, tmp_path, how, sizes):
    """Other tools make such objects: s3_sync asks for the size of each part, so that no run moves unchanged content."""
    chunks = [os.urandom(size) for size in sizes]
    server.seed_multipart("a.bin", chunks)
    root = tmp_path / "site"
    assert sync(server, root, mode="pull", **how)["downloaded"] == 1
    assert (root / "a.bin").read_bytes() == b"".join(chunks)
    assert not sync(server, root, mode="pull", **how)["changed"]
    assert not sync(server, root, **how)["changed"]
    write(root / "a.bin", b"".join(chunks[:-1]) + bytes(len(chunks[-1])))
    assert sync(server, root, mode="pull", check=True, **how)["changed"] is bool(chunks[-1])
    assert sent(server, root, how) == ({"uploaded": 1} if chunks[-1] else {})


@pytest.mark.parametrize("mode", ["push", "pull"])
def test_a_change_of_a_file_in_many_equal_parts_costs_few_requests(server, tmp_path, mode):
    chunks = [os.urandom(1000) for _number in range(40)]
    server.seed_multipart("a.bin", chunks)
    write(tmp_path / "site/a.bin", b"".join(chunks[:-1]) + bytes(1000))
    assert sync(server, tmp_path / "site", mode=mode, check=True)["changed"]
    assert server.counts["HEAD"] == 4
    assert sync(server, tmp_path / "site", mode=mode)["changed"]
    assert not sync(server, tmp_path / "site", mode=mode)["changed"]


@pytest.mark.parametrize("name", ["sha256", "crc32"])
def test_hashes_of_unequal_parts_with_kms(server, tmp_path, how, name):
    chunks = [os.urandom(size) for size in (5 * MIB, 6 * MIB, 100)]
    thing = server.seed_multipart("a.bin", chunks, x_amz_server_side_encryption="aws:kms")
    make = {"sha256": lambda raw: hashlib.sha256(raw).digest(), "crc32": lambda raw: zlib.crc32(raw).to_bytes(4, "big")}
    whole = make[name](b"".join(make[name](chunk) for chunk in chunks))
    thing.etag, thing.checksum_type, thing.checksums = (
        "0" * 32 + "-3",
        "COMPOSITE",
        {name: base64.b64encode(whole).decode() + "-3"},
    )
    root = tmp_path / "site"
    assert sync(server, root, mode="pull", **how)["downloaded"] == 1
    assert not sync(server, root, mode="pull", **how)["changed"]


def test_the_hash_of_the_whole_needs_no_sizes_of_parts(server, tmp_path):
    chunks = [os.urandom(size) for size in (5 * MIB, 6 * MIB, 100)]
    server.seed_multipart("a.bin", chunks).checksums = {
        "sha256": base64.b64encode(hashlib.sha256(b"".join(chunks)).digest()).decode()
    }
    write(tmp_path / "site/a.bin", b"".join(chunks))
    assert not sync(server, tmp_path / "site", mode="pull")["changed"]
    assert server.counts["HEAD"] == 1


@pytest.mark.parametrize("response", ["416", "header"])
def test_parts_whose_sizes_are_not_reported(server, tmp_path, response):
    """The content is compared after the download, and the cache remembers it."""
    chunks = [os.urandom(size) for size in (5 * MIB, 20 * MIB)]
    server.seed_multipart("a.bin", chunks)

    head = server._head

    def ask(request):
        if request.query.pop("partNumber", "1") != "1" and response == "416":
            raise Refusal(416, "InvalidPartNumber")
        return head(request)

    server._head = ask
    options = {"cache": str(tmp_path / "cache"), "mode": "pull"}
    assert sync(server, tmp_path / "site", **options)["downloaded"] == 1
    assert (tmp_path / "site/a.bin").read_bytes() == b"".join(chunks)
    assert not sync(server, tmp_path / "site", **options)["changed"]


def test_a_torn_object_of_unequal_parts_is_not_kept(server, tmp_path):
    server.seed_multipart("a.bin", [os.urandom(size) for size in (5 * MIB, 6 * MIB, 100)])
    server.faults.append(Fault("flip", "GET", count=999))
    assert "does not have the checksum" in str(refused(server, tmp_path / "site", mode="pull"))
    assert files(tmp_path / "site") == {}


@pytest.mark.parametrize("size", [6, 17 * MIB])
def test_kms_whose_etag_is_no_hash(secure, tmp_path, how, size):
    path = tmp_path / "site/a.bin"
    write(path, os.urandom(size))
    how = {**how, "encryption": "aws:kms", "kms_key_id": "key-1"}
    assert sync(secure, path.parent, **how)["uploaded"] == 1
    assert sent(secure, path.parent, how) == {}
    write(path, os.urandom(size))
    assert sent(secure, path.parent, how) == {"uploaded": 1}


@pytest.mark.parametrize("checksum", ["crc32", "md5", "sha256"])
@pytest.mark.parametrize("size", [6, 17 * MIB])
@pytest.mark.parametrize("default", [False, True])
def test_kms_with_a_checksum_of_one_s_own(server, tmp_path, how, size, checksum, default):
    """An ETag says nothing there: with every checksum, a hash that can be compared later is stored."""
    path, how = tmp_path / "site/a.bin", {**how, "checksum": checksum}
    server.encryption = "aws:kms" if default else ""
    how["encryption"] = None if default else "aws:kms"
    write(path, os.urandom(size))
    assert sync(server, path.parent, **how)["uploaded"] == 1
    assert sent(server, path.parent, how) == {}
    assert sent(server, path.parent, {**how, "cache_control": "no-cache"}) == {"updated_headers": 1}
    assert sent(server, path.parent, {**how, "cache_control": "no-cache", "cache": "none"}) == {}
    write(path, os.urandom(size))
    assert sent(server, path.parent, {**how, "cache_control": "no-cache"}) == {"uploaded": 1}
    assert server.unfinished() == 0


@pytest.mark.parametrize("conditional", [True, False])
def test_kms_by_the_bucket_s_default_and_a_server_that_knows_no_conditions(server, tmp_path, conditional):
    """An object that the bucket's default encrypts with KMS is stored a second time, with its SHA-256."""
    server.encryption, asked = "aws:kms", []
    carry_out = server._put

    def put(request):
        asked.append({name for name in request.headers if name in ("if-match", "if-none-match")})
        status, headers, body = carry_out(request)
        return status, {**headers, "x-amz-server-side-encryption": "aws:kms"}, body

    server._put = put
    write(tmp_path / "site/a.txt", b"before")
    assert sync(server, tmp_path / "site", conditional_writes=conditional)["uploaded"] == 1
    assert asked == ([{"if-none-match"}, {"if-match"}] if conditional else [set(), set()])


@pytest.mark.parametrize("size", [6, 17 * MIB])
def test_kms_by_the_bucket_s_default(secure, tmp_path, how, size):
    secure.encryption = "aws:kms"
    for number in range(3):
        write(tmp_path / f"site/{number}.bin", os.urandom(size))
    assert sync(secure, tmp_path / "site", **how)["uploaded"] == 3
    assert sent(secure, tmp_path / "site", how) == {}
    assert sent(secure, tmp_path / "site", {**how, "cache_control": "no-cache"}) == {"updated_headers": 3}
    assert sent(secure, tmp_path / "site", {**how, "cache_control": "no-cache"}) == {}
    assert secure.unfinished() == 0


def test_kms_object_of_another_tool_is_sent_once(server, tmp_path, how):
    path = tmp_path / "site/a.txt"
    write(path, b"before")
    thing = server.seed(
        "a.txt", b"before", content_type="text/plain; charset=utf-8", x_amz_server_side_encryption="aws:kms"
    )
    thing.etag = "0" * 32
    result = sync(server, path.parent, **how, encryption="aws:kms")
    assert result["uploaded"] == 1
    assert "no hash of its content" in result["actions"][0]
    assert sent(server, path.parent, {**how, "encryption": "aws:kms"}) == {}


def opaque(server, data: bytes, *checksums: str):
    """An object of KMS, of which S3 reports these hashes."""
    thing = server.seed("a.bin", data, content_type="application/octet-stream", x_amz_server_side_encryption="aws:kms")
    make = {"crc32": lambda: zlib.crc32(data).to_bytes(4, "big"), "sha1": lambda: hashlib.sha1(data).digest()}
    thing.etag, thing.checksums = (
        os.urandom(16).hex(),
        {name: base64.b64encode(make[name]()).decode() for name in checksums},
    )
    return thing


@pytest.mark.parametrize("name", ["crc32", "sha1"])
@pytest.mark.parametrize("size", [6, 9 * MIB])
def test_kms_with_another_hash_than_sha256(server, tmp_path, how, size, name):
    data, root = os.urandom(size), tmp_path / "site"
    opaque(server, data, name)
    assert sync(server, root, mode="pull", **how)["downloaded"] == 1
    assert not sync(server, root, mode="pull", **how)["changed"]
    assert not sync(server, root, **how)["changed"]
    write(root / "a.bin", bytes(size))
    assert sync(server, root, mode="pull", **how)["downloaded"] == 1
    assert (root / "a.bin").read_bytes() == data


@pytest.mark.parametrize("size", [6, 9 * MIB])
def test_kms_without_any_hash_is_known_by_the_cache_alone(server, tmp_path, how, size):
    """The cache remembers the MD5 of what came with an ETag: a file with that MD5 is the same, however new it is."""
    data, root = os.urandom(size), tmp_path / "site"
    opaque(server, data)
    again = int(how["cache"] == "none")
    assert sync(server, root, mode="pull", **how)["downloaded"] == 1
    assert sync(server, root, mode="pull", **how)["downloaded"] == again
    os.utime(root / "a.bin", (1, 1))
    assert sync(server, root, mode="pull", **how)["downloaded"] == again
    stat = os.stat(root / "a.bin")
    (root / "a.bin").write_bytes(bytes(size))
    os.utime(root / "a.bin", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert sync(server, root, mode="pull", **how)["downloaded"] == 1
    opaque(server, bytes(size))
    assert sync(server, root, mode="pull", **how)["downloaded"] == 1
    assert (root / "a.bin").read_bytes() == bytes(size)


def test_what_a_pull_brought_is_trusted_without_reading_it_in_the_end(server, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "RACE", 0.1)
    opaque(server, b"before")
    options = {"mode": "pull", "cache": str(tmp_path / "cache")}
    sync(server, tmp_path / "site", **options)
    time.sleep(0.2)
    assert not sync(server, tmp_path / "site", **options)["changed"]  # reads it: the file was as new as its hash
    monkeypatch.setattr(_tree, "md5_of", lambda *_arguments: pytest.fail("read again"))
    assert not sync(server, tmp_path / "site", **options)["changed"]


def test_hostile_names_arrive_under_their_exact_name(server, tmp_path, how):
    for name in NAMES:
        write(tmp_path / "site" / name, name.encode())
        write(tmp_path / "site/directory of" / name, name.encode())
    assert sync(server, tmp_path / "site", **how)["uploaded"] == 40
    assert content(server) == {
        **{name: name.encode() for name in NAMES},
        **{f"directory of/{name}": name.encode() for name in NAMES},
    }
    assert sent(server, tmp_path / "site", how) == {}
    sync(server, tmp_path / "back", mode="pull", **how)
    assert files(tmp_path / "back") == content(server)
    for name in NAMES:
        (tmp_path / "site" / name).unlink()
    result = sync(server, tmp_path / "site", delete=True, max_delete={"count": 100, "percent": 100}, **how)
    assert result["deleted"] == 20
    assert len(content(server)) == 20


# what cannot be synced is named, the rest is sent, the task fails, and nothing is deleted


def odd(case: str, root) -> str:
    """Put something into a tree that cannot be synced; the words that must name it."""
    if case == "not UTF-8":
        (root / os.fsdecode(b"caf\xe9")).write_bytes(b"x")
        return "caf\\udce9"
    if case == "broken link":
        (root / "broken").symlink_to("nowhere")
        return "'broken' points to nothing"
    if case == "loop":
        (root / "loop").symlink_to(".")
        return "'loop' points to a directory above it"
    if case == "link out":
        (root / "out").symlink_to("/etc/passwd")
        return "'out' points out of the tree"
    if case == "pipe":
        os.mkfifo(root / "pipe")
        return "'pipe' is neither file nor directory nor link"
    if case == "socket":
        with socket.socket(socket.AF_UNIX) as plain:
            plain.bind(str(root / "sock"))
        return "'sock' is neither file nor directory nor link"
    raise AssertionError(case)


@pytest.mark.parametrize("case", ["not UTF-8", "broken link", "loop", "link out", "pipe", "socket"])
def test_what_cannot_be_synced(server, tree, case):
    server.seed("old.txt", b"old")
    word = odd(case, tree)
    fault = refused(server, tree, delete=True, max_delete={"percent": 100})
    assert word in str(fault)
    assert str(fault).endswith("Nothing was deleted")
    assert fault.result["uploaded"] == 5
    assert set(content(server)) == {*files(tree), "old.txt"} - {"broken", "out", os.fsdecode(b"caf\xe9")}


@pytest.mark.parametrize("case", ["broken link", "loop", "link out"])
def test_links_that_are_skipped_are_untouched_on_both_sides(server, tree, case):
    word = odd(case, tree).split("'")[1]
    server.seed(f"{word}/below", b"theirs")
    server.seed("gone.txt", b"goes")
    result = sync(server, tree, symlinks="skip", delete=True, max_delete={"percent": 100})
    assert result["warnings"] == [f"'{word}' is a link"]
    assert result["deleted"] == 1
    assert f"{word}/below" in content(server)


def test_links_inside_the_tree_are_followed(server, tree):
    (tree / "also.css").symlink_to("css/site.css")
    (tree / "pictures").symlink_to("img")
    assert sync(server, tree)["uploaded"] == 8
    assert content(server)["pictures/a.png"] == b"this is img/a.png\n"
    server.seed("pictures/gone.png", b"goes")
    assert sync(server, tree, delete=True)["deleted"] == 1
    assert "also.css' is a link" in str(refused(server, tree, symlinks="error"))


def test_a_file_that_grows_while_it_is_read_is_never_torn(server, tmp_path):
    path = tmp_path / "site/a.log"
    write(path, b"x" * (20 * MIB))

    def grow(request):
        if request.operation == "PART":
            with path.open("ab") as file:
                file.write(b"y")

    server.hook = grow
    fault = refused(server, path.parent)
    assert "'a.log' changed while it was read" in str(fault)
    assert content(server) == {}
    assert server.unfinished() == 0
    server.hook = None
    assert sync(server, path.parent)["uploaded"] == 1
    assert content(server)["a.log"] == path.read_bytes()


@pytest.mark.parametrize("what", ["grows", "goes"])
@pytest.mark.parametrize("when", ["FINISH", "HEAD"])
def test_a_file_that_changes_once_all_of_it_is_sent_was_stored(server, tmp_path, what, when):
    path = tmp_path / "site/a.log"
    write(path, os.urandom(9 * MIB))
    before = path.read_bytes()

    def change(request):
        if request.operation == when and path.exists():
            if what == "goes":
                path.unlink()
            elif path.stat().st_size == len(before):
                path.write_bytes(before + b"y")

    server.hook = change
    assert sync(server, path.parent, verify=True)["uploaded"] == 1
    assert content(server) == {"a.log": before}
    assert (server.counts["BEGIN"], server.counts["ABORT"]) == (1, 0)


def test_a_file_that_vanishes_is_reported(server, tree):
    def vanish(request):
        if request.operation == "LIST":
            (tree / "img/a.png").unlink(missing_ok=True)

    server.hook = vanish
    fault = refused(server, tree)
    assert "'img/a.png' went while it was read" in str(fault)
    # the page may refer to the missing file, so it is not sent
    assert set(content(server)) == {"css/site.css", "img/b.png"}


def test_a_link_to_a_directory_is_judged_by_what_is_below_it(server, tree):
    (tree / "pictures").symlink_to("img")
    (tree / "lost").symlink_to("nowhere")
    for key in ("pictures/theirs.png", "lost/theirs.png"):
        server.seed(key, b"theirs")
    options = {"include": ["*.png"], "delete": True, "max_delete": {"percent": 100}}
    assert sync(server, tree, symlinks="skip", **options)["deleted"] == 0
    result = sync(server, tree, symlinks="follow", **options)
    assert (result["uploaded"], result["deleted"]) == (2, 1)
    assert set(content(server)) == {
        "img/a.png", "img/b.png", "lost/theirs.png", "pictures/a.png", "pictures/b.png",
    }  # fmt: skip


def test_loops_below_the_root_are_not_followed_at_all(server, tmp_path):
    root = tmp_path / "site"
    for path in ("up/deep/f", "one/f", "two/g"):
        write(root / path, b"x")
    (root / "up/deep/loop").symlink_to("..")
    (root / "one/l").symlink_to("../two")
    (root / "two/m").symlink_to("../one")
    fault = refused(server, root)
    for path in ("up/deep/loop", "one/l/m", "two/m/l"):
        assert f"'{path}' points to a directory above it" in str(fault)
    assert set(content(server)) == {"up/deep/f", "one/f", "two/g", "one/l/g", "two/m/f"}


# deletes


def test_neighbours_of_the_prefix_and_directory_markers_are_untouched(server, tree):
    for key in ("web2/x", "website/y", "web", "web/", "web/old/", "other"):
        server.seed(key, b"theirs" if not key.endswith("/") else b"")
    server.seed("web/gone.txt", b"goes")
    result = sync(server, tree, key_prefix="web", delete=True, max_delete={"percent": 100})
    assert (result["uploaded"], result["deleted"]) == (5, 1)
    assert set(content(server)) == {
        "web2/x",
        "website/y",
        "web",
        "web/",
        "web/old/",
        "other",
        *(f"web/{path}" for path in files(tree)),
    }


# downloads


def test_an_object_that_is_a_directory_too(server, tmp_path):
    server.seed("a", b"file")
    server.seed("a/b", b"below")
    server.seed("c", b"other")
    write(tmp_path / "back/extra", b"stays")
    fault = refused(server, tmp_path / "back", mode="pull", delete=True, max_delete={"percent": 100})
    assert "the key 'a' cannot be a file here: it is a directory of other keys too" in str(fault)
    assert files(tmp_path / "back") == {"a/b": b"below", "c": b"other", "extra": b"stays"}


@pytest.mark.parametrize("key", ["../out", "a/../../out", "/abs", "a//b", "./a", "a/./b", "x" * 300])
def test_keys_that_point_out_of_the_directory(server, tmp_path, key):
    server.seed(key, b"evil")
    server.seed("good", b"good")
    fault = refused(server, tmp_path / "back", mode="pull", exclude=["none"])
    assert "cannot be a file here" in str(fault)
    assert files(tmp_path) == {"back/good": b"good"}


def test_a_directory_that_is_a_link_out_of_the_tree(server, tmp_path):
    (tmp_path / "back").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "back/a").symlink_to(tmp_path / "outside")
    server.seed("a/b", b"evil")
    server.seed("good", b"good")
    fault = refused(server, tmp_path / "back", mode="pull")
    assert "'a' is no directory" in str(fault)
    assert files(tmp_path / "outside") == {}
    assert (tmp_path / "back/good").read_bytes() == b"good"


def test_two_at_a_time_never_overwrite_each_other_unseen(server, tree):
    def other(request):
        if request.operation == "PUT" and request.key == "index.html":
            server.hook = None
            server.seed("index.html", b"of the other controller")

    server.hook = other
    fault = refused(server, tree)
    assert "'index.html' was changed in the bucket by somebody else while this ran" in str(fault)
    assert content(server)["index.html"] == b"of the other controller"
    assert sync(server, tree)["uploaded"] == 1


@pytest.mark.parametrize("knows", [True, False])
def test_a_copy_is_conditional_on_what_it_replaces(server, tmp_path, knows):
    """S3 reads the source before it stores: a condition on the source alone leaves a gap between the two."""
    for name in "ab":
        write(tmp_path / "site" / name, b"a")
        server.seed(name, b"a", content_type="text/html")
    asked, copy = [], server._copy

    def conditional(request):
        asked.append((request.headers["x-amz-copy-source-if-match"], request.headers.get("if-match")))
        if not knows and "if-match" in request.headers:
            raise Refusal(501, "NotImplemented")
        return copy(request)

    server._copy = conditional
    assert sync(server, tmp_path / "site", concurrency=1)["updated_headers"] == 2
    etag = f'"{hashlib.md5(b"a").hexdigest()}"'
    assert asked == ([(etag, etag)] * 2 if knows else [(etag, etag), (etag, None), (etag, None)])
    asked.clear()
    more = {"cache_control": "no-cache", "conditional_writes": False}
    assert sync(server, tmp_path / "site", concurrency=1, **more)["updated_headers"] == 2
    assert asked == [(etag, None)] * 2


@pytest.mark.parametrize("media_type", ["text/plain", "text/html; charset=utf-8"])
def test_a_copy_over_what_somebody_wrote_meanwhile(server, tree, media_type):
    """The same holds for another controller of the same configuration, whose object has the expected headers."""
    sync(server, tree)
    server.seed("old.css", b"old")
    server.things["index.html"].headers["content-type"] = "text/html"
    server.things["index.html"].modified -= 30
    copy = server._copy

    def late(request):
        del request.headers["x-amz-copy-source-if-match"]  # the source was read by then
        server.seed("index.html", b"of the other controller", content_type=media_type)
        return copy(request)

    server._copy = late
    fault = refused(server, tree, delete=True, max_delete={"percent": 100})
    assert "'index.html' was changed in the bucket by somebody else while this ran" in str(fault)
    assert content(server)["index.html"] == b"of the other controller"
    assert "old.css" in content(server)


def test_threads_wait_for_a_slow_server(server, tmp_path):
    for number in range(160):
        write(tmp_path / f"site/{number}.txt", b"x")
    active, most, lock = [0], [0], threading.Lock()

    def slow(request):
        if request.operation == "PUT":
            with lock:
                active[0] += 1
                most[0] = max(most[0], active[0])
            time.sleep(0.1)
            with lock:
                active[0] -= 1

    server.hook = slow
    assert sync(server, tmp_path / "site", concurrency=8)["uploaded"] == 160
    assert most[0] == 8


def test_a_root_that_is_a_link_to_a_file(server, tmp_path):
    write(tmp_path / "releases/x.zip", b"zip")
    (tmp_path / "current.zip").symlink_to("releases/x.zip")
    for policy in ("follow", "skip", "error"):
        sync(server, tmp_path / "current.zip", symlinks=policy)
        assert content(server) == {"current.zip": b"zip"}
        server.things.clear()
