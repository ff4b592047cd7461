"""`conf/*/tracking.yml`: where runs are recorded."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from rangefinder.config.strict import File, Name, Strict, parse


class TrackingParams(Strict):
    """The whole of conf/*/tracking.yml."""

    enabled: bool = True
    uri: File | None = None
    artifacts: File = "mlartifacts"
    experiment: Name = "rangefinder"
    system_metrics: bool = True
    timeout_s: int = Field(10, ge=1, le=120)
    retries: int = Field(2, ge=0, le=10)


def parse_tracking(raw: dict[str, Any]) -> TrackingParams:
    """Validate the settings of tracking.

    Raises:
        ConfigError: Naming every wrong key, its value and what is allowed.
    """
    return parse(TrackingParams, raw, "conf/<env>/tracking.yml")
