"""Adaptation: continue training a student on new photos of its camera."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rangefinder.cache.fill import fill_cache
from rangefinder.captures.added_photos import Added, add_photos, with_added
from rangefinder.captures.manifest import CaptureSet, read_captures
from rangefinder.captures.photos import find_photos
from rangefinder.config import Parameters
from rangefinder.config.project import STUDENT_NAME, Project
from rangefinder.errors import CaptureError, ModelError
from rangefinder.evaluation.scoring import evaluate, held_out
from rangefinder.inference.predictor import capture_predictions, common_support
from rangefinder.inference.session import photo_policy
from rangefinder.models.model_files import TrainedModel, load_model, save_model
from rangefinder.tracking.origin import git_tags
from rangefinder.tracking.promotion import Decision, Gate
from rangefinder.tracking.registry import Version, find_model, register
from rangefinder.tracking.runs import Store, TrackedRun, epoch_logger
from rangefinder.training.assembly import Distillation


@dataclass(frozen=True)
class Adapted:
    """Scores of the current and the adapted student, photos, decision (None: tracking is off)."""

    summary: dict[str, Any]
    photos: Added
    decision: Decision | None
    folder: Path


def adapt_to_photos(project: Project, folder: str, model: str | None) -> Adapted:
    """Train on new unlabelled photos, compare, register the result, and promote it if it is better.

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
    held_out(captures)  # raises before anything is trained
    policy = photo_policy(current.card)
    photos = add_photos(project.adaptation, captures, find_photos([folder]), policy)
    joined = with_added(captures, project.adaptation)
    if not (photos.new or _untrained(project, captures, joined)):
        reasons = "".join(f"\n  {reason}" for reason in photos.refused.values())
        raise CaptureError(
            f"there is no new photo to train on ({photos.known} were known before){reasons}"
        )
    run = _start(project, captures, current)
    try:
        student = _train(project, params, joined, teacher, current)
        summary = _compare(captures, {"current": current, "adapted": student}, params)
        decision = None
        if run:
            made_from = {
                "captures": joined.digest,
                "captures.training": student.card.dataset,
                "teacher": teacher.fingerprint,
                "cache": student.card.cache or "",
                "student": current.fingerprint,
                **git_tags(project.root),
            }
            version = _record(run, summary, student, made_from, project)
            gate = Gate(run.client, project.root, captures, params)
            decision = gate.promote(version, run, instead=current)
            run.rename(f"adapt: {decision.outcome}")
            run.end("FINISHED")
        save_model(project.adapted, student)  # last: until then the photos count as new
    except BaseException:
        if run:
            run.end("FAILED")
        raise
    return Adapted(summary, photos, decision, project.adapted)


def _start(project: Project, captures: CaptureSet, current: TrainedModel) -> TrackedRun | None:
    """Open the run, unless tracking is off."""
    tracking = project.tracking()
    if not tracking.enabled:
        return None
    tags = {
        "camera": captures.camera.fingerprint,
        "captures": captures.digest,
        "adapted_from": current.fingerprint,
    }
    store = Store.of(project.root, tracking)
    return TrackedRun.start(store, tracking.experiment, "adapt", tags)


def _compare(
    captures: CaptureSet, networks: dict[str, TrainedModel], params: Parameters
) -> dict[str, Any]:
    """Scores of both students, as in evaluation.json."""
    test, limits = held_out(captures)
    models = {
        name: capture_predictions(network, test, params.cache, params.compute.device)
        for name, network in networks.items()
    }
    card = networks["current"].card
    return evaluate(test, models, params, common_support(card, test)).summary | limits


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
    run: TrackedRun,
    summary: dict[str, Any],
    student: TrainedModel,
    made_from: dict[str, str],
    project: Project,
) -> Version:
    """Log the report and register the student."""
    report = project.adaptation_report
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    run.log_metrics(summary["models"])
    run.log_files(report)
    return register(run, student, STUDENT_NAME, made_from)
