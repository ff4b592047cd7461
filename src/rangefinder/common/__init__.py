"""Atomic files, locks, worker processes and figure style; usage reporting switched off."""

from __future__ import annotations

import os

_QUIET = {
    "DO_NOT_TRACK": "1",
    "KEDRO_DISABLE_TELEMETRY": "1",
    "DVC_NO_ANALYTICS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",  # "1" is ignored
    "RAY_USAGE_STATS_ENABLED": "0",
}


def no_telemetry() -> None:
    """Switch off usage reporting of this process and of those it starts: photos are private."""
    os.environ.update(_QUIET)
