"""Parameters of a project's folder, read as Kedro reads them but without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rangefinder.config import Parameters, parse_parameters
from rangefinder.errors import ConfigError

_BASE, _LOCAL = "base", "local"


def read_parameters(env: str, folder: Path = Path("conf")) -> Parameters:
    """Parameters of an environment on top of base.

    Args:
        env: Name of a folder in `folder`; "local" may be absent.
        folder: The project's configuration.

    Raises:
        ConfigError: If a file is missing, not YAML or not valid.
    """
    base = _read(folder / _BASE / "parameters.yml")
    path = folder / env / "parameters.yml"
    change = {} if env == _LOCAL and not path.exists() else _read(path)
    return parse_parameters(_overlay(base, change))


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise ConfigError(
            f"no parameters can be read from {path} ({exc})",
            todo="Run in the project's folder, and name an environment below conf/.",
        ) from exc
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds no sections", got=type(content).__name__)
    return content


def _overlay(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in change.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _overlay(base[key], value) if both else value
    return merged
