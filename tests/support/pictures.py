"""Pictures made here: patterns as PNG, and the first bytes of other kinds."""

from __future__ import annotations

import math
import struct
import zlib


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, colour_at) -> bytes:
    """A picture whose pixel at (x, y), both from 0 to 1, has the colour (r, g, b), each from 0 to 1."""
    rows = bytearray()
    for line in range(height):
        rows.append(0)  # no filter
        for column in range(width):
            rows.extend(int(255 * min(max(part, 0), 1)) for part in colour_at(column / width, line / height))
    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(rows), 6)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", size) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def small(seed: int = 0) -> bytes:
    """A tiny picture; every seed gives other bytes."""
    return png(8, 6, lambda x, y: (x, y, (seed % 256) / 255))


def _mix(first, second, part):
    return tuple(a + (b - a) * part for a, b in zip(first, second))


def _hills(sky, sun, ground, number):
    def colour(x, y):
        shade = _mix(sky, sun, max(0, 1 - 2.2 * math.hypot(x - 0.68, y - 0.38)))
        for layer in range(4):
            edge = 0.5 + 0.13 * layer + 0.06 * math.sin(x * (7 - layer) + number + 2 * layer)
            if y > edge:
                shade = _mix(_mix(sky, ground, 0.45), ground, layer / 3)
        return shade

    return colour


def _waves(first, second, third, number):
    def colour(x, y):
        bend = y + 0.09 * math.sin(6 * x + number) + 0.04 * math.sin(13 * x - number)
        return _mix(_mix(first, second, bend), third, 0.5 + 0.5 * math.sin(26 * bend))

    return colour


def _discs(first, second, third, number):
    def colour(x, y):
        shade = _mix(first, second, (x + y) / 2)
        for place in range(7):
            distance = math.hypot(x - (0.15 + 0.37 * place * number) % 1, y - (0.2 + 0.23 * place) % 1)
            if distance < 0.08 + 0.025 * place:
                shade = _mix(shade, third, 0.55)
        return shade

    return colour


_PALETTES = [
    ((0.98, 0.78, 0.55), (1.0, 0.95, 0.75), (0.16, 0.22, 0.36)),
    ((0.13, 0.30, 0.45), (0.45, 0.75, 0.78), (0.95, 0.93, 0.85)),
    ((0.93, 0.45, 0.38), (0.55, 0.20, 0.45), (1.0, 0.85, 0.55)),
    ((0.55, 0.78, 0.95), (1.0, 1.0, 0.92), (0.14, 0.37, 0.28)),
]
_NAMES = [
    "Evening over the ridge", "Tide", "Balloons", "Morning pass", "Dunes", "Pebbles",
    "First light", "Harbour", "Lanterns", "North valley", "Deep water", "Confetti",
]  # fmt: skip


def dozen(width: int = 480, height: int = 360):
    """Twelve pictures worth looking at, as (file name, bytes)."""
    patterns = (_hills, _waves, _discs)
    for number, name in enumerate(_NAMES):
        yield f"{name}.png", png(width, height, patterns[number % 3](*_PALETTES[number % 4], number))
