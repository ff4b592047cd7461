"""Predicted distributions are read right once it was learned how: levels, and how far to lean."""

import pytest
import torch
from pydantic import ValidationError

from rangefinder.config import PredictionParams
from rangefinder.models.calibration import LEVELS, Calibration
from rangefinder.models.prediction import Prediction

PREDICTION = Prediction(PredictionParams())
REPORT_M = (0.7, 4.0)


def believed(width_bins: float, error_bins: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Distributions as wide as `width_bins` about truths that lie `error_bins` off, and truths."""
    generator = torch.Generator().manual_seed(seed)
    middle = 0.4 + 0.8 * torch.rand(20_000, 1, generator=generator)
    truth = middle + error_bins * PREDICTION.width_dpt * torch.randn(20_000, 1, generator=generator)
    z = (PREDICTION.centres_dpt - middle) / (width_bins * PREDICTION.width_dpt)
    return torch.softmax(-0.5 * z.square(), dim=-1), truth[:, 0]


def seldom_near(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What is believed of things that are likelier far by who takes all for alike likely."""
    generator = torch.Generator().manual_seed(seed)
    low, high = 0.25, 1.4
    truth = low * (high / low) ** torch.rand(20_000, 1, generator=generator)
    sd = 5 * PREDICTION.width_dpt
    seen = truth + sd * torch.randn(20_000, 1, generator=generator)
    z = (PREDICTION.centres_dpt - seen) / sd
    inside = (PREDICTION.centres_dpt > low) & (PREDICTION.centres_dpt < high)
    return torch.softmax(-0.5 * z.square() + inside.log(), dim=-1), truth[:, 0]


def fitted(probs: torch.Tensor, truth_dpt: torch.Tensor) -> Calibration:
    return Calibration.fit(PREDICTION, probs, truth_dpt, REPORT_M)


def abs_rel(probs: torch.Tensor, truth_dpt: torch.Tensor, nearness: float) -> float:
    estimate_m = PREDICTION.estimate_m(PREDICTION.reweighted(probs, nearness))
    return float((estimate_m * truth_dpt - 1).abs().mean())


def coverage(probs: torch.Tensor, truth_dpt: torch.Tensor, part: float) -> float:
    near, far = PREDICTION.interval_m(probs, part)
    return float(((1 / far <= truth_dpt) & (truth_dpt <= 1 / near)).float().mean())


@pytest.mark.parametrize(("width", "error"), [(3.0, 1.5), (1.5, 3.0), (2.0, 2.0)])
@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
def test_too_wide_and_too_narrow_intervals_are_set_right_on_other_cases(width, error, level):
    calibration = fitted(*believed(width, error, seed=0))
    probs, truth = believed(width, error, seed=1)
    read = PREDICTION.reweighted(probs, calibration.nearness)
    assert coverage(read, truth, calibration.part(level)) == pytest.approx(level, abs=0.02)
    if width != error:
        assert coverage(probs, truth, level) != pytest.approx(level, abs=0.02)


def test_the_curve_rises_and_keeps_the_ends():
    calibration = fitted(*believed(3.0, 1.5, seed=0))
    parts = [calibration.part(level) for level in (0.0, *LEVELS, 1.0)]
    assert parts == sorted(parts)
    assert (parts[0], parts[-1]) == (0.0, 1.0)


def test_a_power_of_distance_is_learned_that_helps_on_other_cases():
    calibration = fitted(*seldom_near(seed=0))
    assert calibration.nearness == pytest.approx(-1.0, abs=0.25)
    probs, truth = seldom_near(seed=1)
    assert abs_rel(probs, truth, calibration.nearness) < 0.98 * abs_rel(probs, truth, 0.0)


def test_truths_beyond_the_reported_range_teach_no_power():
    probs, truth = seldom_near(seed=0)
    far = truth < 1 / 3
    assert fitted(probs[far], truth[far]).nearness != 0.0
    assert Calibration.fit(PREDICTION, probs[far], truth[far], (0.7, 3.0)).nearness == 0.0


def test_a_curve_of_another_length_is_refused():
    with pytest.raises(ValidationError):
        Calibration(central=(0.5, 0.8))
