"""What the environment may say, and the one sentence for what it may not."""

from __future__ import annotations

import subprocess
import sys

import pytest
from gallery.settings import BadSetting, from_environment, read_password

from tests.support.gallery_server import FILES

GOOD = {"GALLERY_NAME": "web-01", "GALLERY_DIRECTORY": "/srv/files/gallery", "GALLERY_PUBLIC_UPLOADS": "true"}


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("TITLE", "Our pictures", "title", "Our pictures"),
        ("PORT", "8080", "port", 8080),
        ("MAX_BYTES", "5", "max_bytes", 5),
        ("STORAGE_TIMEOUT", "2.5", "storage_timeout", 2.5),
        ("PUBLIC_UPLOADS", "Yes", "public_uploads", True),
        ("ALLOWED_EXTENSIONS", "PNG, jpg\npng", "allowed_extensions", ("jpg", "png")),
        ("MOUNT", "/srv/files", "mount", "/srv/files"),
        ("MOUNT", "/", "mount", "/"),
        ("STATUS", " /run/status ", "status", "/run/status"),
    ],
)
def test_good_values(variable, text, field, value):
    assert getattr(from_environment({**GOOD, f"GALLERY_{variable}": text, "HOME": "/"}), field) == value


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("NAME", "", "GALLERY_NAME is empty: it is required"),
        ("NAME", "two words", "printable ASCII"),
        ("NAME", "x\ny", "printable ASCII"),
        ("DIRECTORY", "", "GALLERY_DIRECTORY is empty: it is required"),
        ("DIRECTORY", "files", "absolute path"),
        ("MOUNT", "/srv/other", "below GALLERY_MOUNT, which is /srv/other"),
        ("MOUNT", "/srv/files/gallery", "below GALLERY_MOUNT"),
        ("SOCKET", "run/s", "absolute path"),
        ("STORAGE", "floppy", "the storages are efs and s3"),
        ("PORT", "70000", "at most 65535"),
        ("PORT", "-1", "whole number"),
        ("PORT", "http", "whole number"),
        ("MAX_BYTES", "0", "at least 1"),
        ("MAX_BYTES", "2G", "whole number"),
        ("MAX_FILES", "0", "at least 1"),
        ("STORAGE_TIMEOUT", "0", "greater than 0"),
        ("STORAGE_TIMEOUT", "nan", "greater than 0"),
        ("BODY_TIMEOUT", "-1", "greater than 0"),
        ("ALLOWED_EXTENSIONS", "", "extensions"),
        ("ALLOWED_EXTENSIONS", ".png", "extensions"),
        ("ALLOWED_EXTENSIONS", "png ../x", "extensions"),
        ("PUBLIC_UPLOADS", "maybe", "true or false"),
        ("PUBLIC_UPLOADS", "false", "set it, unless"),
        ("FODLER", "/srv", "it is not known; gallery knows GALLERY_ALLOWED"),
    ],
)
def test_bad_values(variable, text, said):
    with pytest.raises(BadSetting) as caught:
        from_environment({**GOOD, f"GALLERY_{variable}": text})
    assert said in str(caught.value)
    assert f"GALLERY_{variable}" in str(caught.value) or variable == "PUBLIC_UPLOADS"
    assert str(caught.value)[-1] == "."


S3 = {
    "GALLERY_NAME": "web-01",
    "GALLERY_STORAGE": "s3",
    "GALLERY_BUCKET": "bkt",
    "GALLERY_REGION": "eu-central-1",
    "GALLERY_PUBLIC_UPLOADS": "true",
}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"KEY_PREFIX": "sites/one/"},
        {"PUBLIC_PREFIX": "public", "PUBLIC_ACCESS": "true"},
        {"PUBLIC_PREFIX": "gallery-public"},
        {"MAX_BYTES": "5368709120", "UPLOAD_URL_TTL": "43200", "DOWNLOAD_URL_TTL": "604800"},
        {"REGION": "", "ENDPOINT_URL": "http://localhost"},
        {"CLEANUP_AFTER": "4500"},
        {"ENDPOINT_URL": "https://s3.example.com:8443", "BROWSER_ENDPOINT_URL": "http://localhost/"},
    ],
)
def test_good_settings_of_s3(more):
    settings = from_environment({**S3, **{f"GALLERY_{name}": text for name, text in more.items()}})
    assert (settings.bucket, settings.directory) == ("bkt", "")


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("BUCKET", "", "GALLERY_BUCKET is empty: storage s3 needs the name of a bucket"),
        ("BUCKET", "No_Bucket", "GALLERY_BUCKET is 'No_Bucket': write the name of a bucket, 3 to 63 of a-z"),
        ("DIRECTORY", "/srv/files", "must be empty with storage s3"),
        ("MOUNT", "/srv", "must be empty with storage s3"),
        ("KEY_PREFIX", "/gallery", "joined by /"),
        ("KEY_PREFIX", "a//b", "joined by /"),
        ("KEY_PREFIX", "../x", "joined by /"),
        ("KEY_PREFIX", "", "joined by /"),
        ("PUBLIC_PREFIX", "a b", "joined by /"),
        ("PUBLIC_PREFIX", "gallery", "GALLERY_KEY_PREFIX is gallery, and neither may lie in the other"),
        ("PUBLIC_PREFIX", "gallery/public", "GALLERY_KEY_PREFIX is gallery, and neither may lie in the other"),
        ("PUBLIC_ACCESS", "true", "GALLERY_PUBLIC_PREFIX is empty"),
        ("ENDPOINT_URL", "s3.example.com", "http:// or https://"),
        ("ENDPOINT_URL", "https://user@s3.example.com", "http:// or https://"),
        ("BROWSER_ENDPOINT_URL", "https://s3.example.com/x", "http:// or https://"),
        ("CA_BUNDLE", "ca.pem", "absolute path"),
        ("MAX_BYTES", "5368709121", "at most 5 GiB"),
        ("UPLOAD_URL_TTL", "43201", "set 1 to 43200 seconds"),
        ("DOWNLOAD_URL_TTL", "604801", "set 2 to 604800 seconds"),
        ("DOWNLOAD_URL_TTL", "1", "2 seconds to 7 days"),
        ("CLEANUP_AFTER", "4499", "within GALLERY_UPLOAD_URL_TTL may last an hour, set at least 4500"),
        ("REGION", "", "name the region of the bucket"),
        ("ENDPOINT_URL", "https://s3.example.com:0", "http:// or https://"),
        ("PROBE_INTERVAL", "0", "greater than 0"),
    ],
)
def test_bad_settings_of_s3(variable, text, said):
    with pytest.raises(BadSetting) as caught:
        from_environment({**S3, f"GALLERY_{variable}": text})
    assert said in str(caught.value)
    assert f"GALLERY_{variable}" in str(caught.value)


@pytest.mark.parametrize(
    ("proxy", "shown"),
    [
        ("https://proxy:3128", "'https://proxy:3128'"),
        ("me:geheim@proxy:x", "'proxy:x'"),
        ("http://me:geh@eim@proxy:99999", "'http://proxy:99999'"),
    ],
)
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
def test_a_proxy_that_cannot_be_used(name, proxy, shown):
    with pytest.raises(BadSetting) as caught:
        from_environment({**S3, name: proxy})
    assert str(caught.value) == f"{name} is {shown}: write http://, a host and a port."
    # files on a mount need no proxy
    assert from_environment({**GOOD, name: proxy}).storage == "efs"


@pytest.mark.parametrize("proxy", ["http://me:word@[2001:db8::1]:3128/", "proxy:3128", ""])
def test_a_proxy_that_can_be_used(proxy):
    assert from_environment({**S3, "HTTPS_PROXY": proxy}).storage == "s3"


def test_a_public_prefix_must_not_hold_the_own_one():
    with pytest.raises(BadSetting, match="GALLERY_KEY_PREFIX is public/gallery, and neither"):
        from_environment({**S3, "GALLERY_KEY_PREFIX": "public/gallery", "GALLERY_PUBLIC_PREFIX": "public"})


@pytest.mark.parametrize(
    ("data", "said"), [(None, "No such file"), (b"", "empty"), (b"\nx", "empty"), (b"\xff", "UTF-8")]
)
def test_bad_password_files(tmp_path, data, said):
    path = tmp_path / "password"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(BadSetting) as caught:
        read_password(str(path))
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_the_password_is_the_first_line(tmp_path):
    (tmp_path / "password").write_text("open sesame\nnot this\n")
    assert read_password(str(tmp_path / "password")) == "open sesame"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"GALLERY_PORT": "x"}, "gallery: GALLERY_PORT is 'x': a whole number is needed."),
        ({}, "gallery: Neither GALLERY_SOCKET nor GALLERY_PORT is set, and systemd passed no socket: set one."),
        ({"GALLERY_SOCKET": "/nowhere/s"}, "gallery: /nowhere/s cannot be listened on: No such file or directory."),
        (
            {"GALLERY_PORT": "1", "GALLERY_SOCKET": "/etc/passwd"},
            "gallery: /etc/passwd cannot be listened on: Address already in use.",
        ),
        (
            {"GALLERY_PUBLIC_UPLOADS": "no", "GALLERY_PASSWORD_FILE": "/x", "GALLERY_SOCKET": "/x/s"},
            "gallery: GALLERY_PASSWORD_FILE is '/x': it cannot be read: No such file or directory.",
        ),
    ],
)
def test_a_start_that_fails_is_one_sentence(changes, said):
    environment = {**GOOD, **changes, "PYTHONPATH": str(FILES), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "gallery"], env=environment, capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (2, said + "\n")
