"""What happens around every run: checked configuration, a calm story, a record in MLflow."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl

from rangefinder.config import Parameters, parse_parameters
from rangefinder.deploy.lineage import dvc_tags, git_tags
from rangefinder.deploy.tracking import Store, TrackedRun, TrackingParams, parse_tracking

if TYPE_CHECKING:
    from kedro.framework.context import KedroContext
    from kedro.io import CatalogProtocol
    from kedro.pipeline import Pipeline
    from kedro.pipeline.node import Node

log = logging.getLogger(__name__)
PARAMETERS = "parameters"


class TypedParameters:
    """Checks the whole configuration before anything runs and hands it to nodes typed."""

    def __init__(self) -> None:
        self._parameters: Parameters | None = None

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Parse parameters; a wrong one ends the run here."""
        self._parameters = parse_parameters(context.config_loader[PARAMETERS])

    @hook_impl
    def before_node_run(self, inputs: Mapping[str, Any]) -> dict[str, Any] | None:
        """Replace raw parameters by typed ones."""
        return {PARAMETERS: self._parameters} if PARAMETERS in inputs else None


class Story:
    """Says what is going on, and at the end what came out."""

    def __init__(self) -> None:
        self._touched: tuple[str, str] | None = None
        self._started = 0.0
        self._results: dict[str, dict[str, Any]] = {}

    @hook_impl
    def before_pipeline_run(self) -> None:
        """Forget an earlier run of the same process."""
        self._touched, self._results = None, {}

    @hook_impl
    def before_dataset_loaded(self, dataset_name: str, node: Node) -> None:
        """Remember what is touched, to name it in an error."""
        self._touched = (f"while loading dataset '{dataset_name}'", node.name)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Announce the node."""
        self._touched = None
        self._started = time.monotonic()
        log.info("%s ...", node.name.replace("_", " "))

    @hook_impl
    def before_dataset_saved(self, dataset_name: str, node: Node) -> None:
        """Remember what is touched, to name it in an error."""
        self._touched = (f"while saving dataset '{dataset_name}'", node.name)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        """Tell how long the node took; keep results for the end."""
        self._touched = None
        if dataset_name in ("evaluation", "benchmark", "ablation"):
            self._results[dataset_name] = data
        if dataset_name == node.outputs[-1]:
            seconds = time.monotonic() - self._started
            log.info("%s: %.0f s", node.name.replace("_", " "), seconds)

    @hook_impl
    def on_pipeline_error(self, error: Exception) -> None:
        """Name the dataset that the error is about."""
        if self._touched:
            error.add_note("({} of node '{}')".format(*self._touched))

    @hook_impl(trylast=True)
    def after_pipeline_run(self) -> None:
        """Print the tables of scores, of times, and of variants."""
        if "evaluation" in self._results:
            from rangefinder.evaluation.report import print_summary

            print_summary(self._results["evaluation"])
        if "benchmark" in self._results:
            from rangefinder.evaluation.speed_report import print_speed

            print_speed(self._results["benchmark"])
        if "ablation" in self._results:
            from rangefinder.evaluation.claims_report import print_claims

            print_claims(self._results["ablation"])


class Tracking:
    """Records runs in MLflow: parameters, live metrics, files, models, and how the run ended."""

    def __init__(self) -> None:
        self._params = TrackingParams()
        self._project = Path()
        self._catalog: CatalogProtocol[Any, Any] | None = None
        self._run: TrackedRun | None = None
        self._models: dict[str, Any] = {}

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Check the settings of tracking."""
        self._params = parse_tracking(context.config_loader["tracking"])
        self._project = context.project_path

    @hook_impl
    def before_pipeline_run(
        self,
        run_params: Mapping[str, Any],
        pipeline: Pipeline,
        catalog: CatalogProtocol[Any, Any],
    ) -> None:
        """Start the record."""
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
        """Say which camera and which captures the run works on."""
        if self._run and self._wants(dataset_name).get("tags"):
            self._run.set_tags({"camera": data.camera.fingerprint, "dataset": data.digest})

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Record what the catalog says is to be recorded of this dataset."""
        if not self._run:
            return
        wants = self._wants(dataset_name)
        if "metrics" in wants:
            self._run.log_metrics(data[wants["metrics"]])
        if "artifacts" in wants:
            self._run.log_files(self._project / wants["artifacts"])
        if "model" in wants:
            self._models[wants["model"]] = data

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Register the models and close the record."""
        if self._run:
            for name, model in self._models.items():
                from rangefinder.deploy.registry import register

                version = register(self._run, model, name, self._params.alias)
                log.info("Registered %s, version %s (%s)", name, version, self._params.alias)
            self._run.end("FINISHED")

    @hook_impl
    def on_pipeline_error(self, error: Exception) -> None:
        """Close the record of a run that failed."""
        if self._run:
            self._run.set_tags({"error": f"{type(error).__name__}: {error}"[:500]})
            self._run.end("FAILED")

    def _wants(self, dataset_name: str) -> dict[str, Any]:
        """The `metadata.mlflow` entry of a dataset in the catalog."""
        if self._catalog is None:
            return {}
        metadata = getattr(self._catalog.get(dataset_name), "metadata", None) or {}
        return dict(metadata.get("mlflow", {}))
