"""Before and behind the focus: probability, and estimates of either side."""

import pytest
import torch

from rangefinder.config import PredictionParams
from rangefinder.models.distribution import DistanceDistribution

# Ten bins of 0.1 dpt with centres 0.3, 0.4 ... 1.2
DISTRIBUTION = DistanceDistribution(PredictionParams(bins=10, inverse_range_dpt=(0.3, 1.2)))
FOCUS_DPT = 0.75  # between the bins of 0.7 and 0.8


def masses(**share_at: float) -> torch.Tensor:
    """Probabilities `[10]` of bins named by their centre in tenths of a dioptre: `at8=0.5`."""
    probs = torch.zeros(10)
    for name, share in share_at.items():
        probs[int(name.removeprefix("at")) - 3] = share
    return probs


def test_the_sides_share_the_mass_and_each_has_its_own_estimate():
    probs = torch.stack([masses(at4=0.7, at11=0.3), masses(at5=0.1, at9=0.9)])
    before, near_dpt, far_dpt = DISTRIBUTION.sides_dpt(probs, FOCUS_DPT)
    assert before.tolist() == pytest.approx([0.3, 0.9])
    assert near_dpt.tolist() == pytest.approx([1.1, 0.9], abs=1e-4)
    assert far_dpt.tolist() == pytest.approx([0.4, 0.5], abs=1e-4)


def test_the_estimate_of_a_side_is_that_of_the_restricted_distribution():
    probs = torch.softmax(2 * torch.randn(50, 10, generator=torch.Generator().manual_seed(0)), -1)
    _, near_dpt, far_dpt = DISTRIBUTION.sides_dpt(probs, FOCUS_DPT)
    for found, kept in ((near_dpt, slice(5, 10)), (far_dpt, slice(0, 5))):
        restricted = torch.zeros_like(probs)
        restricted[:, kept] = probs[:, kept]
        restricted /= restricted.sum(-1, keepdim=True)
        torch.testing.assert_close(found, DISTRIBUTION.estimate_dpt(restricted))


def test_a_bin_that_holds_the_focus_is_divided():
    before, near_dpt, far_dpt = DISTRIBUTION.sides_dpt(masses(at8=1.0), 0.775)
    assert float(before) == pytest.approx(0.75, abs=1e-5)
    assert 0.775 <= float(near_dpt) <= 0.85
    assert 0.75 <= float(far_dpt) <= 0.775


def test_a_side_without_mass_still_has_an_estimate_on_it():
    before, near_dpt, far_dpt = DISTRIBUTION.sides_dpt(masses(at10=1.0), FOCUS_DPT)
    assert float(before) == pytest.approx(1.0)
    assert float(near_dpt) == pytest.approx(1.0)
    assert 0.25 < float(far_dpt) < FOCUS_DPT


def test_a_focus_beyond_the_bins_leaves_one_side():
    before, _, far_dpt = DISTRIBUTION.sides_dpt(masses(at4=0.5, at11=0.5), 2.0)
    assert float(before) == 0.0
    assert float(far_dpt) == pytest.approx(
        float(DISTRIBUTION.estimate_dpt(masses(at4=0.5, at11=0.5)))
    )
