"""From pixel sums to evaluation.json: pooled scores, bootstrap intervals, CRLB ratios."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rangefinder.captures.manifest import SOURCES, CaptureSet
from rangefinder.config import Parameters
from rangefinder.evaluation.curves import SparsificationCurve
from rangefinder.evaluation.metrics import (
    SCORES,
    SUMS,
    Double,
    coverage,
    json_number,
    score_array,
    scores,
)
from rangefinder.evaluation.regions import (
    DISTANCE,
    EDGE,
    EDGES,
    POSITION,
    POSITIONS,
    TEXTURE,
    TEXTURES,
    Regions,
)
from rangefinder.evaluation.sides import SideSums
from rangefinder.evaluation.two_distances import TwoDistanceSums

MEAN_OVER_SD = math.sqrt(2.0 / math.pi)  # mean absolute over standard deviation, normal errors
_CONFIDENCE = 0.95

Bounds = list[float | None]


@dataclass(frozen=True)
class ModelSums:
    """What the scores of one model are computed from.

    Attributes:
        table: `[captures, texture, position, edge, distance, frame, len(SUMS)]`.
        sides: By the defocus sign.
        two_distances: Of the intervals given, and of the one.
        curve: Sparsification.
        source_curves: Sparsification of each source, where there is more than one.
    """

    table: Double
    sides: SideSums
    two_distances: TwoDistanceSums
    curve: SparsificationCurve
    source_curves: Mapping[str, SparsificationCurve]

    @property
    def pooled(self) -> Double:
        """`[captures, len(SUMS)]` within the support."""
        return np.asarray(self.table[..., 0, :].sum(axis=(1, 2, 3, 4)))

    def of(self, source: str, captures: NDArray[np.intp]) -> ModelSums:
        """The same of the captures of one source."""
        curve = self.source_curves[source]
        both = self.two_distances.of(captures)
        return ModelSums(self.table[captures], self.sides.of(captures), both, curve, {})


def source_rows(sources: Sequence[str]) -> dict[str, NDArray[np.intp]]:
    """Indices of the captures of each source; empty where all are of one."""
    found = [name for name in SOURCES if name in sources]
    if len(found) < 2:
        return {}
    return {name: np.flatnonzero(np.asarray(sources) == name) for name in found}


def summarise(
    captures: CaptureSet, models: Mapping[str, ModelSums], regions: Regions, params: Parameters
) -> dict[str, Any]:
    """Content of evaluation.json.

    Args:
        captures: The scored captures.
        models: Sums and curves of each model.
        regions: The meaning of the cells.
        params: All parameters.

    Returns:
        `dataset` and `models`, which are a contract; `comparisons` (paired ratios) and `protocol`
        (what was counted). A score is null only where there are no pixels, `defocus_sign` where a
        model does not predict it.
    """
    scenes = np.asarray([str(scene) for scene in captures.table["scene"]])
    by_source = source_rows(captures.sources)

    def bootstrap_over(rows: NDArray[np.intp]) -> SceneBootstrap:
        return SceneBootstrap.over(scenes[rows].tolist(), params.evaluation.bootstrap, params.seed)

    bootstrap = bootstrap_over(np.arange(len(scenes)))
    pooled = {name: data.pooled for name, data in models.items()}
    summaries = {}
    for name, data in models.items():
        summaries[name] = _model_summary(data, bootstrap, regions)
        summaries[name]["real_scenes"] = {
            scene: scores(pooled[name][scenes == scene].sum(axis=0))
            for scene in params.captures.real_scenes
        }
        summaries[name]["by_source"] = {
            source: _model_summary(data.of(source, rows), bootstrap_over(rows), regions)
            for source, rows in by_source.items()
        }
    return {
        "dataset": {"digest": captures.digest, "captures": len(scenes)},
        "models": summaries,
        "comparisons": {
            f"{later}/{earlier}": score_ratios(bootstrap, pooled[later], pooled[earlier])
            for earlier, later in combinations(models, 2)
        },
        "protocol": _protocol(captures, next(iter(models.values())), regions, params),
    }


def _model_summary(data: ModelSums, bootstrap: SceneBootstrap, regions: Regions) -> dict[str, Any]:
    inside = data.table[..., 0, :].sum(axis=0)
    overall = inside.sum(axis=(0, 1, 2, 3))
    whole = data.table.sum(axis=(0, 1, 2, 3, 4, 5))
    curve = data.curve
    groups = {
        group: {name: scores(part) for name, part in parts.items()}
        for group, parts in _region_sums(inside, regions).items()
    }
    pooled = scores(overall)
    mean = pooled["abs_rel"]
    return {
        "overall": pooled,
        **groups,
        "by_side": data.sides.by_side(),
        "defocus_sign": data.sides.defocus_sign(),
        "coverage": coverage(overall),
        "two_distances": data.two_distances.scores(),
        "ause": json_number(curve.ause),
        "ause_relative": json_number(curve.ause / mean) if mean else None,
        "selective_risk_50": json_number(curve.selective_risk_50),
        "full_frame": scores(whole) if np.isfinite(whole).all() else None,
        "ci95": score_bounds(bootstrap, data.pooled),
    }


def _region_sums(inside: Double, regions: Regions) -> dict[str, dict[str, Double]]:
    """Sums of each region, from `[texture, position, edge, distance, len(SUMS)]`."""
    named = {
        "by_texture": (TEXTURE, TEXTURES),
        "by_position": (POSITION, POSITIONS),
        "by_edge": (EDGE, EDGES),
        "by_distance_m": (DISTANCE, regions.distance_names),
    }
    return {
        group: {
            name: np.take(inside, place, axis=axis).sum(axis=(0, 1, 2))
            for place, name in enumerate(names)
        }
        for group, (axis, names) in named.items()
    }


def _protocol(
    captures: CaptureSet, data: ModelSums, regions: Regions, params: Parameters
) -> dict[str, Any]:
    sources, scenes = np.asarray(captures.sources), captures.table["scene"].astype(str)
    rows = {name: np.flatnonzero(sources == name) for name in SOURCES}
    return {
        "report_m": list(params.range.report_m),
        "focus_m": captures.camera.focus_distance_m,
        "scenes": scenes.nunique(),
        "strong_texture_energy": json_number(regions.strong_texture),
        "ause_unit": "AbsRel",
        "pixels": _pixels(data.table, data.sides, regions),
        "sources": {
            name: {
                "captures": len(own),
                "scenes": scenes.iloc[own].nunique(),
                "pixels": _pixels(data.table[own], data.sides.of(own), regions),
            }
            for name, own in rows.items()
            if len(own)
        },
    }


def _pixels(table: Double, sides: SideSums, regions: Regions) -> dict[str, Any]:
    """Number of scored pixels, overall and in each region."""
    inside = table[..., 0, :].sum(axis=0)
    groups = {
        group: {name: int(part[0]) for name, part in parts.items()}
        for group, parts in _region_sums(inside, regions).items()
    }
    return {"overall": int(inside[..., 0].sum()), **groups, "by_side": sides.pixels()}


@dataclass(frozen=True)
class SceneBootstrap:
    """Bootstrap over scenes; the same resamples for every model, so that ratios are paired."""

    weights: Double  # `[B, scenes]` how often each scene is in each resample
    scene_of: NDArray[np.intp]  # `[captures]` index of each capture's scene

    @classmethod
    def over(cls, scenes: Sequence[str], resamples: int, seed: int) -> SceneBootstrap:
        """Draw resamples of the scenes of all captures, whose names are `scenes`."""
        names, scene_of = np.unique(np.asarray(scenes), return_inverse=True)
        generator = np.random.default_rng(seed)
        shares = np.full(len(names), 1.0 / len(names))
        weights = generator.multinomial(len(names), shares, size=resamples)
        return cls(weights.astype(np.float64), scene_of)

    def resampled(self, capture_sums: Double) -> Double:
        """Scores of each resample, `[B, len(SUMS) - 1]`, from sums `[captures, len(SUMS)]`."""
        scenes = self.weights.shape[1]
        per_scene = np.zeros((scenes, capture_sums.shape[-1]))
        np.add.at(per_scene, self.scene_of, capture_sums)
        return score_array(self.weights @ per_scene)

    def bounds(self, resampled: Double) -> Bounds:
        """Low and high end of the 95 % percentile interval of `[B]` values; None for one scene."""
        values = resampled[np.isfinite(resampled)]
        if self.weights.shape[1] < 2 or not len(values):
            return [None, None]
        tail = (1.0 - _CONFIDENCE) / 2
        return [json_number(end) for end in np.quantile(values, (tail, 1.0 - tail))]


def score_bounds(bootstrap: SceneBootstrap, capture_sums: Double) -> dict[str, Bounds]:
    """95 % interval [low, high] of every score, by name, from sums `[captures, len(SUMS)]`."""
    resampled = bootstrap.resampled(capture_sums)
    return {name: bootstrap.bounds(resampled[:, i]) for i, name in enumerate(SUMS[1:])}


def score_ratios(
    bootstrap: SceneBootstrap, capture_sums: Double, reference_sums: Double
) -> dict[str, dict[str, float | None]]:
    """Paired ratio of a model's scores to a reference's, and the ends of its 95 % interval.

    Args:
        bootstrap: The resamples.
        capture_sums: `[captures, len(SUMS)]` of the model.
        reference_sums: The same of the reference.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = score_array(capture_sums.sum(0)) / score_array(reference_sums.sum(0))
        spread = bootstrap.resampled(capture_sums) / bootstrap.resampled(reference_sums)
    ratios = {}
    for i, name in enumerate(SCORES):
        low, high = bootstrap.bounds(spread[:, i])
        ratios[name] = {"ratio": json_number(ratio[i]), "low": low, "high": high}
    return ratios


def crlb_ratio(
    sums: Mapping[str, Double], regions: Regions, distances_m: Double, sd_m: Double
) -> dict[str, Any]:
    """Cramer-Rao lower bound ratio: mean absolute error over that at the bound, per distance bin.

    Only strongly textured pixels count. A ratio below 1 is possible: the bound is that of unbiased
    estimates from one patch, and models use a prior over distances and more than a patch.

    Args:
        sums: Per model `[captures, texture, position, edge, distance, frame, len(SUMS)]`.
        regions: The meaning of the cells.
        distances_m: `[D]` distances of the bound [m].
        sd_m: `[D]` the Cramer-Rao lower bound of the standard deviation [m].

    Returns:
        `bound_m` (mean absolute error [m] at the bound) per bin, and `models`: name -> bin ->
        ratio; None where there are no pixels or no bound.
    """
    bounds = [
        MEAN_OVER_SD * value
        for value in bin_means(distances_m, sd_m, regions.params.evaluation.distance_edges_m)
    ]
    names = regions.distance_names
    return {
        "bound_m": {name: json_number(value) for name, value in zip(names, bounds, strict=True)},
        "models": {
            model: dict(zip(names, map(json_number, _mae_m(table) / bounds), strict=True))
            for model, table in sums.items()
        },
    }


def bin_means(distances_m: Double, values: Double, edges_m: Sequence[float]) -> list[float]:
    """Mean of values, interpolated over the logarithm of distance, in each bin; NaN outside."""
    order = np.argsort(distances_m)
    known, values = np.log(distances_m[order]), values[order]
    means = []
    for near, far in pairwise(edges_m):
        place = np.linspace(math.log(near), math.log(far), 33)
        means.append(float(np.interp(place, known, values, np.nan, np.nan).mean()))
    return means


def _mae_m(table: Double) -> Double:
    """Mean absolute error [m] of strongly textured pixels in each distance bin."""
    strong = table[:, TEXTURES.index("strong"), :, :, :-1, 0, :].sum(axis=(0, 1, 2))
    pixels = strong[:, 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(pixels > 0, strong[:, SUMS.index("mae_m")] / pixels, np.nan)
