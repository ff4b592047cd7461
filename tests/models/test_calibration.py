"""Intervals hold the truth as often as they say, once their levels were set right."""

import pytest
import torch
from pydantic import ValidationError

from rangefinder.config import PredictionParams
from rangefinder.models.calibration import LEVELS, Calibration
from rangefinder.models.prediction import Prediction

PREDICTION = Prediction(PredictionParams())


def believed(width_bins: float, error_bins: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Distributions as wide as `width_bins` about truths that lie `error_bins` off, and truths."""
    generator = torch.Generator().manual_seed(seed)
    middle = 0.4 + 0.8 * torch.rand(20_000, 1, generator=generator)
    truth = middle + error_bins * PREDICTION.width_dpt * torch.randn(20_000, 1, generator=generator)
    z = (PREDICTION.centres_dpt - middle) / (width_bins * PREDICTION.width_dpt)
    return torch.softmax(-0.5 * z.square(), dim=-1), truth[:, 0]


def below(probs: torch.Tensor, truth_dpt: torch.Tensor) -> torch.Tensor:
    return PREDICTION.probability_between(probs, torch.full_like(truth_dpt, -1.0), truth_dpt)


def coverage(probs: torch.Tensor, truth_dpt: torch.Tensor, part: float) -> float:
    near, far = PREDICTION.interval_m(probs, part)
    return float(((1 / far <= truth_dpt) & (truth_dpt <= 1 / near)).float().mean())


@pytest.mark.parametrize(("width", "error"), [(3.0, 1.5), (1.5, 3.0), (2.0, 2.0)])
@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
def test_too_wide_and_too_narrow_intervals_are_set_right_on_other_cases(width, error, level):
    calibration = Calibration.fit(below(*believed(width, error, seed=0)))
    probs, truth = believed(width, error, seed=1)
    assert coverage(probs, truth, calibration.part(level)) == pytest.approx(level, abs=0.02)
    if width != error:
        assert coverage(probs, truth, level) != pytest.approx(level, abs=0.02)


def test_the_curve_rises_and_keeps_the_ends():
    calibration = Calibration.fit(below(*believed(3.0, 1.5, seed=0)))
    parts = [calibration.part(level) for level in (0.0, *LEVELS, 1.0)]
    assert parts == sorted(parts)
    assert (parts[0], parts[-1]) == (0.0, 1.0)


def test_a_curve_of_another_length_is_refused():
    with pytest.raises(ValidationError):
        Calibration(central=(0.5, 0.8))
