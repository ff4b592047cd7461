"""Tracked runs: every run ends as finished, failed or killed, and none is stopped by MLflow.

What MLflow does not take is kept on the disk (`spool`), and sent later (`sync`).
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil

from rangefinder.common.foreign import reason
from rangefinder.errors import ModelError, RangefinderError
from rangefinder.tracking.mlflow_run import Dataset, MlflowRun, Start, now_ms, process_name
from rangefinder.tracking.operations import perform
from rangefinder.tracking.spool import Begun, Spool
from rangefinder.tracking.store import UNSENT, Store
from rangefinder.tracking.sync import send

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger
    from mlflow import MlflowClient

    from rangefinder.tracking.registry import Version

log = logging.getLogger(__name__)
SENDING_S = 60.0  # before a run begins, for what earlier ones left [s]
_open_runs: list[TrackedRun] = []


class TrackedRun:
    """An open run: in MLflow, or from where MLflow failed on the disk.

    Args:
        store: Where it is recorded.
        start: What it begins with.
    """

    def __init__(self, store: Store, start: Start) -> None:
        self.store, self.begun = store, start
        self._mlflow: MlflowRun | None = None
        self._spool: Spool | None = None
        self._lock = threading.RLock()  # of operations, which keep their order
        self._monitor: Any = None

    @classmethod
    def start(cls, store: Store, experiment: str, name: str, tags: Mapping[str, str]) -> Self:
        """Open a run, after sending what earlier ones left.

        In a stage of `dvc repro` its parent is the run of that command.
        """
        run = cls(store, Start(experiment, name, dict(tags)))
        earlier = send(store, SENDING_S)
        if earlier.runs:
            log.info("Sent to MLflow what it had missed: %s", ", ".join(earlier.runs))
        if earlier.unreachable:
            run._go_offline(earlier.unreachable)
        else:
            for name, why in earlier.left.items():
                log.info("Still waits in %s: %s: %s", UNSENT, name, why)
            run._begin()
        _open_runs.append(run)
        atexit.register(run.abandon)
        return run

    def _begin(self) -> None:
        try:
            self._mlflow = MlflowRun.begin(self.store, self.begun)
        except RangefinderError:
            raise
        except Exception as exc:
            self._go_offline(reason(exc))

    @property
    def is_offline(self) -> bool:
        """Whether MLflow has failed in this run."""
        return self._spool is not None

    @property
    def mlflow(self) -> MlflowRun:
        """The run in MLflow, for what has to be read there.

        Raises:
            ModelError: If MLflow has failed in this run.
        """
        if self._mlflow is None or self.is_offline:
            raise ModelError(
                f"MLflow at {self.store.name} has failed in this run",
                todo="When it is there again, run 'rangefinder sync', and then this.",
            )
        return self._mlflow

    @property
    def client(self) -> MlflowClient:
        """MLflow's client, as `mlflow`."""
        return self.mlflow.client

    @property
    def run_id(self) -> str:
        """Its id in MLflow, as `mlflow`."""
        return self.mlflow.run_id

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log nested parameters under dotted names."""
        self._do("log_params", params=params)

    def log_metrics(self, metrics: Mapping[str, Any], step: int = 0) -> None:
        """Log the numbers of nested metrics under names with slashes."""
        self._do("log_metrics", metrics=metrics, at_ms=now_ms(), step=step)

    def log_dataset(self, dataset: Dataset) -> None:
        """Log captures as an input of the run."""
        self._do("log_dataset", dataset=asdict(dataset))

    def log_files(self, path: Path, *, to_parent: bool = False) -> None:
        """Log a file, or a folder under its name; to the parent run as well if wanted."""
        self._do("log_files", path=path, to_parent=to_parent)

    def log_text(self, name: str, text: str) -> None:
        """Log a text as a file of this name."""
        self._do("log_text", name=name, text=text)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set or change tags."""
        self._do("set_tags", tags=tags)

    def add_result(self, text: str) -> None:
        """Put a result behind the run's name."""
        self._do("add_result", text=text)

    def sum_up(
        self, result: str, numbers: Mapping[str, float], description: str, params: Mapping[str, Any]
    ) -> None:
        """Put the run's result into its name, metrics and description, see `MlflowRun.sum_up`."""
        self._do(
            "sum_up",
            result=result,
            numbers=numbers,
            description=description,
            params=params,
            at_ms=now_ms(),
        )

    def register(self, folder: Path, name: str, tags: Mapping[str, str]) -> Version | None:
        """Register the model in a folder, see `registry.register`; None if that is done later."""
        version: Version | None = self._do("register", folder=folder, name=name, tags=tags)
        return version

    def attach_scores(
        self, name: str, fingerprint: str, scores: Mapping[str, Any], dataset: Dataset, against: str
    ) -> None:
        """Attach scores to a registered model, see `registry.attach_scores`."""
        self._do(
            "attach_scores",
            name=name,
            fingerprint=fingerprint,
            scores=scores,
            dataset=asdict(dataset),
            against=against,
        )

    def _do(self, operation: str, **arguments: Any) -> Any:
        """Do an operation in MLflow, or keep it where MLflow fails; then None."""
        with self._lock:
            if self._spool is None and self._mlflow is not None:
                try:
                    self.store.require_unlocked()
                    return perform(self._mlflow, operation, arguments)
                except RangefinderError:
                    raise
                except Exception as exc:  # of any kind: of MLflow, its plugins, the network
                    self._go_offline(reason(exc))
            if self._spool is not None:
                self._spool.append(operation, arguments)
            return None

    def _go_offline(self, why: str) -> None:
        run = self._mlflow
        ids = (run.experiment_id, run.run_id, run.parent_id) if run else None
        begun = Begun(self.begun, self.store.name if run else None, ids)
        self._spool = Spool.new(self.store.unsent, begun)
        log.warning(
            "MLflow at %s has failed (%s). This run goes on without it: all of it that is recorded "
            "from here on waits in %s; the next run sends it, or 'rangefinder sync'.",
            self.store.name,
            why,
            UNSENT,
        )

    def watch_system(self) -> None:
        """Log processor, memory and GPU of the machine until the run ends."""
        from rangefinder.tracking.system_monitor import SystemMonitor

        self._monitor = SystemMonitor(self.log_metrics)
        self._monitor.start()

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
            if self._monitor is not None:
                self._monitor.finish()
            self._do("end", status=status, at_ms=now_ms())
            atexit.unregister(self.abandon)

    def abandon(self) -> None:
        """Mark the run as killed; called when its process exits before the run has ended."""
        if self.begun.process == process_name(psutil.Process()):
            with suppress(OSError):  # a full disk: the next run marks it
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

    return LiveLogger(run.log_metrics, prefix)
