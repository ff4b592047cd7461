"""The model registry: registering trained models, and finding one to load."""

from __future__ import annotations

import logging
import os
import re
import tempfile
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import rangefinder
from rangefinder.errors import ModelError
from rangefinder.models.model_files import CARD, TrainedModel, load_model, save_model
from rangefinder.serving.pyfunc import OUTPUTS, PLACEMENT, ServedModel
from rangefinder.tracking.runs import Store, TrackedRun

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

REGISTRY = "models:/"
MODELS = "data/06_models"  # where pipelines leave theirs
ALIASES = ("champion", "candidate")
log = logging.getLogger(__name__)
_NEEDS = (
    *("imagecodecs", "mlflow", "numpy", "pandas", "pillow", "pydantic", "pyyaml", "safetensors"),
    *("scipy", "tifffile", "torch"),
)


def register(run: TrackedRun, model: TrainedModel, name: str, alias: str) -> str:
    """Register a trained model and set the alias to the new version, which is returned."""
    import mlflow

    with tempfile.TemporaryDirectory() as folder, mlflow.start_run(run_id=run.run_id):
        weights = Path(folder) / model.card.kind
        save_model(weights, model)
        info = mlflow.pyfunc.log_model(
            name=model.card.kind,
            loader_module=ServedModel.__module__,
            data_path=str(weights),
            code_paths=[str(Path(rangefinder.__file__).parent)],
            signature=signature(),
            input_example=example(model),
            pip_requirements=[f"{package}=={version(package)}" for package in _NEEDS],
        )
    run.client.update_run(run.run_id, status="RUNNING")  # MLflow ended it with the block
    return _new_version(run, model, name, alias, info.model_uri)


def _new_version(run: TrackedRun, model: TrainedModel, name: str, alias: str, uri: str) -> str:
    if not run.client.search_registered_models(f"name = '{name}'"):
        run.client.create_registered_model(name)
    created = run.client.create_model_version(
        name,
        uri,
        run.run_id,
        tags={"camera": model.card.camera_fingerprint, "fingerprint": model.fingerprint},
        model_id=uri.rpartition("/")[2],
    )
    number = str(created.version)
    run.client.set_registered_model_alias(name, alias, number)
    return number


def signature() -> ModelSignature:
    """Signature: of arrays, maps `[N, H, W]`.

    Inputs are left open: MLflow's schemas cannot hold that a model takes either arrays or photos.
    """
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ParamSchema, ParamSpec, Schema, TensorSpec

    number = np.dtype(np.float32)
    return ModelSignature(
        outputs=Schema([TensorSpec(number, (-1, -1, -1), name) for name in OUTPUTS]),
        params=ParamSchema([ParamSpec(key, "double", value) for key, value in PLACEMENT.items()]),
    )


def example(model: TrainedModel) -> NDArray[np.float32]:
    """Two small grey photos, `[2, 3, H, W]` linear light."""
    side = model.card.patch_px + 8 * model.card.stride_px
    return np.full((2, 3, side, side + 2 * model.card.stride_px), 0.18, dtype=np.float32)


def find_model(name: str | None, env: str = "local") -> TrainedModel:
    """Load a model from a folder or the registry (only then MLflow is imported).

    Args:
        name: A model's folder, `models:/NAME@ALIAS`, or None: the champion of the project around
            the working directory, else its candidate.
        env: The project's configuration environment.

    Raises:
        ModelError: If there is none, or it cannot be used.
        ConfigError: If the registry is needed and there is no project.
    """
    if name is not None and not name.startswith(REGISTRY):
        return load_model(_folder(Path(name)))
    return _from_registry(name, env)


def _folder(path: Path) -> Path:
    """Folder of card and weights: `path`, its parent, or inside MLflow's download."""
    folder = path.parent if path.is_file() else path
    for candidate in (folder, *sorted(folder.glob("data/*/"))):
        if (candidate / CARD).is_file():
            return candidate
    raise ModelError(
        f"no model in {path}",
        got="no card.json" if folder.exists() else "nothing there",
        expected="a folder with card.json and weights.safetensors (never a pickle)",
    )


def _from_registry(name: str | None, env: str) -> TrainedModel:
    from rangefinder.config.project import STUDENT_NAME, Project

    project = Project.find(Path(), env)
    store = Store.of(project.root, project.tracking())
    database = store.uri.removeprefix("sqlite:///")
    if database != store.uri and not Path(database).is_file():
        raise _no_student(store.uri)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    client = store.client()
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    registered = {m.name: m.aliases for m in client.search_registered_models()}
    if name is None:
        alias = next((a for a in ALIASES if a in registered.get(STUDENT_NAME, {})), None)
        if alias is None:
            raise _no_student(store.uri)
        name = f"{REGISTRY}{STUDENT_NAME}@{alias}"
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = _folder(Path(download_artifacts(artifact_uri=name, dst_path=folder)))
        except (MlflowException, OSError, ModelError) as exc:  # an empty folder, if files are gone
            if (local := _same_model(client, name, project.root)) is not None:
                log.warning("The files of %s have moved; using the same model in %s", name, local)
                return load_model(local)
            raise ModelError(
                f"{name} is not in the registry at {store.uri} ({exc})",
                expected=", ".join(
                    f"{n}@{a}" for n, aliases in registered.items() for a in aliases
                ),
            ) from exc
        return load_model(found)


def _same_model(client: MlflowClient, name: str, root: Path) -> Path | None:
    """Folder of the project that holds the registered model, if one does.

    Artifacts have absolute addresses, which a project's folder leaves behind when it is moved.
    """
    from mlflow.exceptions import MlflowException

    title, label, *_ = *re.split("[@/]", name.removeprefix(REGISTRY), maxsplit=1), ""
    get = client.get_model_version_by_alias if "@" in name else client.get_model_version
    try:
        version = get(title, label)
    except MlflowException:
        return None
    for card in sorted(root.glob(f"{MODELS}/*/{CARD}")):
        with suppress(ModelError):  # another folder's, which nobody asked for
            if load_model(card.parent).fingerprint == version.tags.get("fingerprint"):
                return card.parent
    return None


def _no_student(uri: str) -> ModelError:
    return ModelError(
        f"no student is registered at {uri}",
        expected=" or ".join(f"an alias {alias}" for alias in ALIASES),
        todo="Train one with 'kedro run', or name a model's folder with --model.",
    )
