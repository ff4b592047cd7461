"""Which captures fill a batch: all alike, or photos by their share and charts like them."""

import numpy as np
import pytest
import torch

from rangefinder.training.lots import Lots

CHARTS_DPT = np.linspace(0.2, 1.4, 121)
PHOTO = torch.zeros(60, 80)  # half of it unknown, half at 2 to 2.5 m
PHOTO[30:] = torch.linspace(0.4, 0.5, 80)
KNOWN = [*torch.from_numpy(CHARTS_DPT).float(), PHOTO]
CHARTS = list(range(len(CHARTS_DPT)))


def test_without_a_share_all_captures_are_drawn_alike():
    lots, rng = Lots(KNOWN, None), np.random.default_rng(0)
    drawn = np.bincount([lots.capture(rng) for _ in range(12_200)], minlength=122)
    assert drawn.min() > 50
    assert drawn.max() < 150


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_photos_get_their_share_and_charts_stand_where_photos_look(share):
    lots, rng = Lots(KNOWN, share), np.random.default_rng(0)
    drawn = np.array([lots.capture(rng) for _ in range(2000)])
    assert (drawn == 121).mean() == pytest.approx(share, abs=0.03)
    if share < 1:
        charts = CHARTS_DPT[drawn[drawn < 121]]
        assert charts.min() > 0.35
        assert charts.max() < 0.55
        assert charts.mean() == pytest.approx(0.45, abs=0.01)
        assert len(np.unique(charts)) > 10


def test_a_photo_that_teaches_nothing_is_no_part_of_the_share():
    lots, rng = Lots([*KNOWN, torch.zeros(9, 9)], 0.5), np.random.default_rng(0)
    assert 122 not in {lots.capture(rng) for _ in range(500)}


def test_the_second_chart_of_a_pair_follows_photos_too_but_only_among_those_asked_for():
    lots, rng = Lots(KNOWN, 0.5), np.random.default_rng(0)
    near = [chart for chart in CHARTS if CHARTS_DPT[chart] > 1]
    assert CHARTS_DPT[[lots.chart(CHARTS, rng) for _ in range(200)]].max() < 0.55
    assert set(near[:8]) == {lots.chart(near, rng) for _ in range(200)}


@pytest.mark.parametrize("known", [KNOWN[:-1], [PHOTO, PHOTO], [*KNOWN[:2], torch.zeros(9, 9)]])
def test_where_there_is_only_one_kind_the_share_says_nothing(known):
    lots, rng = Lots(known, 0.5), np.random.default_rng(0)
    drawn = np.bincount([lots.capture(rng) for _ in range(100 * len(known))])
    assert drawn == pytest.approx(100, abs=45)
