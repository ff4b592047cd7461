"""Two distances of distributions with two modes."""

import numpy as np
import pytest

from rangefinder.models.modes import Modes, denser_mass, density_at, held_by_mass, two_distances

CENTRES_DPT = np.linspace(0.3, 1.2, 10)  # of bins of 0.1 dpt


def masses(**share_at: float) -> np.ndarray:
    """Probabilities `[10]` of bins named by their centre in tenths of a dioptre: `at8=0.5`."""
    probs = np.zeros(10, dtype=np.float32)
    for name, share in share_at.items():
        probs[int(name.removeprefix("at")) - 3] = share
    return probs


TWO = masses(at10=0.3, at11=0.25, at4=0.2, at5=0.17, at7=0.02, at3=0.06)


def both(probs, mass=0.8):
    """Distance, share, near and far end of the nearer and of the farther one; None where one."""
    found = np.stack(two_distances(probs[None], CENTRES_DPT, mass).maps, axis=-1)[0]
    assert np.isnan(found).all() or np.isfinite(found).all()
    return None if np.isnan(found).any() else found.tolist()


def test_two_modes_are_two_distances():
    """The densest bins of 0.8 are 0.3 + 0.25 at 1.0 and 1.1, and 0.2 + 0.17 at 0.4 and 0.5 dpt.

    The weights of the nearer estimate are 0.3 and 0.275: its median lies (0.5 * 0.575) / 0.3 within
    the bin of 1.0 dpt.
    """
    nearer, farther = both(TWO)
    median_dpt = 0.95 + 0.1 * (0.2875 / 0.3)
    assert nearer == pytest.approx([1 / median_dpt, 0.55 / 0.92, 1 / 1.15, 1 / 0.95], rel=1e-5)
    median_dpt = 0.45 + 0.1 * (0.0825 - 0.08) / 0.085
    assert farther == pytest.approx([1 / median_dpt, 0.37 / 0.92, 1 / 0.55, 1 / 0.35], rel=1e-5)
    np.testing.assert_allclose(both(7 * TWO), [nearer, farther], rtol=1e-6)


def test_more_mass_widens_the_intervals():
    """0.93 need the sixth bin, of 0.06 at 0.3 dpt, too."""
    nearer, farther = both(TWO, 0.93)
    assert nearer == pytest.approx([*both(TWO)[0][:1], 0.55 / 0.98, *both(TWO)[0][2:]], rel=1e-5)
    assert farther[3] == pytest.approx(1 / 0.25)


@pytest.mark.parametrize(
    ("probs", "why"),
    [
        (masses(at9=0.5, at10=0.5), "one mode"),
        (masses(at4=0.4, at5=0.15, at6=0.45), "the valley is a third of the peaks"),
        (masses(at10=0.92, at5=0.08), "the second mode is too small"),
        (np.full(10, 0.1, np.float32), "nothing known"),
        (masses(at3=1.0), "all in the first bin"),
        (masses(at12=1.0), "all in the last bin"),
    ],
)
def test_other_distributions_have_one_mode(probs, why):
    assert not Modes.of(probs[None]).found[0], why
    assert both(probs) is None


def test_a_mode_outside_of_the_region_is_no_second_distance():
    """The two densest bins hold 0.84; the mode of 0.16 at 0.4 dpt is left out."""
    probs = masses(at10=0.5, at11=0.34, at4=0.16)
    assert Modes.of(probs[None]).found[0]
    assert both(probs, 0.8) is None
    assert both(probs, 0.9) is not None


def test_the_deepest_of_two_valleys_parts_the_modes():
    """Peaks of 0.3, 0.14 and 0.3, valleys of 0.02 and 0.01: the intervals are parted at 0.9."""
    probs = masses(at4=0.3, at5=0.2, at6=0.02, at7=0.14, at8=0.03, at9=0.01, at10=0.3)
    assert Modes.of(probs[None]).valley[0] == 6
    nearer, farther = both(probs, 0.9)
    assert nearer[2:] == pytest.approx([1 / 1.05, 1 / 0.95])
    assert farther[2:] == pytest.approx([1 / 0.75, 1 / 0.35])


def test_every_distribution_is_looked_at_by_itself():
    probs = np.exp(3 * np.random.default_rng(0).normal(size=(200, 10))).astype(np.float32)
    together = np.stack(two_distances(probs, CENTRES_DPT, 0.8).maps, axis=-1)
    divided = np.isfinite(together).all((1, 2))
    assert 10 < divided.sum() < 190
    for one, found in zip(probs, together, strict=True):
        alone = np.stack(two_distances(one[None], CENTRES_DPT, 0.8).maps, axis=-1)[0]
        np.testing.assert_array_equal(found, alone)
    assert (together[divided, 0, 3] < together[divided, 1, 2]).all()
    np.testing.assert_allclose(together[divided, :, 1].sum(-1), 1, rtol=1e-6)
    distance, _, near, far = together[divided].transpose(2, 0, 1)
    assert ((near < distance) & (distance < far)).all()


def test_denser_mass_is_that_of_the_smallest_region_without_the_truth():
    truth_dpt = np.array([1.01, 1.1, 0.4, 0.52, 0.3, 0.6, 0.1, 1.3])
    expected = [0, 0.3, 0.55, 0.75, 0.92, 1.0, 1.0, 1.0]
    probs = np.repeat(TWO[None], 8, axis=0)
    found = denser_mass(probs, density_at(probs, truth_dpt, CENTRES_DPT))
    assert found == pytest.approx(expected, abs=1e-6)


def test_what_is_held_is_that_of_the_intervals_given():
    """Without gaps within the modes, so that an interval has no more than its bins."""
    generator = np.random.default_rng(3)
    far, share = generator.uniform(0.35, 0.5, (2, 400, 1))
    z = (CENTRES_DPT - np.stack([far, 1.5 - far])) / 0.08
    probs = (np.stack([share, 1 - share]) * np.exp(-0.5 * z**2)).sum(0)
    truth_dpt = generator.uniform(0.3, 1.2, 400)
    probs, truth_dpt = (values[Modes.of(probs).found] for values in (probs, truth_dpt))
    masses, shares = held_by_mass(probs, truth_dpt, CENTRES_DPT)
    for mass, expected in list(zip(masses, shares, strict=True))[20::30]:
        both = two_distances(probs, CENTRES_DPT, mass)
        given = np.isfinite(both.near_m).all(-1)
        truth_m = 1 / truth_dpt[given, None]
        inside = (both.near_m[given] <= truth_m) & (truth_m <= both.far_m[given])
        assert inside.any(-1).mean() == pytest.approx(expected, abs=0.003)


def test_nothing_of_nothing():
    assert two_distances(np.empty((0, 10), np.float32), CENTRES_DPT, 0.8).share.shape == (0, 2)
