"""The texture bank and its sampler: statistics, sharpness, and separate splits."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from rangefinder.captures.splits import SPLITS
from rangefinder.config import CaptureParams
from rangefinder.errors import CaptureError
from rangefinder.synthesis.textures import (
    LUMINANCE,
    PHOTOGRAPHS,
    TextureSampler,
    TextureSpec,
    load_photograph,
    make_texture,
    texture_energy,
    texture_specs,
)


def _luminance(rgb: torch.Tensor) -> torch.Tensor:
    return torch.tensordot(LUMINANCE, rgb.float(), dims=1)


@pytest.mark.parametrize("name", [name for names in PHOTOGRAPHS.values() for name in names])
def test_photographs_are_bundled_with_scikit_image(name: str):
    photograph = load_photograph(name)
    assert photograph.shape[0] == 3
    assert min(photograph.shape[1:]) > 100
    assert 0 <= float(photograph.min()) < float(photograph.max()) <= 1


def test_a_missing_photograph_is_named():
    with pytest.raises(CaptureError, match="sunset"):
        load_photograph("sunset")


def test_the_motorcycle_scene_is_no_texture():
    assert not [name for names in PHOTOGRAPHS.values() for name in names if "motor" in name]


def test_textures_are_positive_and_of_even_brightness(textures):
    assert {source.split(":")[0] for source, _ in textures} == {"photo", "leaves", "spectrum"}
    for source, texture in textures:
        assert texture.dtype == torch.float16
        assert torch.isfinite(texture).all(), source
        assert float(texture.min()) > 0, source
        assert float(_luminance(texture).mean()) == pytest.approx(1, abs=0.1), source


@pytest.mark.parametrize("kind", ["leaves", "spectrum"])
def test_procedural_textures_follow_the_law_of_natural_images(kind: str):
    """Power falls about as 1/f^2, whatever the magnification."""
    slopes = []
    for number in range(6):
        spec = TextureSpec(f"{kind}:train:{number}", kind, "train", 256, 0, (0, 1, number))
        light = _luminance(make_texture(spec)).log().numpy()
        power = np.abs(np.fft.fft2(light - light.mean())) ** 2
        frequency = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.fftfreq(256))
        edges = np.geomspace(4 / 256, 0.4, 9)
        bands = [
            power[(frequency >= low) & (frequency < high)].mean() for low, high in pairwise(edges)
        ]
        slopes.append(np.polyfit(np.log(np.sqrt(edges[1:] * edges[:-1])), np.log(bands), 1)[0])
    assert -2.8 < np.median(slopes) < -1.2


def test_samples_are_in_range_and_follow_from_the_generator(sampler: TextureSampler):
    for seed in range(20):
        first = sampler.sample(30, 41, np.random.default_rng(seed))
        again = sampler.sample(30, 41, np.random.default_rng(seed))
        assert first.rgb.shape == (3, 30, 41)
        assert first.source == again.source
        assert torch.equal(first.rgb, again.rgb)
        assert 0 < float(first.rgb.min()) <= float(first.rgb.max()) <= 1


def test_textures_are_sharp_to_the_pixel(textures, generator: np.random.Generator):
    """As much detail between neighbours as in a photograph reduced until it is sharp."""
    params = CaptureParams(weak_texture_share=0)
    sampler = TextureSampler(textures, params)
    shares = []
    for _ in range(120):
        light = _luminance(sampler.sample(64, 64, generator).rgb).log()
        step, far = light.diff(dim=1), light[:, 8:] - light[:, :-8]
        shares.append(float(step.std() / far.std()))
    # blurred by a Gaussian of sd 1 px, they would be at about 0.2
    assert np.median(shares) > 0.35
    assert np.quantile(shares, 0.1) > 0.2


def test_shares_of_weak_textures_and_photographs_are_kept(textures, generator: np.random.Generator):
    params = CaptureParams(weak_texture_share=0.3, photograph_share=0.6)
    sampler = TextureSampler(textures, params)
    textures = [sampler.sample(24, 24, generator) for _ in range(600)]
    photographs = np.mean([texture.source.startswith("photo:") for texture in textures])
    assert photographs == pytest.approx(0.6, abs=0.06)
    detail = [float(_luminance(texture.rgb).log().diff(dim=1).std()) for texture in textures]
    assert np.mean(np.array(detail) < 0.03) == pytest.approx(0.3, abs=0.1)


def test_energy_of_texture(generator: np.random.Generator):
    sharp = torch.full((3, 40, 60), 0.5)
    sharp[:, :, 30:] *= torch.from_numpy(generator.uniform(0.5, 1.5, (40, 30)).astype(np.float32))
    energy = texture_energy(sharp, 7)
    assert energy.shape == (40, 60)
    assert torch.all(energy[:, :26] == 0)
    assert torch.all(energy[:, 34:] > 0.01)
    assert torch.allclose(texture_energy(sharp * 0.1, 7), energy, rtol=1e-4, atol=1e-7)


def test_energy_of_a_ramp_is_its_slope():
    ramp = torch.exp(torch.arange(50) * 0.02).expand(3, 30, 50) / 3
    energy = texture_energy(ramp, 5)
    # log(x + 1 % of the brightest) flattens the slope a little
    assert float(energy[15, 40]) == pytest.approx(0.02**2, rel=0.05)


def test_texture_sources_of_the_splits_do_not_meet():
    by_split = {
        split: {spec.source for spec in texture_specs(0, 256, {split: 10_000})} for split in SPLITS
    }
    for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert not by_split[first] & by_split[second]
    for split in SPLITS:
        kinds = {source.split(":")[0] for source in by_split[split]}
        assert kinds == {"photo", "leaves", "spectrum"}
        assert len(PHOTOGRAPHS[split]) >= 3


def test_procedural_textures_of_the_splits_have_different_seeds():
    keys = [spec.key for spec in texture_specs(0, 256, dict.fromkeys(SPLITS, 10_000))]
    assert len(set(keys)) == len(keys)
