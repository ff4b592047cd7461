"""The model registry: trained models that anybody can load by name and alias."""

from __future__ import annotations

import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import rangefinder
from rangefinder.deploy.served import OUTPUTS, PLACEMENT, ServedModel
from rangefinder.deploy.tracking import TrackedRun
from rangefinder.models.io import TrainedModel, save_model

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

_NEEDS = ("mlflow", "numpy", "pandas", "pydantic", "pyyaml", "safetensors", "scipy", "torch")


def register(run: TrackedRun, model: TrainedModel, name: str, alias: str) -> str:
    """Put a trained model into the registry.

    Args:
        run: The run that made it.
        model: Teacher or student.
        name: Name in the registry.
        alias: Moves to the new version.

    Returns:
        The new version.
    """
    import mlflow

    source = Path(rangefinder.__file__).parent
    with tempfile.TemporaryDirectory() as folder, mlflow.start_run(run_id=run.run_id):
        weights = Path(folder) / model.card.kind
        save_model(weights, model)
        info = mlflow.pyfunc.log_model(
            name=model.card.kind,
            loader_module=ServedModel.__module__,
            data_path=str(weights),
            code_paths=[str(source)],
            signature=signature(),
            input_example=example(model),
            pip_requirements=[f"{package}=={version(package)}" for package in _NEEDS],
        )
    run.client.update_run(run.run_id, status="RUNNING")  # MLflow ended it with the block
    return _new_version(run, model, name, alias, info.model_uri)


def _new_version(run: TrackedRun, model: TrainedModel, name: str, alias: str, uri: str) -> str:
    if not run.client.search_registered_models(f"name = '{name}'"):
        run.client.create_registered_model(name)
    made = run.client.create_model_version(
        name,
        uri,
        run.run_id,
        tags={"camera": model.card.camera_fingerprint, "fingerprint": model.fingerprint},
        model_id=uri.rpartition("/")[2],
    )
    number = str(made.version)
    run.client.set_registered_model_alias(name, alias, number)
    return number


def signature() -> ModelSignature:
    """Any number of photos of any size in, maps of the same size out."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ParamSchema, ParamSpec, Schema, TensorSpec

    number = np.dtype(np.float32)
    return ModelSignature(
        inputs=Schema([TensorSpec(number, (-1, 3, -1, -1))]),
        outputs=Schema([TensorSpec(number, (-1, -1, -1), name) for name in OUTPUTS]),
        params=ParamSchema([ParamSpec(key, "double", value) for key, value in PLACEMENT.items()]),
    )


def example(model: TrainedModel) -> NDArray[np.float32]:
    """Two small grey photos, `[2, 3, H, W]` linear light."""
    side = model.card.patch_px + 8 * model.card.stride_px
    return np.full((2, 3, side, side + 2 * model.card.stride_px), 0.18, dtype=np.float32)
