"""The ablation: every variant of the method trained and scored on the same held-out pixels.

Results are stored beside their keys, so a run that was stopped, or one with more variants or seeds,
goes on where it can. Variants with the same teacher share it. Trainings run side by side, in
processes that share the threads: small networks hardly use two threads at once.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from rangefinder.cache.fill import fill_cache
from rangefinder.captures.manifest import CaptureSet
from rangefinder.common.compute import ordered_map, worker_pool
from rangefinder.common.files import atomic_write
from rangefinder.common.locks import exclusive_lock
from rangefinder.config import Parameters
from rangefinder.coordinates import PatchGrid
from rangefinder.evaluation.scoring import evaluate, held_out
from rangefinder.inference.predictor import capture_predictions, common_support
from rangefinder.models.card import Card
from rangefinder.models.consent import trust
from rangefinder.models.device import share_of_compute
from rangefinder.models.distribution import DistanceDistribution
from rangefinder.models.model_files import CARD, TrainedModel, load_model, save_model
from rangefinder.models.teacher import build_teacher
from rangefinder.studies.ablation.variants import WHOLE, Variant, variants_of
from rangefinder.training.assembly import (
    Distillation,
    TeacherPredictions,
    teacher_key,
    train_teacher,
    training_split,
)
from rangefinder.training.runner import remove_checkpoints, training_key

RESULT, LOG = "result.json", "log.txt"
FORMAT = "%(asctime)s  %(message)s"
CACHES, TEACHERS, CHECKPOINTS = "caches", "teachers", "checkpoints"
TEACHER_ROW = "teacher"  # the teacher of the whole method, scored like a variant
log = logging.getLogger(__name__)


def ablate(captures: CaptureSet, params: Parameters, folder: Path) -> pd.DataFrame:
    """Train and score every variant with every seed; results and partial results go to `folder`.

    Returns one row per variant and seed: `variant`, `seed`, scores on the test captures,
    `description`.

    Raises:
        WorkerError: If a process that trains is killed.
    """
    runs = _runs(captures, params, folder)
    workers = params.ablation.workers
    results = {run.name: rows for run in runs if (rows := run.stored())}
    missing = [run for run in runs if run.name not in results]
    with worker_pool(workers, "ablation.workers") as pool:
        trained = ordered_map(pool, AblationRun.train, missing, workers)
        progress = tqdm(missing, desc="ablation", unit="training", disable=None)
        for run, rows in zip(progress, trained, strict=True):
            log.info("%s: AbsRel %.3f", run.name, rows[0]["abs_rel"])
            results[run.name] = rows
    shutil.rmtree(folder / CACHES, ignore_errors=True)
    return pd.DataFrame([row for run in runs for row in results[run.name]])


def _runs(captures: CaptureSet, params: Parameters, folder: Path) -> list[AblationRun]:
    """Every variant with every seed; the first of each teacher before all others.

    So no process has to wait for a teacher that another one is training.
    """
    test, _ = held_out(captures)
    variants = [
        (variant, variant.params(params, seed))
        for seed in params.ablation.seeds
        for variant in variants_of(params).values()
    ]
    widest = max(
        build_teacher(changed.teacher, changed.prediction.bins).patch_px for _, changed in variants
    )
    compute = share_of_compute(params.compute, params.ablation.workers)
    first: dict[str, AblationRun] = {}
    others: list[AblationRun] = []
    for variant, changed in variants:
        key = teacher_key(captures, changed)
        changed = changed.model_copy(update={"compute": compute})
        run = AblationRun(variant, changed, captures, test, folder, widest, key)
        if first.setdefault(key, run) is not run:
            others.append(run)
    return [*first.values(), *others]


@dataclass(frozen=True)
class AblationRun:
    """One variant with one seed."""

    variant: Variant  # the variant
    params: Parameters  # of the variant
    captures: CaptureSet  # all captures
    test: CaptureSet  # the scored ones
    folder: Path  # of the whole ablation
    widest_px: int  # side of the largest patch of all variants, which decides the scored pixels
    teacher_key: str  # hash of all that its teacher depends on

    @property
    def name(self) -> str:
        """Of its folder, and in the log."""
        return f"{self.variant.name}-{self.params.seed}"

    def stored(self) -> list[dict[str, Any]] | None:
        """Rows of the table that an earlier run stored, or None."""
        path = self._run_folder / RESULT
        if not path.is_file():
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
        return list(content["rows"]) if content["key"] == self._key() else None

    def train(self) -> list[dict[str, Any]]:
        """Train both networks, score them, and store the rows of the table."""
        with _log_to(self._run_folder / LOG):
            rows = self._rows()
        text = json.dumps({"key": self._key(), "rows": rows}, indent=2) + "\n"
        atomic_write(
            self._run_folder / RESULT, lambda path: path.write_text(text, encoding="utf-8")
        )
        return rows

    @property
    def _run_folder(self) -> Path:
        return self.folder / self.name

    def _key(self) -> str:
        return training_key(
            teacher=self.teacher_key,
            data=self.captures.digest,
            student=self.params.student.model_dump(),
            noise=self.params.noise.model_dump(),
            target_source=self.variant.target_source,
            evaluation=self.params.evaluation.model_dump(),
            report_m=self.params.range.report_m,
            widest_px=self.widest_px,
        )

    def _rows(self) -> list[dict[str, Any]]:
        teacher = self._teacher()
        models = {self.variant.name: self._student(teacher)}
        descriptions = {self.variant.name: self.variant.description}
        if self.variant.name == WHOLE:
            models[TEACHER_ROW] = teacher
            descriptions[TEACHER_ROW] = "the teacher, every patch"
        cache, device = self.params.cache, self.params.compute.device
        named = {
            name: capture_predictions(model, self.test, cache, device)
            for name, model in models.items()
        }
        widest = teacher.card.model_copy(update={"patch_px": self.widest_px})
        support = common_support(widest, self.test)
        summary = evaluate(self.test, named, self.params, support).summary["models"]
        return [self._row(name, descriptions[name], scores) for name, scores in summary.items()]

    def _row(self, name: str, description: str, scores: dict[str, Any]) -> dict[str, Any]:
        return {
            "variant": name,
            "seed": self.params.seed,
            "abs_rel": scores["overall"]["abs_rel"],
            "delta1": scores["overall"]["delta1"],
            "corner_abs_rel": scores["by_position"]["corner"]["abs_rel"],
            "strong_abs_rel": scores["by_texture"]["strong"]["abs_rel"],
            "weak_abs_rel": scores["by_texture"]["weak"]["abs_rel"],
            "edge_abs_rel": scores["by_edge"]["near"]["abs_rel"],
            "coverage_80": scores["coverage"]["0.8"],
            "description": description,
        }

    def _teacher(self) -> TrainedModel:
        trust(self.params.teacher.network)
        folder = self._shared(TEACHERS)
        with exclusive_lock(folder):
            if not (folder / CARD).is_file():
                log.info("Training its teacher")
                checkpoints = self._shared(CHECKPOINTS)
                save_model(folder, train_teacher(self.captures, self.params, checkpoints, None))
                remove_checkpoints(checkpoints)
        return load_model(folder)

    def _student(self, teacher: TrainedModel) -> TrainedModel:
        captures, targets = self._targets(teacher)
        charts = training_split(self.captures)  # composited, even if they replace the photos
        log.info("Training the student")
        checkpoints = self._run_folder / CHECKPOINTS
        training = Distillation(captures, teacher, targets, self.params, checkpoints)
        student = training.distil(charts)
        save_model(self._run_folder / "student", student)
        remove_checkpoints(checkpoints)
        return student

    def _targets(self, teacher: TrainedModel) -> tuple[CaptureSet, TeacherPredictions]:
        """The student's training captures and their targets."""
        if self.variant.target_source == "charts":
            charts = charts_as_photos(self.captures)
            return charts, TrueTargets(charts, teacher.card)
        if self.variant.target_source == "truth":
            return self.captures, TrueTargets(self.captures, teacher.card)
        params, folder = self.params, self._shared(CACHES)
        return self.captures, fill_cache(
            teacher, self.captures, params.cache, folder, compute=params.compute
        )

    def _shared(self, kind: str) -> Path:
        """Folder that all variants with the same teacher share."""
        return self.folder / kind / self.teacher_key[:16]


@contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Write output and log to a file: those of trainings side by side would mix on a terminal."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
        logging.basicConfig(stream=file, level=logging.INFO, format=FORMAT, force=True)
        yield


class TrueTargets:
    """Targets from true distances instead of a teacher's predictions.

    Cells of unknown distance get a uniform distribution, whose weight is 0.

    Args:
        captures: Captures with distance maps.
        card: Of the teacher, for grid and bins.
    """

    def __init__(self, captures: CaptureSet, card: Card) -> None:
        self.captures, self.card = captures, card
        self.distribution = DistanceDistribution(card.prediction)
        self.fingerprint = f"truth of {captures.digest}"
        self._index = {name: i for i, name in enumerate(captures.table["capture_id"])}

    def read(self, capture_id: str) -> Tensor:
        """Packed distributions around the truth, `[rows, cols, bytes]` uint8 of one capture."""
        index = self._index[capture_id]
        distance_m = self.captures.distance_map(index)
        height, width = distance_m.shape
        grid = PatchGrid(height, width, self.card.patch_px, self.card.stride_px)
        x, y = (torch.from_numpy(centre).long() for centre in grid.centres_px)
        at = distance_m[y][:, x]
        probs = self.distribution.soft_targets(1 / at.clamp(min=1e-3))
        uniform = torch.full_like(probs, 1 / self.distribution.bins)
        return self.distribution.pack(torch.where(at[..., None] > 0, probs, uniform))


def charts_as_photos(captures: CaptureSet) -> CaptureSet:
    """The set with training charts in place of the unlabelled photos."""
    table = captures.table
    kept = table[~(table["role"].eq("unlabelled") & table["split"].eq("train"))].copy()
    kept.loc[kept["role"].eq("chart") & kept["split"].eq("train"), "role"] = "unlabelled"
    return replace(captures, table=kept.reset_index(drop=True))
