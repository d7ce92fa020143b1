"""Keys and names: what the server makes of a stranger's text, for all texts."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from gallery import keys, media_types
from gallery.errors import Problem
from hypothesis import given
from hypothesis import strategies as st

TYPES = ("jpg", "pdf", "png", "txt")
MOMENTS = st.floats(0, 30_000_000_000)  # seconds: until the year 2920


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("photo.jpg", "photo.jpg"),
        ("IMG_2041.JPG", "IMG_2041.jpg"),
        ("../../etc/cron.d/evil.txt", "evil.txt"),
        ("C:\\Users\\me\\evil.txt", "evil.txt"),
        ("/etc/passwd.txt", "passwd.txt"),
        ("shell.php.png", "shell-php.png"),
        (".htaccess.txt", "htaccess.txt"),
        (".png", "file.png"),
        ("....png", "file.png"),
        ("--help.txt", "help.txt"),
        ("a  b\u00a0c.pdf", "a-b-c.pdf"),
        ("Zürich.png", "Zurich.png"),
        ("写真.png", "file.png"),
        ("\u202egnp.txt", "gnp.txt"),
        ("%2e%2e%2fx.txt", "2e-2e-2fx.txt"),
        ("x" * 300 + ".png", "x" * 64 + ".png"),
        (" padded.png ", "padded.png"),
        ("<script>alert(1)</script>.png", "script.png"),
    ],
)
def test_safe_names(filename, name):
    assert keys.safe_name(filename, TYPES) == name


@pytest.mark.parametrize(
    ("filename", "status", "said"),
    [
        ("", 400, "is empty"),
        ("../", 400, "is empty"),
        ("   ", 400, "is empty"),
        ("..", 415, "are not accepted"),
        ("noextension", 415, "are not accepted"),
        ("x.png.php", 415, "are not accepted"),
        ("x.svg", 415, "are not accepted"),
        ("x.png.", 415, "are not accepted"),
        ("x.png\0.txt", 400, "control character"),
        ("x\n.png", 400, "control character"),
        ("x\x85.png", 400, "control character"),
    ],
)
def test_refused_names(filename, status, said):
    with pytest.raises(Problem) as caught:
        keys.safe_name(filename, TYPES)
    assert caught.value.status == status
    assert said in caught.value.sentence
    assert caught.value.sentence.isprintable()


@given(st.text(max_size=400), st.sampled_from(TYPES), MOMENTS)
def test_every_text_gives_a_key_that_is_one_plain_word_or_a_refusal(text, extension, at):
    try:
        name = keys.safe_name(f"{text}.{extension}", TYPES)
    except Problem as refused:
        assert refused.status in (400, 415)
        return
    key = keys.new_key(name, at)
    assert keys.is_key(key)
    assert re.fullmatch("[A-Za-z0-9_.-]{30,255}", key)
    assert key.count(".") == 1
    assert key[0] not in ".-"
    assert keys.name_of(key) == name
    assert keys.extension_of(key) == extension


@given(MOMENTS, MOMENTS)
def test_byte_order_is_newest_first(first, second):
    newer, older = max(first, second), min(first, second)
    if newer - older > 0.000_01:
        assert keys.new_key("a.txt", newer) < keys.new_key("a.txt", older)


@given(MOMENTS)
def test_a_key_says_when_it_was_made(at):
    assert abs(keys.made_at(keys.new_key("a.txt", at)) - at) < 0.000_01


def test_directories_span_days_and_minutes():
    at = 1_800_000_000.0
    outer, inner = keys.directories(keys.new_key("a.txt", at))
    assert keys.OUTER.fullmatch(outer)
    assert keys.INNER.fullmatch(inner)
    hours = [keys.directories(keys.new_key("a.txt", at + 3600 * hour)) for hour in range(24 * 365)]
    assert 28 <= len({outer for outer, _inner in hours}) <= 30
    assert len(set(hours)) == len(hours)


def test_nobody_can_guess_a_key():
    made = {keys.new_key("a.txt", 1_800_000_000.0) for _ in range(10_000)}
    assert len(made) == 10_000
    assert len({key[:11] for key in made}) == 1


KEY = "ycywrbeyng86ggrdvvfhb75jhj0-a-b.pdf"
NO_KEYS = [
    "",
    KEY + "\n",
    KEY[1:],
    KEY.upper(),
    KEY.replace("y", "u", 1),
    KEY.replace("-a-b", "/a-b"),
    KEY.replace(".pdf", ""),
    KEY.replace(".pdf", ".php.pdf"),
    KEY.replace("-a-b", "-.a"),
    "../" + KEY,
    "." + KEY,
    KEY + "%00",
]


@pytest.mark.parametrize("text", NO_KEYS)
def test_what_is_no_key(text):
    assert keys.is_key(KEY)
    assert not keys.is_key(text)


def test_nginx_reads_the_pattern_alike():
    """nginx uses PCRE, as grep -P does."""
    if shutil.which("grep") is None or subprocess.run(["grep", "-qP", "a"], input=b"a").returncode:
        pytest.skip("grep knows no -P here")
    texts = [KEY, *(text for text in NO_KEYS if "\n" not in text)]
    lines = "\n".join(texts).encode()
    matched = subprocess.run(["grep", "-P", f"^{keys.PATTERN}$"], input=lines, capture_output=True)
    assert matched.stdout.decode().split("\n")[:-1] == [KEY]


@pytest.mark.parametrize(
    ("extension", "head", "right"),
    [
        ("png", b"\x89PNG\r\n\x1a\n" + bytes(9), True),
        ("png", b"<svg onload=alert(1)>", False),
        ("png", b"\xff\xd8\xff\xe0", False),
        ("jpg", b"\xff\xd8\xff\xe0", True),
        ("jpeg", b"\xff\xd8\xff\xdb", True),
        ("jpg", b"GIF89a", False),
        ("gif", b"GIF89a" + bytes(9), True),
        ("gif", b"GIF88a", False),
        ("webp", b"RIFF\x10\0\0\0WEBPVP8 ", True),
        ("webp", b"RIFF\x10\0\0\0WAVEfmt ", False),
        ("avif", b"\0\0\0\x1cftypavif\0\0\0\0mif1", True),
        ("avif", b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif", True),
        ("avif", b"\0\0\0\x1cftypisom\0\0\0\0isommp42", False),
        ("png", b"", False),
        ("txt", b"<script>", True),
    ],
)
def test_a_picture_is_one_inside(extension, head, right):
    assert media_types.fits(extension, head) is right
