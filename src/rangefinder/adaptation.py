"""Adaptation: continue training a student on new photos of its camera."""

from __future__ import annotations

import json
import shlex
import shutil
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rangefinder.cache.fill import fill_cache
from rangefinder.cache.store import TeacherCache
from rangefinder.captures.added_photos import Added, add_photos, with_added
from rangefinder.captures.manifest import CaptureSet, read_captures
from rangefinder.captures.photos import find_photos
from rangefinder.common.files import atomic_write
from rangefinder.config import Parameters
from rangefinder.config.project import STUDENT_NAME, TEACHER_NAME, Project
from rangefinder.errors import CaptureError, ModelError
from rangefinder.evaluation.scoring import evaluate, held_out
from rangefinder.inference.drift_terms import with_drift_reference
from rangefinder.inference.predictor import capture_predictions, common_support
from rangefinder.inference.session import photo_policy
from rangefinder.models.consent import trust
from rangefinder.models.model_files import TrainedModel, load_model, save_model
from rangefinder.tracking.origin import git_tags, source_tags
from rangefinder.tracking.promotion import Decision, Gate
from rangefinder.tracking.recorder import Recorder
from rangefinder.tracking.registry import find_model
from rangefinder.tracking.runs import TrackedRun, epoch_logger
from rangefinder.tracking.store import Store
from rangefinder.training.assembly import Distillation, validation_split
from rangefinder.training.runner import remove_checkpoints


@dataclass(frozen=True)
class Adapted:
    """Scores of the current and the adapted student, photos, decision.

    Without MLflow there is no decision: None if tracking is off, or has failed.
    """

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
    trust(params.teacher.network)
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
    recorder = _start(project, params, joined, teacher, current, _command(project, folder, model))
    with recorder.run.ending() if recorder else nullcontext():
        cache = _fill(project, params, joined, teacher)
        checkpoints, logger = project.adaptation_checkpoints, epoch_logger("adapted")
        training = Distillation(joined, teacher, cache, params, checkpoints, logger)
        student = with_drift_reference(
            training.adapt(current, project.adaptation_params()),
            validation_split(joined),
            params.compute.device,
        )
        summary = _compare(captures, {"current": current, "adapted": student}, params)
        _report(project, summary)
        decision = None
        if recorder:
            recorder.cache(cache)
            recorder.run.log_metrics(summary["models"])
            recorder.run.log_files(project.adaptation_report)
            decision = _promote(recorder, project, captures, student, current)
        save_model(project.adapted, student)  # last: until then the photos count as new
        remove_checkpoints(checkpoints)
    return Adapted(summary, photos, decision, project.adapted)


def _command(project: Project, folder: str, model: str | None) -> str:
    """The command line that repeats an adaptation."""
    words = ["rangefinder", "adapt", folder, "--env", project.env]
    return shlex.join([*words, "--model", model] if model else words)


def _start(
    project: Project,
    params: Parameters,
    captures: CaptureSet,
    teacher: TrainedModel,
    current: TrainedModel,
    command: str,
) -> Recorder | None:
    """Open the run and record what it takes, unless tracking is off."""
    tracking = project.tracking()
    if not tracking.enabled:
        return None
    origin = {"adapted_from": current.fingerprint, **git_tags(project.root)}
    store, tags = Store.of(project.root, tracking), {**source_tags(command), **origin}
    run = TrackedRun.start(store, tracking.experiment, "adapt", tags)
    run.log_params(params.model_dump(mode="json"))
    recorder = Recorder(run, origin, is_whole=True)
    recorder.captures(captures, str(project.captures))
    recorder.model(teacher, TEACHER_NAME)
    return recorder


def _promote(
    recorder: Recorder,
    project: Project,
    captures: CaptureSet,
    student: TrainedModel,
    current: TrainedModel,
) -> Decision | None:
    """Register the adapted student, and let the gate decide; None if MLflow has failed."""
    version = recorder.trained(student, STUDENT_NAME)
    if version is None:
        return None
    gate = Gate(recorder.run.client, project.root, captures, project.parameters())
    decision = gate.promote(version, recorder.run.mlflow, instead=current)
    recorder.run.add_result(decision.outcome)
    return decision


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


def _fill(
    project: Project, params: Parameters, captures: CaptureSet, teacher: TrainedModel
) -> TeacherCache:
    """The teacher's predictions; only new photos are swept."""
    folder = project.adaptation_cache
    if project.cache.is_dir() and not folder.exists():
        shutil.copytree(project.cache, folder)
    return fill_cache(teacher, captures, params.cache, folder, params.compute)


def _untrained(project: Project, captures: CaptureSet, joined: CaptureSet) -> bool:
    """Whether the adapted student was not trained on some photo that was added before."""
    if len(joined) == len(captures):
        return False
    try:
        adapted = load_model(project.adapted)
    except ModelError:  # none, or of another version
        return True
    return adapted.card.dataset != joined.select(role="unlabelled", split="train").digest


def _report(project: Project, summary: dict[str, Any]) -> None:
    """Write adaptation.json."""
    text = json.dumps(summary, indent=2) + "\n"
    atomic_write(project.adaptation_report, lambda path: path.write_text(text, encoding="utf-8"))
