"""Scoring of models on held-out captures: the entry point of the evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from rangefinder.captures.manifest import CaptureSet
from rangefinder.config import Interval, Parameters
from rangefinder.errors import CaptureError
from rangefinder.evaluation.curves import (
    DistanceHistogram,
    SensorErrors,
    Sparsification,
    SparsificationCurve,
)
from rangefinder.evaluation.metrics import (
    SUMS,
    Double,
    Model,
    check_prediction,
    check_values,
    pixel_sums,
    relative_error,
    relative_sd,
    score_array,
)
from rangefinder.evaluation.regions import Regions, ScoredPixels, Support, sensor_grid
from rangefinder.evaluation.sides import SideSums
from rangefinder.evaluation.summary import ModelSums, source_rows, summarise
from rangefinder.evaluation.two_distances import TwoDistanceSums
from rangefinder.models.prediction import Float, Prediction

CHARTS_ONLY = (
    "Scored on held-out charts, since no labelled capture is held out. Flat sheets at one distance "
    "each cannot show errors at occlusion boundaries, on weakly textured or slanted surfaces, or "
    "what context adds: expect larger errors in photos of rooms."
)


def held_out(captures: CaptureSet) -> tuple[CaptureSet, dict[str, str]]:
    """Labelled test captures, or else test charts and an entry `limits` for the summary.

    Raises:
        CaptureError: If there is neither.
    """
    labelled = captures.select(role="labelled", split="test")
    if len(labelled):
        return labelled, {}
    charts = captures.select(role="chart", split="test")
    if len(charts):
        return charts, {"limits": CHARTS_ONLY}
    raise CaptureError(
        "there is nothing to score on",
        expected="labelled captures or charts of the test split",
        todo="Bring captures of more scenes or chart sheets, or name splits in the table.",
    )


@dataclass(frozen=True)
class Curves:
    """Data of one model's figures."""

    sparsification: SparsificationCurve
    histogram: DistanceHistogram


@dataclass(frozen=True)
class Evaluation:
    """Scores of all models on the same pixels.

    Attributes:
        per_image: One row per capture and model: capture_id, scene, source, model, pixels, scores.
        sums: Per model `[captures, texture, position, edge, distance, frame, len(SUMS)]`.
        sides: Per model, by the defocus sign.
        source_curves: Per source and model; empty where all captures are of one source.
        sensor: Per model, errors by field position.
    """

    summary: dict[str, Any]  # the content of evaluation.json
    per_image: pd.DataFrame
    curves: Mapping[str, Curves]  # per model, for the figures
    sums: Mapping[str, Double]
    sides: Mapping[str, SideSums]
    source_curves: Mapping[str, Mapping[str, Curves]]
    sensor: Mapping[str, SensorErrors]
    regions: Regions  # the meaning of the sums' cells


class _CurveTally:
    """Running data of one model's curves."""

    def __init__(self, range_m: Interval) -> None:
        self._sparsification = Sparsification()
        self._histogram = DistanceHistogram(range_m)

    def add(self, truth_m: Float, distance_m: Float, error: Float, sd: Float) -> None:
        """Add pixels `[N]`: true and predicted distance [m], relative error, relative sd."""
        self._sparsification.add(error, sd)
        self._histogram.add(truth_m, distance_m)

    def curves(self) -> Curves:
        """Of all pixels added so far."""
        return Curves(self._sparsification.curve(), self._histogram)


class _Tally:
    """Running totals of one model, capture by capture."""

    def __init__(self, captures: CaptureSet, regions: Regions) -> None:
        self._sources = captures.sources
        range_m = regions.params.range.working_m
        self.sums: Double = np.zeros((len(self._sources), *regions.cell_shape, len(SUMS)))
        self.sides = SideSums.empty(len(self._sources))
        self.two_distances = TwoDistanceSums.empty(len(self._sources))
        self.sensor = SensorErrors(sensor_grid(captures.camera))
        self.pooled = _CurveTally(range_m)
        self.by_source = {source: _CurveTally(range_m) for source in source_rows(self._sources)}

    def add(self, index: int, scored: ScoredPixels, prediction: Prediction, owner: str) -> None:
        inside = scored.flat[scored.inside]
        check_prediction(prediction, scored.shape, owner)
        check_values(prediction, inside, owner)
        shape = self.sums.shape[1:]
        cells = int(np.prod(shape[:-1]))
        sums = pixel_sums(scored.truth_m, prediction, scored.flat, scored.cell, cells)
        self.sums[index] = sums.reshape(shape)
        truth_m, distance_m = scored.truth_m[scored.inside], prediction.distance_m.ravel()[inside]
        error = relative_error(truth_m, distance_m)
        pixels = truth_m, distance_m, error, relative_sd(prediction).ravel()[inside]
        self.pooled.add(*pixels)
        if self.by_source:
            self.by_source[self._sources[index]].add(*pixels)
        self.sensor.add(scored.sensor_cell[scored.inside], error)
        self.sides.add(index, scored, prediction)
        self.two_distances.add(index, scored, prediction)


def evaluate(
    captures: CaptureSet, models: Mapping[str, Model], params: Parameters, support: Support
) -> Evaluation:
    """Score models on identical pixels of held-out captures.

    Args:
        captures: Captures with distance maps.
        models: Name to a function from a capture's index to the model's prediction, in order; each
            model is compared with those before it.
        params: All parameters; `range.report_m`, `evaluation` and `seed` are used.
        support: Pixels that every model covers: (left, top, right, bottom) [px] with right and
            bottom exclusive, a mask `[H, W]`, or a function from a capture's index to either.

    Raises:
        CaptureError: If no pixel can be scored.
        ModelError: If a model lacks a prediction for a pixel of the support.
    """
    regions = Regions.over(captures, params, support)
    tallies = {name: _Tally(captures, regions) for name in models}
    for index in tqdm(range(len(captures)), desc="evaluation", unit="capture", disable=None):
        scored = regions.of(captures, index)
        identity = captures.table["capture_id"].iloc[index]
        for name, model in models.items():
            tallies[name].add(index, scored, model(index), f"model {name!r} on capture {identity}")
    sums = {name: tally.sums for name, tally in tallies.items()}
    if not any(table[..., 0, 0].sum() > 0 for table in sums.values()):
        raise CaptureError(
            "there is nothing to score",
            expected="at least one model, and one pixel of known distance within range.report_m",
            todo="Check the evaluation captures, range.report_m and the size of the patch.",
        )
    sides = {name: tally.sides for name, tally in tallies.items()}
    curves = {name: tally.pooled.curves() for name, tally in tallies.items()}
    source_curves = {
        source: {name: tally.by_source[source].curves() for name, tally in tallies.items()}
        for source in source_rows(captures.sources)
    }
    data = {
        name: ModelSums(
            sums[name],
            sides[name],
            tallies[name].two_distances,
            curves[name].sparsification,
            {source: each[name].sparsification for source, each in source_curves.items()},
        )
        for name in models
    }
    summary = summarise(captures, data, regions, params)
    per_image = _per_image(captures, sums)
    sensor = {name: tally.sensor for name, tally in tallies.items()}
    return Evaluation(summary, per_image, curves, sums, sides, source_curves, sensor, regions)


def _per_image(captures: CaptureSet, sums: Mapping[str, Double]) -> pd.DataFrame:
    tables = []
    for name, table in sums.items():
        pooled = table[..., 0, :].sum(axis=(1, 2, 3, 4))
        frame = captures.table[["capture_id", "scene"]].reset_index(drop=True)
        frame["source"] = captures.sources
        columns = dict(zip(SUMS[1:], score_array(pooled).T, strict=True))
        tables.append(frame.assign(model=name, pixels=pooled[:, 0].astype(np.int64), **columns))
    return pd.concat(tables).sort_index(kind="stable").reset_index(drop=True)
