"""Blur, displacement and direction of photos of known lenses, whatever their texture."""

import numpy as np
import pytest
from scipy import ndimage

from rangefinder.captures.blur_spectra import WINDOW_PX, blur_spectra
from rangefinder.coordinates import Placement

WHOLE = Placement()
SIZE = (192, 256)


def texture(seed: int, slope: float = 1.0, decorrelated: float = 0.0) -> np.ndarray:
    """Coloured light `[3, H, W]` whose amplitude falls as frequency to the power of `slope`."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(SIZE[0]), np.fft.rfftfreq(SIZE[1]))[::1])
    noise = np.fft.rfft2(rng.normal(size=(4, *SIZE)))
    planes = np.fft.irfft2(noise / np.maximum(frequency.T, 0.02) ** slope, SIZE)
    planes /= planes.std(axis=(1, 2), keepdims=True)
    mixed = (1 - decorrelated) * planes[3] + decorrelated * planes[:3]
    return 0.5 + 0.1 * mixed / mixed.std()


def mean(light: np.ndarray, name: str) -> np.ndarray:
    """Weighted mean of a measure over the windows of a photo with some noise."""
    noise = np.random.default_rng(9).normal(0, 0.002, light.shape)
    measured = blur_spectra((light + noise).astype(np.float32), WHOLE).measures[name]
    return (measured.values * measured.weight).sum(axis=1) / measured.weight.sum()


def blurred(seed: int, slope: float, decorrelated: float, blur_px: float) -> np.ndarray:
    """A texture through a lens that blurs all colours, and blue more."""
    light = ndimage.gaussian_filter(texture(seed, slope, decorrelated), (0, 0.8, 0.8))
    light[2] = ndimage.gaussian_filter(light[2], blur_px)
    return light


@pytest.mark.parametrize("decorrelated", [0.0, 0.3])
@pytest.mark.parametrize("slope", [0.7, 1.3])
def test_blur_of_a_colour_grows_with_its_variance_whatever_the_texture(slope, decorrelated):
    for blur_px in (0.6, 0.9):
        photos = [blurred(seed, slope, decorrelated, blur_px) for seed in range(4)]
        blue, red = (
            np.mean([mean(photo, name)[0] for photo in photos])
            for name in ("blue_blur", "red_blur")
        )
        assert 0.6 * blur_px**2 < blue < 1.05 * blur_px**2
        assert abs(red) < 0.2 * blur_px**2


def test_a_displaced_colour_is_found_with_its_direction():
    light = texture(2)
    light[0] = ndimage.shift(light[0], (-0.2, 0.3), order=5, mode="wrap")  # rows, columns
    np.testing.assert_allclose(mean(light, "red_shift"), [0.3, -0.2], atol=0.03)
    np.testing.assert_allclose(mean(light, "blue_shift"), [0.0, 0.0], atol=0.01)


def test_directions_of_blur_are_told_apart():
    across = ndimage.gaussian_filter(texture(3), (0, 0, 1.5))
    assert mean(across, "direction")[0] < -0.5
    falling = np.mean([ndimage.shift(texture(3), (0, s, s), mode="wrap") for s in range(4)], axis=0)
    assert mean(falling, "direction")[1] < -0.5
    assert np.abs(mean(texture(3), "direction")).max() < 0.1


def test_windows_of_flat_light_count_nothing():
    light = texture(4)
    light[:, :, 128:] = 0.5
    noise = np.random.default_rng(0).normal(0, 0.002, light.shape)
    spectra = blur_spectra((light + noise).astype(np.float32), WHOLE)
    is_flat = np.tile(spectra.x_px, len(spectra.y_px)) > 128 + WINDOW_PX
    for measured in spectra.measures.values():
        assert measured.weight[is_flat].max() == 0.0
        assert np.median(measured.weight[~is_flat]) > 0.0


def test_a_reduced_photo_has_the_windows_of_its_camera():
    light = texture(5).astype(np.float32)
    small = blur_spectra(light[:, ::2, ::2], Placement((0.0, 0.0), 2.0))
    whole = blur_spectra(light, WHOLE)
    np.testing.assert_array_equal(small.x_px, whole.x_px)
    np.testing.assert_array_equal(small.y_px, whole.y_px)


def test_a_photo_smaller_than_a_window_has_none():
    assert blur_spectra(np.full((3, 20, 50), 0.5, np.float32), WHOLE).measures == {}
