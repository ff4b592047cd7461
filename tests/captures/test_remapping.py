"""Distances of rgbd frames, scaled, mirrored across the focus and shifted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rangefinder.camera import Camera
from rangefinder.captures.remapping import defocused, remapped
from rangefinder.optics.blur import blur_px, reference_m

CAMERA = Camera(focus_distance_m=1.5)
WORKING_M = (0.7, 5.0)


def frame(near_m=1.6, far_m=2.4):
    """Distances from near to far, linear, with an unknown corner."""
    distance_m = torch.linspace(near_m, far_m, 48 * 64).reshape(48, 64)
    distance_m[:5, :5] = 0.0
    return distance_m


def test_mirrored_distances_keep_the_size_of_blur_and_change_the_side():
    distance_m = frame()
    known = distance_m > 0
    mirrored = defocused(distance_m, CAMERA, -1.0, 0.0)
    assert torch.equal(mirrored > 0, known)
    assert (distance_m[known] > 1.5).all()
    assert (mirrored[known] < 1.5).all()
    before, after = (blur_px(CAMERA, one[known].double().numpy()) for one in (distance_m, mirrored))
    assert before.max() > 3
    assert after == pytest.approx(before, abs=1e-3)


def test_defocus_is_multiplied_and_shifted():
    distance_m = torch.tensor([[1.2, 1.5, 3.0]])
    lens_m = distance_m.double() - reference_m(CAMERA)
    focus_dpt = 1 / (1.5 - reference_m(CAMERA))
    expected = focus_dpt + 0.5 * (1 / lens_m - focus_dpt) + 0.1
    found = 1 / (defocused(distance_m, CAMERA, 0.5, 0.1).double() - reference_m(CAMERA))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)
    assert torch.equal(defocused(distance_m, CAMERA, 1.0, 0.0), distance_m)


def test_what_would_be_beyond_infinity_is_far_away():
    assert float(defocused(torch.tensor([[0.7]]), CAMERA, -3.0, 0.0)) > 900


def test_remapped_frames_lie_in_the_working_range_on_both_sides_of_the_focus():
    moved = torch.stack(
        [remapped(frame(), CAMERA, WORKING_M, np.random.default_rng(i)) for i in range(60)]
    )
    known = frame() > 0
    assert ((moved > 0) == known).all()
    inside = (moved[:, known] >= 0.7 - 1e-3) & (moved[:, known] <= 5.0 + 1e-3)
    assert float(inside.float().mean(dim=1).min()) > 0.88
    nearer = moved[:, known].median(dim=1).values < 1.5
    assert 0.2 < float(nearer.float().mean()) < 0.95
    rising = moved[:, 40, 40] > moved[:, 8, 8]
    assert 0.3 < float(rising.float().mean()) < 0.7  # half of them are mirrored
    assert len(moved[:, 24, 32].unique()) == 60


def test_a_frame_that_is_wider_than_the_range_is_squeezed_into_it():
    wide = frame(0.3, 30.0)
    for seed in range(10):
        moved = remapped(wide, CAMERA, WORKING_M, np.random.default_rng(seed))
        inside = (moved >= 0.7 - 1e-3) & (moved <= 5.0 + 1e-3)
        assert float(inside[wide > 0].float().mean()) > 0.88


def test_remapping_is_the_same_for_the_same_seed():
    one, other = (remapped(frame(), CAMERA, WORKING_M, np.random.default_rng(4)) for _ in range(2))
    assert torch.equal(one, other)
