"""Hypotheses are judged by ratios of errors, paired by seed; table and figure."""

import io
from typing import get_args

import pandas as pd
import pytest

from rangefinder.config.scoring import VariantName
from rangefinder.studies.ablation.report import (
    HYPOTHESES,
    SCORES,
    ablation_figure,
    best_first,
    judge_hypotheses,
    print_ablation,
    summary,
)


def table(**abs_rel):
    """Variants with their AbsRel per seed; every other score is half of it."""
    rows = []
    for variant, values in abs_rel.items():
        for seed, value in enumerate(values):
            scores = dict.fromkeys(SCORES, value / 2) | {"abs_rel": value}
            rows.append(
                {"variant": variant, "seed": seed, "description": f"it is {variant}"} | scores
            )
    return pd.DataFrame(rows)


def by_words(found):
    return {judged["hypothesis"]: judged for judged in found}


def test_a_hypothesis_holds_if_the_ratio_of_errors_is_at_most_its_limit():
    found = by_words(
        judge_hypotheses(table(all=[0.2], on_charts=[0.3], no_colour=[0.19], laplace=[0.2]))
    )
    charts = found["Unlabelled photos train better than charts"]
    assert charts["holds"]
    assert charts["numbers"]["ratio"] == pytest.approx(2 / 3)
    assert not found["Colour reduces the error"]["holds"]
    assert found["A categorical distribution is better than a Laplace distribution"]["holds"]


def test_a_hypothesis_fails_if_the_method_is_better_by_too_little():
    found = by_words(judge_hypotheses(table(all=[0.2], on_charts=[0.25], teacher=[0.21])))
    assert not found["Unlabelled photos train better than charts"]["holds"]
    assert not found["The student's error is below its teacher's"]["holds"]


def test_ratios_are_paired_by_seed_and_a_missing_seed_does_not_count():
    numbers = by_words(judge_hypotheses(table(all=[0.2, 0.3, 0.9], no_colour=[0.4, 0.3])))[
        "Colour reduces the error"
    ]["numbers"]
    assert numbers["seeds"] == 2
    assert numbers["ratio"] == pytest.approx((0.5 + 1.0) / 2)
    assert (numbers["ratio_lowest"], numbers["ratio_highest"]) == pytest.approx((0.5, 1.0))
    assert numbers["all"] == pytest.approx(0.25)


def test_only_hypotheses_about_trained_variants_are_judged():
    assert judge_hypotheses(table(no_colour=[0.2])) == []
    assert len(judge_hypotheses(table(all=[0.2], sharing_init=[0.2]))) == 1
    assert {one.variant for one in HYPOTHESES} >= {"no_location", "on_charts", "teacher"}
    assert {one.variant for one in HYPOTHESES} <= {*get_args(VariantName), "teacher"}


def test_the_summary_lists_variants_best_first_with_their_spread():
    results = table(all=[0.2, 0.4], laplace=[0.1, 0.1], teacher=[0.9, 0.9])
    assert best_first(results) == ["laplace", "all", "teacher"]
    content = summary(results)
    assert list(content["variants"]) == ["laplace", "all", "teacher"]
    assert content["variants"]["all"]["abs_rel"] == pytest.approx(0.3)
    assert content["spread"]["all"]["abs_rel"] == pytest.approx(0.1414, abs=1e-3)
    assert summary(table(all=[0.2]))["spread"]["all"]["abs_rel"] is None


def test_the_terminal_names_hypotheses_that_fail():
    stream = io.StringIO()
    print_ablation(summary(table(all=[0.2, 0.22], no_colour=[0.1, 0.1])), stream)
    lines = stream.getvalue().splitlines()
    (row,) = [line for line in lines if line.startswith("Colour reduces the error")]
    assert row.split()[4:] == ["NO", "2.100", "<=", "1.00"]
    assert any(line.startswith("all") and "0.210 (0.014)" in line for line in lines)


def test_the_figure_has_a_bar_per_variant_and_a_dot_per_seed():
    figure = ablation_figure(table(all=[0.2, 0.4], laplace=[0.1, 0.1]))
    axes = figure.axes[0]
    assert sorted(bar.get_width() for bar in axes.patches) == pytest.approx([0.1, 0.3])
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert sum(len(line.get_xdata()) for line in dots) == 4
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["it is all\nall", "it is laplace\nlaplace"]
