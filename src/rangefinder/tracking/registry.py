"""The model registry: registering trained models, and finding one to load."""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from packaging.version import Version as Release

from rangefinder.config.project import STUDENT_NAME, Project
from rangefinder.errors import ConfigError, ModelError
from rangefinder.models.consent import UntrustedCodeError, trust
from rangefinder.models.model_files import CARD, TrainedModel, load_model
from rangefinder.serving.pyfunc import BOTH, OUTPUTS, PLACEMENT, ServedModel
from rangefinder.tracking import descriptions
from rangefinder.tracking.mlflow_run import Dataset, MlflowRun, now_ms
from rangefinder.tracking.store import Store, is_missing, reading

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import ModelSignature


REGISTRY = "models:/"
MODELS = "data/06_models"  # where pipelines leave theirs
CHAMPION, CANDIDATE = "champion", "candidate"
ALIASES = (CHAMPION, CANDIDATE)  # in this order a model is looked for
EVALUATION, EVALUATED, UNEVALUATED = "evaluation", "evaluated", "unevaluated"  # a tag
PACKAGE = Path(__file__).parents[1]  # whose code goes with a model
log = logging.getLogger(__name__)
_NEEDS = (
    *("imagecodecs", "mlflow", "numpy", "pandas", "pillow", "pydantic", "pyyaml", "safetensors"),
    *("scipy", "tifffile", "torch"),
)


@dataclass(frozen=True)
class Version:
    """A version of a registered model."""

    name: str  # of the registered model
    number: str
    model_id: str  # of the logged model, which metrics belong to
    run_id: str  # that trained it
    tags: Mapping[str, str]

    @classmethod
    def of(cls, entity: ModelVersion) -> Self:
        """From what MLflow returns."""
        return cls(
            entity.name,
            str(entity.version),
            str(entity.source).rpartition("/")[2],  # MLflow 3.17 does not return `model_id`
            entity.run_id or "",
            dict(entity.tags),
        )

    @property
    def uri(self) -> str:
        """`models:/NAME/NUMBER`."""
        return f"{REGISTRY}{self.name}/{self.number}"

    def __str__(self) -> str:
        return f"{self.name}, version {self.number}"


def register(run: MlflowRun, folder: Path, name: str, tags: Mapping[str, str]) -> Version:
    """Register a trained model as a new version, tagged as not evaluated; once for a run.

    It gets no alias: those follow from scores.

    Args:
        run: The run that trained it.
        folder: With the model, under the name that its files keep.
        name: Of the registered model.
        tags: What it was made from.
    """
    client, model = run.client, load_model(folder)
    of_run = (one for one in versions(client, name, model.fingerprint) if one.run_id == run.run_id)
    if (version := next(of_run, None)) is None:
        version = _new_version(run, folder, model, name, tags)
    about = descriptions.version(model.card, version.uri)
    client.update_model_version(name, version.number, about)
    return version


def _new_version(
    run: MlflowRun, folder: Path, model: TrainedModel, name: str, tags: Mapping[str, str]
) -> Version:
    import mlflow
    from mlflow.entities import LoggedModelOutput

    tags = {
        "camera": model.card.camera_fingerprint,
        "fingerprint": model.fingerprint,
        "seed": str(model.card.seed),
        **tags,
        EVALUATION: UNEVALUATED,
    }
    client = run.client
    # Logged by its id and outside of `mlflow.start_run`: MLflow would copy the run's metrics to it.
    logged = client.create_logged_model(
        run.experiment_id, model.card.kind, run.run_id, tags, client.get_run(run.run_id).data.params
    )
    mlflow.pyfunc.log_model(
        model_id=logged.model_id,
        loader_module=ServedModel.__module__,
        data_path=str(folder),
        code_paths=[str(PACKAGE)],
        signature=signature(),
        input_example=example(model),
        pip_requirements=requirements(),
    )
    client.log_outputs(run.run_id, [LoggedModelOutput(logged.model_id, 0)])
    if not client.search_registered_models(f"name = '{name}'"):
        about = descriptions.registered_model(model.card.kind)
        client.create_registered_model(name, description=about)
    uri = f"{REGISTRY}{logged.model_id}"
    return Version.of(
        client.create_model_version(name, uri, run.run_id, tags=tags, model_id=logged.model_id)
    )


def requirements() -> list[str]:
    """What a registered model needs, as an index serves it: builds have no local label (`+cpu`)."""
    return [f"{name}=={Release(version(name)).public}" for name in _NEEDS]


def find_version(client: MlflowClient, name: str, label: str) -> Version | None:
    """Version of a number or alias, or None."""
    from mlflow.exceptions import MlflowException

    get = client.get_model_version if label.isdigit() else client.get_model_version_by_alias
    try:
        return Version.of(get(name, label))
    except MlflowException as exc:
        if is_missing(exc):
            return None
        raise


def versions(client: MlflowClient, name: str, fingerprint: str) -> list[Version]:
    """Versions that hold the model of a fingerprint, the newest first."""
    query = f"name = '{name}' and tags.fingerprint = '{fingerprint}'"
    found = client.search_model_versions(query)
    return sorted(map(Version.of, found), key=lambda one: int(one.number), reverse=True)


def set_alias(client: MlflowClient, version: Version, alias: str) -> None:
    """Let an alias name this version."""
    client.set_registered_model_alias(version.name, alias, version.number)


def tag_version(client: MlflowClient, version: Version, tags: Mapping[str, str]) -> None:
    """Set or change tags of a version."""
    for key, value in tags.items():
        client.set_model_version_tag(version.name, version.number, key, value)


def describe(client: MlflowClient, version: Version, section: str, text: str) -> None:
    """Set or replace one section of a version's description."""
    now = client.get_model_version(version.name, version.number).description or ""
    changed = descriptions.with_section(now, section, text)
    client.update_model_version(version.name, version.number, changed)


def attach_scores(
    run: MlflowRun,
    name: str,
    fingerprint: str,
    scores: Mapping[str, Any],
    dataset: Dataset,
    against: str,
) -> None:
    """Attach scores to the newest version that holds a model, if one does; make it candidate.

    Args:
        run: The run that scored it.
        name: Of the registered model.
        fingerprint: Of the model.
        scores: Its entry of `models` in evaluation.json.
        dataset: The captures that it was scored on.
        against: Why it does not become candidate; empty if it does.
    """
    found = versions(run.client, name, fingerprint)
    if not found:
        return
    record_scores(run, found[0], scores, dataset)
    if against:
        log.info("%s is scored, and no candidate: %s", found[0], against)
    else:
        set_alias(run.client, found[0], CANDIDATE)
        log.info("%s is scored, and the candidate", found[0])


def record_scores(
    run: MlflowRun, version: Version, scores: Mapping[str, Any], test: Dataset
) -> None:
    """Attach scores to a registered model: its metrics have no prefix, and the test captures.

    MLflow keeps a model's metrics with those of a run. That of the evaluation has the scores of all
    models, under prefixes; so these get a run of their own below it.

    Args:
        run: The run that scored it.
        version: The model.
        scores: Its entry of `models` in evaluation.json.
        test: The captures that it was scored on.
    """
    from mlflow.entities import LoggedModelInput

    abs_rel = f"{scores['overall']['abs_rel']:.3f}"
    tags = {"model": version.uri, "captures.test": test.digest}
    with run.child(f"{version.uri} on test captures: {abs_rel}", tags) as child:
        child.log_dataset(test)
        child.client.log_inputs(child.run_id, models=[LoggedModelInput(version.model_id)])
        child.log_metrics(scores, now_ms(), 0, version.model_id, test)
    scored = {EVALUATION: EVALUATED, "captures.test": test.digest, "abs_rel": abs_rel}
    tag_version(run.client, version, scored)
    text = descriptions.scores(scores, test.profile["captures"], test.digest)
    describe(run.client, version, descriptions.SCORES, text)


def signature() -> ModelSignature:
    """Signature: of arrays, maps `[N, H, W]`.

    Inputs are left open: MLflow's schemas cannot hold that a model takes either arrays or photos.
    """
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ParamSchema, ParamSpec, Schema, TensorSpec

    number = np.dtype(np.float32)
    return ModelSignature(
        outputs=Schema([TensorSpec(number, (-1, -1, -1), name) for name in OUTPUTS]),
        params=ParamSchema(
            [
                *(ParamSpec(key, "double", value) for key, value in PLACEMENT.items()),
                ParamSpec(BOTH, "boolean", False),
            ]
        ),
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
        UntrustedCodeError: If it runs code that neither this project nor the user trusts.
        ConfigError: If the registry is needed and there is no project.
    """
    try:
        return _found_model(name, env)
    except UntrustedCodeError:
        with suppress(ConfigError):  # no project
            trust(Project.find(Path(), env).parameters().teacher.network)
        return _found_model(name, env)


def _found_model(name: str | None, env: str) -> TrainedModel:
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
    project = Project.find(Path(), env)
    with reading(Store.of(project.root, project.tracking())):
        client = open_registry(project)
        return load_registered(client, name or _best_student(client), project.root)


def _best_student(client: MlflowClient) -> str:
    """The champion, else the candidate."""
    registered = {m.name: m.aliases for m in client.search_registered_models()}
    alias = next((a for a in ALIASES if a in registered.get(STUDENT_NAME, {})), None)
    if alias is None:
        raise _no_student(client.tracking_uri)
    return f"{REGISTRY}{STUDENT_NAME}@{alias}"


def open_registry(project: Project) -> MlflowClient:
    """A client of the project's registry.

    Raises:
        ModelError: If nothing was ever registered.
    """
    store = Store.of(project.root, project.tracking())
    if store.database is not None and not store.database.is_file():
        raise _no_student(store.uri)
    return store.client()


def load_registered(client: MlflowClient, name: str, root: Path) -> TrainedModel:
    """Load a registered model.

    Args:
        client: Of the registry.
        name: `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
        root: The project, in whose folders the model may be if its artifacts have moved.

    Raises:
        ModelError: If it is not there.
    """
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as folder:
        try:
            found = _folder(Path(download_artifacts(artifact_uri=name, dst_path=folder)))
        except (MlflowException, OSError, ModelError) as exc:  # an empty folder, if files are gone
            if (local := _same_model(client, name, root)) is not None:
                log.warning("The files of %s have moved; using the same model in %s", name, local)
                return load_model(local)
            aliases = {m.name: m.aliases for m in client.search_registered_models()}
            raise ModelError(
                f"{name} is not in the registry at {client.tracking_uri} ({exc})",
                expected=", ".join(f"{n}@{a}" for n, named in aliases.items() for a in named),
            ) from exc
        return load_model(found)


def _same_model(client: MlflowClient, name: str, root: Path) -> Path | None:
    """Folder of the project that holds the registered model, if one does.

    Artifacts have absolute addresses, which a project's folder leaves behind when it is moved.
    """
    title, label, *_ = *re.split("[@/]", name.removeprefix(REGISTRY), maxsplit=1), ""
    version = find_version(client, title, label)
    if version is None:
        return None
    for card in sorted(root.glob(f"{MODELS}/*/{CARD}")):
        with suppress(ModelError):  # another folder's, which nobody asked for
            if load_model(card.parent).fingerprint == version.tags.get("fingerprint"):
                return card.parent
    return None


def _no_student(uri: str) -> ModelError:
    return ModelError(
        f"no student of an alias is registered at {uri}",
        expected=" or ".join(f"an alias {alias}" for alias in ALIASES),
        todo="Train one with 'kedro run' (one worse than a constant gets no alias), or name a "
        f"version ({REGISTRY}NAME/1) or a model's folder with --model.",
    )
