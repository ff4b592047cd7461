"""Augmentations: mirroring moves labels along; attenuation keeps mean light and noise."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from rangefinder.camera import Camera
from rangefinder.config import NoiseParams
from rangefinder.coordinates import PatchGrid, Placement, grid_location, location_map
from rangefinder.optics.sensor import noise_sd
from rangefinder.training.augmentation import ContrastAttenuation, mirror

CAMERA = Camera(width_px=64, height_px=48)
GRID = PatchGrid(48, 64, patch_px=9, stride_px=4)
NOISE = NoiseParams(full_well_e=1000.0, read_noise_e=5.0)
QUIET = NoiseParams(full_well_e=1e8, read_noise_e=0.0)
MIN_CONTRAST = 0.05
ALWAYS = ContrastAttenuation(1.0, MIN_CONTRAST, NOISE)
SIZE = (180, 240)


def checkerboard(light, contrast):
    rows, cols = np.indices(SIZE) // 3
    return light * (1 + contrast * (-1.0) ** (rows + cols))


def photo(light=0.4, contrast=0.0, seed=0):
    """A checkerboard with the sensor's noise."""
    rng, signal = np.random.default_rng(seed), checkerboard(light, contrast)
    noise = rng.standard_normal((3, *SIZE)) * float(noise_sd(torch.tensor(light), NOISE))
    return torch.from_numpy((signal + noise).astype(np.float32))


def spread(image):
    """Standard deviation in blocks of 12 px, `[rows, cols]`."""
    mean, square = (F.avg_pool2d(x.mean(0)[None], 12)[0] for x in (image, image.square()))
    return torch.sqrt(square - mean.square())


def test_contrast_is_attenuated_in_parts_and_never_below_the_minimum():
    clean = torch.from_numpy(checkerboard(0.4, 0.5)).expand(3, *SIZE).float()
    ratios, attenuate = [], ContrastAttenuation(1.0, MIN_CONTRAST, QUIET)
    for seed in range(20):
        attenuated = attenuate(clean, np.random.default_rng(seed))
        ratios.append((spread(attenuated) / spread(clean)).flatten())
    shares = torch.cat(ratios)
    assert float(shares.min()) == pytest.approx(MIN_CONTRAST, rel=0.02)
    assert float((shares < 0.3).float().mean()) > 0.2
    assert float((shares > 0.95).float().mean()) > 0.1


def test_mean_light_of_a_region_is_kept():
    colours = torch.tensor([1.0, 0.6, 0.3])[:, None, None]
    image = photo(contrast=0.5) * colours * torch.linspace(0.4, 1.6, SIZE[1])
    for seed in range(5):
        attenuated = ALWAYS(image, np.random.default_rng(seed))
        kept = F.adaptive_avg_pool2d(attenuated, (4, 5)) / F.adaptive_avg_pool2d(image, (4, 5))
        torch.testing.assert_close(kept, torch.ones_like(kept), rtol=0, atol=0.1)


@pytest.mark.parametrize("light", [0.05, 0.8])
def test_noise_keeps_the_level_of_the_sensor(light):
    attenuated = torch.stack(
        [ALWAYS(photo(light, seed=seed), np.random.default_rng(seed)) for seed in range(10)]
    )
    sd = noise_sd(torch.tensor(light), NOISE)
    assert float(attenuated.std()) == pytest.approx(float(sd), rel=0.03)


def test_a_share_of_photos_is_attenuated():
    image, attenuate = photo(contrast=0.5), ContrastAttenuation(0.3, MIN_CONTRAST, NOISE)
    rng = np.random.default_rng(0)
    changed = [not torch.equal(attenuate(image, rng), image) for _ in range(200)]
    assert 0.2 < np.mean(changed) < 0.4


def test_attenuation_follows_from_the_seed_and_keeps_its_input():
    image = photo(contrast=0.5)
    once, again = (ALWAYS(image, np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(once, again)
    assert torch.equal(image, photo(contrast=0.5))


@pytest.mark.parametrize("size", [(9, 33), (3, 4), (90, 120)])
def test_photos_of_any_size_are_attenuated(size):
    assert ALWAYS(torch.rand(3, *size), np.random.default_rng(0)).shape == (3, *size)


class FixedGenerator:
    """A generator of given numbers."""

    def __init__(self, *numbers: float) -> None:
        self.numbers = list(numbers)

    def random(self) -> float:
        return self.numbers.pop(0)


@pytest.mark.parametrize("numbers", [(0.1, 0.1), (0.9, 0.1), (0.1, 0.9), (0.9, 0.9)])
def test_the_location_map_is_mirrored_with_the_photo(numbers):
    """Of a photo that shows its own location, up to the sign."""
    location = torch.from_numpy(location_map(CAMERA, Placement(), 48, 64))
    image = torch.cat([location, location[:1]])
    item = mirror({"image": image, "location": location}, FixedGenerator(*numbers))
    signs = torch.tensor([-1.0 if number >= 0.5 else 1.0 for number in numbers])[:, None, None]
    torch.testing.assert_close(item["location"], signs * item["image"][:2])
    torch.testing.assert_close(item["location"], location, atol=1e-6, rtol=0)


@pytest.mark.parametrize("numbers", [(0.9, 0.1), (0.1, 0.9), (0.9, 0.9)])
def test_targets_are_mirrored_with_the_pixels_at_their_centres(numbers):
    x, y = (torch.from_numpy(centre).float() for centre in GRID.centres_px)
    here = torch.from_numpy(grid_location(CAMERA, Placement(), GRID))
    every = torch.from_numpy(location_map(CAMERA, Placement(), *GRID.covered_px))
    item = {"image": torch.cat([every, every[:1]]), "location": every}
    item |= {"targets": here.movedim(0, -1), "negentropy": here[0]}
    mirrored = mirror(item, FixedGenerator(*numbers))
    shown = mirrored["image"][:2][:, y.long()][:, :, x.long()].movedim(0, -1)
    torch.testing.assert_close(mirrored["targets"], shown, atol=1e-6, rtol=0)
    torch.testing.assert_close(mirrored["negentropy"], shown[..., 0], atol=1e-6, rtol=0)
