"""Operations on a run by their names: done at once, or later with what a spool kept."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from rangefinder.tracking.mlflow_run import Dataset, MlflowRun

OF_RUN = (
    *("log_params", "log_metrics", "log_dataset", "log_files", "log_text", "set_tags"),
    *("add_result", "sum_up", "end"),
)
OF_REGISTRY = ("register", "attach_scores")


def perform(run: MlflowRun, name: str, arguments: Mapping[str, Any]) -> Any:
    """Do an operation; done twice, it leaves what it leaves when it is done once.

    Args:
        run: The run.
        name: A method of the run, or a function of the registry that takes it.
        arguments: For these.

    Raises:
        ValueError: If there is no such operation.
    """
    arguments = dict(arguments)
    if isinstance(dataset := arguments.get("dataset"), Mapping):
        arguments["dataset"] = Dataset(**dataset)
    if name in OF_REGISTRY:
        registry = import_module("rangefinder.tracking.registry")  # torch: not in every run
        return getattr(registry, name)(run, **arguments)
    if name not in OF_RUN:
        raise ValueError(f"there is no operation {name!r}")
    return getattr(run, name)(**arguments)
