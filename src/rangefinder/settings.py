"""Settings of the Kedro project."""

from __future__ import annotations

import os
from pathlib import Path

import yaml
from kedro.framework.project import LOGGING

from rangefinder.common import no_telemetry
from rangefinder.common.foreign import mask_log_lines
from rangefinder.hooks import CheckpointHook, LockHook, ParameterHook, ProgressHook, TrackingHook

no_telemetry()
mask_log_lines()

# Kedro looks for this file below the current folder only; a run may be started elsewhere.
_LOGGING = Path(__file__).parents[2] / "conf" / "logging.yml"
if _LOGGING.is_file() and "KEDRO_LOGGING_CONFIG" not in os.environ:
    LOGGING.configure(yaml.safe_load(_LOGGING.read_text(encoding="utf-8")))

HOOKS = (CheckpointHook(), ProgressHook(), TrackingHook(), ParameterHook(), LockHook())
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-mlflow", "kedro_mlflow", "kedro-telemetry")
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "merge_strategy": {"parameters": "soft"},
    "config_patterns": {"tracking": ["tracking*", "tracking*/**"]},
}
