"""Kedro hooks around every run: typed parameters, progress and results, MLflow tracking."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl

from rangefinder.config import Parameters, TrackingParams, parse_parameters, parse_tracking
from rangefinder.tracking.lineage import dvc_tags, git_tags
from rangefinder.tracking.runs import Store, TrackedRun

if TYPE_CHECKING:
    from kedro.framework.context import KedroContext
    from kedro.io import CatalogProtocol
    from kedro.pipeline import Pipeline
    from kedro.pipeline.node import Node

log = logging.getLogger(__name__)
PARAMETERS, SECTION = "parameters", "params:"


class ParameterHook:
    """Validates the whole configuration before anything runs; nodes get its sections typed."""

    def __init__(self) -> None:
        self._parameters: Parameters | None = None

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Parse all parameters."""
        self._parameters = parse_parameters(context.config_loader[PARAMETERS])

    @hook_impl
    def before_node_run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Replace raw sections, which nodes take as `params:NAME`, by typed ones."""
        typed = {PARAMETERS: self._parameters} if PARAMETERS in inputs else {}
        return typed | {
            name: getattr(self._parameters, name.removeprefix(SECTION))
            for name in inputs
            if name.startswith(SECTION)
        }


class ProgressHook:
    """Logs progress, adds the dataset to an error, prints results at the end."""

    def __init__(self) -> None:
        self._dataset: tuple[str, str] | None = None
        self._started = 0.0
        self._results: dict[str, dict[str, Any]] = {}

    @hook_impl
    def before_pipeline_run(self) -> None:
        """Forget an earlier run of the same process."""
        self._dataset, self._results = None, {}

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
        if dataset_name in ("evaluation", "benchmark", "ablation"):
            self._results[dataset_name] = data
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
        """Print the tables of evaluation, benchmark and ablation."""
        if "evaluation" in self._results:
            from rangefinder.evaluation.report import print_summary

            print_summary(self._results["evaluation"])
        if "benchmark" in self._results:
            from rangefinder.studies.benchmark.report import print_speed

            print_speed(self._results["benchmark"])
        if "ablation" in self._results:
            from rangefinder.studies.ablation.report import print_ablation

            print_ablation(self._results["ablation"])


class TrackingHook:
    """Logs runs to MLflow: parameters, live metrics, files, models, and how the run ended."""

    def __init__(self) -> None:
        self._params = TrackingParams()
        self._project = Path()
        self._catalog: CatalogProtocol[Any, Any] | None = None
        self._run: TrackedRun | None = None
        self._models: dict[str, Any] = {}

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Parse the parameters of tracking."""
        self._params = parse_tracking(context.config_loader["tracking"])
        self._project = context.project_path

    @hook_impl
    def before_pipeline_run(
        self, run_params: Mapping[str, Any], pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]
    ) -> None:
        """Open the run."""
        self._run, self._catalog, self._models = None, catalog, {}
        if not self._params.enabled:
            return
        names = run_params.get("pipeline_names") or ["distill"]
        tags = {
            "env": str(run_params.get("env") or "local"),
            "nodes": ", ".join(node.name for node in pipeline.nodes),
            **git_tags(self._project),
            **dvc_tags(self._project),
        }
        store = Store.of(self._project, self._params)
        self._run = TrackedRun.start(store, self._params.experiment, "+".join(names), tags)
        parameters = parse_parameters(catalog.load(PARAMETERS))
        self._run.log_params(parameters.model_dump(mode="json"))

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any) -> None:
        """Tag the run with its camera and captures."""
        if self._run and self._metadata(dataset_name).get("tags"):
            self._run.set_tags({"camera": data.camera.fingerprint, "dataset": data.digest})

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Log what the dataset's `metadata.mlflow` in the catalog names."""
        if not self._run:
            return
        metadata = self._metadata(dataset_name)
        if "metrics" in metadata:
            self._run.log_metrics(data[metadata["metrics"]])
        if "artifacts" in metadata:
            self._run.log_files(self._project / metadata["artifacts"])
        if "model" in metadata:
            self._models[metadata["model"]] = data

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Register the models and end the run."""
        if self._run:
            for name, model in self._models.items():
                from rangefinder.tracking.registry import register  # torch: not in every run

                version = register(self._run, model, name, self._params.alias)
                log.info("Registered %s, version %s (%s)", name, version, self._params.alias)
            self._run.end("FINISHED")

    @hook_impl
    def on_pipeline_error(self, error: Exception) -> None:
        """End the run as failed."""
        if self._run:
            self._run.set_tags({"error": f"{type(error).__name__}: {error}"[:500]})
            self._run.end("FAILED")

    def _metadata(self, dataset_name: str) -> dict[str, Any]:
        """The `metadata.mlflow` entry of a dataset in the catalog."""
        if self._catalog is None:
            return {}
        metadata = getattr(self._catalog.get(dataset_name), "metadata", None) or {}
        return dict(metadata.get("mlflow", {}))
