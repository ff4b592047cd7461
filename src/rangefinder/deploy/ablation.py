"""The ablation: every variant of the method trained and scored on the same held-out pixels.

What is finished is kept beside its key, so a run that was stopped, or one that asks for more
variants or seeds, goes on where it can. Variants with the same teacher share it.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from rangefinder.cache.fill import fill_cache
from rangefinder.captures.manifest import CaptureSet
from rangefinder.config import Parameters
from rangefinder.deploy.answers import answers, support
from rangefinder.evaluation.held_out import held_out
from rangefinder.evaluation.score import evaluate
from rangefinder.files import write_whole
from rangefinder.models.io import TrainedModel, load_model, save_model
from rangefinder.models.own import build_teacher
from rangefinder.training.fit import (
    Targets,
    distil_student,
    label_digest,
    teacher_key,
    train_teacher,
)
from rangefinder.training.run import training_key
from rangefinder.training.truth import Truth, charts_as_photos
from rangefinder.training.variants import Variant, variants_of

RESULT, CACHE = "result.json", "cache"
TEACHER_ROW = "teacher"  # the teacher of the whole method, scored like a variant
log = logging.getLogger(__name__)


def ablate(captures: CaptureSet, params: Parameters, folder: Path) -> pd.DataFrame:
    """Train and score every variant with every seed; shows progress on a terminal.

    Args:
        captures: All captures.
        params: The whole method, and `ablation`.
        folder: Where finished variants and work in progress are kept.

    Returns:
        One row per variant and seed: `variant`, `seed`, `says`, and scores on the test captures.
    """
    trials = list(_trials(captures, params, folder))
    rows: list[dict[str, Any]] = []
    for trial in tqdm(trials, desc="ablation", unit="training", disable=None):
        log.info("Variant %s, seed %d", trial.variant.name, trial.params.seed)
        rows += trial.result()
    shutil.rmtree(folder / CACHE, ignore_errors=True)
    return pd.DataFrame(rows)


def _trials(captures: CaptureSet, params: Parameters, folder: Path) -> Iterator[Trial]:
    """Every variant with every seed; those with the same teacher follow each other."""
    test, _ = held_out(captures)
    every = [
        (variant, variant.params(params, seed))
        for seed in params.ablation.seeds
        for variant in variants_of(params).values()
    ]
    widest = max(
        build_teacher(changed.teacher, changed.prediction.bins).patch_px for _, changed in every
    )
    labels = label_digest(captures)
    found = [(teacher_key(captures, changed), variant, changed) for variant, changed in every]
    for key, variant, changed in sorted(found, key=lambda one: one[0]):
        yield Trial(variant, changed, captures, test, folder, widest, key, labels)


@dataclass(frozen=True)
class Trial:
    """One variant with one seed.

    Attributes:
        variant: What is different.
        params: With that difference.
        captures: All captures.
        test: Those that are scored.
        folder: Of the whole ablation.
        widest_px: The largest patch among all variants, which decides the pixels scored.
        teacher_key: Hash of everything its teacher depends on.
        labels: Hash of all distances that are known.
    """

    variant: Variant
    params: Parameters
    captures: CaptureSet
    test: CaptureSet
    folder: Path
    widest_px: int
    teacher_key: str
    labels: str

    def result(self) -> list[dict[str, Any]]:
        """Rows of the table, trained for unless they are there."""
        path = self.folder / f"{self.variant.name}-{self.params.seed}" / RESULT
        key = self._key()
        if path.is_file():
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["key"] == key:
                return list(found["rows"])
        shutil.rmtree(path.parent, ignore_errors=True)
        rows = self._rows(path.parent)
        text = json.dumps({"key": key, "rows": rows}, indent=2) + "\n"
        write_whole(path, lambda place: place.write_text(text, encoding="utf-8"))
        return rows

    def _key(self) -> str:
        return training_key(
            teacher=self.teacher_key,
            data=[self.captures.digest, self.labels],
            student=self.params.student.model_dump(),
            lesson=self.variant.lesson,
            evaluation=self.params.evaluation.model_dump(),
            report_m=self.params.range.report_m,
            widest_px=self.widest_px,
        )

    def _rows(self, folder: Path) -> list[dict[str, Any]]:
        teacher = self._teacher()
        student = self._student(teacher, folder)
        models = {self.variant.name: student}
        if self.variant.name == "all":
            models[TEACHER_ROW] = teacher
        named = {
            name: answers(model, self.test, self.params.cache) for name, model in models.items()
        }
        pixels = support(teacher.card.model_copy(update={"patch_px": self.widest_px}), self.test)
        summary = evaluate(self.test, named, self.params, pixels).summary["models"]
        says = {self.variant.name: self.variant.says, TEACHER_ROW: "the teacher, every patch"}
        return [self._row(name, says[name], scores) for name, scores in summary.items()]

    def _row(self, name: str, says: str, scores: dict[str, Any]) -> dict[str, Any]:
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
            "says": says,
        }

    def _teacher(self) -> TrainedModel:
        home = self.folder / "teachers" / self.teacher_key[:16]
        if not home.is_dir():
            log.info("Its teacher")
            checkpoints = self.folder / "checkpoints"
            teacher = train_teacher(self.captures, self.params, checkpoints, None)
            save_model(home, teacher)
        return load_model(home)

    def _student(self, teacher: TrainedModel, folder: Path) -> TrainedModel:
        captures, targets = self._lesson(teacher)
        student = distil_student(
            captures, teacher, targets, self.params, folder / "checkpoints", None
        )
        save_model(folder / "student", student)
        return student

    def _lesson(self, teacher: TrainedModel) -> tuple[CaptureSet, Targets]:
        """What the student sees, and what it is to say of it."""
        if self.variant.lesson == "charts":
            charts = charts_as_photos(self.captures)
            return charts, Truth(charts, teacher.card)
        if self.variant.lesson == "truth":
            return self.captures, Truth(self.captures, teacher.card)
        params, place = self.params, self.folder / CACHE
        return self.captures, fill_cache(
            teacher, self.captures, params.cache, place, compute=params.compute
        )
