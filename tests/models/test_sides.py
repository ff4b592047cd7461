"""Before and behind the focus: probability, estimates of either side, two ranges."""

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


def two_ranges(probs: torch.Tensor, focus_dpt: float = FOCUS_DPT) -> list[list[float]] | None:
    """Those of one distribution; None where it is not divided."""
    ranges = DISTRIBUTION.two_ranges_dpt(probs[None], focus_dpt, 0.8)[0]
    assert ranges.isnan().all() or ranges.isfinite().all()
    return None if ranges.isnan().any() else ranges.tolist()


def test_two_modes_are_two_ranges():
    """The 0.8 region has the four densest bins: 0.3 + 0.2 before, 0.2 + 0.2 behind the focus."""
    probs = masses(at10=0.3, at11=0.2, at4=0.2, at5=0.2, at7=0.05, at3=0.05)
    assert two_ranges(probs) == [pytest.approx([0.95, 1.15]), pytest.approx([0.35, 0.55])]


@pytest.mark.parametrize(
    ("probs", "why"),
    [
        (masses(at9=0.5, at10=0.5), "all before"),
        (masses(at7=0.5, at8=0.5), "one mode across the focus"),
        (masses(at5=0.4, at8=0.6), "its region begins at the focus"),
        (masses(at10=0.92, at5=0.08), "hardly any behind: outside of the central interval"),
        (torch.full((10,), 0.1), "nothing known"),
    ],
)
def test_other_posteriors_are_one_range(probs, why):
    assert two_ranges(probs) is None, why


def test_every_distribution_is_looked_at_by_itself():
    generator = torch.Generator().manual_seed(0)
    probs = torch.softmax(3 * torch.randn(200, 10, generator=generator), -1)
    together = DISTRIBUTION.two_ranges_dpt(probs, FOCUS_DPT, 0.8)
    divided = together.isfinite().all(-1).all(-1)
    assert 10 < divided.sum() < 190
    for one, ranges in zip(probs, together, strict=True):
        alone = DISTRIBUTION.two_ranges_dpt(one[None], FOCUS_DPT, 0.8)[0]
        torch.testing.assert_close(ranges, alone, equal_nan=True)


def test_a_focus_beyond_the_bins_divides_nothing():
    assert two_ranges(masses(at4=0.5, at11=0.5), focus_dpt=2.0) is None
    before, _, far_dpt = DISTRIBUTION.sides_dpt(masses(at4=0.5, at11=0.5), 2.0)
    assert float(before) == 0.0
    assert float(far_dpt) == pytest.approx(
        float(DISTRIBUTION.estimate_dpt(masses(at4=0.5, at11=0.5)))
    )
