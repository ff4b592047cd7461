"""The pipeline `export`: the student as one file, with its scores, in the run's record."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from rangefinder.inference.exported import FilePredictor
from rangefinder.inference.predictor import Predictor
from rangefinder.models.model_files import load_model

from ..conftest import Project

FILE = "data/06_models/student.onnx"


@pytest.mark.slow
def test_the_student_of_a_run_is_exported_and_recorded(smoke_run, tmp_path):
    from mlflow import MlflowClient
    from mlflow.artifacts import download_artifacts

    shutil.copytree(smoke_run.folder, tmp_path / "project")
    project = Project(tmp_path / "project")
    project.run("kedro", "run", "--pipelines", "export", "--env", "smoke")
    student = load_model(project.folder / "data/06_models/student")
    predict = FilePredictor(project.folder / FILE)
    assert predict.fingerprint == student.fingerprint
    camera = student.card.camera
    photo = np.random.default_rng(0).random((3, camera.height_px, camera.width_px), np.float32)
    expected = Predictor(student, "cpu", exact=True)(photo).distance_m
    assert np.quantile(np.abs(predict(photo).distance_m / expected - 1), 0.99) < 1e-4
    metadata = {p.key: p.value for p in onnx.load(project.folder / FILE).metadata_props}
    evaluation = json.loads((project.folder / "data/08_reporting/evaluation.json").read_text())
    assert json.loads(metadata["scores"]) == evaluation["models"]["student"]
    (run,) = MlflowClient(project.store).search_runs(["1"], "attributes.run_name LIKE 'export %'")
    logged = download_artifacts(
        run_id=run.info.run_id, artifact_path="student.onnx", tracking_uri=project.store
    )
    assert Path(logged).read_bytes() == (project.folder / FILE).read_bytes()
