"""Tables of the student's curves."""

from __future__ import annotations

import pytest

from rangefinder.evaluation.plot_tables import error_by_distance, reliability, risk_coverage
from rangefinder.evaluation.scoring import evaluate


@pytest.fixture
def evaluation(captures, params, noisy_model):
    return evaluate(captures, {"student": noisy_model(captures, 0.1)}, params, (0, 0, 64, 48))


def test_errors_are_at_the_middle_of_their_bin(evaluation):
    table = error_by_distance(evaluation)
    scores = evaluation.summary["models"]["student"]["by_distance_m"]
    assert table["distance_m"].iloc[0] == pytest.approx((0.7 * 1.0) ** 0.5)
    found = [part["abs_rel"] for part in scores.values() if part["abs_rel"] is not None]
    assert table["abs_rel"].tolist() == found


def test_a_calibrated_model_is_near_the_diagonal(evaluation):
    table = reliability(evaluation)
    assert table["level"].tolist() == [0.5, 0.8, 0.95]
    assert table["coverage"].to_numpy() == pytest.approx(table["level"].to_numpy(), abs=0.03)


def test_risk_grows_with_coverage_up_to_the_mean(evaluation):
    table = risk_coverage(evaluation)
    overall = evaluation.summary["models"]["student"]["overall"]["abs_rel"]
    assert table["coverage"].iloc[0] == 1
    assert table["abs_rel"].iloc[0] == pytest.approx(overall, rel=1e-3)
    assert table["abs_rel"].iloc[-1] < 0.7 * overall
