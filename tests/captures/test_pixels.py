"""Parts of pictures equal the same parts of the decoded whole, whatever the format."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from rangefinder.camera import Camera
from rangefinder.captures.manifest import Capture, write_captures
from rangefinder.captures.pixels import Pixels
from rangefinder.errors import CaptureError


@pytest.fixture
def captures(tmp_path):
    image = torch.rand(3, 20, 31, generator=torch.Generator().manual_seed(0))
    capture = Capture(image, "unlabelled", "scene", "train")
    return write_captures(tmp_path / "set", Camera(width_px=31, height_px=20), [capture])


def as_format(captures, name):
    """The same capture with its picture in another format."""
    pixels = (captures.image(0).permute(1, 2, 0) * 65535).round().numpy().astype(np.uint16)
    path = captures.folder / name
    if name.endswith("png"):
        Image.fromarray((pixels >> 8).astype(np.uint8)).save(path)
    else:
        options = {"big.tif": {"byteorder": ">"}, "packed.tif": {"compression": "zlib"}}
        tifffile.imwrite(path, pixels, photometric="rgb", metadata=None, **options[name])
    return replace(captures, table=captures.table.assign(image=name))


@pytest.mark.parametrize("name", [None, "big.tif", "packed.tif", "eight.png"])
@pytest.mark.parametrize("window", [(0, 0, 20, 31), (3, 5, 7, 9), (19, 30, 1, 1)])
def test_a_part_is_that_of_the_whole(captures, name, window):
    captures = as_format(captures, name) if name else captures
    top, left, height, width = window
    whole = captures.image(0)[:, top : top + height, left : left + width]
    pixels = Pixels(captures)
    for _ in range(2):
        part = pixels.crop(0, *window)
        torch.testing.assert_close(part, whole, atol=1e-5 if name == "eight.png" else 0, rtol=0)


def test_a_picture_that_was_cut_short_is_an_error(captures):
    path = captures.folder / captures.table["image"][0]
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises((CaptureError, ValueError)):
        Pixels(captures).crop(0, 0, 0, 20, 31)


def test_a_picture_of_another_size_is_an_error(captures):
    wrong = replace(captures, table=captures.table.assign(width_px=30))
    with pytest.raises(CaptureError, match="wrong size"):
        Pixels(wrong).crop(0, 0, 0, 20, 30)
