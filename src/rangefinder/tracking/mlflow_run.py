"""A run in MLflow, written to directly: whatever MLflow stumbles on is raised."""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil

from rangefinder.tracking.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

PROCESS, PARENT, NAME = "rangefinder.process", "mlflow.parentRunId", "mlflow.runName"
KEY = "rangefinder.key"
DESCRIPTION = "mlflow.note.content"
HEADLINE = "evaluation"  # prefix of the few numbers that sum a run up
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
class Start:
    """What a run begins with.

    Attributes:
        experiment: Its experiment.
        name: What it is.
        tags: Its tags.
        key: Its own, by which it is found again.
        process: Name of the process that it is of.
        began_ms: When it began [ms since 1970].
        dvc: Name of the process of the `dvc` command that it is a stage of, if any.
        dvc_name: What the run of that command is called.
    """

    experiment: str
    name: str
    tags: Mapping[str, str]
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    process: str = field(default_factory=lambda: process_name(psutil.Process()))
    began_ms: int = field(default_factory=lambda: now_ms())
    dvc: str | None = field(default_factory=lambda: _dvc_process())
    dvc_name: str = field(default_factory=lambda: os.environ.get("DVC_EXP_NAME") or "dvc repro")


@dataclass(frozen=True)
class MlflowRun:
    """A run, and its parent if any."""

    client: MlflowClient
    store: Store
    experiment_id: str
    run_id: str
    parent_id: str | None = None

    @classmethod
    def begin(cls, store: Store, start: Start) -> Self:
        """Make a run, unless it is there, after marking runs of dead processes as killed.

        In a stage of `dvc repro` its parent is the run of that command.
        """
        client = store.client()
        experiment_id = _experiment(client, store, start.experiment)
        mark_killed(client, experiment_id)
        parent_id = _parent(client, experiment_id, start)
        run_id = _found(client, experiment_id, {KEY: start.key})
        if run_id is None:
            tags = {**start.tags, PROCESS: start.process, NAME: start.name, KEY: start.key}
            if parent_id:
                tags[PARENT] = parent_id
            run_id = _created(client, experiment_id, start.began_ms, tags)
        return cls(client, store, experiment_id, run_id, parent_id)

    @property
    def name(self) -> str:
        """What the run is called now."""
        return str(self.client.get_run(self.run_id).info.run_name)

    @property
    def parent(self) -> Self | None:
        """The run of the `dvc` command that this one is a stage of."""
        return None if self.parent_id is None else replace(self, run_id=self.parent_id)

    @contextmanager
    def child(self, name: str, tags: Mapping[str, str]) -> Iterator[Self]:
        """A finished run below this one, the same for the same tags; open within the block."""
        own = {PARENT: self.run_id, **tags}
        run_id = _found(self.client, self.experiment_id, own)
        if run_id is None:
            process = process_name(psutil.Process())
            own |= {PROCESS: process, NAME: name}
            run_id = _created(self.client, self.experiment_id, now_ms(), own)
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
        at_ms: int,
        step: int = 0,
        model_id: str | None = None,
        dataset: Dataset | None = None,
    ) -> None:
        """Log the numbers of nested metrics under names with slashes.

        Args:
            metrics: The metrics.
            at_ms: When they were measured [ms since 1970].
            step: Of a curve.
            model_id: The logged model that they are of as well.
            dataset: What they were measured on.
        """
        from mlflow.entities import Metric

        of = {}
        if dataset is not None:
            of = {"dataset_name": dataset.name, "dataset_digest": dataset.digest}
        items = [
            Metric(key, float(value), at_ms, step, model_id, **of)
            for key, value in flatten(metrics, "/").items()
            if isinstance(value, int | float)
        ]
        self.client.log_batch(self.run_id, metrics=items)

    def log_dataset(self, dataset: Dataset) -> None:
        """Log captures as an input of the run."""
        from mlflow import entities

        taken = entities.Dataset(
            dataset.name,
            dataset.digest,
            "local",
            json.dumps({"uri": dataset.source}),
            profile=json.dumps(dict(dataset.profile)),
        )
        tags = [entities.InputTag("mlflow.data.context", dataset.context)]
        self.client.log_inputs(self.run_id, [entities.DatasetInput(taken, tags)])

    def log_files(self, path: Path, *, to_parent: bool = False) -> None:
        """Log a file, or a folder under its name; to the parent run as well if wanted."""
        for run_id in filter(None, (self.run_id, self.parent_id if to_parent else None)):
            if path.is_dir():
                self.client.log_artifacts(run_id, str(path), path.name)
            else:
                self.client.log_artifact(run_id, str(path))

    def log_text(self, name: str, text: str) -> None:
        """Log a text as a file of this name."""
        self.client.log_text(self.run_id, text, name)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set or change tags."""
        for key, value in tags.items():
            self.client.set_tag(self.run_id, key, value)

    def add_result(self, text: str) -> None:
        """Put a result behind the run's name."""
        if not (name := self.name).endswith(ending := f": {text}"):
            self.set_tags({NAME: f"{name}{ending}"})

    def sum_up(
        self,
        result: str,
        numbers: Mapping[str, float],
        description: str,
        params: Mapping[str, Any],
        at_ms: int,
    ) -> None:
        """Put the run's result into its name, metrics and description, and into its parent's.

        Args:
            result: In words.
            numbers: By name.
            description: In Markdown.
            params: Parameters that the parent shows.
            at_ms: When they were measured [ms since 1970].
        """
        self.add_result(result)
        runs = [self]
        if (parent := self.parent) is not None:
            parent.set_tags({NAME: f"{parent.name.partition(':')[0]}: {result}"})
            parent.log_params(params)
            runs.append(parent)
        for run in runs:
            run.log_metrics({HEADLINE: dict(numbers)}, at_ms)
            run.set_tags({DESCRIPTION: description})

    def end(self, status: str, at_ms: int) -> None:
        """End the run, and its parent with it, as FINISHED, FAILED or KILLED."""
        for run_id in filter(None, (self.run_id, self.parent_id)):
            self.client.set_terminated(run_id, status, at_ms)


def flatten(nested: Mapping[str, Any], separator: str, prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` -> `{"a.b": 1}` for separator "."."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, separator, f"{prefix}{key}{separator}")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def now_ms() -> int:
    """The time [ms since 1970], as MLflow keeps it."""
    return int(time.time() * 1000)


def process_name(process: psutil.Process) -> str:
    """Unique name of a process: host, id and start."""
    return f"{socket.gethostname()}:{process.pid}:{process.create_time():.0f}"


def is_of_this_host(name: str) -> bool:
    """Whether a process is, or was, of this machine."""
    return name.rsplit(":", 2)[0] == socket.gethostname()


def is_alive(name: str) -> bool:
    """Whether a process of this host, by its name, still runs."""
    try:
        return process_name(psutil.Process(int(name.split(":")[-2]))) == name
    except (psutil.Error, ValueError):
        return False


def mark_killed(client: MlflowClient, experiment_id: str) -> None:
    """Mark running runs as killed whose process on this host is gone."""
    host = socket.gethostname()
    running = client.search_runs(
        [experiment_id], f"attributes.status = 'RUNNING' and tags.`{PROCESS}` LIKE '{host}:%'"
    )
    for run in running:
        if not is_alive(run.data.tags[PROCESS]):
            client.set_terminated(run.info.run_id, "KILLED")


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


def _found(client: MlflowClient, experiment_id: str, tags: Mapping[str, str]) -> str | None:
    """Id of a run with these tags."""
    query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
    found = client.search_runs([experiment_id], query, max_results=1)
    return str(found[0].info.run_id) if found else None


def _created(
    client: MlflowClient, experiment_id: str, began_ms: int, tags: Mapping[str, str]
) -> str:
    return str(client.create_run(experiment_id, began_ms, dict(tags)).info.run_id)


def _parent(client: MlflowClient, experiment_id: str, start: Start) -> str | None:
    """Parent run of the `dvc` command that the run is a stage of; its first stage creates it."""
    if start.dvc is None:
        return None
    own = {PROCESS: start.dvc, "dvc": "repro"}
    found = _found(client, experiment_id, own)
    if found is None:
        return _created(client, experiment_id, start.began_ms, {**own, NAME: start.dvc_name})
    client.update_run(found, status="RUNNING")
    return found


def _dvc_process() -> str | None:
    """Name of the nearest ancestor without DVC_STAGE in its environment: DVC itself."""
    if "DVC_STAGE" not in os.environ:
        return None
    ancestors = psutil.Process().parents()
    for ancestor in ancestors:
        try:
            if "DVC_STAGE" not in ancestor.environ():
                return process_name(ancestor)
        except psutil.Error:
            break
    return process_name(ancestors[0])
