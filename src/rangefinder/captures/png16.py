"""PNG with 16 bits per sample and several channels, which Pillow reduces to 8 bits."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rangefinder.errors import CaptureError
from rangefinder.optics.jit import compiled

SIGNATURE = 8  # bytes
CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}  # by colour type


def read_png16(path: Path) -> NDArray[np.uint16]:
    """Samples `[H, W, C]` of a 16-bit PNG (ISO/IEC 15948).

    Raises:
        CaptureError: If it is interlaced.
        ValueError, struct.error, zlib.error: If it is damaged.
    """
    chunks = _chunks(path.read_bytes())
    width, height, _, colour, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[b"IHDR"][:13])
    if interlaced:
        raise CaptureError(f"{path.name} is interlaced", todo="Save it without interlacing.")
    step = 2 * CHANNELS[colour]
    expected = height * (1 + width * step)
    stream = zlib.decompressobj()
    data = stream.decompress(chunks[b"IDAT"], expected + 1)
    if len(data) != expected:
        raise ValueError(f"{len(data)} bytes of pixels where {expected} belong")
    lines = np.frombuffer(data, np.uint8).reshape(height, -1)
    raw = lines[:, 1:].copy()
    _unfilter(raw, lines[:, 0].copy(), step)
    samples: NDArray[np.uint16] = raw.view(">u2").astype(np.uint16)
    return samples.reshape(height, width, CHANNELS[colour])


def _chunks(content: bytes) -> dict[bytes, bytes]:
    """Chunks by name, those of one name joined; their checksums are checked."""
    chunks: dict[bytes, bytes] = {}
    place = SIGNATURE
    while place < len(content) and b"IEND" not in chunks:
        length, kind = struct.unpack_from(">I4s", content, place)
        body = content[place + 8 : place + 8 + length]
        (checksum,) = struct.unpack_from(">I", content, place + 8 + length)
        if checksum != zlib.crc32(kind + body):
            raise ValueError(f"checksum of {kind.decode('latin-1')} is wrong")
        chunks[kind] = chunks.get(kind, b"") + body
        place += 12 + length
    return chunks


@compiled
def _unfilter(raw: NDArray[np.uint8], filters: NDArray[np.uint8], step: int) -> None:
    """Undo the line filters in place: bytes `[H, W * step]`, one filter type per line."""
    for row in range(raw.shape[0]):
        for i in range(raw.shape[1]):
            left = int(raw[row, i - step]) if i >= step else 0
            above = int(raw[row - 1, i]) if row else 0
            corner = int(raw[row - 1, i - step]) if row and i >= step else 0
            kind, add = filters[row], 0
            if kind == 1:
                add = left
            elif kind == 2:
                add = above
            elif kind == 3:
                add = (left + above) // 2
            elif kind == 4:
                to_left = abs(above - corner)
                to_above = abs(left - corner)
                to_corner = abs(left + above - 2 * corner)
                if to_left <= to_above and to_left <= to_corner:
                    add = left
                elif to_above <= to_corner:
                    add = above
                else:
                    add = corner
            raw[row, i] = (int(raw[row, i]) + add) & 255
