"""A writer of small DNG files."""

from __future__ import annotations

import tifffile

BYTE, ASCII, SHORT, LONG, RATIONAL, SRATIONAL = 1, 2, 3, 4, 5, 10
LINEAR_RAW, MOSAIC = 34892, 32803  # photometric interpretations of DNG
FULL = 65535


def write_dng(path, samples, photometric, *more) -> None:
    """Write a DNG with a colour matrix that mixes colours and an uneven white balance."""
    colours = [x for value in (9, -2, -1, -3, 11, 2, 1, -2, 7) for x in (value, 10)]
    tags = [
        (50706, BYTE, 4, (1, 4, 0, 0), True),
        (50708, ASCII, 0, "Test", True),
        (50721, SRATIONAL, 9, colours, True),
        (50728, RATIONAL, 3, (1, 2, 1, 1, 2, 3), True),
        (50778, SHORT, 1, 21, True),
        *more,
    ]
    tifffile.imwrite(path, samples, photometric=photometric, extratags=tags, metadata=None)
