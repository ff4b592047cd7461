"""Regions: which pixels are scored, and their texture, position, edge and distance groups."""

from __future__ import annotations

import numpy as np
import pytest

from rangefinder.config import parse_parameters
from rangefinder.coordinates import Placement
from rangefinder.errors import CaptureError, ConfigError
from rangefinder.evaluation.regions import SIDES, Regions, near_edges, sensor_grid, support_mask

WHOLE = (0, 0, 64, 48)


def axes_of(regions, captures, index=0):
    scored = regions.of(captures, index)
    return scored, np.unravel_index(scored.cell, regions.cell_shape)


def test_only_known_distances_within_the_range_are_scored(captures, params):
    captures.distances[0][:] = 9.0
    captures.distances[0][3, :5] = [0.0, 0.7, 4.0, 4.01, np.nan]
    scored = Regions.over(captures, params, WHOLE).of(captures, 0)
    assert scored.flat.tolist() == [3 * 64 + 1, 3 * 64 + 2]
    assert scored.truth_m == pytest.approx([0.7, 4.0])


def test_distance_bins_hold_their_near_edge_and_the_last_its_far_edge(captures, params):
    captures.distances[0][:] = 0.0
    captures.distances[0][0, :7] = [0.7, 0.999, 1.0, 1.5, 2.999, 3.0, 4.0]
    regions = Regions.over(captures, params, WHOLE)
    _, axes = axes_of(regions, captures)
    assert axes[3].tolist() == [0, 0, 1, 2, 3, 4, 4]
    assert regions.distance_names == ("0.7-1.0", "1.0-1.5", "1.5-2.0", "2.0-3.0", "3.0-4.0")


def test_sides_are_those_of_the_focus(captures, params):
    focus_m = captures.camera.focus_distance_m
    captures.distances[0][:] = 0.0
    captures.distances[0][0, :3] = [focus_m - 0.01, focus_m, focus_m + 0.01]
    scored = Regions.over(captures, params, WHOLE).of(captures, 0)
    assert [SIDES[side] for side in scored.side] == ["before", "behind", "behind"]


def test_positions_are_sensor_radii(captures, params):
    captures.distances[0][:] = 2.0
    regions = Regions.over(captures, params, WHOLE)
    _, axes = axes_of(regions, captures)
    position = axes[1].reshape(48, 64)
    y, x = np.mgrid[:48, :64] + 0.5
    radius = np.hypot(x - 32, y - 24) / 40  # 64 x 48 has half a diagonal of 40
    assert np.array_equal(position == 0, radius < 0.4)
    assert np.array_equal(position == 1, radius > 0.8)


def test_a_crop_keeps_its_place_on_the_sensor(captures, params, monkeypatch):
    assert sensor_grid(captures.camera) == (6, 8)
    captures.distances[0] = np.full((8, 8), 2.0, np.float32)
    captures.textures[0] = np.zeros((8, 8), np.float32)
    crop = Placement(origin_px=(40, 16))  # the third row of cells, the sixth column
    monkeypatch.setattr(captures, "placement", lambda _: crop, raising=False)
    regions = Regions(params, (0, 0, 8, 8), 1.0)
    assert set(regions.of(captures, 0).sensor_cell) == {2 * 8 + 5}


def test_texture_splits_the_scored_pixels_of_all_captures_in_the_configured_share(captures, params):
    regions = Regions.over(captures, params, (4, 4, 60, 44))
    strong = known = 0
    for index in range(len(captures)):
        scored, axes = axes_of(regions, captures, index)
        strong += int((axes[0][scored.inside] == 0).sum())
        known += int(scored.inside.sum())
    assert strong / known == pytest.approx(0.5, abs=1e-3)


def test_strong_texture_is_the_one_with_more_energy(captures, params):
    captures.distances[0][:] = 2.0
    captures.textures[0][:] = 1e-6
    captures.textures[0][:, :10] = 1e3
    _, axes = axes_of(Regions.over(captures, params, WHOLE), captures)
    texture = axes[0].reshape(48, 64)
    assert (texture[:, :10] == 0).all()
    assert (texture[:, 10:] == 1).all()


def test_pixels_of_unknown_texture_belong_to_neither_group(captures, params):
    captures.textures[0] = None
    captures.textures[1][:] = np.nan
    regions = Regions.over(captures, params, WHOLE)
    for index in (0, 1):
        assert set(axes_of(regions, captures, index)[1][0]) == {2}


def test_the_edge_band_has_its_width():
    distance = np.full((1, 40), 1.0, np.float32)
    distance[:, 20:] = 1.06
    assert np.flatnonzero(near_edges(distance, 0.05, 8)).tolist() == list(range(11, 29))


def test_a_step_below_the_threshold_is_no_edge():
    distance = np.full((5, 40), 1.0, np.float32)
    distance[:, 20:] = 1.049
    assert not near_edges(distance, 0.05, 8).any()


def test_edges_are_the_same_mirrored_and_transposed():
    generator = np.random.default_rng(0)
    distance = generator.choice(np.asarray([1.0, 1.04, 2.0], np.float32), (20, 30))
    edges = near_edges(distance, 0.05, 2)
    assert np.array_equal(near_edges(distance.T, 0.05, 2), edges.T)
    assert np.array_equal(near_edges(distance[::-1, ::-1], 0.05, 2), edges[::-1, ::-1])


def test_unknown_pixels_are_no_edge_but_a_jump_across_them_is():
    distance = np.full((1, 40), 2.0, np.float32)
    distance[:, 18:22] = 0.0
    assert not near_edges(distance, 0.05, 3).any()
    distance[:, 22:] = 1.0
    assert np.flatnonzero(near_edges(distance, 0.05, 3)).tolist() == list(range(16, 24))


def test_an_unknown_map_has_no_edges():
    assert not near_edges(np.zeros((4, 4), np.float32), 0.05, 3).any()


def test_support_may_be_a_box_a_mask_or_a_function():
    box = support_mask((1, 2, 5, 4), 0, (6, 8))
    assert box.sum() == 4 * 2
    assert box[2:4, 1:5].all()
    assert np.array_equal(support_mask(box, 0, (6, 8)), box)
    assert support_mask(lambda index: (0, 0, index, 1), 3, (6, 8)).sum() == 3


@pytest.mark.parametrize("support", [(0, 0, 9, 6), (4, 0, 4, 6), np.ones((3, 3), bool)])
def test_support_that_does_not_fit_is_refused(support):
    with pytest.raises(CaptureError, match="does not fit capture 2"):
        support_mask(support, 2, (6, 8))


@pytest.mark.parametrize(
    "wrong",
    [
        {"distance_edges_m": (1.0,)},
        {"distance_edges_m": (1.0, 3.0, 2.0)},
        {"distance_edges_m": (0.0, 1.0)},
        {"centre_radius": 0.9, "corner_radius": 0.8},
    ],
)
def test_invalid_regions_are_refused_with_the_configuration(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong)).split("_")[0]):
        parse_parameters({"evaluation": wrong})
