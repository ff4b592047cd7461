"""Pictures in linear light: 16-bit TIFF, 8-bit sRGB, and sharp resizing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rangefinder.captures import images
from rangefinder.errors import CaptureError


def test_linear_tiff_is_exact_to_16_bits(tmp_path: Path, generator: np.random.Generator):
    levels = generator.integers(0, 65536, (3, 11, 13))
    image = torch.from_numpy(levels / 65535).float()
    images.write_linear(tmp_path / "a.tif", image)
    again = images.read_linear(tmp_path / "a.tif")
    assert again.dtype == torch.float32
    assert torch.equal((again * 65535).round().long(), torch.from_numpy(levels))


def test_8_bit_pictures_are_decoded_to_linear_light(tmp_path: Path):
    pixels = np.full((4, 5, 3), 188, np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(pixels[..., 0]).save(tmp_path / "grey.png")
    for name in ("a.png", "grey.png"):
        linear = images.read_linear(tmp_path / name)
        assert linear.shape == (3, 4, 5)
        assert linear.numpy() == pytest.approx(0.5029, abs=1e-4)


@pytest.mark.parametrize("name", ["missing.tif", "text.png", "text.tif"])
def test_unreadable_pictures_are_named(tmp_path: Path, name: str):
    if name.startswith("text"):
        (tmp_path / name).write_text("no picture")
    with pytest.raises(CaptureError, match=name):
        images.read_linear(tmp_path / name)


def test_resize_keeps_light_and_fine_detail(generator: np.random.Generator):
    noise = torch.from_numpy(generator.random((3, 90, 120), dtype=np.float32))
    half = images.resize_sharp(noise, 45, 60)
    assert half.mean() == pytest.approx(float(noise.mean()), rel=0.01)
    # an ideal filter leaves half of the sd, linear interpolation a third
    assert half.std() > 0.38 * noise.std()
    assert images.resize_sharp(noise, 90, 120) is noise
