"""The smoke run: its files, its output and its MLflow run."""

from __future__ import annotations

import json
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ..conftest import SmokeRun

MODELS = ("constant", "teacher", "student")
SCORES = {"abs_rel", "mae_m", "rmse_m", "rmse_dpt", "delta1", "delta2", "delta3"}


@pytest.fixture(scope="module")
def evaluation(smoke_run: SmokeRun) -> dict:
    return json.loads((smoke_run.folder / "data/08_reporting/evaluation.json").read_text())


@pytest.fixture(scope="module")
def client(smoke_run: SmokeRun):
    from mlflow import MlflowClient

    return MlflowClient(smoke_run.store)


@pytest.fixture(scope="module")
def record(client):
    (run,) = client.search_runs(["1"])
    return run


def test_the_terminal_shows_each_step_and_ends_with_the_scores(smoke_run):
    lines = smoke_run.output.splitlines()
    for word in ("gather captures", "train teacher", "sweep teacher", "distil student"):
        assert any(word in line for line in lines)
    table = smoke_run.output[smoke_run.output.index("Evaluation:") :]
    assert all(model in table for model in MODELS)
    assert "Traceback" not in smoke_run.output
    assert "it/s" not in smoke_run.output  # no progress bars outside of a terminal


def test_errors_are_compared_with_the_cramer_rao_bound(evaluation):
    over = evaluation["crlb_ratio"]
    assert set(over["models"]) == set(MODELS)
    for ratios in over["models"].values():
        assert all(ratio is None or ratio > 0.5 for ratio in ratios.values())
    assert all(bound > 0 for bound in over["bound_m"].values())


@pytest.mark.parametrize(
    "path",
    [
        "02_intermediate/captures/captures.parquet",
        "02_intermediate/captures/camera.json",
        "02_intermediate/captures/blur.safetensors",
        "06_models/teacher/weights.safetensors",
        "06_models/teacher/card.json",
        "06_models/student/weights.safetensors",
        "06_models/student/card.json",
        "07_model_output/teacher_cache/key.json",
        "08_reporting/evaluation.json",
        "08_reporting/per_image.csv",
    ],
)
def test_the_chain_writes_its_files(smoke_run, path):
    assert (smoke_run.folder / "data" / path).stat().st_size > 0


def test_finished_training_leaves_no_checkpoints(smoke_run):
    assert not list((smoke_run.folder / "data/06_models/checkpoints").rglob("*.ckpt"))


def test_git_shows_no_other_file(smoke_run):
    changed = smoke_run.git("status", "--porcelain").splitlines()
    assert {line.split()[1] for line in changed} <= {"data/08_reporting/evaluation.json"}


def test_the_evaluation_has_its_schema(evaluation):
    assert evaluation["dataset"].keys() == {"digest", "captures"}
    assert evaluation["models"].keys() == set(MODELS)
    for scores in evaluation["models"].values():
        assert scores["overall"].keys() == SCORES
        assert scores["by_texture"].keys() == {"strong", "weak"}
        assert scores["by_position"].keys() == {"centre", "corner"}
        assert scores["by_edge"].keys() == {"near", "far"}
        assert "0.7-1.0" in scores["by_distance_m"]
        assert scores["coverage"].keys() == {"0.5", "0.8", "0.95"}
        assert np.isfinite(scores["ause"])
        assert np.isfinite(list(scores["overall"].values())).all()


def test_table_has_a_row_per_capture_and_model(smoke_run, evaluation):
    table = pd.read_csv(smoke_run.folder / "data/08_reporting/per_image.csv")
    assert len(table) == evaluation["dataset"]["captures"] * len(MODELS)


def test_figures_are_pictures_with_something_in_them(smoke_run):
    figures = list((smoke_run.folder / "data/08_reporting/figures").glob("*.png"))
    assert len(figures) >= 4
    for path in figures:
        with Image.open(path) as picture:
            assert np.asarray(picture.convert("L")).std() > 1


def test_one_finished_run_is_recorded_with_parameters_curves_and_scores(record, evaluation):
    assert record.info.status == "FINISHED"
    assert record.data.tags["mlflow.runName"] == "distill"
    assert record.data.params["teacher.location"] == "True"
    assert record.data.params["camera.lens.name"] == "CookeTriplet"
    for name in ("teacher/loss", "teacher/validation_nll", "student/loss"):
        assert name in record.data.metrics
    student = evaluation["models"]["student"]["overall"]["abs_rel"]
    assert record.data.metrics["student/overall/abs_rel"] == pytest.approx(student)


def test_curves_have_a_point_per_epoch(client, record):
    history = client.get_metric_history(record.info.run_id, "teacher/validation_nll")
    assert len({point.step for point in history}) == len(history) == 2


def test_run_names_its_camera_and_captures(record, smoke_run):
    camera = json.loads(
        (smoke_run.folder / "data/02_intermediate/captures/camera.json").read_text()
    )
    assert record.data.tags["camera"] == camera["fingerprint"]
    assert len(record.data.tags["dataset"]) == 16
    assert record.data.tags["mlflow.source.git.commit"]


def test_scores_and_figures_are_kept_with_the_run(client, record):
    kept = {entry.path for entry in client.list_artifacts(record.info.run_id)}
    assert kept == {"evaluation.json", "per_image.csv", "figures"}
    assert len(client.list_artifacts(record.info.run_id, "figures")) >= 4


@pytest.mark.parametrize("kind", ["teacher", "student"])
def test_a_registered_model_measures_photos_of_any_size(smoke_run, client, kind, monkeypatch):
    import mlflow

    monkeypatch.setattr(sys, "path", sys.path[:])  # MLflow puts the model's code in front
    monkeypatch.setenv("MLFLOW_TRACKING_URI", smoke_run.store)
    mlflow.set_tracking_uri(smoke_run.store)
    model = mlflow.pyfunc.load_model(f"models:/rangefinder-{kind}@candidate")
    rng = np.random.default_rng(0)
    for shape in ((1, 3, 64, 80), (2, 3, 51, 90)):
        maps = model.predict(rng.random(shape, dtype=np.float32), params={"origin_x_px": 8.0})
        assert maps.keys() == {"distance_m", "near_m", "far_m"}
        assert maps["distance_m"].shape == (shape[0], *shape[2:])
        inside = np.isfinite(maps["distance_m"])
        assert inside.any()
        assert (maps["near_m"] <= maps["far_m"])[inside].all()
    assert model.metadata.signature.params is not None
    version = client.get_model_version_by_alias(f"rangefinder-{kind}", "candidate").version
    assert str(version) == "1"
