"""Processor, memory and GPU of the machine while a run goes on; a file, as MLflow is heavy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor


class SystemMonitor(SystemMetricsMonitor):
    """MLflow's monitor with another way out: its own ends at the first failure of a server.

    Args:
        log: Takes metrics by name, and their step.
    """

    def __init__(self, log: Callable[[dict[str, Any], int], None]) -> None:
        super().__init__(run_id=None)  # type: ignore[no-untyped-call]
        self._log = log

    def monitor(self) -> None:
        """Measure until it is finished."""
        while not self._shutdown_event.is_set():
            self.collect_metrics()  # type: ignore[no-untyped-call]
            self._shutdown_event.wait(self.sampling_interval)
            self.publish_metrics(self.aggregate_metrics())  # type: ignore[no-untyped-call]

    def publish_metrics(self, metrics: dict[str, float]) -> None:
        """Log what was measured."""
        self._log({"system": metrics}, self._logging_step)
        self._logging_step += 1
        for monitor in self.monitors:
            monitor.clear_metrics()  # type: ignore[no-untyped-call]

    def finish(self) -> None:
        """Measure no more."""
        self._shutdown_event.set()
        if self._process is not None:
            self._process.join()
