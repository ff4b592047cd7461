"""What a run of pipelines leaves in MLflow: inputs, models when they are trained, scores later.

A thing has one fingerprint, under one name: `camera`, `captures`, `teacher`, `cache`, `student` are
tags of runs and of registered versions; cards and the cache's key hold the same numbers.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rangefinder.evaluation.headline import beats_constant
from rangefinder.tracking.mlflow_run import Dataset
from rangefinder.tracking.runs import TrackedRun

if TYPE_CHECKING:
    from rangefinder.cache.store import TeacherCache
    from rangefinder.captures.manifest import CaptureSet
    from rangefinder.models.model_files import TrainedModel
    from rangefinder.tracking.registry import Version

log = logging.getLogger(__name__)
ALL_BUT = "delta1, in80 (share of pixels within the 80 % interval) and ause"
MANIFEST_FILE = "captures.csv"
IN_NAME = ("student", "teacher")  # whose AbsRel a run is named by


@dataclass
class Recorder:
    """Records one run.

    Attributes:
        run: The open run.
        origin: Tags of commit, DVC and environment, which registered versions get too.
        is_whole: Whether pipelines run from their beginning to their end. What a part of one made
            gets no alias.
    """

    run: TrackedRun
    origin: Mapping[str, str]
    is_whole: bool
    _names: dict[str, str] = field(default_factory=dict)  # of registered models, by kind
    _fingerprints: dict[str, str] = field(default_factory=dict)  # by what has it

    def captures(self, captures: CaptureSet, source: str) -> None:
        """Record the captures that the run makes or takes, which lie at `source`."""
        if self._is_new("captures", captures.digest):
            self._is_new("camera", captures.camera.fingerprint)
            self.run.log_dataset(dataset(captures, source, "all"))
            self.run.log_text(MANIFEST_FILE, captures.listing)

    def cache(self, cache: TeacherCache) -> None:
        """Record the teacher cache that the run fills or takes."""
        self._is_new("cache", cache.fingerprint)

    def model(self, model: TrainedModel, name: str) -> None:
        """Record a model that the run takes."""
        self._names[model.card.kind] = name
        self._is_new(model.card.kind, model.fingerprint)

    def trained(self, model: TrainedModel, name: str) -> Version | None:
        """Register a model that the run has made, at once: its scores may never come.

        Returns:
            The version; None if MLflow has failed, and it is registered later.
        """
        from rangefinder.models.model_files import save_model  # torch: not in every run

        self.model(model, name)
        above = ("captures", "teacher", "cache") if model.card.kind == "student" else ("captures",)
        made_from = {key: self._fingerprints[key] for key in above if key in self._fingerprints}
        tags = {**self.origin, **made_from, "captures.training": model.card.dataset}
        with tempfile.TemporaryDirectory() as folder:
            files = Path(folder) / model.card.kind
            save_model(files, model)
            version = self.run.register(files, name, tags)
        if version is not None:
            log.info("Registered %s, not evaluated yet", version)
        return version

    def scores(self, summary: Mapping[str, Any], source: str) -> None:
        """Attach scores to the registered models that they are of.

        A model that beats the best constant becomes candidate, if the run is no part of a pipeline.

        Args:
            summary: Content of evaluation.json.
            source: Where the captures lie.
        """
        self.run.log_metrics(summary["models"])
        test = Dataset.scored(summary, source)
        self.run.log_dataset(test)
        for kind, name in self._names.items():
            scores, fingerprint = summary["models"][kind], self._fingerprints[kind]
            against = "" if beats_constant(summary, kind) else "the best constant is better"
            if not self.is_whole:
                against = "the run is a part of a pipeline"
            self.run.attach_scores(name, fingerprint, scores, test, against)

    def headline(self, numbers: Mapping[str, float], params: Mapping[str, Any]) -> None:
        """Record the numbers that sum the run up, here and in the run of the `dvc` command.

        Args:
            numbers: Content of metrics.json.
            params: Parameters that the run of the `dvc` command shows.
        """
        result = ", ".join(f"{k} {numbers[k]:.3f}" for k in IN_NAME if k in numbers)
        self.run.sum_up(result, numbers, _table(numbers), params)

    def page(self, path: Path) -> None:
        """Keep a page with the run, and with that of the `dvc` command."""
        self.run.log_files(path, to_parent=True)

    def node(self, name: str, seconds: float, peak_bytes: int | None) -> None:
        """Record how long a node took, and the most memory its process held meanwhile."""
        used = {"seconds": seconds} | ({"peak_mb": peak_bytes / 2**20} if peak_bytes else {})
        self.run.log_metrics({"nodes": {name: used}})

    def _is_new(self, key: str, fingerprint: str) -> bool:
        if self._fingerprints.get(key) == fingerprint:
            return False
        self._fingerprints[key] = fingerprint
        self.run.set_tags({key: fingerprint})
        return True


def _table(numbers: Mapping[str, float]) -> str:
    """Numbers as a table in Markdown, and where their meaning is written down."""
    names, dashes, values = (
        f"| {' | '.join(cells)} |"
        for cells in (numbers, ["---"] * len(numbers), (f"{n:.3f}" for n in numbers.values()))
    )
    words = f"AbsRel, but for {ALL_BUT}. All results: artifact report.html."
    return f"{names}\n{dashes}\n{values}\n\n{words}"


def dataset(captures: CaptureSet, source: str, context: str) -> Dataset:
    """Captures as an input of a run, with their numbers by split and role."""
    uses = captures.table["split"] + " " + captures.table["role"]
    profile = {str(use): int(number) for use, number in uses.value_counts().items()}
    return Dataset("captures", captures.digest, source, context, profile)
