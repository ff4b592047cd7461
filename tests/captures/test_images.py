from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rangefinder.captures import images
from rangefinder.errors import CaptureError


def test_srgb_curve_is_the_standards_and_inverts():
    encoded = np.array([0.0, 0.04045, 0.5, 1.0])
    linear = images.srgb_to_linear(encoded)
    assert linear == pytest.approx([0.0, 0.0031308, 0.21404114, 1.0], abs=1e-6)
    levels = np.arange(256) / 255
    assert images.linear_to_srgb(images.srgb_to_linear(levels)) == pytest.approx(levels, abs=1e-5)


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


def test_distance_png_keeps_millimetres_and_unknown(tmp_path: Path):
    distance_m = torch.tensor([[0.0, 0.7004, 5.0], [65.535, 1.2345, 2.0]])
    images.write_distance_png(tmp_path / "d.png", distance_m)
    again = images.read_distance_png(tmp_path / "d.png")
    assert again[0, 0] == 0
    assert torch.allclose(again, distance_m, atol=0.00051)


@pytest.mark.parametrize("wrong", [-0.1, 70.0, float("nan")])
def test_distances_that_do_not_fit_are_refused(tmp_path: Path, wrong: float):
    with pytest.raises(CaptureError, match="millimetres"):
        images.write_distance_png(tmp_path / "d.png", torch.tensor([[1.0, wrong]]))


def test_8_bit_distance_maps_are_refused(tmp_path: Path):
    Image.fromarray(np.ones((4, 5), np.uint8)).save(tmp_path / "d.png")
    with pytest.raises(CaptureError, match="16-bit"):
        images.read_distance_png(tmp_path / "d.png")


def test_resize_keeps_light_and_fine_detail(generator: np.random.Generator):
    noise = torch.from_numpy(generator.random((3, 90, 120), dtype=np.float32))
    half = images.resize_sharp(noise, 45, 60)
    assert half.mean() == pytest.approx(float(noise.mean()), rel=0.01)
    # an ideal filter leaves half of the sd, linear interpolation a third
    assert half.std() > 0.38 * noise.std()
    assert images.resize_sharp(noise, 90, 120) is noise


def test_jpeg_is_what_a_file_would_have_kept(tmp_path: Path, generator: np.random.Generator):
    image = torch.from_numpy(generator.random((3, 32, 48), dtype=np.float32))
    pixels = np.rint(images.linear_to_srgb(image.numpy()) * 255).astype(np.uint8)
    picture = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    picture.save(tmp_path / "a.jpg", quality=75, subsampling="4:2:0")
    assert torch.equal(images.through_jpeg(image, 75), images.read_linear(tmp_path / "a.jpg"))


def test_jpeg_gives_every_colour_the_fine_detail_of_lightness():
    stripes = torch.tensor([0.2, 0.5]).repeat(24).expand(3, 32, 48)
    opposed = torch.cat([stripes[:2], stripes[2:].flip(-1)])
    for image in (stripes, opposed):
        left = images.through_jpeg(image, 90)
        contrast = (left[:, :, 1::2] - left[:, :, ::2]).mean((1, 2))
        assert contrast.tolist() == pytest.approx([0.3] * 3, abs=0.08)
