"""The device that learns: new photos of its own camera make its student better."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from rangefinder.cache.fill import fill_cache
from rangefinder.captures.manifest import (
    FILE_COLUMNS,
    TABLE_FILE,
    Capture,
    CaptureSet,
    capture_id,
    read_captures,
    write_captures,
)
from rangefinder.config import Parameters
from rangefinder.deploy.answers import answers, support
from rangefinder.deploy.photo import Terms, find_photos, read_photo
from rangefinder.deploy.project import STUDENT_NAME, Project
from rangefinder.deploy.registry import register
from rangefinder.deploy.source import find_model
from rangefinder.deploy.tracking import TrackedRun, epoch_logger
from rangefinder.errors import CaptureError
from rangefinder.evaluation.score import evaluate
from rangefinder.models.io import TrainedModel, load_model, save_model
from rangefinder.training.adapt import continue_student


@dataclass(frozen=True)
class Adapted:
    """What came of it.

    Attributes:
        summary: Scores of the current and of the adapted student on the same held-out captures.
        added: New photos learned from.
        known: Photos that had been there before.
        refused: Photo to reason.
        version: Version in the registry, or None where runs are not recorded.
        folder: Where the adapted student lies.
    """

    summary: dict[str, Any]
    added: int
    known: int
    refused: dict[str, str]
    version: str | None
    folder: Path


def adapt(project: Project, folder: str, model: str | None) -> Adapted:
    """Learn from new unlabelled photos, compare, and register the result as candidate.

    Args:
        project: Whose captures and teacher to use.
        folder: The photos: a folder, file or pattern.
        model: The student to start from, as `find_model` takes it.

    Raises:
        CaptureError: If no photo can be used, or none is new.
        ModelError: If student and teacher do not belong together.
    """
    params = project.parameters()
    captures, teacher = read_captures(project.captures), load_model(project.teacher)
    current = find_model(model, project.env)
    captures.camera.require(current.card.camera_fingerprint, "the student")
    added, known, refused = _add(project.adaptation, captures, find_photos([folder]))
    joined = join(captures, read_captures(project.adaptation))
    tracking, run = project.tracking(), None
    if tracking.enabled:
        tags = {"camera": captures.camera.fingerprint, "adapted_from": current.fingerprint}
        run = TrackedRun.start(project.store(), tracking.experiment, "adapt", tags)
    try:
        if project.cache.is_dir() and not project.adaptation_cache.exists():
            shutil.copytree(project.cache, project.adaptation_cache)  # only new photos are swept
        cache = fill_cache(
            teacher, joined, params.cache, project.adaptation_cache, compute=params.compute
        )
        student = continue_student(
            current,
            teacher,
            joined,
            cache,
            params,
            project.adaptation_params(),
            project.root / "data/06_models/checkpoints/adapted",
            epoch_logger("adapted"),
        )
        save_model(project.adapted, student)
        summary = _compare(captures, {"current": current, "adapted": student}, params)
        version = _record(run, summary, student, tracking.alias, project) if run else None
    except BaseException:
        if run:
            run.end("FAILED")
        raise
    return Adapted(summary, added, known, refused, version, project.adapted)


def _record(
    run: TrackedRun, summary: dict[str, Any], student: TrainedModel, alias: str, project: Project
) -> str:
    report = project.root / "data/08_reporting/adaptation.json"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    run.log_metrics(summary["models"])
    run.log_files(report)
    version = register(run, student, STUDENT_NAME, alias)
    run.end("FINISHED")
    return version


def _add(
    folder: Path, captures: CaptureSet, photos: Sequence[Path]
) -> tuple[int, int, dict[str, str]]:
    """Put new photos into the set of those that were added since training.

    Returns:
        How many are new, how many were known, and the reasons of those refused.

    Raises:
        CaptureError: If none is new and usable.
    """
    before = read_captures(folder) if (folder / TABLE_FILE).is_file() else None
    if before is not None:
        captures.camera.require(before.camera.fingerprint, str(folder))
    seen = {*captures.table["capture_id"], *(before.table["capture_id"] if before else ())}
    refused: dict[str, str] = {}
    new: dict[str, Path] = {}
    known = 0
    for path in photos:
        try:
            photo = read_photo(path, Terms(captures.camera))
        except CaptureError as error:
            refused[str(path)] = str(error)
            continue
        identity = capture_id(photo.image, photo.placement, captures.camera)
        known += identity in seen
        if identity not in seen:
            seen.add(identity)
            new[identity] = path
    if not new:
        reasons = "".join(f"\n  {reason}" for reason in refused.values())
        raise CaptureError(
            f"there is no new photo to learn from ({known} were known before){reasons}"
        )
    write_captures(folder, captures.camera, _captures(captures, before, new))
    return len(new), known, refused


def _captures(
    captures: CaptureSet, before: CaptureSet | None, new: dict[str, Path]
) -> Iterator[Capture]:
    for index in range(len(before) if before is not None else 0):
        assert before is not None
        yield Capture(
            image=before.image(index),
            role="unlabelled",
            scene=before.row(index)["scene"],
            split="train",
            placement=before.placement(index),
        )
    for identity, path in new.items():
        photo = read_photo(path, Terms(captures.camera))
        scene = f"added-{identity}"  # never the name of a scene that is held out
        yield Capture(photo.image, "unlabelled", scene, "train", placement=photo.placement)


def join(captures: CaptureSet, more: CaptureSet) -> CaptureSet:
    """Captures of two folders as one set."""
    captures.camera.require(more.camera.fingerprint, str(more.folder))
    way = Path(os.path.relpath(more.folder, captures.folder))
    moved = more.table.copy()
    for column in FILE_COLUMNS:
        moved[column] = [name if pd.isna(name) else str(way / name) for name in moved[column]]
    table = pd.concat([captures.table, moved.astype(captures.table.dtypes)], ignore_index=True)
    return replace(captures, table=table)


def _compare(
    captures: CaptureSet, models: dict[str, TrainedModel], params: Parameters
) -> dict[str, Any]:
    """Scores of models on the held-out captures."""
    test = captures.select(role="labelled", split="test")
    named = {name: answers(model, test, params.cache) for name, model in models.items()}
    return evaluate(test, named, params, support(models["current"].card, test)).summary
