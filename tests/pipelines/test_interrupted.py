"""Interrupted runs: a training resumes from its checkpoint, and MLflow has the true status."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from ..conftest import Project, SmokeRun

EPOCHS = 12
COMMAND = ("kedro", "run", "--env", "smoke", "--pipeline", "teacher_training", "--params")
CHECKPOINT = "data/06_models/checkpoints/teacher/last.ckpt"


@pytest.fixture
def trained(smoke_run: SmokeRun, tmp_path: Path) -> Project:
    """A copy of the smoke project with its captures, without records."""
    ignored = shutil.ignore_patterns("mlartifacts", "mlflow.db")
    shutil.copytree(smoke_run.folder, tmp_path / "project", ignore=ignored)
    return Project(tmp_path / "project")


def params(**changes: int) -> str:
    values = {"max_epochs": EPOCHS, "patience_epochs": EPOCHS} | changes
    return ",".join(f"teacher.{key}={value}" for key, value in values.items())


def kill_in_training(project: Project, number: signal.Signals) -> None:
    """Start a training and send it a signal once it has left a checkpoint."""
    project.stop(number, CHECKPOINT, *COMMAND, params(steps_per_epoch=40))
    assert (project.folder / CHECKPOINT).exists()


def statuses(project: Project) -> list[str]:
    from mlflow import MlflowClient

    runs = MlflowClient(project.store).search_runs(["1"], order_by=["attributes.start_time"])
    return [run.info.status for run in runs]


def epochs(project: Project) -> list[int]:
    from mlflow import MlflowClient

    client = MlflowClient(project.store)
    run = client.search_runs(["1"], order_by=["attributes.start_time DESC"])[0]
    history = client.get_metric_history(run.info.run_id, "teacher/epoch")
    return [int(point.value) for point in history]


def test_a_killed_training_resumes_and_its_run_is_ended(trained):
    kill_in_training(trained, signal.SIGKILL)
    log = trained.run(*COMMAND, params(steps_per_epoch=40)).stderr
    assert "Resuming from the checkpoint" in log
    assert statuses(trained) == ["KILLED", "FINISHED"]
    assert 0 not in epochs(trained)
    assert max(epochs(trained)) == EPOCHS - 1


@pytest.mark.slow
def test_other_parameters_start_anew_and_sigterm_ends_the_run(trained):
    kill_in_training(trained, signal.SIGTERM)
    assert statuses(trained) == ["KILLED"]
    log = trained.run(*COMMAND, params(steps_per_epoch=5)).stderr
    assert "Resuming" not in log
    assert min(epochs(trained)) == 0


def test_a_failed_run_is_recorded_as_failed(trained):
    (trained.folder / "data/02_intermediate/captures/captures.parquet").unlink()
    done = trained.run(*COMMAND, params(), check=False)
    assert done.returncode == 1
    assert statuses(trained) == ["FAILED"]
