"""The smoke run: its files, its output and its MLflow run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from rangefinder.cache.store import read_cache
from rangefinder.captures.manifest import read_captures
from rangefinder.common.files import checksum
from rangefinder.models.model_files import load_model
from rangefinder.tracking.lineage import lineage
from rangefinder.tracking.mlflow_run import VIEW
from rangefinder.tracking.registry import Version

from ..conftest import ROOT, SmokeRun

KINDS = ("teacher", "student")
MODELS = ("constant", *KINDS)
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
    runs = client.search_runs(["1"])
    (run,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
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
        "08_reporting/metrics.json",
        "08_reporting/per_image.csv",
    ],
)
def test_the_chain_writes_its_files(smoke_run, path):
    assert (smoke_run.folder / "data" / path).stat().st_size > 0


def test_finished_training_leaves_no_checkpoints(smoke_run):
    assert not list((smoke_run.folder / "data/06_models/checkpoints").rglob("*.ckpt"))


def test_git_shows_no_other_file(smoke_run):
    changed = smoke_run.git("status", "--porcelain").splitlines()
    assert {line.split()[1] for line in changed} <= {"data/08_reporting/metrics.json"}


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
    scores = {kind: evaluation["models"][kind]["overall"]["abs_rel"] for kind in KINDS}
    result = f"student {scores['student']:.3f}, teacher {scores['teacher']:.3f}"
    assert record.info.run_name == f"distill smoke seed 0: {result}"
    assert record.data.tags["mlflow.source.name"] == "kedro run --pipelines distill --env smoke"
    assert record.data.params["teacher.location"] == "True"
    assert record.data.params["camera.lens.name"] == "CookeTriplet"
    for name in ("teacher/loss", "teacher/validation_nll", "student/loss"):
        assert name in record.data.metrics
    assert record.data.metrics["student/overall/abs_rel"] == pytest.approx(scores["student"])
    for node in ("trace_lens", "gather_captures", "train_teacher", "distil_student"):
        assert record.data.metrics[f"nodes/{node}/seconds"] > 0
    assert "system/cpu_utilization_percentage" in record.data.metrics


def test_curves_have_a_point_per_epoch(client, record):
    history = client.get_metric_history(record.info.run_id, "teacher/validation_nll")
    assert len({point.step for point in history}) == len(history) == 2


def test_every_thing_has_one_fingerprint_everywhere(client, record, smoke_run, evaluation):
    data = smoke_run.folder / "data"
    captures = read_captures(data / "02_intermediate/captures")
    teacher, student = (load_model(data / "06_models" / kind) for kind in KINDS)
    cache = read_cache(data / "07_model_output/teacher_cache")
    expected = {
        "camera": captures.camera.fingerprint,
        "captures": captures.digest,
        "teacher": teacher.fingerprint,
        "cache": cache.fingerprint,
        "student": student.fingerprint,
    }
    assert {name: record.data.tags[name] for name in expected} == expected
    assert (cache.key.camera, cache.key.teacher) == (expected["camera"], expected["teacher"])
    assert student.card.cache == expected["cache"]
    assert student.card.dataset == cache.key.photos
    for kind, model in zip(KINDS, (teacher, student), strict=True):
        tags = client.get_model_version(f"rangefinder-{kind}", "1").tags
        assert tags["fingerprint"] == expected[kind]
        assert tags["captures.training"] == model.card.dataset
        assert tags["captures.test"] == evaluation["dataset"]["digest"]
        shared = ("camera", "captures") + (("teacher", "cache") if kind == "student" else ())
        assert {name: tags[name] for name in shared} == {name: expected[name] for name in shared}
        assert tags["mlflow.source.git.commit"] == record.data.tags["mlflow.source.git.commit"]
    taken = {each.dataset.digest for each in record.inputs.dataset_inputs}
    assert taken == {expected["captures"], evaluation["dataset"]["digest"]}


def test_the_contents_behind_fingerprints_of_captures_are_kept(client, record, smoke_run, tmp_path):
    path = client.download_artifacts(record.info.run_id, "captures.csv", str(tmp_path))
    listed = pd.read_csv(path, dtype=str, keep_default_na=False)
    captures = read_captures(smoke_run.folder / "data/02_intermediate/captures")
    assert set(listed["capture_id"]) == set(captures.table["capture_id"])
    student = load_model(smoke_run.folder / "data/06_models/student")
    photos = listed[listed["role"].eq("unlabelled") & listed["split"].eq("train")]
    assert checksum(photos.to_csv(index=False).encode()) == student.card.dataset


def test_lineage_leads_from_the_student_back_to_the_ids_of_captures(smoke_run, client):
    links = {link.what: link for link in lineage(client, "models:/rangefinder-student/1")}
    chain = ["student", "cache", "teacher", "captures", "camera", "lens", "commit"]
    assert list(links) == chain
    student = load_model(smoke_run.folder / "data/06_models/student")
    captures = read_captures(smoke_run.folder / "data/02_intermediate/captures")
    assert links["student"].fingerprint == student.fingerprint
    assert links["cache"].fingerprint == student.card.cache
    assert links["camera"].fingerprint == student.card.camera_fingerprint
    assert links["captures"].fingerprint == captures.digest
    assert checksum(Path(links["captures"].facts["listed in"]).read_bytes()) == captures.digest
    for what in ("student", "cache", "teacher", "captures"):
        assert links[what].command == "kedro run --pipelines distill --env smoke"
    assert links["commit"].fingerprint == smoke_run.git("rev-parse", "HEAD").strip()


def test_scores_belong_to_their_model_without_prefix(client, record, evaluation):
    for kind in KINDS:
        version = Version.of(client.get_model_version(f"rangefinder-{kind}", "1"))
        metrics = {m.key: m.value for m in client.get_logged_model(version.model_id).metrics}
        scores = evaluation["models"][kind]
        assert metrics["overall/abs_rel"] == pytest.approx(scores["overall"]["abs_rel"])
        assert metrics["coverage/0.8"] == pytest.approx(scores["coverage"]["0.8"])
        assert not [key for key in metrics if key.startswith(("teacher/", "student/", "constant/"))]


def test_requirements_name_releases_that_an_index_serves(client, tmp_path):
    for kind in KINDS:
        version = Version.of(client.get_model_version(f"rangefinder-{kind}", "1"))
        folder = client.get_logged_model(version.model_id).artifact_location
        text = (Path(urlparse(folder).path) / "requirements.txt").read_text()
        assert "torch==" in text
        assert "+" not in text


def test_the_experiment_is_of_model_training(client):
    kind = client.get_experiment("1").tags["mlflow.experimentKind"]
    assert kind == "custom_model_development"  # else the UI opens on a page for language models


def test_the_view_that_make_ui_opens_has_columns_that_runs_fill(client, record):
    tags = client.get_experiment("1").tags
    view = json.loads(tags[f"mlflow.sharedViewState.{VIEW}"])
    assert [run.info.run_id for run in client.search_runs(["1"], view["searchFilter"])] == [
        record.info.run_id  # without those below it that keep a model's scores
    ]
    columns = [name[9:-1] for name in view["selectedColumns"] if name.startswith("metrics.")]
    assert {"evaluation/student", "evaluation/teacher"} <= set(columns) <= set(record.data.metrics)
    assert VIEW in (ROOT / "Makefile").read_text()


def test_metrics_of_dvc_fit_the_terminal(smoke_run):
    lines = smoke_run.run("dvc", "metrics", "show").stdout.splitlines()
    assert "student" in lines[0]
    assert max(map(len, lines)) <= 120


def test_scores_and_figures_are_kept_with_the_run(client, record):
    kept = {entry.path for entry in client.list_artifacts(record.info.run_id)}
    described = {"captures.csv", "environment.json"}
    assert kept == {"report.html", "evaluation.json", "per_image.csv", "figures"} | described
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
