"""Runs in MLflow: one store for the project, one record per run, whatever ends it."""

from __future__ import annotations

import atexit
import logging
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil
from pydantic import Field

from rangefinder.config import Strict, parse
from rangefinder.deploy.privacy import no_telemetry

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger
    from mlflow import MlflowClient

PROCESS, PARENT = "rangefinder.process", "mlflow.parentRunId"
_BATCH = 100  # most params or tags MLflow takes at once
_open_runs: list[TrackedRun] = []


class TrackingParams(Strict):
    """The whole of conf/*/tracking.yml."""

    enabled: bool = True
    uri: str | None = Field(None, description="null: $MLFLOW_TRACKING_URI, or the project's own")
    artifacts: str = Field("mlartifacts", min_length=1, description="folder in the project, or URI")
    experiment: str = Field("rangefinder", min_length=1)
    alias: str = Field("candidate", pattern=r"^[a-z][a-z0-9_-]*$", description="of new models")


def parse_tracking(raw: dict[str, Any]) -> TrackingParams:
    """Validate the settings of tracking.

    Raises:
        ConfigError: Naming every wrong key, its value and what is allowed.
    """
    return parse(TrackingParams, raw, "conf/<env>/tracking.yml")


@dataclass(frozen=True)
class Store:
    """Where runs are recorded: the same place wherever the command was started.

    Attributes:
        uri: Tracking URI.
        artifacts: URI of the artifacts of a new experiment.
    """

    uri: str
    artifacts: str

    @classmethod
    def of(cls, project: Path, params: TrackingParams) -> Self:
        """Store of the project in folder `project`.

        In a temporary copy made by `dvc exp run --temp` DVC_ROOT names the real project.
        """
        root = Path(os.environ.get("DVC_ROOT") or project).resolve()
        own = f"sqlite:///{(root / 'mlflow.db').as_posix()}"
        uri = params.uri or os.environ.get("MLFLOW_TRACKING_URI") or own
        place = params.artifacts
        return cls(uri, place if "://" in place else (root / place).as_uri())

    def client(self) -> MlflowClient:
        """A client of the store; MLflow's own defaults follow it."""
        no_telemetry()
        import mlflow

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        mlflow.set_tracking_uri(self.uri)
        return mlflow.MlflowClient(self.uri)


@dataclass(frozen=True)
class TrackedRun:
    """One run that is being recorded.

    Attributes:
        client: Client of the store.
        store: The store.
        run_id: The run.
        parent_id: The run it is a part of, if any.
        process: Who records it.
    """

    client: MlflowClient
    store: Store
    run_id: str
    parent_id: str | None = None
    process: str = field(default_factory=lambda: process_name(psutil.Process()))

    @classmethod
    def start(cls, store: Store, experiment: str, name: str, tags: Mapping[str, str]) -> Self:
        """Start a run; runs whose process is gone are marked killed first.

        Inside a stage of `dvc repro` the run becomes a child of that command's run.
        """
        client = store.client()
        experiment_id = _experiment(client, store, experiment)
        mark_killed(client, experiment_id)
        parent = _parent(client, experiment_id)
        own = {PROCESS: process_name(psutil.Process()), "mlflow.runName": name, **tags}
        if parent:
            own[PARENT] = parent
        run = client.create_run(experiment_id, tags=own)
        tracked = cls(client, store, run.info.run_id, parent)
        _open_runs.append(tracked)
        atexit.register(tracked.abandon)
        return tracked

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record nested parameters under dotted names."""
        from mlflow.entities import Param

        items = [Param(key, str(value)) for key, value in flatten(params, ".").items()]
        for first in range(0, len(items), _BATCH):
            self.client.log_batch(self.run_id, params=items[first : first + _BATCH])

    def log_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Record the finite numbers of nested metrics under names with slashes."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        items = [
            Metric(key, float(value), now, 0)
            for key, value in flatten(metrics, "/").items()
            if isinstance(value, int | float)
        ]
        self.client.log_batch(self.run_id, metrics=items)

    def log_files(self, path: Path) -> None:
        """Keep a file, or a folder under its name."""
        if path.is_dir():
            self.client.log_artifacts(self.run_id, str(path), path.name)
        else:
            self.client.log_artifact(self.run_id, str(path))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set or change tags."""
        for key, value in tags.items():
            self.client.set_tag(self.run_id, key, value)

    def end(self, status: str) -> None:
        """End the run, and its parent with it, as FINISHED, FAILED or KILLED."""
        if self in _open_runs:
            _open_runs.remove(self)
            for run_id in filter(None, (self.run_id, self.parent_id)):
                self.client.set_terminated(run_id, status)
            atexit.unregister(self.abandon)

    def abandon(self) -> None:
        """Mark the run as killed if the process ends and nobody has ended the run."""
        if self.process == process_name(psutil.Process()):
            self.end("KILLED")


def current_run() -> TrackedRun | None:
    """The run that is being recorded in this process, if any."""
    return _open_runs[-1] if _open_runs else None


def epoch_logger(prefix: str) -> Logger | None:
    """Lightning logger that writes live into the current run, or None outside a run.

    Args:
        prefix: Put before every metric's name, with a slash.
    """
    run = current_run()
    if run is None:
        return None
    from rangefinder.deploy.live import LiveLogger

    return LiveLogger(tracking_uri=run.store.uri, run_id=run.run_id, prefix=prefix)


def flatten(nested: Mapping[str, Any], joint: str) -> dict[str, Any]:
    """`{"a": {"b": 1}}` -> `{"a.b": 1}` for joint "."."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            inner = flatten(value, joint)
            flat |= {f"{key}{joint}{name}": leaf for name, leaf in inner.items()}
        else:
            flat[str(key)] = value
    return flat


def process_name(process: psutil.Process) -> str:
    """Name of a process that no later process will have: host, id and start."""
    return f"{socket.gethostname()}:{process.pid}:{process.create_time():.0f}"


def mark_killed(client: MlflowClient, experiment_id: str) -> None:
    """Mark runs as killed that still say running though their process on this host is gone."""
    host = socket.gethostname()
    running = client.search_runs(
        [experiment_id], f"attributes.status = 'RUNNING' and tags.`{PROCESS}` LIKE '{host}:%'"
    )
    for run in running:
        if not _alive(run.data.tags[PROCESS]):
            client.set_terminated(run.info.run_id, "KILLED")


def _alive(name: str) -> bool:
    try:
        return process_name(psutil.Process(int(name.split(":")[-2]))) == name
    except (psutil.Error, ValueError):
        return False


def _experiment(client: MlflowClient, store: Store, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        return str(client.create_experiment(name, artifact_location=store.artifacts))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _parent(client: MlflowClient, experiment_id: str) -> str | None:
    """Run of the `dvc` command that started this process, made by its first stage."""
    if "DVC_STAGE" not in os.environ:
        return None
    owner = process_name(_dvc_process())
    wanted = f"tags.`{PROCESS}` = '{owner}' and tags.`dvc` = 'repro'"
    found = client.search_runs([experiment_id], wanted, max_results=1)
    if found:
        parent_id = str(found[0].info.run_id)
        client.update_run(parent_id, status="RUNNING")
        return parent_id
    name = os.environ.get("DVC_EXP_NAME") or "dvc repro"
    tags = {PROCESS: owner, "dvc": "repro", "mlflow.runName": name}
    return str(client.create_run(experiment_id, tags=tags).info.run_id)


def _dvc_process() -> psutil.Process:
    """The nearest ancestor that does not know of the stage: DVC itself."""
    for ancestor in psutil.Process().parents():
        try:
            if "DVC_STAGE" not in ancestor.environ():
                return ancestor
        except psutil.Error:
            break
    return psutil.Process().parents()[0]
