"""Parameters of a camera outside Kedro: by name of a configuration, or from a camera.yml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from rangefinder.camera import Camera
from rangefinder.config import CameraParams, Parameters, parse, parse_parameters
from rangefinder.errors import ConfigError

CAMERA_FILE = "camera.yml"
BASE = "base"
DEFAULT = "default"
YAML = (".yml", ".yaml")


def parameters_of(camera: str, home: Path) -> Parameters:
    """Parameters of a camera.

    Args:
        camera: `default`, the name of a configuration in `conf/`, or a camera.yml.
        home: The project's folder.

    Raises:
        ConfigError: If there is no such camera, or its record is not valid.
    """
    path = Path(camera)
    if path.suffix in YAML:
        return Parameters(camera=read_camera(path))
    base = read_yaml(home / "conf" / BASE / "parameters.yml")
    if camera == DEFAULT:
        return parse_parameters(base) if base else Parameters()
    change = read_yaml(home / "conf" / camera / "parameters.yml")
    if not change:
        names = sorted(p.parent.name for p in home.glob("conf/*/parameters.yml"))
        raise ConfigError(
            "there is no such camera",
            got=repr(camera),
            expected=", ".join([DEFAULT, *names]) + ", or a camera.yml",
            todo="`rangefinder init NAME` makes one.",
        )
    return parse_parameters(merged(base, change))


def read_camera(path: Path) -> CameraParams:
    """Read a camera.yml: the parameters below `camera`.

    Raises:
        ConfigError: If it cannot be read or is not valid.
    """
    content = read_yaml(path)
    if not content:
        raise ConfigError(
            f"{path} is no camera record",
            got="nothing" if path.exists() else "no such file",
            expected="focal_length_mm, f_number, pixel_pitch_um, width_px, height_px, "
            "focus_distance_m",
            todo="Write it beside captures.csv.",
        )
    return parse(CameraParams, content, str(path))


def read_record(path: Path) -> Camera:
    """Read a camera record: a camera.yml that somebody wrote, or a camera.json of this project.

    Raises:
        ConfigError: If it cannot be read or is not valid.
    """
    if path.suffix in YAML:
        return Camera.from_params(read_camera(path))
    return Camera.load(path)


def merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """`base` with the values of `change` in place of its own, section by section."""
    result = dict(base)
    for key, value in change.items():
        inner = isinstance(value, dict) and isinstance(base.get(key), dict)
        result[key] = merged(base[key], value) if inner else value
    return result


def read_yaml(path: Path) -> dict[str, Any]:
    """Names and values of a YAML file; none where there is no file.

    Raises:
        ConfigError: If it cannot be read, or holds something else.
    """
    if not path.is_file():
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise ConfigError(f"{path} cannot be read ({exc})", todo="Mend it.") from exc
    if content is not None and not isinstance(content, dict):
        raise ConfigError(f"{path} holds no names and values", got=type(content).__name__)
    return content or {}
