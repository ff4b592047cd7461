"""The project around a command: where it lies and what its pipelines leave behind.

Commands that are to start quickly read this instead of Kedro's catalog; a test compares the two.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rangefinder.common.foreign import guarded
from rangefinder.common.locks import exclusive_lock
from rangefinder.config import (
    AdaptationParams,
    Parameters,
    TrackingParams,
    parse,
    parse_parameters,
    parse_tracking,
)
from rangefinder.errors import ConfigError


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
    with guarded(ConfigError, f"{path} cannot be read", todo="Mend it."):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if content is not None and not isinstance(content, dict):
        raise ConfigError(f"{path} holds no names and values", got=type(content).__name__)
    return content or {}


STUDENT_NAME, TEACHER_NAME = "rangefinder-student", "rangefinder-teacher"  # in the registry
DEFAULT_ENV = "local"
_CONFIGURATION = ("adaptation", "parameters", "tracking")  # files in conf/


@dataclass(frozen=True)
class Project:
    """A folder with a Kedro project in it."""

    root: Path  # the folder
    env: str = DEFAULT_ENV  # configuration environment laid over `base`

    @classmethod
    def find(cls, start: Path, env: str = DEFAULT_ENV) -> Project:
        """The project that `start` lies in.

        Raises:
            ConfigError: If it lies in none.
        """
        for folder in (start.resolve(), *start.resolve().parents):
            if _is_project(folder):
                return cls(folder, env)
        raise ConfigError(
            f"{start.resolve()} lies in no Rangefinder project",
            todo="Change to the project's folder, or name a model's folder with --model.",
        )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the project: one run at a time writes in it, others wait; reading needs no lock."""
        name = f"the project in {self.root}"
        with exclusive_lock(self.root / "data/project", name, with_children=True):
            yield

    @property
    def captures(self) -> Path:
        """Captures that ingestion made."""
        return self.root / "data/02_intermediate/captures"

    @property
    def psf_banks(self) -> Path:
        """Point spread functions that ingestion made."""
        return self.root / "data/02_intermediate/psf_banks"

    @property
    def traced_lenses(self) -> Path:
        """Point spread functions that commands made; those of pipelines are an output of DVC."""
        return self.root / "data/02_intermediate/traced_lenses"

    @property
    def models(self) -> Path:
        """All models that were trained here, and checkpoints of those under way."""
        return self.root / "data/06_models"

    @property
    def artifacts(self) -> Path | None:
        """What MLflow keeps of runs, registered models too; None if it is in another store."""
        place = self.tracking().artifacts
        return None if "://" in place else self.root / place

    @property
    def teacher(self) -> Path:
        """The trained teacher."""
        return self.root / "data/06_models/teacher"

    @property
    def cache(self) -> Path:
        """The teacher's predictions for the photos that the student was distilled on."""
        return self.root / "data/07_model_output/teacher_cache"

    @property
    def adaptation(self) -> Path:
        """Photos that were added since the student was trained."""
        return self.root / "data/02_intermediate/adaptation"

    @property
    def adaptation_cache(self) -> Path:
        """The teacher's predictions for all unlabelled photos, old and added."""
        return self.root / "data/07_model_output/adaptation_cache"

    @property
    def adaptation_checkpoints(self) -> Path:
        """State of an adaptation under way."""
        return self.root / "data/06_models/checkpoints/adapted"

    @property
    def adaptation_report(self) -> Path:
        """Scores of the current and the adapted student."""
        return self.root / "data/08_reporting/adaptation.json"

    @property
    def promotion_report(self) -> Path:
        """The latest decision of the gate."""
        return self.root / "data/08_reporting/promotion.json"

    @property
    def adapted(self) -> Path:
        """The student adapted to added photos."""
        return self.root / "data/06_models/adapted"

    def adaptation_params(self) -> AdaptationParams:
        """Schedule of an adaptation."""
        raw = self._read("adaptation")
        return parse(AdaptationParams, raw, "conf/<env>/adaptation.yml")

    def parameters(self) -> Parameters:
        """The typed parameters."""
        return parse_parameters(self._read("parameters"))

    def tracking(self) -> TrackingParams:
        """The settings of tracking."""
        return parse_tracking(self._read("tracking"))

    def _read(self, name: str) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for env in ("base", self.env):
            folder = self.root / "conf" / env
            if not folder.is_dir() and env == DEFAULT_ENV:  # nobody needs to change anything
                continue
            if not folder.is_dir():
                raise ConfigError(
                    f"there is no configuration {folder}",
                    expected=", ".join(sorted(p.name for p in folder.parent.glob("*/"))),
                )
            path = folder / f"{name}.yml"
            if env == "base" and not path.is_file():
                raise ConfigError(f"there is no {path}", todo="Restore it from the repository.")
            content = merged(content, read_yaml(path))
        return content


def _is_project(folder: Path) -> bool:
    """Whether pyproject.toml names this package; or, without one, its configuration is there."""
    try:
        content = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return all((folder / "conf/base" / f"{name}.yml").is_file() for name in _CONFIGURATION)
    except (OSError, ValueError):
        return False
    return bool(content.get("tool", {}).get("kedro", {}).get("package_name") == "rangefinder")
