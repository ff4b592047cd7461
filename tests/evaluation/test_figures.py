"""Figures of an evaluation can be drawn for any models, and choose typical captures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rangefinder.evaluation.figures import chosen_captures, draw_bound, draw_figures
from rangefinder.evaluation.maps import Scene, side_by_side
from rangefinder.evaluation.scoring import evaluate
from rangefinder.models.prediction import Sides

SUPPORT = (5, 4, 60, 44)
CURVES = {"overview", "predicted_against_true", "reliability", "sparsification"}
CURVES |= {"error_by_distance", "error_by_field_position"}


@pytest.fixture
def models(captures, noisy_model, prediction_of):
    generator = np.random.default_rng(0)
    captures.images = [generator.uniform(0, 1, (3, 48, 64)).astype(np.float32) for _ in range(6)]
    return {
        "constant": lambda _: prediction_of(np.full((48, 64), 1.6, np.float32), 0.3),
        "teacher": noisy_model(captures, 0.1),
        "student": noisy_model(captures, 0.05),
    }


@pytest.fixture
def few(params):
    settings = params.evaluation.model_copy(update={"figures": 3})
    return params.model_copy(update={"evaluation": settings})


def test_every_figure_can_be_saved(captures, models, few, tmp_path):
    evaluation = evaluate(captures, models, few, SUPPORT)
    figures = draw_figures(captures, models, evaluation, few)
    shown = [name for name in figures if name.startswith("capture_")]
    assert set(figures) == CURVES | {*shown}
    assert len(shown) == 3
    for name, figure in figures.items():
        figure.savefig(tmp_path / f"{name}.png", dpi=30)
        assert (tmp_path / f"{name}.png").stat().st_size > 1000


def test_sources_and_the_defocus_sign_are_drawn(captures, models, few):
    captures.photographed, student = [1, 2, 5], models["student"]

    def signed(index):
        found = student(index)
        sides = Sides(np.full((48, 64), 0.5, np.float32), found.distance_m, found.distance_m)
        return replace(found, sides=sides)

    models = models | {"student": signed}
    evaluation = evaluate(captures, models, few, SUPPORT)
    figures = draw_figures(captures, models, evaluation, few)
    assert [axes.get_title(loc="left") for axes in figures["error_by_distance"].axes] == [
        "Error by distance",
        "Photographed captures alone",
        "Simulated captures alone",
    ]
    legend = figures["defocus_sign"].axes[0].get_legend().get_texts()
    assert [text.get_text() for text in legend] == ["chance", "student (AUC 0.500)"]
    for figure in figures.values():
        figure.draw_without_rendering()
    chosen = chosen_captures(evaluation, few)
    assert [captures.sources[index] for index in chosen] == [
        "simulated",  # the real scene
        "photographed",
        "simulated",
    ]


def test_distance_maps_share_one_scale_in_metres(captures, models, few):
    evaluation = evaluate(captures, models, few, SUPPORT)
    overview = draw_figures(captures, models, evaluation, few)["overview"]
    titled = {axes.get_title(loc="left"): axes for axes in overview.axes}
    limits = {titled[name].images[0].get_clim() for name in ("truth", "teacher", "student")}
    assert limits == {few.range.report_m}
    assert "distance [m]" in {axes.get_xlabel() for axes in overview.axes}


def test_the_sensor_shows_where_errors_are(captures, models, few, prediction_of):
    def right_half_wrong(index):
        truth = np.where(captures.distances[index] > 0, captures.distances[index], 1.0)
        return prediction_of(truth * np.where(np.arange(64) < 32, 1.0, 1.5).astype(np.float32))

    some = {"constant": models["constant"], "student": right_half_wrong}
    evaluation = evaluate(captures, some, few, (0, 0, 64, 48))
    axes, _ = draw_figures(captures, some, evaluation, few)["error_by_field_position"].axes
    assert axes.get_title(loc="left").startswith("student: ")
    shown = np.array([text.get_text() for text in axes.texts]).reshape(6, 8)
    assert set(shown[:, :4].ravel()) == {"0%"}
    assert set(shown[:, 4:].ravel()) == {"50%"}


def test_errors_are_drawn_over_what_the_lens_allows():
    crlb = {
        "bound_m": {"0.7-1.0": 0.004, "1.0-4.0": 0.02},
        "models": {
            "constant": {"0.7-1.0": 50, "1.0-4.0": 9},
            "student": {"0.7-1.0": 5, "1.0-4.0": None},
        },
    }
    distances_m = np.array([5.0, 2.0, 0.5])
    sd_m = {"strong": 0.01 * distances_m, "weak": 0.1 * distances_m}
    (axes,) = draw_bound(crlb, distances_m, sd_m, (0.7, 4.0)).axes
    strong, weak = (line.get_ydata() for line in axes.lines)
    assert strong == pytest.approx([2.0 * 0.01 * np.sqrt(2 / np.pi)])  # within the range only
    assert weak == pytest.approx(10 * strong)
    (marker,) = axes.collections
    assert marker.get_segments()[0].ravel() == pytest.approx([0.7, 0.02, 1.0, 0.02])


def test_models_are_named_where_the_nearest_bin_has_no_pixels(captures, models, few):
    edges = (0.1, 0.2, *few.evaluation.distance_edges_m)
    empty = few.evaluation.model_copy(update={"distance_edges_m": edges})
    some = few.model_copy(update={"evaluation": empty})
    evaluation = evaluate(captures, models, some, SUPPORT)
    figure = draw_figures(captures, models, evaluation, some)["error_by_distance"]
    named = {text.get_text() for text in figure.axes[0].get_legend().get_texts()}
    assert named == set(models)


@pytest.mark.parametrize(
    ("range_m", "distance", "error"),
    [((0.7, 4.0), "distance [m]", "+20 %"), ((0.246, 0.254), "distance [cm]", "+2.6 %")],
)
def test_scales_fit_the_range(range_m, distance, error, captures, models):
    scene = Scene("a", captures.images[0], np.full((48, 64), 0.25), {"m": models["constant"](0)})
    bars = {axes.get_xlabel(): axes for axes in side_by_side([scene], range_m).axes}
    assert distance in bars
    labels = [text.get_text() for text in bars["too near  |  error  |  too far"].get_xticklabels()]
    assert error in labels


@pytest.mark.parametrize("names", [["constant"], ["student"], ["constant", "student"]])
def test_any_models_can_be_drawn(captures, models, few, names):
    some = {name: models[name] for name in names}
    evaluation = evaluate(captures, some, few, SUPPORT)
    draw_figures(captures, some, evaluation, few)["overview"].draw_without_rendering()


def test_a_single_scene_without_intervals_can_be_drawn(captures, models, few):
    captures.scenes = ["a"] * 6
    evaluation = evaluate(captures, models, few, SUPPORT)
    for figure in draw_figures(captures, models, evaluation, few).values():
        figure.draw_without_rendering()


def test_real_scenes_come_first_then_best_to_worst(captures, models, few):
    evaluation = evaluate(captures, models, few, SUPPORT)
    chosen = chosen_captures(evaluation, few)
    table = evaluation.per_image.query("model == 'student'").reset_index(drop=True)
    assert table["scene"][chosen[0]] == "motorcycle"
    others = table[table["scene"] != "motorcycle"]["abs_rel"]
    assert [chosen[1], chosen[2]] == [others.idxmin(), others.idxmax()]


def test_drawing_leaves_the_global_style_unchanged(captures, models, few):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    draw_figures(captures, models, evaluate(captures, models, few, SUPPORT), few)
    assert dict(mpl.rcParams) == before
