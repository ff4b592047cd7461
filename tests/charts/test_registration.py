"""Registration of a sharp photo to a blurred one, and the disc between them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import fft, ndimage

from rangefinder.charts.registration import (
    best_discs,
    disc_transfer,
    lateral_shifts,
    register,
    window_shifts,
)
from rangefinder.errors import CaptureError

from .calibration_lens import texture


def through_disc(picture, diameter_px: float):
    """A square picture blurred by a disc, periodically."""
    transfer = disc_transfer(picture.shape[-1], np.array([diameter_px]))[0]
    return fft.irfft2(fft.rfft2(picture) * transfer, s=picture.shape[-2:])


@pytest.mark.parametrize("diameter", [1.0, 3.3, 9.4])
def test_the_disc_between_two_photos_is_found_whatever_their_light(diameter):
    sharp = texture(1, 120, 120)[1:2].astype(np.float32)
    target = (0.6 * through_disc(sharp, diameter) + 0.1)[:, 20:-20, 20:-20]
    found, square = best_discs(sharp, target, np.ones_like(target), 15.0)
    assert found[0] == pytest.approx(diameter, abs=0.15)
    assert square[0] < 0.02 * target.var()


def test_a_shift_of_a_window_is_found_to_hundredths_of_a_pixel():
    sharp = texture(2, 120, 120)[1:2].astype(np.float32)
    moved = ndimage.shift(through_disc(sharp, 5.0)[0], (-0.4, 1.3), order=5, mode="grid-wrap")
    target = moved[None, 20:-20, 20:-20].astype(np.float32)
    shift, correlation = window_shifts(sharp, target, np.ones_like(target), np.array([5.0]))
    np.testing.assert_allclose(shift[0], [-1.3, 0.4], atol=0.02)
    assert correlation[0] > 0.99


def test_a_turn_a_scale_and_a_shift_of_several_pixels_are_undone():
    light = texture(3, 260, 320)
    scale, turn = 1.004, 0.003
    linear = scale * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    offset = np.array([4.6, -7.3])
    blurred = np.stack([ndimage.uniform_filter(x, 5) for x in light])
    moved = np.stack([ndimage.affine_transform(x, linear, offset, order=5) for x in blurred])
    cut = np.s_[:, 30:-30, 30:-30]
    found = register(light[cut].astype(np.float32), moved[cut].astype(np.float32), 12.0, 50)
    y, x = 100.0, 150.0  # of the cut photos
    expected = linear @ np.array([y + 30, x + 30]) + offset - 30
    np.testing.assert_allclose(found.matrix @ [x, y, 1.0], expected[::-1], atol=0.1)
    assert found.residual_px < 0.1


def test_photos_of_different_things_are_refused():
    one, other = (texture(seed, 160, 200).astype(np.float32) for seed in (4, 5))
    with pytest.raises(CaptureError, match="do not show the same"):
        register(one, other, 8.0, 50, "a.jpg")


def test_lateral_colour_is_a_shift_of_a_colour():
    green = texture(6, 100, 100)[1]
    red = ndimage.shift(green, (0.0, 0.5), order=5, mode="grid-wrap")
    sharp = np.stack([red, green, green])[None].astype(np.float32)
    shift = lateral_shifts(sharp, np.ones((1, 3, 80, 80), np.float32), 0)
    np.testing.assert_allclose(shift[0], [-0.5, 0.0], atol=0.02)
