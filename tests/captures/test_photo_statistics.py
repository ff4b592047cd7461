"""Statistics of photos show how they were processed, on photos of their own."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from rangefinder.captures.photo_statistics import photo_statistics
from rangefinder.config import NoiseParams
from rangefinder.coordinates import Placement
from rangefinder.optics.sensor import expose
from rangefinder.photo_domain import PhotoDomain, Storage
from rangefinder.training.photo_shifts import changes

SIZE = (192, 256)
HARD = {"gamma", "dark", "jpeg_444", "jpeg_420"}  # of some photos, or to a small degree


def photo(seed: int, size: tuple[int, int] = SIZE) -> torch.Tensor:
    """A defocused coloured texture with shadows, and the sensor's noise."""
    rng = np.random.default_rng(seed)
    detail = ndimage.gaussian_filter(rng.normal(size=(3, *size)), (0, 2, 2))
    where, shade = (ndimage.gaussian_filter(rng.normal(size=size), 20) for _ in range(2))
    contrast = rng.uniform(0.2, 0.6) * (where > 0) / detail.std()
    light = np.exp(contrast * detail + shade / shade.std())
    light = torch.from_numpy(light / light.max()).float()
    return expose(light, rng.uniform(0.4, 1.0), NoiseParams(), rng)


@pytest.fixture(scope="module")
def domain() -> PhotoDomain:
    return PhotoDomain.of([Storage()], [photo_statistics(photo(seed)) for seed in range(40)])


def detected(domain: PhotoDomain, image: torch.Tensor, placement: Placement | None = None):
    statistics = photo_statistics(image, placement)
    return [shift.kind for shift in domain.shifts(Storage(), statistics)]


def test_new_photos_of_the_same_kind_have_no_shift(domain):
    assert [detected(domain, photo(seed)) for seed in range(100, 120)] == [[]] * 20


@pytest.mark.parametrize("kind", changes())
def test_every_change_is_detected(domain, kind):
    found = [
        bool(detected(domain, degree.change(photo(seed))))
        for degree in changes()[kind]
        for seed in range(200, 206)
    ]
    assert np.mean(found) >= (0.5 if kind in HARD else 1.0)


def test_a_reduced_photo_is_judged_at_the_scale_of_its_camera(domain):
    small = torch.nn.functional.avg_pool2d(photo(300)[None], 2)[0]
    assert detected(domain, small, Placement((0.0, 0.0), 2.0)) == ["smoothed"]


def test_what_a_photo_cannot_show_is_left_out():
    assert photo_statistics(torch.full((3, 40, 40), 0.25)).keys() == {"brightness", "grey"}
    flat = photo_statistics(torch.full((3, 96, 96), 0.25))
    assert flat["grey"] == 1.0
    assert "noise_slope" not in flat
    assert "chroma" not in flat
    assert all(np.isfinite(value) for value in flat.values())


def test_a_large_photo_is_looked_at_in_parts():
    large = photo(400, (1200, 1600))
    small = photo_statistics(large[:, :1024, :1024])
    for name, value in photo_statistics(large).items():
        assert value == pytest.approx(small[name], abs=0.25), name


@pytest.mark.parametrize("size", [(250, 6000), (6000, 250)])
def test_a_long_photo_is_looked_at_whatever_its_shape(size):
    long = photo(500, size)
    part = photo_statistics(long[:, : min(size[0], 1024), : min(size[1], 1024)])
    found = photo_statistics(long)
    assert np.isfinite(list(found.values())).all()
    for name in ("noise_floor", "chroma", "blocks"):  # the mosaic's falls with the area
        assert found[name] == pytest.approx(part[name], abs=0.3), name
