"""Photos that lose texture before a student sees them."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from rangefinder.config import NoiseParams
from rangefinder.optics.noise import noise_sd
from rangefinder.training.fading import LEAST_CONTRAST, Fading

NOISE = NoiseParams(full_well_e=1000.0, read_noise_e=5.0)
QUIET = NoiseParams(full_well_e=1e12, read_noise_e=0.0)
ALWAYS = Fading(1.0, NOISE)
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


def test_texture_fades_in_parts_and_never_below_the_least():
    clean = torch.from_numpy(checkerboard(0.4, 0.5)).expand(3, *SIZE).float()
    left, fading = [], Fading(1.0, QUIET)
    for seed in range(20):
        faded = fading(clean, np.random.default_rng(seed))
        left.append((spread(faded) / spread(clean)).flatten())
    shares = torch.cat(left)
    assert float(shares.min()) == pytest.approx(LEAST_CONTRAST, rel=0.02)
    assert float((shares < 0.3).float().mean()) > 0.2
    assert float((shares > 0.95).float().mean()) > 0.1


def test_light_of_a_region_stays():
    colours = torch.tensor([1.0, 0.6, 0.3])[:, None, None]
    image = photo(contrast=0.5) * colours * torch.linspace(0.4, 1.6, SIZE[1])
    for seed in range(5):
        faded = ALWAYS(image, np.random.default_rng(seed))
        kept = F.adaptive_avg_pool2d(faded, (4, 5)) / F.adaptive_avg_pool2d(image, (4, 5))
        torch.testing.assert_close(kept, torch.ones_like(kept), rtol=0, atol=0.1)


@pytest.mark.parametrize("light", [0.05, 0.8])
def test_noise_stays_what_the_sensor_adds(light):
    faded = torch.stack(
        [ALWAYS(photo(light, seed=seed), np.random.default_rng(seed)) for seed in range(10)]
    )
    sd = noise_sd(torch.tensor(light), NOISE)
    assert float(faded.std()) == pytest.approx(float(sd), rel=0.03)


def test_a_share_of_photos_fades():
    image, fading = photo(contrast=0.5), Fading(0.3, NOISE)
    rng = np.random.default_rng(0)
    changed = [not torch.equal(fading(image, rng), image) for _ in range(200)]
    assert 0.2 < np.mean(changed) < 0.4


def test_it_follows_from_the_seed_and_leaves_its_input_alone():
    image = photo(contrast=0.5)
    once, again = (ALWAYS(image, np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(once, again)
    assert torch.equal(image, photo(contrast=0.5))


@pytest.mark.parametrize("size", [(9, 33), (3, 4), (90, 120)])
def test_photos_of_any_size_fade(size):
    assert ALWAYS(torch.rand(3, *size), np.random.default_rng(0)).shape == (3, *size)
