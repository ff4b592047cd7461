"""Where a model to measure with comes from: a folder, or the registry."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from rangefinder.errors import ModelError
from rangefinder.models.io import CARD, TrainedModel, load_model

REGISTRY = "models:/"
ALIASES = ("champion", "candidate")


def find_model(name: str | None, env: str = "local") -> TrainedModel:
    """The model of that name; MLflow is imported only if it comes from the registry.

    Args:
        name: A model's folder, `models:/NAME@ALIAS`, or None: the champion of the project around
            the working directory, else its newest candidate.
        env: The project's configuration environment.

    Raises:
        ModelError: If there is none, or it cannot be used.
        ConfigError: If the registry is needed and there is no project.
    """
    if name is not None and not name.startswith(REGISTRY):
        return load_model(_folder(Path(name)))
    return _from_registry(name, env)


def _folder(path: Path) -> Path:
    """The folder of card and weights: itself, of its files, or inside what MLflow downloaded."""
    folder = path.parent if path.is_file() else path
    for found in (folder, *sorted(folder.glob("data/*/"))):
        if (found / CARD).is_file():
            return found
    raise ModelError(
        f"no model in {path}",
        got="no card.json" if folder.exists() else "nothing there",
        expected="a folder with card.json and weights.safetensors (never a pickle)",
    )


def _from_registry(name: str | None, env: str) -> TrainedModel:
    from rangefinder.deploy.project import STUDENT_NAME, Project

    project = Project.find(Path(), env)
    store = project.store()
    database = store.uri.removeprefix("sqlite:///")
    if database != store.uri and not Path(database).is_file():
        raise _nothing(store.uri)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    client = store.client()
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    known = {m.name: m.aliases for m in client.search_registered_models()}
    if name is None:
        alias = next((a for a in ALIASES if a in known.get(STUDENT_NAME, {})), None)
        if alias is None:
            raise _nothing(store.uri)
        name = f"{REGISTRY}{STUDENT_NAME}@{alias}"
    with tempfile.TemporaryDirectory() as folder:
        try:
            place = download_artifacts(artifact_uri=name, dst_path=folder)
        except (MlflowException, OSError) as exc:
            raise ModelError(
                f"{name} is not in the registry at {store.uri} ({exc})",
                expected=", ".join(f"{n}@{a}" for n, aliases in known.items() for a in aliases),
            ) from exc
        return load_model(_folder(Path(place)))


def _nothing(uri: str) -> ModelError:
    return ModelError(
        f"no student is registered at {uri}",
        expected=" or ".join(f"an alias {alias}" for alias in ALIASES),
        todo="Train one with 'kedro run', or name a model's folder with --model.",
    )
