"""Lightning logger into the run that is open; a file, as Lightning is heavy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only


class LiveLogger(Logger):
    """Logs epoch metrics live, and leaves the run open when the training ends.

    Args:
        log: Takes metrics by name, and their step.
        prefix: Of their names.
    """

    def __init__(self, log: Callable[[dict[str, Any], int], None], prefix: str) -> None:
        super().__init__()
        self._log, self._prefix = log, prefix

    @property
    def name(self) -> str:
        """What it logs."""
        return self._prefix

    @property
    def version(self) -> None:
        """None: the run has one for all."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log the metrics of a step."""
        self._log({self._prefix: metrics}, step or 0)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the run has all parameters."""
