"""One training of the ablation: a variant of the method with one seed, trained and scored."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rangefinder.cache.fill import fill_cache
from rangefinder.captures.manifest import CaptureSet
from rangefinder.config import Parameters
from rangefinder.deploy.answers import answers, support
from rangefinder.evaluation.score import evaluate
from rangefinder.files import write_whole
from rangefinder.lock import only_one
from rangefinder.models.io import CARD, TrainedModel, load_model, save_model
from rangefinder.training.fit import Targets, distil_student, train_teacher
from rangefinder.training.run import training_key
from rangefinder.training.sources import taught
from rangefinder.training.truth import Truth, charts_as_photos
from rangefinder.training.variants import Variant

RESULT, LOG = "result.json", "log.txt"
FORMAT = "%(asctime)s  %(message)s"
CACHES, TEACHERS, CHECKPOINTS = "caches", "teachers", "checkpoints"
TEACHER_ROW = "teacher"  # the teacher of the whole method, scored like a variant
log = logging.getLogger(__name__)


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

    @property
    def name(self) -> str:
        """Of its folder, and for people."""
        return f"{self.variant.name}-{self.params.seed}"

    def found(self) -> list[dict[str, Any]] | None:
        """Rows of the table that an earlier run left, or None."""
        path = self._home / RESULT
        if not path.is_file():
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
        return list(content["rows"]) if content["key"] == self._key() else None

    def train(self) -> list[dict[str, Any]]:
        """Rows of the table, once both networks are trained."""
        with _told_in(self._home / LOG):
            rows = self._rows()
        text = json.dumps({"key": self._key(), "rows": rows}, indent=2) + "\n"
        path = self._home / RESULT
        write_whole(path, lambda place: place.write_text(text, encoding="utf-8"))
        return rows

    @property
    def _home(self) -> Path:
        return self.folder / self.name

    def _key(self) -> str:
        return training_key(
            teacher=self.teacher_key,
            data=[self.captures.digest, self.labels],
            student=self.params.student.model_dump(),
            noise=self.params.noise.model_dump(),
            lesson=self.variant.lesson,
            evaluation=self.params.evaluation.model_dump(),
            report_m=self.params.range.report_m,
            widest_px=self.widest_px,
        )

    def _rows(self) -> list[dict[str, Any]]:
        teacher = self._teacher()
        student = self._student(teacher)
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
        home = self._of_teacher(TEACHERS)
        with only_one(home):
            if not (home / CARD).is_file():
                log.info("Training its teacher")
                checkpoints = self._of_teacher(CHECKPOINTS)
                save_model(home, train_teacher(self.captures, self.params, checkpoints, None))
        return load_model(home)

    def _student(self, teacher: TrainedModel) -> TrainedModel:
        captures, targets = self._lesson(teacher)
        charts = taught(self.captures)  # even if they take the photos' place
        log.info("Training the student")
        checkpoints = self._home / CHECKPOINTS
        student = distil_student(captures, teacher, targets, self.params, checkpoints, None, charts)
        save_model(self._home / "student", student)
        return student

    def _lesson(self, teacher: TrainedModel) -> tuple[CaptureSet, Targets]:
        """What the student sees, and what it is to say of it."""
        if self.variant.lesson == "charts":
            charts = charts_as_photos(self.captures)
            return charts, Truth(charts, teacher.card)
        if self.variant.lesson == "truth":
            return self.captures, Truth(self.captures, teacher.card)
        params, place = self.params, self._of_teacher(CACHES)
        return self.captures, fill_cache(
            teacher, self.captures, params.cache, place, compute=params.compute
        )

    def _of_teacher(self, kind: str) -> Path:
        return self.folder / kind / self.teacher_key[:16]


@contextmanager
def _told_in(path: Path) -> Iterator[None]:
    """Let a file have what is said meanwhile: trainings side by side would garble a terminal."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
        logging.basicConfig(stream=file, level=logging.INFO, format=FORMAT, force=True)
        yield
