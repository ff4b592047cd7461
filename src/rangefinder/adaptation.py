"""Adaptation: continue training a student on new photos of its camera."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rangefinder.cache.fill import fill_cache
from rangefinder.captures.manifest import CaptureSet, read_captures
from rangefinder.captures.photos import Added, add_photos, find_photos, with_added
from rangefinder.config import Parameters
from rangefinder.config.project import STUDENT_NAME, Project
from rangefinder.errors import CaptureError, ModelError
from rangefinder.evaluation.scoring import evaluate, held_out
from rangefinder.inference.predictor import capture_predictions, common_support
from rangefinder.inference.session import photo_policy
from rangefinder.models.model_files import TrainedModel, load_model, save_model
from rangefinder.tracking.registry import CANDIDATE, find_model, register, set_alias
from rangefinder.tracking.runs import Store, TrackedRun, epoch_logger
from rangefinder.training.assembly import Distillation


@dataclass(frozen=True)
class Adapted:
    """Scores of the current and the adapted student, photos, version (None: tracking is off)."""

    summary: dict[str, Any]
    photos: Added
    version: str | None
    folder: Path


def adapt_to_photos(project: Project, folder: str, model: str | None) -> Adapted:
    """Train on new unlabelled photos, compare, and register the result as candidate.

    Photos are stored first: after a run that was stopped, the next one trains on them.

    Args:
        project: Its captures and teacher are used.
        folder: The photos: a folder, file or pattern.
        model: The student to start from, as for `find_model`.

    Raises:
        CaptureError: If there are no held-out captures, or no photo that the adapted student was
            not trained on.
        ModelError: If student and teacher do not belong together.
    """
    params = project.parameters()
    captures, teacher = read_captures(project.captures), load_model(project.teacher)
    current = find_model(model, project.env)
    captures.camera.require(current.card.camera_fingerprint, "the student")
    test, limits = held_out(captures)
    policy = photo_policy(current.card)
    photos = add_photos(project.adaptation, captures, find_photos([folder]), policy)
    joined = with_added(captures, project.adaptation)
    if not (photos.new or _untrained(project, captures, joined)):
        reasons = "".join(f"\n  {reason}" for reason in photos.refused.values())
        raise CaptureError(
            f"there is no new photo to train on ({photos.known} were known before){reasons}"
        )
    tracking, run = project.tracking(), None
    store = Store.of(project.root, tracking)
    if tracking.enabled:
        tags = {"camera": captures.camera.fingerprint, "adapted_from": current.fingerprint}
        run = TrackedRun.start(store, tracking.experiment, "adapt", tags)
    try:
        student = _train(project, params, joined, teacher, current)
        models = {
            name: capture_predictions(network, test, params.cache, params.compute.device)
            for name, network in (("current", current), ("adapted", student))
        }
        scored = evaluate(test, models, params, common_support(current.card, test))
        summary = scored.summary | limits
        version = _record(run, summary, student, project) if run else None
        save_model(project.adapted, student)  # last: until then the photos count as new
    except BaseException:
        if run:
            run.end("FAILED")
        raise
    return Adapted(summary, photos, version, project.adapted)


def _train(
    project: Project,
    params: Parameters,
    captures: CaptureSet,
    teacher: TrainedModel,
    current: TrainedModel,
) -> TrainedModel:
    folder, checkpoints = project.adaptation_cache, project.adaptation_checkpoints
    if project.cache.is_dir() and not folder.exists():
        shutil.copytree(project.cache, folder)  # only new photos are swept
    cache = fill_cache(teacher, captures, params.cache, folder, params.compute)
    training = Distillation(captures, teacher, cache, params, checkpoints, epoch_logger("adapted"))
    return training.adapt(current, project.adaptation_params())


def _untrained(project: Project, captures: CaptureSet, joined: CaptureSet) -> bool:
    """Whether the adapted student was not trained on some photo that was added before."""
    if len(joined) == len(captures):
        return False
    try:
        adapted = load_model(project.adapted)
    except ModelError:  # none, or of another version
        return True
    return adapted.card.dataset != joined.select(role="unlabelled", split="train").digest


def _record(
    run: TrackedRun, summary: dict[str, Any], student: TrainedModel, project: Project
) -> str:
    report = project.adaptation_report
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    run.log_metrics(summary["models"])
    run.log_files(report)
    version = register(run, student, STUDENT_NAME, {})
    set_alias(run.client, version, CANDIDATE)
    run.end("FINISHED")
    return version.number
