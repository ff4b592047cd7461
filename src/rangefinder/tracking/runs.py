"""MLflow runs: one store per project; every run ends as finished, failed or killed."""

from __future__ import annotations

import atexit
import json
import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil

from rangefinder.common import no_telemetry
from rangefinder.config import TrackingParams

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger
    from mlflow import MlflowClient


PROCESS, PARENT, NAME = "rangefinder.process", "mlflow.parentRunId", "mlflow.runName"
DESCRIPTION = "mlflow.note.content"
_WIDTHS = {  # [px] of columns of the table of runs, in their order, as `make ui` opens it
    "attributes.`Run Name`": 380,
    "attributes.`Created`": 115,
    "metrics.`evaluation/student`": 125,
    "metrics.`evaluation/teacher`": 125,
    "metrics.`evaluation/constant`": 125,
    "metrics.`evaluation/edge`": 115,
    "metrics.`evaluation/in80`": 115,
    "attributes.`Dataset`": 160,
    "attributes.`Source`": 160,
}
_SAVED_VIEW = {
    "searchFilter": "tags.`captures.test` IS NULL",  # not those that keep a model's scores
    "orderByKey": "metrics.`evaluation/student`",
    "orderByAsc": True,
    "selectedColumns": list(_WIDTHS),
    "columnOrder": list(_WIDTHS),
    "columnWidths": _WIDTHS,
}
VIEW = "rangefinder"  # the key of that view in the UI's address
EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",  # or the UI opens on another page
    f"mlflow.sharedViewState.{VIEW}": json.dumps(_SAVED_VIEW),
    DESCRIPTION: "Runs of Rangefinder, the best student first. `evaluation/student`, `teacher` and "
    "`constant` are AbsRel on the test captures, `edge` the student's near depth edges; `in80` is "
    "the share of pixels within the 80 % interval. The best student that passed the gate is the "
    "champion of `rangefinder-student`.",
}
URI_VARIABLE = "MLFLOW_TRACKING_URI"
_open_runs: list[TrackedRun] = []
_monitors: dict[str, Any] = {}  # MLflow's monitors of the system, by run


@dataclass(frozen=True)
class Store:
    """Where runs are logged, whatever the working directory: URIs of tracking and artifacts."""

    uri: str
    artifacts: str

    @classmethod
    def of(cls, project: Path, params: TrackingParams) -> Self:
        """Store of the project in folder `project`."""
        # In a temporary copy made by `dvc exp run --temp` DVC_ROOT names the real project.
        root = Path(os.environ.get("DVC_ROOT") or project).resolve()
        own = f"sqlite:///{(root / 'mlflow.db').as_posix()}"
        uri = params.uri or os.environ.get(URI_VARIABLE) or own
        artifacts = params.artifacts
        return cls(uri, artifacts if "://" in artifacts else (root / artifacts).as_uri())

    def client(self) -> MlflowClient:
        """A client of the store, which also becomes MLflow's default in this process."""
        no_telemetry()
        import mlflow

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        asked = os.environ.get(URI_VARIABLE)
        mlflow.set_tracking_uri(self.uri)  # also sets the variable, which `of` takes for a setting
        os.environ.pop(URI_VARIABLE, None)
        if asked is not None:
            os.environ[URI_VARIABLE] = asked
        return mlflow.MlflowClient(self.uri)


@dataclass(frozen=True)
class Dataset:
    """Captures that a run took.

    Attributes:
        profile: Numbers worth seeing in the UI, by name.
    """

    name: str  # of the whole set
    digest: str
    source: str  # where they lie
    context: str  # what they were for
    profile: Mapping[str, int]

    @classmethod
    def scored(cls, summary: Mapping[str, Any], source: str) -> Self:
        """The test captures of scores as in evaluation.json, which lie at `source`."""
        scored = summary["dataset"]
        counts = {"captures": scored["captures"]}
        return cls("test captures", scored["digest"], source, "test", counts)


@dataclass(frozen=True)
class TrackedRun:
    """An open run, its parent run if any, and the name of the process that opened it."""

    client: MlflowClient
    store: Store
    experiment_id: str
    run_id: str
    parent_id: str | None = None
    process: str = field(default_factory=lambda: process_name(psutil.Process()))

    @classmethod
    def start(cls, store: Store, experiment: str, name: str, tags: Mapping[str, str]) -> Self:
        """Open a run, after marking runs of dead processes as killed.

        In a stage of `dvc repro` its parent is the run of that command.
        """
        client = store.client()
        experiment_id = _experiment(client, store, experiment)
        mark_killed(client, experiment_id)
        parent = _parent(client, experiment_id)
        own = {PROCESS: process_name(psutil.Process()), NAME: name, **tags}
        if parent:
            own[PARENT] = parent
        run = client.create_run(experiment_id, tags=own)
        tracked = cls(client, store, experiment_id, run.info.run_id, parent)
        _open_runs.append(tracked)
        atexit.register(tracked.abandon)
        return tracked

    @property
    def name(self) -> str:
        """What the run is called now."""
        return str(self.client.get_run(self.run_id).info.run_name)

    def rename(self, name: str) -> None:
        """Call the run otherwise."""
        self.set_tags({NAME: name})

    @property
    def parent(self) -> TrackedRun | None:
        """The run of the `dvc` command that this one is a stage of."""
        return None if self.parent_id is None else replace(self, run_id=self.parent_id)

    @contextmanager
    def child(self, name: str, tags: Mapping[str, str]) -> Iterator[TrackedRun]:
        """A finished run below this one, which is open within the block."""
        own = {PROCESS: self.process, PARENT: self.run_id, NAME: name, **tags}
        run_id = self.client.create_run(self.experiment_id, tags=own).info.run_id
        status = "FAILED"
        try:
            yield replace(self, run_id=run_id, parent_id=self.run_id)
            status = "FINISHED"
        finally:
            self.client.set_terminated(run_id, status)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log nested parameters under dotted names."""
        from mlflow.entities import Param

        items = [Param(key, str(value)) for key, value in flatten(params, ".").items()]
        self.client.log_batch(self.run_id, params=items)

    def log_metrics(
        self,
        metrics: Mapping[str, Any],
        model_id: str | None = None,
        dataset: Dataset | None = None,
    ) -> None:
        """Log the numbers of nested metrics under names with slashes.

        Args:
            metrics: The metrics.
            model_id: The logged model that they are of as well.
            dataset: What they were measured on.
        """
        from mlflow.entities import Metric

        now, of = int(time.time() * 1000), {}
        if dataset is not None:
            of = {"dataset_name": dataset.name, "dataset_digest": dataset.digest}
        items = [
            Metric(key, float(value), now, 0, model_id, **of)
            for key, value in flatten(metrics, "/").items()
            if isinstance(value, int | float)
        ]
        self.client.log_batch(self.run_id, metrics=items)

    def log_datasets(self, *datasets: Dataset) -> None:
        """Log captures as inputs of the run."""
        from mlflow import entities

        inputs = [
            entities.DatasetInput(
                entities.Dataset(
                    each.name,
                    each.digest,
                    "local",
                    json.dumps({"uri": each.source}),
                    profile=json.dumps(dict(each.profile)),
                ),
                [entities.InputTag("mlflow.data.context", each.context)],
            )
            for each in datasets
        ]
        self.client.log_inputs(self.run_id, inputs)

    def log_files(self, path: Path) -> None:
        """Log a file, or a folder under its name."""
        if path.is_dir():
            self.client.log_artifacts(self.run_id, str(path), path.name)
        else:
            self.client.log_artifact(self.run_id, str(path))

    def watch_system(self) -> None:
        """Log processor, memory and GPU of the machine until the run ends."""
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        monitor: Any = SystemMetricsMonitor(self.run_id, tracking_uri=self.store.uri)  # type: ignore[no-untyped-call]
        monitor.start()
        _monitors[self.run_id] = monitor

    def log_text(self, name: str, text: str) -> None:
        """Log a text as a file of this name."""
        self.client.log_text(self.run_id, text, name)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set or change tags."""
        for key, value in tags.items():
            self.client.set_tag(self.run_id, key, value)

    @contextmanager
    def ending(self) -> Iterator[Self]:
        """End the run with the block: as finished, or as failed if it raises."""
        status = "FAILED"
        try:
            yield self
            status = "FINISHED"
        finally:
            self.end(status)

    def end(self, status: str) -> None:
        """End the run, and its parent with it, as FINISHED, FAILED or KILLED."""
        if self in _open_runs:
            _open_runs.remove(self)
            if self.run_id in _monitors:
                _monitors.pop(self.run_id).finish()
            for run_id in filter(None, (self.run_id, self.parent_id)):
                self.client.set_terminated(run_id, status)
            atexit.unregister(self.abandon)

    def abandon(self) -> None:
        """Mark the run as killed; called when its process exits before the run has ended."""
        if self.process == process_name(psutil.Process()):
            self.end("KILLED")


def current_run() -> TrackedRun | None:
    """The latest open run of this process, if any."""
    return _open_runs[-1] if _open_runs else None


def epoch_logger(prefix: str) -> Logger | None:
    """Lightning logger into the current run under names `prefix/...`, or None outside a run."""
    run = current_run()
    if run is None:
        return None
    from rangefinder.tracking.epoch_logger import LiveLogger

    return LiveLogger(tracking_uri=run.store.uri, run_id=run.run_id, prefix=prefix)


def flatten(nested: Mapping[str, Any], separator: str, prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` -> `{"a.b": 1}` for separator "."."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, separator, f"{prefix}{key}{separator}")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def process_name(process: psutil.Process) -> str:
    """Unique name of a process: host, id and start."""
    return f"{socket.gethostname()}:{process.pid}:{process.create_time():.0f}"


def mark_killed(client: MlflowClient, experiment_id: str) -> None:
    """Mark running runs as killed whose process on this host is gone."""
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
        return str(client.create_experiment(name, store.artifacts, EXPERIMENT_TAGS))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    for key, value in EXPERIMENT_TAGS.items():
        if found.tags.get(key) != value and not (key == DESCRIPTION and key in found.tags):
            client.set_experiment_tag(found.experiment_id, key, value)
    return str(found.experiment_id)


def _parent(client: MlflowClient, experiment_id: str) -> str | None:
    """Parent run of the `dvc` command that started this process; its first stage creates it."""
    if "DVC_STAGE" not in os.environ:
        return None
    owner = process_name(_dvc_process())
    query = f"tags.`{PROCESS}` = '{owner}' and tags.`dvc` = 'repro'"
    found = client.search_runs([experiment_id], query, max_results=1)
    if found:
        parent_id = str(found[0].info.run_id)
        client.update_run(parent_id, status="RUNNING")
        return parent_id
    name = os.environ.get("DVC_EXP_NAME") or "dvc repro"
    tags = {PROCESS: owner, "dvc": "repro", NAME: name}
    return str(client.create_run(experiment_id, tags=tags).info.run_id)


def _dvc_process() -> psutil.Process:
    """The nearest ancestor without DVC_STAGE in its environment: DVC itself."""
    for ancestor in psutil.Process().parents():
        try:
            if "DVC_STAGE" not in ancestor.environ():
                return ancestor
        except psutil.Error:
            break
    return psutil.Process().parents()[0]
