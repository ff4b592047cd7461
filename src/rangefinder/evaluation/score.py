"""Scoring of models on held-out captures: the entry point of the evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from rangefinder.config import Parameters
from rangefinder.errors import CaptureError
from rangefinder.evaluation.joint import DistanceJoint
from rangefinder.evaluation.metrics import (
    SUMS,
    Double,
    Model,
    Ranging,
    check_answers,
    check_ranging,
    pixel_sums,
    relative_error,
    score_array,
)
from rangefinder.evaluation.regions import Regions, ScoredPixels, Support
from rangefinder.evaluation.sparsification import Sparsification, SparsificationCurve
from rangefinder.evaluation.summary import Dataset, summarise

if TYPE_CHECKING:
    from rangefinder.captures.manifest import CaptureSet


@dataclass(frozen=True)
class Curves:
    """What the figures of one model are drawn from."""

    sparsification: SparsificationCurve
    joint: DistanceJoint


@dataclass(frozen=True)
class Evaluation:
    """Scores of all models on the same pixels.

    Attributes:
        summary: The content of evaluation.json.
        per_image: One row per capture and model: capture_id, scene, model, pixels and scores.
        curves: Per model, for the figures.
        sums: Per model `[captures, texture, position, edge, distance, frame, len(SUMS)]`.
        regions: What the cells of the sums are.
    """

    summary: dict[str, Any]
    per_image: pd.DataFrame
    curves: Mapping[str, Curves]
    sums: Mapping[str, Double]
    regions: Regions


class _Tally:
    """What is kept of one model while captures stream by."""

    def __init__(self, captures: int, cell_shape: tuple[int, ...], params: Parameters) -> None:
        self.sums: Double = np.zeros((captures, *cell_shape, len(SUMS)))
        self.sparsification = Sparsification()
        self.joint = DistanceJoint(params.range.working_m)

    def add(self, index: int, scored: ScoredPixels, ranging: Ranging, owner: str) -> None:
        inside = scored.flat[scored.inside]
        check_ranging(ranging, scored.shape, owner)
        check_answers(ranging, inside, owner)
        shape = self.sums.shape[1:]
        cells = int(np.prod(shape[:-1]))
        sums = pixel_sums(scored.truth_m, ranging, scored.flat, scored.cell, cells)
        self.sums[index] = sums.reshape(shape)
        truth, distance = scored.truth_m[scored.inside], ranging.distance_m.ravel()[inside]
        self.sparsification.add(
            relative_error(truth, distance), ranging.relative_sd.ravel()[inside]
        )
        self.joint.add(truth, distance)

    def curves(self) -> Curves:
        return Curves(self.sparsification.curve(), self.joint)


def evaluate(
    captures: CaptureSet, models: Mapping[str, Model], params: Parameters, support: Support
) -> Evaluation:
    """Score models on identical pixels of held-out captures.

    Args:
        captures: Captures with distance maps.
        models: Name to a function from a capture's index to the model's `Ranging`. The order is
            kept; each model is compared with those before it.
        params: All parameters; `range.report_m`, `evaluation` and `seed` are used.
        support: Pixels that every model covers: (left, top, right, bottom) [px] with right and
            bottom exclusive, a mask `[H, W]`, or a function from a capture's index to either.

    Returns:
        The scores.

    Raises:
        CaptureError: If no pixel can be scored.
        ModelError: If a model lacks an answer for a pixel of the support.
    """
    regions = Regions.over(captures, params, support)
    count = len(captures)
    tallies = {name: _Tally(count, regions.cell_shape, params) for name in models}
    for index in tqdm(range(count), desc="evaluation", unit="capture", disable=None):
        scored = regions.of(captures, index)
        identity = captures.table["capture_id"].iloc[index]
        for name, model in models.items():
            tallies[name].add(index, scored, model(index), f"model {name!r} on capture {identity}")
    sums = {name: tally.sums for name, tally in tallies.items()}
    _require_pixels(sums)
    curves = {name: tally.curves() for name, tally in tallies.items()}
    summary = summarise(
        Dataset(captures.digest, [str(scene) for scene in captures.table["scene"]]),
        sums,
        {name: curve.sparsification for name, curve in curves.items()},
        regions,
        params,
    )
    return Evaluation(summary, _per_image(captures, sums), curves, sums, regions)


def _require_pixels(sums: Mapping[str, Double]) -> None:
    if not any(table[..., 0, 0].sum() > 0 for table in sums.values()):
        raise CaptureError(
            "there is nothing to score",
            expected="at least one model, and one pixel of known distance within range.report_m",
            todo="Check the evaluation captures, range.report_m and the size of the patch.",
        )


def _per_image(captures: CaptureSet, sums: Mapping[str, Double]) -> pd.DataFrame:
    tables = []
    for name, table in sums.items():
        pooled = table[..., 0, :].sum(axis=(1, 2, 3, 4))
        frame = pd.DataFrame(score_array(pooled), columns=list(SUMS[1:]))
        frame.insert(0, "pixels", pooled[:, 0].astype(np.int64))
        frame.insert(0, "model", name)
        frame.insert(0, "scene", captures.table["scene"].to_numpy())
        frame.insert(0, "capture_id", captures.table["capture_id"].to_numpy())
        tables.append(frame)
    joined = pd.concat(tables).reset_index(names="order")
    return joined.sort_values("order", kind="stable").drop(columns="order").reset_index(drop=True)
