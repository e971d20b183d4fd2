"""Reads what waits in a job's folder, by the documented layouts alone and none of our own code.

Layouts: `sdk/client/src/spool.rs` (the folder) and `sdk/wire/src/frame.rs` (the frame).
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HEADER, BLOCK = 32, 16


@dataclass
class Waiting:
    """Everything of one job: points by channel, in the order of sessions and frames."""

    points: dict[str, list[tuple[float, Any]]] = field(default_factory=dict)
    requests: list[Any] = field(default_factory=list)
    sessions: int = 0
    dropped: int = 0


def read_job(folder: Path) -> Waiting:
    """Reads a job's folder."""
    waiting = Waiting()
    for session in sorted(folder.glob("sessions/*"), key=lambda path: path.stat().st_mtime_ns):
        waiting.sessions += 1
        names = {entry["number"]: entry["name"] for entry in read_lines(session / "channels.log")}
        waiting.requests += read_lines(session / "requests.log")
        for path in sorted(session.glob("frames-*.log")):
            for frame in read_frames(path.read_bytes()):
                read_blocks(frame, names, waiting)
    return waiting


def read_lines(path: Path) -> list[Any]:
    """Reads `crc json` lines."""
    entries = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        crc, text = line.split(b" ", 1)
        assert int(crc, 16) == zlib.crc32(text), line
        entries.append(json.loads(text))
    return entries


def read_frames(data: bytes) -> Iterator[bytes]:
    """Cuts a file of `u32 length · frame`."""
    at = 0
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        frame = data[at + 4 : at + 4 + length]
        assert frame[:4] == b"NPF1"
        assert struct.unpack("<I", frame[-4:])[0] == zlib.crc32(frame[:-4])
        yield frame
        at += 4 + length


def read_blocks(frame: bytes, names: dict[int, str], waiting: Waiting) -> None:
    """Adds the points of a frame."""
    (blocks,) = struct.unpack_from("<H", frame, 28)
    at = HEADER
    for _ in range(blocks):
        kind, flags, channel, count, length = struct.unpack_from("<BBxxIII", frame, at)
        body = frame[at + BLOCK : at + BLOCK + length]
        at += BLOCK + length
        found = waiting.points.setdefault(names[channel], [])
        if kind == 1:
            found += read_numeric(body, flags, count)
        elif kind == 2:
            found += read_texts(body, count)
        elif kind == 3:
            found += read_images(body, count)
        else:
            assert kind == 5, f"block of kind {kind}"
            waiting.dropped += count


def read_numeric(body: bytes, flags: int, count: int) -> list[tuple[float, Any]]:
    """x affine (1) or raw, y as f32 (2) or f64."""
    if flags & 1:
        start, stride = struct.unpack_from("<2d", body)
        xs, at = [start + stride * i for i in range(count)], 16
    else:
        xs, at = list(struct.unpack_from(f"<{count}d", body)), 8 * count
    ys = struct.unpack_from(f"<{count}{'f' if flags & 2 else 'd'}", body, at)
    return list(zip(xs, ys, strict=True))


def read_texts(body: bytes, count: int) -> list[tuple[float, Any]]:
    """x, time, length (its top bit: goes on), then the texts."""
    xs = struct.unpack_from(f"<{count}d", body)
    lengths = struct.unpack_from(f"<{count}I", body, 16 * count)
    at, points = 20 * count, []
    for x, length in zip(xs, lengths, strict=True):
        length &= 0x7FFF_FFFF
        points.append((x, body[at : at + length].decode()))
        at += length
    return points


def read_images(body: bytes, count: int) -> list[tuple[float, Any]]:
    """Per image: x, time, digest, width, height, size, lengths of name and description, and those."""
    at, points = 0, []
    for _ in range(count):
        x, digest, width, height, size, name, description = struct.unpack_from("<d8x32sIIQHH", body, at)
        at += 68
        texts = body[at : at + name + description].decode()
        at += name + description
        points.append((x, (texts[:name], width, height, size, digest.hex())))
    return points
