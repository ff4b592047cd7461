"""`conf/*/tracking.yml`: where runs are recorded."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from rangefinder.config.strict import Strict, parse


class TrackingParams(Strict):
    """The whole of conf/*/tracking.yml."""

    enabled: bool = True
    uri: str | None = None
    artifacts: str = Field("mlartifacts", min_length=1)
    experiment: str = Field("rangefinder", min_length=1)
    system_metrics: bool = True


def parse_tracking(raw: dict[str, Any]) -> TrackingParams:
    """Validate the settings of tracking.

    Raises:
        ConfigError: Naming every wrong key, its value and what is allowed.
    """
    return parse(TrackingParams, raw, "conf/<env>/tracking.yml")
