"""The predictive distribution: targets, decoding and compact form."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rangefinder.config import PredictionParams
from rangefinder.inference.interface import ACCURATE_WITHIN
from rangefinder.models.distribution import DistanceDistribution

DISTRIBUTION = DistanceDistribution(PredictionParams())
INVERSE = st.floats(0.2, 1.42)


@given(inverse=INVERSE)
def test_the_median_of_a_target_is_its_distance(inverse):
    probs = DISTRIBUTION.soft_targets(torch.tensor([inverse]))
    median = DISTRIBUTION.quantile_dpt(probs, (0.5,))[0]
    assert float(median) == pytest.approx(inverse, abs=0.1 * DISTRIBUTION.width_dpt)


@given(seed=st.integers(0, 1000))
def test_no_other_distance_has_a_smaller_expected_relative_error(seed):
    """The estimate is the Bayes estimate, to the width of a bin."""
    centres = DISTRIBUTION.centres_dpt
    probs = (4 * torch.randn(48, generator=torch.Generator().manual_seed(seed))).softmax(-1)
    candidates = 1 / torch.linspace(0.16, 1.47, 2000)
    expected = (probs * (candidates[:, None] * centres - 1).abs()).sum(-1)
    best_dpt = 1 / candidates[expected.argmin()]
    assert abs(DISTRIBUTION.estimate_dpt(probs) - best_dpt) <= DISTRIBUTION.width_dpt


def test_targets_are_distributions():
    probs = DISTRIBUTION.soft_targets(torch.linspace(0.2, 1.4, 50))
    torch.testing.assert_close(probs.sum(-1), torch.ones(50))


def test_quantiles_of_a_uniform_distribution_are_equally_spaced():
    probs = torch.full((48,), 1 / 48)
    levels = (0.0, 0.25, 0.5, 0.75, 1.0)
    low = DISTRIBUTION.centres_dpt[0] - DISTRIBUTION.width_dpt / 2
    expected = low + torch.tensor(levels) * 48 * DISTRIBUTION.width_dpt
    torch.testing.assert_close(DISTRIBUTION.quantile_dpt(probs, levels), expected)


@given(seed=st.integers(0, 1000))
def test_quantiles_grow_with_their_level(seed):
    probs = torch.rand(7, 48, generator=torch.Generator().manual_seed(seed)).softmax(-1)
    quantiles = DISTRIBUTION.quantile_dpt(probs, (0.025, 0.1, 0.5, 0.9, 0.975))
    assert bool((quantiles.diff(dim=0) > 0).all())


def test_a_certain_bin_keeps_its_quantiles_inside_it():
    probs = torch.zeros(48)
    probs[20] = 1.0
    low, high = DISTRIBUTION.quantile_dpt(probs, (0.025, 0.975))
    half = DISTRIBUTION.width_dpt / 2

    assert low > DISTRIBUTION.centres_dpt[20] - half
    assert high < DISTRIBUTION.centres_dpt[20] + half


def test_quantiles_of_two_modes_span_both():
    probs = torch.zeros(48)
    probs[[5, 40]] = 0.5
    low, high = DISTRIBUTION.quantile_dpt(probs, (0.1, 0.9))
    assert high > DISTRIBUTION.centres_dpt[39]
    assert low < DISTRIBUTION.centres_dpt[6]


def test_negentropy_is_0_for_a_uniform_and_1_for_a_certain_distribution():
    flat, sharp = torch.full((48,), 1 / 48), torch.eye(48)[3]
    assert DISTRIBUTION.negentropy(flat).item() == pytest.approx(0.0, abs=1e-6)
    assert DISTRIBUTION.negentropy(sharp).item() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("sd_bins", [0.5, 1.0, 3.0, 10.0])
def test_the_compact_form_loses_less_than_a_hundredth_nat_in_24_bytes(sd_bins):
    inverse = torch.linspace(0.2, 1.4, 2000)
    z = (DISTRIBUTION.centres_dpt - inverse[:, None]) / (sd_bins * DISTRIBUTION.width_dpt)
    probs = torch.softmax(-0.5 * z**2, -1)
    packed = DISTRIBUTION.pack(probs)
    assert packed.dtype == torch.uint8
    assert packed.shape[-1] == DISTRIBUTION.packed_bytes == 24
    lost = (probs * (probs.clamp(min=1e-30) / DISTRIBUTION.unpack(packed)).log()).sum(-1)
    assert lost.mean().item() < 0.01


def test_an_odd_number_of_bins_packs_too():
    distribution = DistanceDistribution(PredictionParams(bins=47))
    probs = torch.rand(3, 5, 47).softmax(-1)
    assert distribution.unpack(distribution.pack(probs)).shape == (3, 5, 47)


def test_the_probability_between_two_distances_is_the_share_of_quantiles_there():
    probs = torch.rand(5, 48, generator=torch.Generator().manual_seed(2))
    probs /= probs.sum(-1, keepdim=True)
    estimate = DISTRIBUTION.estimate_dpt(probs)
    low, high = estimate / (1 + ACCURATE_WITHIN), estimate / (1 - ACCURATE_WITHIN)
    levels = torch.linspace(0, 1, 20001)
    quantiles = DISTRIBUTION.quantile_dpt(probs, tuple(levels.tolist()))
    counted = ((quantiles > low) & (quantiles < high)).float().mean(0)
    assert torch.allclose(DISTRIBUTION.probability_between(probs, low, high), counted, atol=2e-4)


def test_all_probability_lies_between_the_ends_of_the_bins():
    probs = torch.full((3, 48), 1 / 48)
    everywhere = DISTRIBUTION.probability_between(probs, torch.zeros(3), torch.full((3,), 9.0))
    assert torch.allclose(everywhere, torch.ones(3))


def test_quantiles_of_exported_graphs_are_those_of_the_search(monkeypatch):
    probs = (4 * torch.randn(5, 6, 48, generator=torch.Generator().manual_seed(3))).softmax(-1)
    probs[0, 0, 5:20] = 0.0  # a gap
    probs[0, 1] = torch.eye(48)[7]
    levels = (0.01, 0.1, 0.5, 0.9, 0.99)
    expected = DISTRIBUTION.quantile_dpt(probs, levels)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    found = DISTRIBUTION.quantile_dpt(probs, levels)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(found, DISTRIBUTION.quantile_dpt(probs, torch.tensor(levels)))
