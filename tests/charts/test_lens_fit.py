"""The fit of a lens to windows of pairs, and corrections to its kernels."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from rangefinder.charts.kernel_estimation import (
    as_residual,
    equivalent_discs,
    estimate_residual,
    normal_equations,
)
from rangefinder.charts.lens_fit import CrossRelation, choose_windows, first_shape, fit_lens
from rangefinder.charts.pair_windows import Pair, Windows, kernel_margin, pair_windows
from rangefinder.optics.lens_model import LensModel

from .calibration_lens import BANK, CAMERA, DISTANCES_M, SHARP_F_NUMBER, lens, photo, texture

TRUE = {"f_number": 3.0, "focus_dpt": 1 / 1.58, "red_dpt": 0.05, "spherical_dpt": 0.06}
NAMES = ("f_number", "focus_dpt", "red_dpt", "blue_dpt", "spherical_dpt")


def windows_of(model: LensModel) -> Windows:
    margin = kernel_margin(CAMERA, np.array(DISTANCES_M))
    parts = []
    for index, distance in enumerate(DISTANCES_M):
        light = texture(index)
        blurred = photo(model, light, distance, noise=0.003)
        sharp = 0.8 * photo(model, light, distance, SHARP_F_NUMBER, noise=0.003)
        clipped = np.zeros(blurred.shape[1:], dtype=bool)
        pair = Pair("a", blurred, sharp, clipped, clipped, distance, SHARP_F_NUMBER)
        parts.append(pair_windows(pair, index, CAMERA, margin)[0])
    return Windows.of(parts)


@cache
def windows() -> Windows:
    return windows_of(lens(**TRUE))


def test_measured_discs_give_focus_and_aperture():
    shape = first_shape(windows(), CAMERA)
    assert shape.focus_distance_m == pytest.approx(1.58, rel=0.04)
    assert shape.f_number == pytest.approx(3.0, rel=0.06)


def test_the_fit_recovers_the_lens_within_its_uncertainties():
    found = fit_lens(CrossRelation(windows(), CAMERA, BANK), lens().shape, NAMES)
    shape = found.model.shape
    assert shape.focus_distance_m == pytest.approx(1.58, rel=0.01)
    assert shape.f_number == pytest.approx(3.0, rel=0.02)
    assert shape.red_dpt == pytest.approx(0.05, abs=0.015)
    assert shape.blue_dpt == pytest.approx(0.0, abs=0.015)
    assert shape.spherical_dpt == pytest.approx(0.06, abs=0.02)
    assert found.sd["f_number"] < 0.3 * found.prior["f_number"]
    assert found.unexplained < 0.1
    assert found.open_parameters == []


def test_of_one_distance_focus_and_aperture_are_not_told():
    one = windows().take(windows().distance_m == DISTANCES_M[0])
    relation = CrossRelation(one, CAMERA, BANK)
    found = fit_lens(relation, lens().shape, ("f_number", "focus_dpt"))
    assert "f_number" in found.open_parameters or abs(found.correlation[0, 1]) > 0.9


def test_windows_are_chosen_evenly_from_pairs():
    few = choose_windows(windows(), 12)
    assert len(few) == 12
    assert set(np.bincount(few.pair)) == {2}


def test_corrections_are_kept_where_the_model_is_wrong_only():
    relation = CrossRelation(windows(), CAMERA, BANK)
    right = lens(**TRUE)
    assert estimate_residual(normal_equations(relation, right))[0] is None
    wrong = lens(**TRUE | {"spherical_dpt": -0.1})
    residual, share = estimate_residual(normal_equations(relation, wrong))
    assert residual is not None
    assert share > 0.1


def test_corrections_bring_wrong_kernels_nearer_to_the_truth():
    relation = CrossRelation(windows(), CAMERA, BANK)
    true, wrong = lens(**TRUE), lens(**TRUE | {"spherical_dpt": -0.1})
    equations = normal_equations(relation, wrong)
    every = np.ones(len(equations.pairs), dtype=bool)
    residual = as_residual(equations.solve(every, 3.0))
    points = relation.points(1)
    blur = wrong.blur_px(points.distance_m)
    expected, modelled = (relation.kernels(model, 1)[0] for model in (true, wrong))
    corrected = residual.added(modelled, blur, points)
    blurred = np.abs(blur) > 5
    before, after = (np.abs(k - expected).sum((1, 2))[blurred] for k in (modelled, corrected))
    assert after.mean() < 0.75 * before.mean()


def test_the_disc_between_two_kernels_is_that_of_a_thin_lens_between_stops():
    relation = CrossRelation(windows(), CAMERA, BANK)
    blurred, sharp, _ = relation.kernels(lens(), 1)
    found = equivalent_discs(blurred, sharp, 30.0)
    blur = np.abs(lens().blur_px(windows().distance_m))
    expected = blur * np.sqrt(1 - (2.8 / SHARP_F_NUMBER) ** 2)
    np.testing.assert_allclose(found[blur > 3], expected[blur > 3], rtol=0.04)
