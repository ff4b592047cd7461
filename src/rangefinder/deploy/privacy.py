"""Photos are private: every tool's own reporting is switched off, whoever starts it."""

from __future__ import annotations

import os

_QUIET = {
    "DO_NOT_TRACK": "1",
    "KEDRO_DISABLE_TELEMETRY": "1",
    "DVC_NO_ANALYTICS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",  # "1" is not understood
    "RAY_USAGE_STATS_ENABLED": "0",
}


def no_telemetry() -> None:
    """Switch off usage reporting of this process and of those it starts."""
    os.environ.update(_QUIET)
