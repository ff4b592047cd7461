"""Processor, memory and GPU of the machine while a run goes on; a file, as MLflow is heavy."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor
from mlflow.system_metrics.metrics.rocm_monitor import ROCMMonitor

INTERVAL_S = 10.0


class SystemMonitor(threading.Thread):
    """Logs what MLflow measures; MLflow's own thread asks the server, and ends if it fails.

    Args:
        log: Takes metrics by name, and their step.
    """

    def __init__(self, log: Callable[[dict[str, Any], int], None]) -> None:
        super().__init__(daemon=True, name="system monitor")
        self._log, self._finished = log, threading.Event()
        kinds: tuple[Any, ...] = (CPUMonitor, DiskMonitor, NetworkMonitor, GPUMonitor, ROCMMonitor)
        self._monitors = []
        for kind in kinds:
            with suppress(Exception):  # no GPU of the kind, or no library that asks it
                self._monitors.append(kind())

    def run(self) -> None:
        """Measure until it is finished."""
        step, is_last = 0, False
        while not is_last:
            for monitor in self._monitors:
                with suppress(Exception):  # a GPU may go away
                    monitor.collect_metrics()
            is_last = self._finished.wait(INTERVAL_S)
            measured: dict[str, float] = {}
            for monitor in self._monitors:
                with suppress(Exception):
                    measured |= monitor.aggregate_metrics()
                monitor.clear_metrics()
            with suppress(OSError):  # a full disk: the run itself ends on it, with its message
                self._log({"system": measured}, step)
            step += 1

    def finish(self) -> None:
        """Measure no more."""
        self._finished.set()
        self.join()
