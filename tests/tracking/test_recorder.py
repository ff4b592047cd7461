"""What runs leave in MLflow: models when they are trained, scores and aliases when they exist."""

from __future__ import annotations

import pytest

from rangefinder.captures.manifest import write_captures
from rangefinder.config import TrackingParams
from rangefinder.tracking.recorder import Recorder
from rangefinder.tracking.registry import Version, versions
from rangefinder.tracking.runs import TrackedRun
from rangefinder.tracking.store import Store

from ..tiny_camera import CAMERA, make_capture, make_model

NAMES = {kind: f"rangefinder-{kind}" for kind in ("teacher", "student")}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_STAGE"):
            patch.delenv(name, raising=False)
        return Store.of(tmp_path_factory.mktemp("store"), TrackingParams())


@pytest.fixture
def captures(tmp_path):
    photos = [make_capture(role="unlabelled", seed=seed) for seed in range(2)]
    return write_captures(tmp_path / "captures", CAMERA, photos)


def recorder(store, *, is_whole=True):
    run = TrackedRun.start(store, "rangefinder", "test", {})
    return Recorder(run, {"git.change": "clean"}, is_whole)


def trained(record, seed):
    """Both models of a run, of their own fingerprints, registered."""
    models = {kind: make_model(kind, seed=seed) for kind in NAMES}
    return models, {kind: record.trained(models[kind], NAMES[kind]) for kind in NAMES}


def summary(**abs_rel):
    """As much of evaluation.json as is recorded."""
    models = {
        name: {
            "overall": {"abs_rel": value, "delta1": None},
            "coverage": {"0.8": 1 - value},
            "by_texture": {"weak": {"abs_rel": None}},
            "by_edge": {"near": {"abs_rel": None}},
            "by_position": {"corner": {"abs_rel": None}},
            "ci95": {"abs_rel": [value / 2, value * 2], "delta1": [None, None]},
        }
        for name, value in abs_rel.items()
    }
    return {"dataset": {"digest": "d" * 16, "captures": 3}, "models": models}


def tags_of(record, version):
    return record.run.client.get_model_version(version.name, version.number).tags


def metrics_of(record, version):
    logged = record.run.client.get_logged_model(version.model_id)
    return {metric.key: metric.value for metric in logged.metrics or ()}


def text_of(record, kind):
    """Description of the candidate."""
    return record.run.client.get_model_version_by_alias(NAMES[kind], "candidate").description


def candidate(record, kind):
    return record.run.client.get_registered_model(NAMES[kind]).aliases.get("candidate")


def test_models_are_registered_when_trained_and_scored_when_scores_exist(store, captures):
    record = recorder(store)
    record.captures(captures, "data/captures")
    record.run.log_metrics({"teacher": {"loss": 3.0}})  # a curve, which is no score of a model
    _, registered = trained(record, seed=1)
    for version in registered.values():
        assert tags_of(record, version)["evaluation"] == "unevaluated"
        assert tags_of(record, version)["captures"] == captures.digest
        assert metrics_of(record, version) == {}
    assert candidate(record, "student") is candidate(record, "teacher") is None
    record.scores(summary(constant=0.3, teacher=0.2, student=0.1), "data/captures")
    for kind, score in (("teacher", 0.2), ("student", 0.1)):
        expected = {"overall/abs_rel": score, "coverage/0.8": 1 - score}
        assert metrics_of(record, registered[kind]) == expected
        assert tags_of(record, registered[kind])["evaluation"] == "evaluated"
        assert tags_of(record, registered[kind])["captures.test"] == "d" * 16
        assert f"AbsRel {score:.3f} ({score / 2:.3f} to {score * 2:.3f})" in text_of(record, kind)
        assert str(candidate(record, kind)) == registered[kind].number
    metrics = record.run.client.get_run(record.run.run_id).data.metrics
    assert metrics["constant/overall/abs_rel"] == 0.3
    assert metrics["student/overall/abs_rel"] == 0.1
    assert "overall/abs_rel" not in metrics
    record.run.end("FINISHED")


def test_neither_a_model_worse_than_the_best_constant_nor_a_part_of_a_run_is_candidate(store):
    for is_whole, student in ((True, 0.31), (False, 0.1)):
        record = recorder(store, is_whole=is_whole)
        _, registered = trained(record, seed=10 + is_whole)
        before = candidate(record, "student")
        record.scores(summary(constant=0.3, teacher=0.31, student=student), "data/captures")
        assert tags_of(record, registered["student"])["evaluation"] == "evaluated"
        assert candidate(record, "student") == before != registered["student"].number
        record.run.end("FINISHED")


def test_scores_of_a_later_run_find_the_model_by_its_fingerprint(store):
    first = recorder(store)
    models, registered = trained(first, seed=20)
    first.run.end("FAILED")  # the evaluation failed
    assert tags_of(first, registered["student"])["evaluation"] == "unevaluated"
    later = recorder(store)
    for kind, model in models.items():
        later.model(model, NAMES[kind])
    later.scores(summary(constant=0.3, teacher=0.2, student=0.1), "data/captures")
    assert metrics_of(later, registered["student"])["overall/abs_rel"] == 0.1
    assert later.run.client.get_run(first.run.run_id).info.status == "FAILED"
    later.run.end("FINISHED")


def test_a_version_is_found_by_fingerprint_the_newest_first(store):
    record = recorder(store)
    models, _ = trained(record, seed=30)
    record.run.end("FINISHED")
    record = recorder(store)
    again = record.trained(models["student"], NAMES["student"])
    assert record.trained(models["student"], NAMES["student"]) == again  # once for a run
    found = versions(record.run.client, NAMES["student"], models["student"].fingerprint)
    newest, oldest = (int(version.number) for version in found)
    assert newest == int(again.number) > oldest
    entity = record.run.client.get_model_version(again.name, again.number)
    assert Version.of(entity).model_id == again.model_id
    record.run.end("FINISHED")


def test_a_run_is_named_by_its_result_and_lists_its_captures(store, captures):
    record = recorder(store)
    record.captures(captures, "data/captures")
    record.captures(captures, "data/captures")  # loaded by a second node
    record.headline({"teacher": 0.1449, "student": 0.1121}, {"seed": 0})
    run = record.run.client.get_run(record.run.run_id)
    assert run.info.run_name == "test: student 0.112, teacher 0.145"
    (taken,) = run.inputs.dataset_inputs
    assert (taken.dataset.name, taken.dataset.digest) == ("captures", captures.digest)
    assert run.data.metrics["evaluation/student"] == 0.1121
    note = run.data.tags["mlflow.note.content"].splitlines()
    assert note[:3] == ["| teacher | student |", "| --- | --- |", "| 0.145 | 0.112 |"]
    record.run.end("FINISHED")
