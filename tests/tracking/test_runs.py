"""Tracked runs: one store, and the true status however a run ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rangefinder.config import TrackingParams
from rangefinder.tracking import runs
from rangefinder.tracking.mlflow_run import PROCESS
from rangefinder.tracking.runs import TrackedRun, current_run, epoch_logger
from rangefinder.tracking.store import Store

PARAMS = TrackingParams()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_STAGE"):
        monkeypatch.delenv(name, raising=False)
    return Store.of(tmp_path, PARAMS)


def start(store: Store, name: str = "test") -> TrackedRun:
    return TrackedRun.start(store, PARAMS.experiment, name, {"env": "test"})


def test_the_store_is_in_the_project_whatever_the_working_directory(store, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    assert Store.of(tmp_path, PARAMS) == store
    assert store.uri == f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert store.artifacts == (tmp_path / "mlartifacts").as_uri()


def test_the_store_follows_configuration_environment_and_dvc(store, tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", "/elsewhere")
    assert Store.of(tmp_path, PARAMS).uri == "sqlite:////elsewhere/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert Store.of(tmp_path, PARAMS).uri == "http://tracking:5000"
    params = TrackingParams(uri="http://chosen", artifacts="s3://bucket/x")
    store = Store.of(tmp_path, params)
    assert (store.uri, store.artifacts) == ("http://chosen", "s3://bucket/x")


def test_each_project_keeps_its_own_store_in_one_process(store, tmp_path):
    store.client()
    other = Store.of(tmp_path / "other", PARAMS)
    assert other.uri == f"sqlite:///{tmp_path / 'other/mlflow.db'}"
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_a_run_records_flat_parameters_metrics_files_and_live_epochs(store, tmp_path):
    run = start(store)
    run.log_params({"camera": {"lens": {"name": "x"}, "width_px": 480}, "seed": 0})
    run.log_metrics({"student": {"overall": {"abs_rel": 0.1, "mae_m": None}}})
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures/a.png").write_bytes(b"png")
    run.log_files(tmp_path / "figures")
    logger = epoch_logger("teacher")
    assert logger is not None
    logger.log_metrics({"loss": 2.0}, step=7)
    logger.finalize("success")
    stored = run.client.get_run(run.run_id)
    assert stored.info.status == "RUNNING"
    assert stored.data.params == {"camera.lens.name": "x", "camera.width_px": "480", "seed": "0"}
    assert stored.data.metrics == {"student/overall/abs_rel": 0.1, "teacher/loss": 2.0}
    assert run.client.get_metric_history(run.run_id, "teacher/loss")[0].step == 7
    assert [f.path for f in run.client.list_artifacts(run.run_id, "figures")] == ["figures/a.png"]
    run.end("FINISHED")
    assert run.client.get_run(run.run_id).info.status == "FINISHED"


def test_a_run_ends_with_its_block_as_failed_if_that_raises(store):
    with start(store).ending() as finished:
        assert current_run() == finished
    with pytest.raises(ValueError, match="broken"), start(store).ending() as failed:
        raise ValueError("broken")
    statuses = [run.client.get_run(run.run_id).info.status for run in (finished, failed)]
    assert statuses == ["FINISHED", "FAILED"]
    assert current_run() is None


def test_outside_a_run_there_is_no_logger():
    assert current_run() is None
    assert epoch_logger("teacher") is None


def test_runs_whose_process_is_gone_are_marked_killed(store):
    gone, here = start(store, "gone"), start(store, "here")
    runs._open_runs.remove(gone)
    name = gone.begun.process.rsplit(":", 1)[0] + ":1"  # the same id, another start
    gone.client.set_tag(gone.run_id, PROCESS, name)
    new = start(store, "new")
    assert new.client.get_run(gone.run_id).info.status == "KILLED"
    assert new.client.get_run(here.run_id).info.status == "RUNNING"
    for run in (here, new):
        run.end("FINISHED")


@pytest.mark.parametrize("ending", ["raise KeyboardInterrupt", "sys.exit(3)", "pass"])
def test_a_run_is_marked_killed_when_its_process_ends_first(store, tmp_path, ending):
    code = (
        "import sys; from pathlib import Path\n"
        "from rangefinder.config import TrackingParams\n"
        "from rangefinder.tracking.runs import Store, TrackedRun\n"
        f"store = Store.of(Path({str(tmp_path)!r}), TrackingParams())\n"
        f"print(TrackedRun.start(store, 'rangefinder', 'x', {{}}).run_id)\n{ending}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    run_id = done.stdout.split()[-1]
    assert store.client().get_run(run_id).info.status == "KILLED"


def test_stages_of_one_dvc_command_share_a_parent(store, tmp_path):
    code = (
        "from pathlib import Path\n"
        "from rangefinder.config import TrackingParams\n"
        "from rangefinder.tracking.runs import Store, TrackedRun\n"
        f"store = Store.of(Path({str(tmp_path)!r}), TrackingParams())\n"
        "run = TrackedRun.start(store, 'rangefinder', 'x', {})\n"
        "run.end('FINISHED'); print(run.mlflow.parent_id)"
    )
    environment = os.environ | {"DVC_STAGE": "x"}
    command = [sys.executable, "-c", code]
    parents = [
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    first, second = (done.stdout.split()[-1] for done in parents)
    assert first == second
    client = store.client()
    assert client.get_run(first).info.status == "FINISHED"
    children = client.search_runs(["1"], f"tags.`mlflow.parentRunId` = '{first}'")
    assert len(children) == 2
