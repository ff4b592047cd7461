"""Kedro hooks around every run: typed parameters, progress and results, MLflow tracking."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines

from rangefinder.common.timing import peak_memory_bytes, reset_peak_memory
from rangefinder.config import Parameters, TrackingParams, parse_parameters, parse_tracking
from rangefinder.config.project import Project
from rangefinder.errors import masked
from rangefinder.models.consent import trust
from rangefinder.tracking.mlflow_run import flatten
from rangefinder.tracking.origin import dvc_tags, environment, git_tags, source_tags
from rangefinder.tracking.recorder import Recorder
from rangefinder.tracking.runs import TrackedRun
from rangefinder.tracking.store import Store

if TYPE_CHECKING:
    from kedro.framework.context import KedroContext
    from kedro.io import CatalogProtocol
    from kedro.pipeline import Pipeline
    from kedro.pipeline.node import Node

log = logging.getLogger(__name__)
PARAMETERS, SECTION = "parameters", "params:"
CHECKPOINTS = "_checkpoints"  # ends the names of folders of checkpoints in the catalog
PARTIAL = {  # what leaves nodes out: names of `run_params`, options of `kedro run`
    "from_nodes": "from-nodes",
    "to_nodes": "to-nodes",
    "from_inputs": "from-inputs",
    "to_outputs": "to-outputs",
    "node_names": "nodes",
    "tags": "tags",
    "namespaces": "namespaces",
}
UNUSED_PLUGIN = "kedro_mlflow"  # settings.py switches its hooks off


class ParameterHook:
    """Validates the configuration before anything runs; the catalog holds its sections typed."""

    def __init__(self) -> None:
        self._parameters = Parameters()

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Parse all parameters; a network that they name may run."""
        self._parameters = parse_parameters(context.config_loader[PARAMETERS])
        trust(self._parameters.teacher.network)

    @hook_impl
    def after_catalog_created(self, catalog: CatalogProtocol[Any, Any]) -> None:
        """Put typed sections, which nodes take as `params:NAME`, in the place of raw ones."""
        catalog.save(PARAMETERS, self._parameters)
        for name, section in self._parameters:
            catalog.save(f"{SECTION}{name}", section)


class LockHook:
    """Lets one run at a time write in a project; another one waits before it begins."""

    def __init__(self) -> None:
        self._root = Path()
        self._held = ExitStack()

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Remember the project."""
        self._root = context.project_path

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self) -> None:
        """Take the lock; one that an interrupted run of this process left is given back first."""
        self._held.close()
        self._held.enter_context(Project(self._root).writing())

    @hook_impl(trylast=True)
    def after_pipeline_run(self) -> None:
        """Give it back."""
        self._held.close()

    @hook_impl(trylast=True)
    def on_pipeline_error(self) -> None:
        """Give it back."""
        self._held.close()


class CheckpointHook:
    """Removes a training's checkpoints once its model is saved and registered."""

    def __init__(self) -> None:
        self._catalog: CatalogProtocol[Any, Any] | None = None

    @hook_impl
    def before_pipeline_run(self, catalog: CatalogProtocol[Any, Any]) -> None:
        """Remember the catalog."""
        self._catalog = catalog

    @hook_impl(trylast=True)
    def after_dataset_saved(self, node: Node) -> None:
        """Remove them; every other hook has had the model by now."""
        for name in node.inputs:
            if name.endswith(CHECKPOINTS) and self._catalog is not None:
                from rangefinder.training.runner import remove_checkpoints

                remove_checkpoints(self._catalog.load(name))


class ProgressHook:
    """Logs progress, adds the dataset to an error, prints results at the end."""

    def __init__(self) -> None:
        self._dataset: tuple[str, str] | None = None
        self._started = 0.0
        self._results: dict[str, dict[str, Any]] = {}
        self._catalog: CatalogProtocol[Any, Any] | None = None
        self._page = ""  # where the report is

    @hook_impl
    def before_pipeline_run(self, catalog: CatalogProtocol[Any, Any]) -> None:
        """Forget an earlier run of the same process."""
        self._dataset, self._results, self._page = None, {}, ""
        self._catalog = catalog

    @hook_impl
    def before_dataset_loaded(self, dataset_name: str, node: Node) -> None:
        """Remember the dataset, to name it in an error."""
        self._dataset = (f"while loading dataset '{dataset_name}'", node.name)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Log that the node starts."""
        self._dataset = None
        self._started = time.monotonic()
        log.info("%s ...", node.name.replace("_", " "))

    @hook_impl
    def before_dataset_saved(self, dataset_name: str, node: Node) -> None:
        """Remember the dataset, to name it in an error."""
        self._dataset = (f"while saving dataset '{dataset_name}'", node.name)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        """Log the node's time; remember results for the end."""
        self._dataset = None
        if dataset_name in ("evaluation", "promotion", "benchmark", "ablation"):
            self._results[dataset_name] = data
        if dataset_name == "report" and self._catalog is not None:
            self._page = os.path.relpath(cast("Any", self._catalog.get(dataset_name)).path)
        if dataset_name == node.outputs[-1]:
            seconds = time.monotonic() - self._started
            log.info("%s: %.0f s", node.name.replace("_", " "), seconds)

    @hook_impl
    def on_pipeline_error(self, error: Exception) -> None:
        """Add the dataset to the error."""
        if self._dataset:
            error.add_note("({} of node '{}')".format(*self._dataset))

    @hook_impl(trylast=True)
    def after_pipeline_run(self) -> None:
        """Print the tables of evaluation, promotion, benchmark, ablation; where the page is."""
        if "evaluation" in self._results:
            from rangefinder.evaluation.report import print_summary

            print_summary(self._results["evaluation"])
        if "promotion" in self._results:
            from rangefinder.evaluation.report import print_decision

            print_decision(self._results["promotion"])
        if "benchmark" in self._results:
            from rangefinder.studies.benchmark.report import print_speed

            print_speed(self._results["benchmark"])
        if "ablation" in self._results:
            from rangefinder.studies.ablation.report import print_ablation

            print_ablation(self._results["ablation"])
        if self._page:
            from rangefinder.evaluation.report import print_parts

            print_parts([f"All of it on one page: {self._page}"])


class TrackingHook:
    """Logs runs to MLflow: what went in, live metrics, models, scores, and how the run ended."""

    def __init__(self) -> None:
        self._params = TrackingParams()
        self._project = Path()
        self._catalog: CatalogProtocol[Any, Any] | None = None
        self._parameters = Parameters()
        self._recorder: Recorder | None = None
        self._started, self._resets = 0.0, False

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Parse the parameters of tracking."""
        self._params = parse_tracking(context.config_loader["tracking"])
        self._project = context.project_path
        if find_spec(UNUSED_PLUGIN):
            log.info("kedro-mlflow is installed and not used: see docs/mlops.md")

    @hook_impl
    def before_pipeline_run(
        self, run_params: Mapping[str, Any], pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]
    ) -> None:
        """Open the run."""
        self._recorder, self._catalog = None, catalog
        if not self._params.enabled:
            return
        from rangefinder.models.device import torch_device  # torch: not where a command only looks

        self._parameters = catalog.load(PARAMETERS)
        compute = self._parameters.compute
        nodes = [node.name for node in pipeline.nodes]
        names = run_params.get("pipeline_names") or []
        run_params = {**run_params, "pipeline_names": in_order(names, nodes, pipelines)}
        part = any(run_params.get(name) for name in PARTIAL)
        title = _title(run_params, nodes if part else [], self._parameters.seed)
        origin = {**git_tags(self._project), **dvc_tags(self._project)}
        tags = {
            "env": _environment(run_params),
            "nodes": ", ".join(nodes),
            "part": str(part).lower(),
            "device": str(torch_device(compute.device)),
            "threads": str(compute.threads or os.cpu_count()),
            **source_tags(_command(run_params)),
            **origin,
        }
        store = Store.of(self._project, self._params)
        run = TrackedRun.start(store, self._params.experiment, title, tags)
        self._recorder = Recorder(run, origin, is_whole=not part)
        if self._params.system_metrics:
            run.watch_system()
        run.log_params(self._parameters.model_dump(mode="json"))
        run.log_text("environment.json", json.dumps(environment(), indent=2))

    @hook_impl
    def before_node_run(self) -> None:
        """Start the clock of a node."""
        self._started, self._resets = time.monotonic(), reset_peak_memory()

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any) -> None:
        """Record what the run takes: captures, teacher cache, models."""
        metadata = self._metadata(dataset_name)
        if not self._recorder:
            return
        if "captures" in metadata:
            self._recorder.captures(data, metadata["captures"])
        if "cache" in metadata:
            self._recorder.cache(data)
        if "model" in metadata:
            self._recorder.model(data, metadata["model"])

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        """Record what the node made, and how long it took."""
        if not self._recorder or self._catalog is None:
            return
        metadata = self._metadata(dataset_name)
        if "captures" in metadata:  # what was saved is their source, not the set
            self._recorder.captures(self._catalog.load(dataset_name), metadata["captures"])
        elif "model" in metadata:
            self._recorder.trained(data, metadata["model"])
        elif "cache" in metadata:
            self._recorder.cache(data)
        else:
            self._record_result(self._recorder, metadata, data)
        if dataset_name == node.outputs[-1]:
            seconds = time.monotonic() - self._started
            peak = peak_memory_bytes() if self._resets else None
            self._recorder.node(node.name, seconds, peak)

    def _record_result(self, recorder: Recorder, metadata: Mapping[str, Any], data: Any) -> None:
        """Log scores, metrics and files, by the dataset's `metadata.mlflow`."""
        if "metrics" in metadata:
            recorder.run.log_metrics(data[metadata["metrics"]])
        if "scores" in metadata:
            recorder.scores(data, metadata["scores"])
        if "headline" in metadata:
            recorder.headline(data, _chosen(self._parameters, metadata["headline"]))
        if "artifacts" in metadata:
            recorder.run.log_files(self._project / metadata["artifacts"])
        if "page" in metadata:
            recorder.page(self._project / metadata["page"])

    @hook_impl
    def after_pipeline_run(self) -> None:
        """End the run."""
        if self._recorder:
            self._recorder.run.end("FINISHED")

    @hook_impl
    def on_pipeline_error(self, error: Exception) -> None:
        """End the run as failed."""
        if self._recorder:
            self._recorder.run.set_tags({"error": masked(f"{type(error).__name__}: {error}")[:500]})
            self._recorder.run.end("FAILED")

    def _metadata(self, dataset_name: str) -> dict[str, Any]:
        """The `metadata.mlflow` entry of a dataset in the catalog."""
        if self._catalog is None:
            return {}
        metadata = getattr(self._catalog.get(dataset_name), "metadata", None) or {}
        return dict(metadata.get("mlflow", {}))


def in_order(
    names: Sequence[str], nodes: Sequence[str], every: Mapping[str, Pipeline]
) -> list[str]:
    """Names of pipelines as they run; Kedro shuffles those that were asked for.

    Args:
        names: Of the pipelines.
        nodes: Names of the nodes that run, in their order.
        every: All pipelines by name.
    """
    if len(names) < 2:
        return list(names)
    place = {node: index for index, node in enumerate(nodes)}

    def first(name: str) -> int:
        return min(place.get(node.name, len(nodes)) for node in every[name].nodes)

    return sorted(names, key=first)


def _environment(run_params: Mapping[str, Any]) -> str:
    """Name of the configuration: `base` if nothing but conf/local is laid over it."""
    return str(run_params.get("env") or "base")


def _title(run_params: Mapping[str, Any], part: Sequence[str], seed: int) -> str:
    """What a run is: `distill base seed 0`, or `part of distill (score_models) base seed 0`.

    Args:
        run_params: Options of `kedro run`.
        part: Names of the nodes, if these are not all of the pipelines.
        seed: Of the parameters.
    """
    name = "+".join(run_params.get("pipeline_names") or ["distill"])
    if part:
        name = f"part of {name} ({part[0] if len(part) == 1 else f'{part[0]} to {part[-1]}'})"
    return f"{name} {_environment(run_params)} seed {seed}"


def _command(run_params: Mapping[str, Any]) -> str:
    """The command line that repeats a run."""
    options = {
        "pipelines": run_params.get("pipeline_names"),
        "env": run_params.get("env"),
        **{option: run_params.get(name) for name, option in PARTIAL.items()},
        "params": _assignments(run_params.get("runtime_params") or {}),
    }
    words = ["kedro run"]
    for name, value in options.items():
        if value:
            words.append(f"--{name} {value if isinstance(value, str) else ','.join(value)}")
    return masked(" ".join(words))


def _assignments(params: Mapping[str, Any]) -> list[str]:
    """Parameters as `--params` takes them."""
    return [f"{name}={value}" for name, value in flatten(params, ".").items()]


def _chosen(parameters: Parameters, names: Sequence[str]) -> dict[str, Any]:
    """Parameters of dotted names."""
    flat = flatten(parameters.model_dump(mode="json"), ".")
    return {name: flat[name] for name in names}
