"""The Motorcycle pair as an RGB-D frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rangefinder.errors import CaptureError
from rangefinder.synthesis.rgbd import motorcycle, motorcycle_depth


def test_depth_follows_the_documented_calibration():
    depth_m = motorcycle_depth(np.array([[40.0, np.nan, np.inf]]))
    assert depth_m[0, 0] == pytest.approx(0.193001 * 994.978 / (40.0 + 31.086), rel=1e-6)
    assert depth_m[0, 1:].tolist() == [0.0, 0.0]


def test_scene_is_plausible():
    sharp, known_m, shown_m = motorcycle(96, 128, (0.7, 5.0))
    assert sharp.shape == (3, 96, 128)
    assert known_m.shape == shown_m.shape == (96, 128)
    known = known_m > 0
    assert 0.85 < float(known.float().mean()) < 0.97
    assert 2.0 < float(known_m[known].min()) < 2.4
    assert 4.5 < float(known_m[known].max()) <= 5.0
    assert torch.equal(known_m[known], shown_m[known])
    assert 2.0 < float(shown_m.min()) <= float(shown_m.max()) <= 5.0
    assert 0 <= float(sharp.min()) < 0.1 < 0.5 < float(sharp.max()) <= 1


def test_picture_and_distances_stay_aligned():
    """Edges of the picture lie where distance steps are, and less where the map is moved."""
    sharp, _, shown_m = motorcycle(240, 320, (0.7, 5.0))
    detail = sharp.mean(dim=0).add(0.02).log().diff(dim=1).abs()
    step = (shown_m.log().diff(dim=1).abs() > 0.1).float()

    def overlap(shift: int) -> float:
        return float((detail * step.roll(shift, 1))[:, 20:-20].mean())

    assert max(range(-6, 7), key=overlap) in (-1, 0, 1)


def test_distances_out_of_the_working_range_are_unknown():
    _, known_m, shown_m = motorcycle(48, 64, (0.7, 3.0))
    assert float(known_m.max()) <= 3.0
    assert 0.3 < float((known_m == 0).float().mean()) < 0.9
    assert float(shown_m.max()) == 3.0


def test_a_range_without_the_scene_is_refused():
    with pytest.raises(CaptureError, match="real_scenes"):
        motorcycle(48, 64, (0.2, 0.5))
