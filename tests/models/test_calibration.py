"""Calibration: intervals of the stated coverage, and posterior tilting."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from rangefinder.config import PredictionParams
from rangefinder.models.calibration import (
    CALIBRATION_LEVELS,
    Calibration,
    central_mass,
    level_of_mass,
)
from rangefinder.models.distribution import DistanceDistribution
from rangefinder.models.modes import two_distances

DISTRIBUTION = DistanceDistribution(PredictionParams())
REPORT_M = (0.7, 4.0)


def posteriors(
    width_bins: float, error_bins: float, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Distributions as wide as `width_bins` about truths that lie `error_bins` off, and truths."""
    generator = torch.Generator().manual_seed(seed)
    middle = 0.4 + 0.8 * torch.rand(20_000, 1, generator=generator)
    error_dpt = error_bins * DISTRIBUTION.width_dpt
    truth = middle + error_dpt * torch.randn(20_000, 1, generator=generator)
    z = (DISTRIBUTION.centres_dpt - middle) / (width_bins * DISTRIBUTION.width_dpt)
    return torch.softmax(-0.5 * z.square(), dim=-1), truth[:, 0]


def wrong_prior(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Posteriors under a uniform prior of truths that are mostly far, and truths."""
    generator = torch.Generator().manual_seed(seed)
    low, high = 0.25, 1.4
    truth = low * (high / low) ** torch.rand(20_000, 1, generator=generator)
    sd = 5 * DISTRIBUTION.width_dpt
    observed = truth + sd * torch.randn(20_000, 1, generator=generator)
    z = (DISTRIBUTION.centres_dpt - observed) / sd
    inside = (DISTRIBUTION.centres_dpt > low) & (DISTRIBUTION.centres_dpt < high)
    return torch.softmax(-0.5 * z.square() + inside.log(), dim=-1), truth[:, 0]


def fitted(probs: torch.Tensor, truth_dpt: torch.Tensor) -> Calibration:
    return Calibration.fit(DISTRIBUTION, probs, truth_dpt, REPORT_M)


def abs_rel(probs: torch.Tensor, truth_dpt: torch.Tensor, tilt_power: float) -> float:
    estimate_m = DISTRIBUTION.estimate_m(DISTRIBUTION.tilted(probs, tilt_power))
    return float((estimate_m * truth_dpt - 1).abs().mean())


def coverage(probs: torch.Tensor, truth_dpt: torch.Tensor, mass: float) -> float:
    low, high = DISTRIBUTION.quantile_dpt(probs, ((1 - mass) / 2, (1 + mass) / 2))
    return float(((low <= truth_dpt) & (truth_dpt <= high)).float().mean())


def mirrored(width_bins: float, error_bins: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mixtures of a Gaussian at 0.35 to 0.5 dpt and its mirror image, and truths of either.

    They are as wide as `width_bins`, and as probable as they say; truths lie `error_bins` off.
    """
    generator = torch.Generator().manual_seed(seed)
    far = 0.35 + 0.15 * torch.rand(20_000, 1, generator=generator)
    share = 0.2 + 0.6 * torch.rand(20_000, 1, generator=generator)
    is_far = torch.rand(20_000, 1, generator=generator) < share
    error = error_bins * DISTRIBUTION.width_dpt * torch.randn(20_000, 1, generator=generator)
    truth = torch.where(is_far, far, 1.5 - far) + error
    parts = [
        torch.softmax(
            -0.5 * ((DISTRIBUTION.centres_dpt - at) / (width_bins * DISTRIBUTION.width_dpt)) ** 2,
            dim=-1,
        )
        for at in (far, 1.5 - far)
    ]
    return share * parts[0] + (1 - share) * parts[1], truth[:, 0]


@pytest.mark.parametrize(("width", "error"), [(3.0, 1.5), (1.5, 3.0), (2.0, 2.0)])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_both_intervals_together_are_calibrated_and_shorter_than_the_one(width, error, level):
    probs, truth = mirrored(width, error, seed=0)
    calibration = Calibration.fit(DISTRIBUTION, probs, truth)
    probs, truth = mirrored(width, error, seed=1)
    mass = central_mass(calibration.two_modes, level)
    both = two_distances(probs.numpy(), DISTRIBUTION.centres_dpt.double().numpy(), mass)
    given = np.isfinite(both.near_m).all(-1)
    assert given.mean() > 0.4
    truth_m = 1 / truth.numpy()[:, None]
    inside = (both.near_m <= truth_m) & (truth_m <= both.far_m)
    assert inside.any(-1)[given].mean() == pytest.approx(level, abs=0.025)
    held = given & inside.any(-1)
    assert inside[held, 0].mean() == pytest.approx(both.share[held, 0].mean(), abs=0.02)
    mass = central_mass(calibration.central, level)
    low, high = DISTRIBUTION.quantile_dpt(probs, ((1 - mass) / 2, (1 + mass) / 2)).numpy()
    total = (1 / both.near_m - 1 / both.far_m).sum(-1)
    assert total[given].mean() < 0.8 * (high - low)[given].mean()


def test_too_few_distributions_with_two_modes_are_not_calibrated():
    probs, truth = posteriors(3.0, 1.5, seed=0)
    few = fitted(probs, truth)
    assert few.two_modes is None
    assert set(few.model_dump(mode="json")) == {"central", "tilt_power"}
    more, where = mirrored(2.0, 2.0, seed=0)
    found = fitted(torch.cat([probs, more[:2000]]), torch.cat([truth, where[:2000]]))
    assert len(found.two_modes) == len(CALIBRATION_LEVELS)
    assert Calibration.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(("width", "error"), [(3.0, 1.5), (1.5, 3.0), (2.0, 2.0)])
@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
def test_intervals_fitted_on_some_cases_are_calibrated_on_others(width, error, level):
    calibration = fitted(*posteriors(width, error, seed=0))
    probs, truth = posteriors(width, error, seed=1)
    tilted = DISTRIBUTION.tilted(probs, calibration.tilt_power)
    found = coverage(tilted, truth, central_mass(calibration.central, level))
    assert found == pytest.approx(level, abs=0.02)
    if width != error:
        assert coverage(probs, truth, level) != pytest.approx(level, abs=0.02)


def test_the_calibration_curve_increases_from_0_to_1():
    calibration = fitted(*posteriors(3.0, 1.5, seed=0))
    masses = [central_mass(calibration.central, level) for level in (0.0, *CALIBRATION_LEVELS, 1.0)]
    assert masses == sorted(masses)
    assert (masses[0], masses[-1]) == (0.0, 1.0)


def test_a_tilt_fitted_on_some_cases_reduces_the_error_on_others():
    calibration = fitted(*wrong_prior(seed=0))
    assert calibration.tilt_power == pytest.approx(-1.0, abs=0.25)
    probs, truth = wrong_prior(seed=1)
    assert abs_rel(probs, truth, calibration.tilt_power) < 0.98 * abs_rel(probs, truth, 0.0)


def test_truths_beyond_the_reported_range_do_not_count_in_the_tilt():
    probs, truth = wrong_prior(seed=0)
    far = truth < 1 / 3
    assert fitted(probs[far], truth[far]).tilt_power != 0.0
    assert Calibration.fit(DISTRIBUTION, probs[far], truth[far], (0.7, 3.0)).tilt_power == 0.0


def test_a_curve_of_another_length_is_refused():
    with pytest.raises(ValidationError):
        Calibration(central=(0.5, 0.8))


def test_every_central_mass_has_its_level():
    central = tuple(level**2 for level in CALIBRATION_LEVELS)
    for mass in (0.0, 0.001, 0.3, 0.64, 0.97, 0.995, 1.0):
        assert central_mass(central, level_of_mass(central, mass)) == pytest.approx(mass)
    flat = (0.5,) * len(CALIBRATION_LEVELS)
    assert central_mass(flat, level_of_mass(flat, 0.5)) == pytest.approx(0.5)
