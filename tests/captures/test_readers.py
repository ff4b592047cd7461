"""Camera raw files and EXR maps, read by the real readers."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import torch

from rangefinder.captures.decode import decode
from rangefinder.captures.maps import read_distances
from rangefinder.errors import CaptureError

BYTE, ASCII, SHORT, LONG, RATIONAL, SRATIONAL = 1, 2, 3, 4, 5, 10
LINEAR_RAW, MOSAIC = 34892, 32803  # photometric interpretations of DNG
FULL = 65535
RAMP = np.linspace(0.05, 0.9, 64)[None, :, None] * np.ones((48, 64, 3))


def write_dng(path, samples, photometric, *more) -> None:
    """A DNG whose colours mix in any colour space and whose white balance is not even."""
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


def test_a_linear_dng_is_the_light_it_holds(tmp_path):
    pytest.importorskip("rawpy")
    light = RAMP * np.array([0.5, 1.0, 0.8])
    samples = np.rint(light * FULL).astype(np.uint16)
    write_dng(tmp_path / "a.dng", samples, LINEAR_RAW, (50717, LONG, 3, (FULL,) * 3, True))
    found = decode(tmp_path / "a.dng", "linear", "refuse").image
    torch.testing.assert_close(
        found, torch.from_numpy(light).movedim(-1, 0).float(), atol=1e-4, rtol=0
    )


def test_a_mosaic_is_filled_in_without_touching_the_colours(tmp_path):
    pytest.importorskip("rawpy")
    light = RAMP * np.array([0.5, 1.0, 0.8])
    samples = light[..., 1].copy()  # red, green / green, blue
    samples[0::2, 0::2], samples[1::2, 1::2] = light[0::2, 0::2, 0], light[1::2, 1::2, 2]
    write_dng(
        tmp_path / "a.dng",
        np.rint(samples * FULL).astype(np.uint16),
        MOSAIC,
        (50717, LONG, 1, FULL, True),
        (33421, SHORT, 2, (2, 2), True),
        (33422, BYTE, 4, (0, 1, 1, 2), True),
    )
    found = decode(tmp_path / "a.dng", "linear", "refuse").image
    inner = (slice(None), slice(8, -8), slice(8, -8))
    expected = torch.from_numpy(light).movedim(-1, 0).float()
    torch.testing.assert_close(found[inner], expected[inner], atol=5e-3, rtol=0)


def test_a_damaged_raw_file_is_named(tmp_path):
    pytest.importorskip("rawpy")
    (tmp_path / "a.dng").write_bytes(b"II*\0" + bytes(500))
    with pytest.raises(CaptureError, match=r"a\.dng is damaged or an unknown raw file"):
        decode(tmp_path / "a.dng", "linear", "refuse")


@pytest.mark.parametrize("channel", ["Z", "Y", "depth.V"])
def test_an_exr_map_says_what_was_written(tmp_path, channel):
    exr = pytest.importorskip("OpenEXR")
    metres = np.random.default_rng(0).uniform(0.5, 5, (48, 64)).astype(np.float32)
    header = {"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}
    exr.File(header, {channel: metres}).write(str(tmp_path / "m.exr"))
    found = read_distances(tmp_path / "m.exr", (48, 64))
    torch.testing.assert_close(found, torch.from_numpy(metres))


def test_a_damaged_exr_map_is_named(tmp_path):
    pytest.importorskip("OpenEXR")
    (tmp_path / "m.exr").write_bytes(b"v/1\x01" + bytes(100))
    with pytest.raises(CaptureError, match=r"m\.exr"):
        read_distances(tmp_path / "m.exr", (48, 64))
