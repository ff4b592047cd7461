"""The table at the end of a run."""

from __future__ import annotations

import io
import re

import pytest

from rangefinder.evaluation.report import print_summary, summary_table
from rangefinder.evaluation.score import evaluate


@pytest.fixture
def summary(captures, params, noisy_model):
    models = {"teacher": noisy_model(captures, 0.1), "student": noisy_model(captures, 0.05)}
    return evaluate(captures, models, params, (5, 4, 60, 44)).summary


def test_it_names_every_model_and_its_numbers(summary):
    text = summary_table(summary)
    for name, model in summary["models"].items():
        row = next(line for line in text.splitlines() if line.startswith(name))
        assert f"{model['overall']['abs_rel']:.3f}" in row
        assert f"{model['overall']['mae_m']:.3f}" in row
    for region in ("strong texture", "corner", "near an edge", "3.0-4.0 m", "motorcycle (real)"):
        assert region in text
    assert re.search(r"AbsRel student/teacher: 0\.\d\d \(95 % over scenes: ", text)


def test_it_fits_a_terminal_and_has_no_null_words(summary):
    summary["models"]["student"]["by_edge"]["near"]["abs_rel"] = None
    text = summary_table(summary)
    assert max(map(len, text.splitlines())) <= 110
    assert "None" not in text
    assert "nan" not in text


def test_it_is_plain_where_nobody_watches(summary):
    stream = io.StringIO()
    print_summary(summary, stream)
    assert "\x1b" not in stream.getvalue()
    assert summary_table(summary) in stream.getvalue()


def test_best_values_stand_out_on_a_terminal(summary, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    print_summary(summary, stream)
    best = summary["models"]["student"]["overall"]["abs_rel"]
    assert f"\x1b[1m{best:.3f}\x1b[0m" in stream.getvalue()
    assert re.sub("\x1b\\[[01]m", "", stream.getvalue()).strip() == summary_table(summary).strip()
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    print_summary(summary, plain)
    assert "\x1b" not in plain.getvalue()
