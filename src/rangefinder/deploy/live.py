"""Epoch metrics, live, into a run that others opened and others will end."""

from __future__ import annotations

from lightning.pytorch.loggers import MLFlowLogger


class LiveLogger(MLFlowLogger):
    """MLFlowLogger that leaves the run open when a training ends."""

    LOGGER_JOIN_CHAR = "/"

    def finalize(self, status: str = "success") -> None:
        """Do nothing: the run goes on after the training."""
