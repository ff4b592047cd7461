"""The table at the end of a run."""

from __future__ import annotations

import io
import re

import pytest

from rangefinder.evaluation.report import print_summary
from rangefinder.evaluation.scoring import evaluate


@pytest.fixture
def summary(captures, params, noisy_model):
    models = {"teacher": noisy_model(captures, 0.1), "student": noisy_model(captures, 0.05)}
    return evaluate(captures, models, params, (5, 4, 60, 44)).summary


def summary_table(summary, stream=None):
    stream = stream or io.StringIO()
    print_summary(summary, stream)
    return stream.getvalue()


def test_the_table_has_every_model_and_its_scores(summary):
    text = summary_table(summary)
    for name, model in summary["models"].items():
        row = next(line for line in text.splitlines() if line.startswith(name))
        assert f"{model['overall']['abs_rel']:.3f}" in row
        assert f"{model['overall']['mae_m']:.3f}" in row
    for region in ("strong texture", "corner", "near an edge", "3.0-4.0 m", "motorcycle (real)"):
        assert region in text
    assert re.search(r"AbsRel student/teacher: 0\.\d\d \(95 % over scenes: ", text)


def test_the_table_names_sources_and_lists_them_apart(captures, params, noisy_model, summary):
    text = summary_table(summary)
    assert "Evaluation: 6 simulated captures, 4 scenes" in text
    assert "alone" not in text
    captures.photographed = [0, 5]
    mixed = evaluate(captures, {"m": noisy_model(captures, 0.1)}, params, (5, 4, 60, 44)).summary
    text = summary_table(mixed)
    assert "Evaluation: 4 simulated and 2 photographed captures, 4 scenes" in text
    pooled, photographed, simulated = re.split(r"The \d \w+ captures alone", text)
    assert "photographed captures alone" in text
    for part, scores in (
        (pooled, mixed["models"]["m"]),
        (photographed, mixed["models"]["m"]["by_source"]["photographed"]),
        (simulated, mixed["models"]["m"]["by_source"]["simulated"]),
    ):
        assert re.search(rf"^m +{scores['overall']['abs_rel']:.3f} ", part, re.M)
        side = scores["by_side"]["before"]["abs_rel"]
        assert re.search(rf"^before the focus .* {side:.3f}$", part, re.M)


def test_the_table_tells_what_the_side_is_worth(summary):
    assert "if the side were known" not in summary_table(summary)
    known = {"overall": 0.0314, "before": 0.03, "behind": 0.04}
    summary["models"]["student"]["defocus_sign"] = {"auc": 0.9251, "abs_rel_if_known": known}
    text = summary_table(summary)
    assert re.search(r"^if the side were known +- +0\.031$", text, re.M)
    assert "AUC of the predicted defocus sign: student 0.925" in text


def test_close_ranges_are_in_centimetres(summary):
    summary["protocol"]["report_m"] = [0.05, 0.15]
    bins = {"0.05-0.1": 7, "0.1-0.15": 5}
    summary["protocol"]["pixels"]["by_distance_m"] = bins
    for model in summary["models"].values():
        model["by_distance_m"] = {name: {"abs_rel": 0.0123} for name in bins}
        model["overall"]["mae_m"] = 0.0018
    text = summary_table(summary)
    assert "pixels within 5-15 cm" in text
    assert "MAE [cm]" in text
    assert re.search(r"^teacher .* 0\.180 ", text, re.M)
    assert re.search(r"^5-10 cm .* 0\.012", text, re.M)


def test_the_table_fits_a_terminal_and_hides_missing_values(summary):
    summary["models"]["student"]["by_edge"]["near"]["abs_rel"] = None
    text = summary_table(summary)
    assert max(map(len, text.splitlines())) <= 110
    assert "None" not in text
    assert "nan" not in text


def test_output_to_a_file_has_no_escape_codes(summary):
    assert "\x1b" not in summary_table(summary)


def test_best_values_are_bold_on_a_terminal(summary, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = summary_table(summary, Terminal())
    best = summary["models"]["student"]["overall"]["abs_rel"]
    assert f"\x1b[1m{best:.3f}\x1b[0m" in text
    assert re.sub("\x1b\\[[01]m", "", text) == summary_table(summary)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in summary_table(summary, Terminal())
