"""The device that learns: new photos of its own camera make its student better."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rangefinder.cache.fill import fill_cache
from rangefinder.captures.manifest import CaptureSet, read_captures
from rangefinder.config import Parameters
from rangefinder.deploy.added import Added, add_photos, with_added
from rangefinder.deploy.answers import answers, support
from rangefinder.deploy.photo import find_photos
from rangefinder.deploy.project import STUDENT_NAME, Project
from rangefinder.deploy.registry import register
from rangefinder.deploy.source import find_model
from rangefinder.deploy.tracking import TrackedRun, epoch_logger
from rangefinder.errors import CaptureError, ModelError
from rangefinder.evaluation.held_out import held_out
from rangefinder.evaluation.score import evaluate
from rangefinder.models.io import TrainedModel, load_model, save_model
from rangefinder.training.adapt import continue_student


@dataclass(frozen=True)
class Adapted:
    """What came of it.

    Attributes:
        summary: Scores of the current and of the adapted student on the same held-out captures.
        photos: What became of the photos.
        version: Version in the registry, or None where runs are not recorded.
        folder: Where the adapted student lies.
    """

    summary: dict[str, Any]
    photos: Added
    version: str | None
    folder: Path


def adapt(project: Project, folder: str, model: str | None) -> Adapted:
    """Learn from new unlabelled photos, compare, and register the result as candidate.

    Photos are remembered: after a run that was stopped, the next one learns from them.

    Args:
        project: Whose captures and teacher to use.
        folder: The photos: a folder, file or pattern.
        model: The student to start from, as `find_model` takes it.

    Raises:
        CaptureError: If nothing is held out to compare on, or there is no photo that the adapted
            student has not learned from.
        ModelError: If student and teacher do not belong together.
    """
    params = project.parameters()
    captures, teacher = read_captures(project.captures), load_model(project.teacher)
    current = find_model(model, project.env)
    captures.camera.require(current.card.camera_fingerprint, "the student")
    test, limits = held_out(captures)
    photos = add_photos(project.adaptation, captures, find_photos([folder]))
    joined = with_added(captures, project.adaptation)
    if not (photos.new or _waiting(project, captures, joined)):
        raise _nothing_new(photos)
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
        summary = _compare(test, {"current": current, "adapted": student}, params) | limits
        version = _record(run, summary, student, tracking.alias, project) if run else None
        save_model(project.adapted, student)  # only now have the photos been learned from
    except BaseException:
        if run:
            run.end("FAILED")
        raise
    return Adapted(summary, photos, version, project.adapted)


def _waiting(project: Project, captures: CaptureSet, joined: CaptureSet) -> bool:
    """Whether photos were added before that the adapted student has not learned from."""
    if len(joined) == len(captures):
        return False
    try:
        adapted = load_model(project.adapted)
    except ModelError:  # none, or one that is to be made again
        return True
    return adapted.card.dataset != joined.select(role="unlabelled", split="train").digest


def _nothing_new(photos: Added) -> CaptureError:
    reasons = "".join(f"\n  {reason}" for reason in photos.refused.values())
    return CaptureError(
        f"there is no new photo to learn from ({photos.known} were known before){reasons}"
    )


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


def _compare(
    test: CaptureSet, models: dict[str, TrainedModel], params: Parameters
) -> dict[str, Any]:
    """Scores of models on held-out captures."""
    named = {name: answers(model, test, params.cache) for name, model in models.items()}
    return evaluate(test, named, params, support(models["current"].card, test)).summary
