"""A few pictures that the lab draws itself, so that its gallery is not empty: hills under a sky, written as PNG."""

from __future__ import annotations

import json
import math
import random
import struct
import urllib.request
import zlib

from lab.progress import say, step
from lab.settings import LabError

Colour = tuple[int, int, int]

WIDTH, HEIGHT = 600, 400
# name, sky above, sky at the horizon, sun, nearest hill
SCENES = (
    ("Dawn over the hills", (38, 44, 92), (250, 170, 122), (255, 226, 170), (34, 30, 58)),
    ("High noon", (52, 128, 205), (196, 228, 244), (255, 250, 220), (36, 84, 66)),
    ("Dunes", (116, 160, 190), (246, 220, 178), (255, 246, 216), (150, 84, 44)),
    ("Dusk", (22, 20, 58), (226, 96, 92), (255, 180, 130), (18, 16, 40)),
    ("Fog in the valley", (142, 158, 170), (222, 226, 226), (240, 240, 236), (70, 88, 92)),
    ("Night", (6, 10, 32), (32, 54, 96), (236, 238, 220), (4, 8, 20)),
)
HILLS = 5
_NEAREST_FIRST = tuple(reversed(range(HILLS)))


def _blend(first: Colour, second: Colour, ratio: float) -> Colour:
    red, green, blue = (round(a + (b - a) * ratio) for a, b in zip(first, second))
    return red, green, blue


def _ridge(chance: random.Random, level: float, height: float) -> list[float]:
    """The upper edge of a hill at each column."""
    waves = [(chance.uniform(0.5, 5), chance.uniform(0, 6.3), chance.uniform(0.2, 1)) for _ in range(5)]
    total = sum(weight for _, _, weight in waves)
    return [
        level - height * sum(w * math.sin(f * 6.3 * x / WIDTH + p) for f, p, w in waves) / total for x in range(WIDTH)
    ]


def draw(number: int) -> bytes:
    """Scene NUMBER as PNG; always the same bytes."""
    _, above, horizon, light, near = SCENES[number]
    chance = random.Random(number)  # noqa: S311 - a drawing
    ridges = [_ridge(chance, HEIGHT * (0.55 + 0.1 * i), HEIGHT * (0.16 - 0.02 * i)) for i in range(HILLS)]
    colours = [bytes(_blend(horizon, near, (i + 1) / HILLS)) for i in range(HILLS)]
    sun, radius = (chance.uniform(0.2, 0.8) * WIDTH, chance.uniform(0.18, 0.42) * HEIGHT), HEIGHT * 0.07
    rows = []
    for y in range(HEIGHT):
        sky, row = _blend(above, horizon, min(1, y / (HEIGHT * 0.62))), bytearray(b"\0")
        plain = bytes(sky)
        for x in range(WIDTH):
            hill = next((i for i in _NEAREST_FIRST if y >= ridges[i][x]), None)
            if hill is not None:
                row += colours[hill]
                continue
            distance = math.hypot(x - sun[0], y - sun[1]) / radius
            glow = 1 if distance < 1 else 0.5 / distance**1.5 - 0.022  # nothing is left of it at 8 radii
            row += bytes(_blend(sky, light, glow)) if distance < 8 else plain
        rows.append(bytes(row))
    return _png(b"".join(rows))


def _png(rows: bytes) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def _upload(url: str, name: str, data: bytes) -> None:
    border = "picture-of-the-lab"
    head = f'--{border}\r\nContent-Disposition: form-data; name="file"; filename="{name}.png"\r\n\r\n'
    body = head.encode() + data + f"\r\n--{border}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={border}", "Accept": "application/json"}
    urllib.request.urlopen(urllib.request.Request(f"{url}/files", body, headers), timeout=60).close()


def fill(site: str, servers: list[str]) -> None:
    """Upload the pictures where the gallery is empty, each through another server (URLs)."""
    try:
        with urllib.request.urlopen(f"{site}/files?limit=1", timeout=20) as answer:
            if json.load(answer)["files"]:
                return
        with step("drawing a few pictures for the gallery"):
            for number in reversed(range(len(SCENES))):
                _upload(servers[number % len(servers)], SCENES[number][0], draw(number))
    except (OSError, ValueError, KeyError) as fault:
        raise LabError(f"the gallery at {site} takes no pictures ({fault}): see whether the proof holds") from None
    say(f"{len(SCENES)} pictures are in the gallery")
