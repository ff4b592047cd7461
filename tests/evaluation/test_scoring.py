"""The evaluation: its schema, identical pixels for all models, scores known beforehand."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest
import torch

from rangefinder.captures.manifest import Capture, write_captures
from rangefinder.errors import CaptureError, ModelError
from rangefinder.evaluation.metrics import SCORES
from rangefinder.evaluation.report import print_summary
from rangefinder.evaluation.scoring import evaluate, held_out
from rangefinder.models.prediction import INTERVAL_LEVELS, Prediction

from .conftest import labelled_set

SUPPORT = (5, 4, 60, 44)
GROUPS = {
    "by_texture": {"strong", "weak"},
    "by_position": {"centre", "corner"},
    "by_edge": {"near", "far"},
    "by_side": {"before", "behind"},
    "by_distance_m": {"0.7-1.0", "1.0-1.5", "1.5-2.0", "2.0-3.0", "3.0-4.0"},
}


@pytest.fixture
def models_of(prediction_of, noisy_model):
    def models(captures):
        def constant(index):
            return prediction_of(np.full(captures.distances[index].shape, 1.6, np.float32), 0.3)

        return {
            "constant": constant,
            "teacher": noisy_model(captures, 0.10),
            "student": noisy_model(captures, 0.05, seed=1),
        }

    return models


@pytest.fixture
def evaluation(captures, params, models_of):
    return evaluate(captures, models_of(captures), params, SUPPORT)


def test_the_summary_has_its_schema(evaluation, captures):
    summary = json.loads(json.dumps(evaluation.summary, allow_nan=False))
    assert summary["dataset"] == {"digest": captures.digest, "captures": 6}
    assert list(summary["models"]) == ["constant", "teacher", "student"]
    for model in summary["models"].values():
        assert list(model["overall"]) == list(SCORES)
        for group, names in GROUPS.items():
            assert set(model[group]) == names
            assert all(list(part) == list(SCORES) for part in model[group].values())
        assert set(model["coverage"]) == {"0.5", "0.8", "0.95"}
        assert isinstance(model["ause"], float)


def test_scores_are_those_of_the_pooled_pixels(evaluation, captures, models_of):
    model = models_of(captures)["teacher"]
    left, top, right, bottom = SUPPORT
    truths, distances = [], []
    for index, truth in enumerate(captures.distances):
        inside = np.zeros(truth.shape, bool)
        inside[top:bottom, left:right] = True
        inside &= (truth >= np.float32(0.7)) & (truth <= np.float32(4.0))
        truths.append(truth[inside])
        distances.append(model(index).distance_m[inside])
    truth, distance = np.concatenate(truths), np.concatenate(distances)
    overall = evaluation.summary["models"]["teacher"]["overall"]
    assert overall["abs_rel"] == pytest.approx(np.mean(np.abs(distance - truth) / truth))
    assert overall["rmse_m"] == pytest.approx(np.sqrt(np.mean((distance - truth) ** 2)), rel=1e-5)
    assert evaluation.summary["protocol"]["pixels"]["overall"] == len(truth)


def test_groups_that_partition_the_pixels_pool_to_the_overall_score(evaluation):
    pixels = evaluation.summary["protocol"]["pixels"]
    for model in evaluation.summary["models"].values():
        for group in ("by_texture", "by_edge", "by_distance_m", "by_side"):
            parts = [
                (pixels[group][name], part["abs_rel"] or 0.0) for name, part in model[group].items()
            ]
            assert sum(count for count, _ in parts) == pixels["overall"]
            pooled = sum(count * value for count, value in parts) / pixels["overall"]
            assert pooled == pytest.approx(model["overall"]["abs_rel"])


def test_all_models_are_scored_on_identical_pixels(evaluation):
    table = evaluation.per_image
    assert (table.groupby("capture_id")["pixels"].nunique() == 1).all()
    total = table.groupby("model")["pixels"].sum().unique()
    assert total.tolist() == [evaluation.summary["protocol"]["pixels"]["overall"]]


def test_scores_of_a_model_are_independent_of_other_models(evaluation, captures, params, models_of):
    alone = evaluate(captures, {"student": models_of(captures)["student"]}, params, SUPPORT)
    assert alone.summary["models"]["student"] == evaluation.summary["models"]["student"]


def test_the_order_of_captures_changes_nothing(evaluation, captures, params, models_of):
    shuffled = captures.reordered([4, 2, 0, 5, 3, 1])
    again = evaluate(shuffled, models_of(shuffled), params, SUPPORT)
    first, second = (pd.json_normalize(e.summary["models"]) for e in (evaluation, again))
    numbers = first.select_dtypes("number").columns
    assert len(numbers) > 100
    assert second[numbers].to_numpy() == pytest.approx(first[numbers].to_numpy(), nan_ok=True)
    assert again.summary["dataset"] == evaluation.summary["dataset"]
    for name in SCORES:
        bounds = (e.summary["models"]["student"]["ci95"][name] for e in (evaluation, again))
        assert next(bounds) == pytest.approx(next(bounds))


def test_intervals_of_true_deviations_have_their_coverage(captures, params, noisy_model):
    for index, shape in enumerate(d.shape for d in captures.distances):
        captures.distances[index] = np.full(shape, 1.2 + 0.3 * index, np.float32)
    found = evaluate(captures, {"m": noisy_model(captures, 0.05)}, params, SUPPORT)
    for level in INTERVAL_LEVELS:
        share = found.summary["models"]["m"]["coverage"][str(level)]
        assert share == pytest.approx(level, abs=0.015)


def test_the_truth_itself_scores_perfectly(captures, params, prediction_of):
    def oracle(index):
        return prediction_of(
            np.where(captures.distances[index] > 0, captures.distances[index], 1.0)
        )

    model = evaluate(captures, {"oracle": oracle}, params, SUPPORT).summary["models"]["oracle"]
    perfect = dict.fromkeys(SCORES, 0.0) | dict.fromkeys(("delta1", "delta2", "delta3"), 1.0)
    assert model["overall"] == perfect
    assert model["ause"] == model["selective_risk_50"] == 0.0
    assert model["ause_relative"] is None
    assert model["coverage"] == {"0.5": 1.0, "0.8": 1.0, "0.95": 1.0}


def test_uncertainty_ranks_by_expected_relative_error(captures, params, prediction_of):
    """Equal deviations in dioptres: the far pixels are the less certain ones in metres."""
    generator = np.random.default_rng(0)
    for index in range(6):
        captures.distances[index] = generator.uniform(0.8, 3.9, (48, 64)).astype(np.float32)

    def model(index):  # its relative error is proportional to its predicted distance
        inverse = 1.0 / captures.distances[index]
        return prediction_of((1.0 / (inverse + 0.02)).astype(np.float32), 0.02)

    found = evaluate(captures, {"m": model}, params, SUPPORT).summary["models"]["m"]
    assert found["ause_relative"] == pytest.approx(0.0, abs=1e-3)
    assert found["selective_risk_50"] < 0.8 * found["overall"]["abs_rel"]


def test_curves_count_the_scored_pixels(evaluation):
    pixels = evaluation.summary["protocol"]["pixels"]["overall"]
    for name, curves in evaluation.curves.items():
        histogram = curves.histogram
        assert histogram.counts.sum() == pixels
        seen = histogram.counts.sum(axis=1)
        mean = np.nansum(histogram.abs_rel * seen) / pixels
        assert mean == pytest.approx(evaluation.summary["models"][name]["overall"]["abs_rel"])
        assert curves.sparsification.by_uncertainty[0] == pytest.approx(mean)


def test_an_empty_group_is_null(captures, params, models_of):
    for distance in captures.distances:
        distance[:] = 2.5
    captures.textures[:] = [None] * 6
    found = evaluate(captures, models_of(captures), params, SUPPORT)
    json.dumps(found.summary, allow_nan=False)
    student = found.summary["models"]["student"]
    nothing = dict.fromkeys(SCORES)
    assert student["by_distance_m"]["0.7-1.0"] == nothing
    assert student["by_edge"]["near"] == nothing
    assert student["by_texture"] == {"strong": nothing, "weak": nothing}
    assert student["by_distance_m"]["2.0-3.0"] == student["overall"]


def test_the_full_frame_is_scored_only_where_a_model_covers_it(captures, params, noisy_model):
    def bordered(index):
        full = noisy_model(captures, 0.05)(index)
        distance = np.full_like(full.distance_m, np.nan)
        distance[4:44, 5:60] = full.distance_m[4:44, 5:60]
        return Prediction(distance, full.interval_m, full.sd_dpt)

    models = {"full": noisy_model(captures, 0.05), "bordered": bordered}
    found = evaluate(captures, models, params, SUPPORT).summary["models"]
    assert found["bordered"]["full_frame"] is None
    assert list(found["full"]["full_frame"]) == list(SCORES)
    assert found["bordered"]["overall"] == found["full"]["overall"]


def test_a_gap_within_the_support_is_refused(captures, params, noisy_model):
    def gappy(index):
        full = noisy_model(captures, 0.05)(index)
        full.distance_m[20:24, 20:24] = np.nan
        return full

    with pytest.raises(ModelError, match=r"model 'gappy' on capture .* scored pixels"):
        evaluate(captures, {"gappy": gappy}, params, SUPPORT)


def test_nothing_to_score_is_refused(captures, params, models_of):
    for distance in captures.distances:
        distance[:] = 0.0
    with pytest.raises(CaptureError, match="nothing to score"):
        evaluate(captures, models_of(captures), params, SUPPORT)


def test_real_scenes_are_reported_separately(evaluation):
    table = evaluation.per_image.set_index(["scene", "model"])
    for name, model in evaluation.summary["models"].items():
        row = table.loc[("motorcycle", name)]
        assert model["real_scenes"]["motorcycle"]["abs_rel"] == pytest.approx(row["abs_rel"])


def test_sources_are_scored_separately_where_there_are_two(captures, params, models_of):
    captures.photographed = [1, 4]
    mixed = evaluate(captures, models_of(captures), params, SUPPORT)
    photos = captures.reordered([1, 4])
    alone = evaluate(photos, models_of(photos), params, SUPPORT)
    for name, model in mixed.summary["models"].items():
        own = model["by_source"]["photographed"]
        assert list(model["by_source"]) == ["simulated", "photographed"]
        assert set(own) == set(model) - {"real_scenes", "by_source"}
        expected = alone.summary["models"][name]
        for part in ("overall", "by_edge", "by_distance_m", "by_position", "by_side", "coverage"):
            (found,) = pd.json_normalize(own[part]).to_numpy()
            (wanted,) = pd.json_normalize(expected[part]).to_numpy()
            assert found.astype(float) == pytest.approx(wanted.astype(float), nan_ok=True)
        assert own["ause"] == pytest.approx(expected["ause"])
        assert own["ci95"]["abs_rel"] == pytest.approx(expected["ci95"]["abs_rel"])
    counts = mixed.summary["protocol"]["sources"]
    assert {name: each["captures"] for name, each in counts.items()} == {
        "simulated": 4,
        "photographed": 2,
    }
    total = sum(each["pixels"]["overall"] for each in counts.values())
    assert total == mixed.summary["protocol"]["pixels"]["overall"]


def test_a_source_without_scored_pixels_is_null(captures, params, models_of):
    captures.photographed = [1]
    captures.distances[1][:] = 0.0
    summary = evaluate(captures, models_of(captures), params, SUPPORT).summary
    json.dumps(summary, allow_nan=False)
    assert summary["models"]["student"]["by_source"]["photographed"]["overall"] == dict.fromkeys(
        SCORES
    )
    stream = io.StringIO()
    print_summary(summary, stream)
    assert "5 simulated and 1 photographed captures" in stream.getvalue()


def test_sources_change_no_pooled_score(captures, params, models_of):
    first = evaluate(captures, models_of(captures), params, SUPPORT).summary
    captures.photographed = [1, 4]
    second = evaluate(captures, models_of(captures), params, SUPPORT).summary
    for name, model in first["models"].items():
        assert model["by_source"] == {}
        assert model | {"by_source": None} == second["models"][name] | {"by_source": None}
    assert first["protocol"]["sources"].keys() == {"simulated"}


def test_the_table_per_image_has_a_row_per_capture_and_model(evaluation, captures):
    table = evaluation.per_image
    assert table["model"].tolist() == ["constant", "teacher", "student"] * 6
    assert table["capture_id"].tolist() == [
        capture for capture in captures.table["capture_id"] for _ in range(3)
    ]
    pooled = np.average(table["abs_rel"], weights=table["pixels"] * (table["model"] == "student"))
    overall = evaluation.summary["models"]["student"]["overall"]["abs_rel"]
    assert pooled == pytest.approx(overall)


def test_student_is_compared_with_the_teacher_on_the_same_scenes(evaluation):
    models = evaluation.summary["models"]
    ratio = evaluation.summary["comparisons"]["student/teacher"]["abs_rel"]
    expected = models["student"]["overall"]["abs_rel"] / models["teacher"]["overall"]["abs_rel"]
    assert ratio["ratio"] == pytest.approx(expected)
    assert ratio["low"] <= ratio["ratio"] <= ratio["high"] < 1.0
    assert list(evaluation.summary["comparisons"]) == [
        "teacher/constant",
        "student/constant",
        "student/teacher",
    ]


def test_captures_on_disk_are_scored_as_those_in_memory(captures, models_of, params, tmp_path):
    generator = np.random.default_rng(0)
    stored = write_captures(
        tmp_path / "captures",
        captures.camera,
        (
            Capture(
                image=torch.from_numpy(generator.uniform(0, 1, (3, 48, 64)).astype(np.float32)),
                role="labelled",
                scene=scene,
                split="test",
                distance_map=torch.from_numpy(distance),
                texture=torch.from_numpy(texture),
            )
            for scene, distance, texture in zip(
                captures.scenes, captures.distances, captures.textures, strict=True
            )
        ),
    )
    models = models_of(captures)
    disk, memory = (evaluate(which, models, params, SUPPORT) for which in (stored, captures))
    for name in models:
        found, expected = (e.summary["models"][name] for e in (disk, memory))
        assert found["overall"] == pytest.approx(expected["overall"], abs=2e-3)  # distances to 1 mm
        assert found["by_edge"]["near"] == pytest.approx(expected["by_edge"]["near"], abs=5e-3)
    assert disk.summary["dataset"]["digest"] == stored.digest


def test_without_labelled_captures_charts_are_scored_with_a_note(tmp_path):
    captures = labelled_set(tmp_path, ("chart", "train", 1.0), ("chart", "test", 1.5))
    test, note = held_out(captures)
    assert test.table["distance_m"].tolist() == [1.5]
    assert "cannot show" in note["limits"]


def test_labelled_captures_come_first_and_need_no_warning(tmp_path):
    captures = labelled_set(tmp_path, ("chart", "test", 1.0), ("labelled", "test", 1.5))
    test, note = held_out(captures)
    assert test.table["role"].tolist() == ["labelled"]
    assert note == {}


def test_nothing_held_out_is_refused(tmp_path):
    with pytest.raises(CaptureError, match="nothing to score on"):
        held_out(labelled_set(tmp_path, ("chart", "train", 1.0)))
