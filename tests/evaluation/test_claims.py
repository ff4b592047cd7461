"""Claims are judged by the numbers, seed by seed."""

import io

import pandas as pd
import pytest

from rangefinder.evaluation.ablation_figure import ablation_figure
from rangefinder.evaluation.claims import CLAIMS, SCORES, best_first, judge, summary
from rangefinder.evaluation.claims_report import print_claims


def table(**abs_rel):
    """Variants with their AbsRel per seed; every other score is half of it."""
    rows = []
    for variant, values in abs_rel.items():
        for seed, value in enumerate(values):
            scores = dict.fromkeys(SCORES, value / 2) | {"abs_rel": value}
            rows.append({"variant": variant, "seed": seed, "says": f"it is {variant}"} | scores)
    return pd.DataFrame(rows)


def by_words(found):
    return {claim["claim"]: claim for claim in found}


def test_a_claim_holds_when_the_whole_method_is_better_by_what_was_claimed():
    found = by_words(judge(table(all=[0.2], on_charts=[0.3], no_colour=[0.19], laplace=[0.2])))
    charts = found["Photos nobody labelled teach more than the charts themselves"]
    assert charts["holds"]
    assert charts["numbers"]["ratio"] == pytest.approx(2 / 3)
    assert not found["Colour tells distance"]["holds"]
    assert found["A distribution says more than one distance and its spread"]["holds"]


def test_better_by_too_little_does_not_bear_a_claim_out():
    found = by_words(judge(table(all=[0.2], on_charts=[0.25], teacher=[0.21])))
    assert not found["Photos nobody labelled teach more than the charts themselves"]["holds"]
    assert not found["The student is nearer the truth than its teacher"]["holds"]


def test_ratios_are_paired_by_seed_and_a_missing_seed_does_not_count():
    numbers = by_words(judge(table(all=[0.2, 0.3, 0.9], no_colour=[0.4, 0.3])))[
        "Colour tells distance"
    ]["numbers"]
    assert numbers["seeds"] == 2
    assert numbers["ratio"] == pytest.approx((0.5 + 1.0) / 2)
    assert (numbers["ratio_lowest"], numbers["ratio_highest"]) == pytest.approx((0.5, 1.0))
    assert numbers["all"] == pytest.approx(0.25)


def test_only_claims_whose_variants_were_trained_are_judged():
    assert judge(table(no_colour=[0.2])) == []
    assert len(judge(table(all=[0.2], sharing_init=[0.2]))) == 1
    assert {claim.variant for claim in CLAIMS} >= {"no_location", "on_charts", "teacher"}


def test_the_summary_lists_variants_best_first_with_their_spread():
    results = table(all=[0.2, 0.4], laplace=[0.1, 0.1], teacher=[0.9, 0.9])
    assert best_first(results) == ["laplace", "all", "teacher"]
    content = summary(results)
    assert list(content["variants"]) == ["laplace", "all", "teacher"]
    assert content["variants"]["all"]["abs_rel"] == pytest.approx(0.3)
    assert content["spread"]["all"]["abs_rel"] == pytest.approx(0.1414, abs=1e-3)
    assert summary(table(all=[0.2]))["spread"]["all"]["abs_rel"] is None


def test_the_terminal_says_in_plain_words_what_does_not_hold():
    stream = io.StringIO()
    print_claims(summary(table(all=[0.2, 0.22], no_colour=[0.1, 0.1])), stream)
    lines = stream.getvalue().splitlines()
    (claim,) = [line for line in lines if line.startswith("Colour tells distance")]
    assert claim.split()[3:] == ["NO", "2.100", "<=", "1.00"]
    assert any(line.startswith("all") and "0.210 (0.014)" in line for line in lines)


def test_the_figure_has_a_bar_per_variant_and_a_dot_per_seed():
    figure = ablation_figure(table(all=[0.2, 0.4], laplace=[0.1, 0.1]))
    axes = figure.axes[0]
    assert sorted(bar.get_width() for bar in axes.patches) == pytest.approx([0.1, 0.3])
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert sum(len(line.get_xdata()) for line in dots) == 4
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["it is all\nall", "it is laplace\nlaplace"]
