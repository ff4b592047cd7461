"""Lightning logger for a run that stays open after the training; a file, as Lightning is heavy."""

from __future__ import annotations

from lightning.pytorch.loggers import MLFlowLogger


class LiveLogger(MLFlowLogger):
    """Logs epoch metrics live, and leaves the run open when the training ends."""

    LOGGER_JOIN_CHAR = "/"

    def finalize(self, status: str = "success") -> None:
        """Do nothing: the run goes on after the training."""
