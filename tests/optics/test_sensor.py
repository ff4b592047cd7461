"""The sensor: noise statistics, quantisation, sRGB encoding and JPEG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rangefinder.captures.images import read_linear
from rangefinder.config import EncodingParams, NoiseParams
from rangefinder.optics.sensor import (
    developed,
    drawn_development,
    expose,
    noise_sd,
    sensor_light,
    stored,
    through_jpeg,
)
from rangefinder.optics.srgb import linear_to_srgb, srgb_to_linear

PARAMS = NoiseParams()


def _flat(level: float, exposure: float = 1.0, params: NoiseParams = PARAMS) -> torch.Tensor:
    return expose(torch.full((3, 200, 300), level), exposure, params, np.random.default_rng(1))


@pytest.mark.parametrize("level", [0.02, 0.1, 0.4, 0.8])
def test_variance_follows_the_mean(level):
    image = _flat(level).double()
    step = 1 / (2**PARAMS.bits - 1)
    variance = level / PARAMS.full_well_e + (PARAMS.read_noise_e / PARAMS.full_well_e) ** 2
    assert image.mean().item() == pytest.approx(level, rel=2e-3)
    assert image.var().item() == pytest.approx(variance + step**2 / 12, rel=0.02)
    assert float(noise_sd(torch.tensor(level), PARAMS)) ** 2 == pytest.approx(variance)


def test_shot_noise_is_skewed_as_poisson():
    params = NoiseParams(full_well_e=100, read_noise_e=0, bits=16)
    image = _flat(0.05, params=params).double() * 100
    deviation = image - image.mean()
    skewness = (deviation**3).mean() / image.var() ** 1.5
    assert skewness.item() == pytest.approx(5**-0.5, rel=0.05)


def test_exposure_scales_light_and_not_read_noise():
    image = _flat(0.8, exposure=0.25).double()
    assert image.mean().item() == pytest.approx(0.2, rel=2e-3)
    step = 1 / (2**PARAMS.bits - 1)
    variance = 0.2 / PARAMS.full_well_e + (PARAMS.read_noise_e / PARAMS.full_well_e) ** 2
    assert image.var().item() == pytest.approx(variance + step**2 / 12, rel=0.02)


def test_pixels_and_colours_are_independent():
    image = _flat(0.5).double()
    flat = (image - image.mean()).reshape(3, -1)
    assert (torch.corrcoef(flat) - torch.eye(3)).abs().max() < 0.02
    row = flat[0].reshape(200, 300)
    assert abs((row[:, 1:] * row[:, :-1]).mean() / row.var()) < 0.02


def test_values_are_steps_of_the_converter():
    image = _flat(0.3, params=NoiseParams(bits=8))
    levels = image.double() * 255
    torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-4)
    assert image.dtype == torch.float32


def test_overexposure_and_black_are_clipped():
    assert (_flat(2.0) == 1.0).all()
    black = _flat(-0.5)
    assert black.min() == 0.0
    assert 0.4 < (black == 0.0).double().mean() < 0.7


def test_same_seed_same_noise():
    assert torch.equal(_flat(0.4), _flat(0.4))


def test_srgb_curve_is_the_standards_and_inverts():
    encoded = np.array([0.0, 0.04045, 0.5, 1.0])
    linear = srgb_to_linear(encoded)
    assert linear == pytest.approx([0.0, 0.0031308, 0.21404114, 1.0], abs=1e-6)
    levels = np.arange(256) / 255
    assert linear_to_srgb(srgb_to_linear(levels)) == pytest.approx(levels, abs=1e-5)


def test_jpeg_equals_a_jpeg_file(tmp_path: Path, generator: np.random.Generator):
    image = torch.from_numpy(generator.random((3, 32, 48), dtype=np.float32))
    pixels = np.rint(linear_to_srgb(image.numpy()) * 255).astype(np.uint8)
    picture = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    picture.save(tmp_path / "a.jpg", quality=75, subsampling="4:2:0")
    assert torch.equal(through_jpeg(image, 75), read_linear(tmp_path / "a.jpg"))


def test_jpeg_copies_the_fine_detail_of_luminance_to_every_colour():
    stripes = torch.tensor([0.2, 0.5]).repeat(24).expand(3, 32, 48)
    opposed = torch.cat([stripes[:2], stripes[2:].flip(-1)])
    for image in (stripes, opposed):
        left = through_jpeg(image, 90)
        contrast = (left[:, :, 1::2] - left[:, :, ::2]).mean((1, 2))
        assert contrast.tolist() == pytest.approx([0.3] * 3, abs=0.08)


def test_formats_are_drawn_and_only_where_there_is_a_choice(generator: np.random.Generator):
    image = torch.from_numpy(generator.random((3, 32, 48), dtype=np.float32))
    before = generator.bit_generator.state
    same, storage = stored(image, EncodingParams(), generator)
    assert torch.equal(same, image)
    assert (str(storage), generator.bit_generator.state) == ("linear", before)
    grey, _ = stored(image, EncodingParams(colour=False), generator)
    assert torch.equal(grey, image.mean(0, keepdim=True).expand(3, -1, -1))
    mix = EncodingParams(
        formats=("linear", "srgb", "jpeg"), jpeg_quality=(80, 90), chroma=("4:4:4", "4:2:0")
    )
    drawn = [stored(image, mix, generator) for _ in range(60)]
    assert {storage.format for _, storage in drawn} == {"linear", "srgb", "jpeg"}
    jpegs = [(photo, storage) for photo, storage in drawn if storage.format == "jpeg"]
    assert {storage.chroma for _, storage in jpegs} == {"4:4:4", "4:2:0"}
    for photo, storage in jpegs:
        assert 80 <= storage.jpeg_quality <= 90
        assert torch.equal(photo, through_jpeg(image, storage.jpeg_quality, storage.chroma))


MATRIX = ((1.6, -0.5, -0.1), (-0.2, 1.5, -0.3), (0.0, -0.5, 1.5))


def test_the_colour_matrix_mixes_the_light_of_the_sensor_to_the_colours_of_the_photo():
    encoding = EncodingParams(colour_matrix=MATRIX)
    picture = 0.3 + 0.4 * torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(0))
    light = sensor_light(picture, encoding)
    torch.testing.assert_close(developed(light, encoding), picture, rtol=0, atol=1e-5)
    point = torch.zeros(3, 1, 1)
    point[0] = 0.5  # light that red alone sees
    np.testing.assert_allclose(developed(point, encoding).ravel(), [0.8, 0.0, 0.0], atol=1e-6)
    grey = torch.full((3, 2, 2), 0.4)
    torch.testing.assert_close(developed(grey, encoding), grey, rtol=0, atol=1e-6)
    assert sensor_light(picture, EncodingParams()) is picture


@pytest.mark.parametrize(
    ("matrix", "why"),
    [
        (((1.6, -0.5, 0.1), (0, 1, 0), (0, 0, 1)), "sum to 1"),
        (((0.4, 0.3, 0.3), (0.4, 0.3, 0.3), (0, 0, 1)), "determinant"),
    ],
)
def test_a_matrix_that_colours_grey_or_merges_colours_is_refused(matrix, why):
    with pytest.raises(ValueError, match=why):
        EncodingParams(colour_matrix=matrix)


def test_the_tone_curve_compresses_highlights_and_is_undone():
    encoding = EncodingParams(tone_shoulder=1.0, colour_matrix=MATRIX)
    grey = torch.tensor([0.0, 0.01, 0.5, 1.0]).expand(3, 1, 4)
    found = developed(grey, encoding)[1, 0]
    np.testing.assert_allclose(found, [0.0, 0.02 / 1.01, 2 / 3, 1.0], atol=1e-6)
    torch.testing.assert_close(sensor_light(developed(grey, encoding), encoding), grey)


def test_simulated_photos_are_developed_differently_within_the_jitter():
    encoding = EncodingParams(tone_shoulder=1.0, colour_matrix=MATRIX, development_jitter=0.3)
    generator = np.random.default_rng(0)
    drawn = [drawn_development(encoding, generator) for _ in range(200)]
    shoulders = np.array([one.tone_shoulder for one in drawn])
    mixing = np.array([one.colour_matrix[0][1] for one in drawn]) / MATRIX[0][1]
    for factor in (shoulders, mixing):
        assert factor.min() == pytest.approx(0.7, abs=0.02)
        assert factor.max() == pytest.approx(1.3, abs=0.02)
    assert abs(np.corrcoef(shoulders, mixing)[0, 1]) < 0.2
    np.testing.assert_allclose(np.sum([one.colour_matrix for one in drawn], axis=2), 1.0)


def test_nothing_is_drawn_where_photos_are_developed_alike():
    generator, twin = np.random.default_rng(0), np.random.default_rng(0)
    encoding = EncodingParams(tone_shoulder=1.0)
    assert drawn_development(encoding, generator) is encoding
    assert generator.random() == twin.random()
