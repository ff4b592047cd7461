"""Ranges before and behind the focus between which a posterior is undecided."""

import numpy as np
import pytest

from rangefinder.config import PredictionParams
from rangefinder.inference.two_ranges import two_ranges_dpt

# Ten bins of 0.1 dpt with centres 0.3, 0.4 ... 1.2
BINS = PredictionParams(bins=10, inverse_range_dpt=(0.3, 1.2))
FOCUS_DPT = 0.75  # between the bins of 0.7 and 0.8


def masses(**share_at: float) -> np.ndarray:
    """Probabilities `[10]` of bins named by their centre in tenths of a dioptre: `at8=0.5`."""
    probs = np.zeros(10, dtype=np.float32)
    for name, share in share_at.items():
        probs[int(name.removeprefix("at")) - 3] = share
    return probs


def two_ranges(probs: np.ndarray, focus_dpt: float = FOCUS_DPT) -> list[list[float]] | None:
    """Those of one distribution; None where it is not divided."""
    ranges = two_ranges_dpt(probs[None], BINS, focus_dpt, 0.8)[0]
    assert np.isnan(ranges).all() or np.isfinite(ranges).all()
    return None if np.isnan(ranges).any() else ranges.tolist()


def test_two_modes_are_two_ranges():
    """The 0.8 region has the four densest bins: 0.3 + 0.2 before, 0.2 + 0.2 behind the focus."""
    probs = masses(at10=0.3, at11=0.2, at4=0.2, at5=0.2, at7=0.05, at3=0.05)
    assert two_ranges(probs) == [pytest.approx([0.95, 1.15]), pytest.approx([0.35, 0.55])]
    assert two_ranges(7 * probs) == two_ranges(probs)


@pytest.mark.parametrize(
    ("probs", "why"),
    [
        (masses(at9=0.5, at10=0.5), "all before"),
        (masses(at7=0.5, at8=0.5), "one mode across the focus"),
        (masses(at5=0.4, at8=0.6), "its region begins at the focus"),
        (masses(at10=0.92, at5=0.08), "hardly any behind: outside of the central interval"),
        (np.full(10, 0.1), "nothing known"),
    ],
)
def test_other_posteriors_are_one_range(probs, why):
    assert two_ranges(probs) is None, why


def test_every_distribution_is_looked_at_by_itself():
    probs = np.exp(3 * np.random.default_rng(0).normal(size=(200, 10)))
    together = two_ranges_dpt(probs, BINS, FOCUS_DPT, 0.8)
    divided = np.isfinite(together).all((1, 2))
    assert 10 < divided.sum() < 190
    for one, ranges in zip(probs, together, strict=True):
        np.testing.assert_array_equal(ranges, two_ranges_dpt(one[None], BINS, FOCUS_DPT, 0.8)[0])


def test_a_focus_beyond_the_bins_divides_nothing():
    assert two_ranges(masses(at4=0.5, at11=0.5), focus_dpt=2.0) is None
