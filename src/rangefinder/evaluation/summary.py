"""From sums to the content of evaluation.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from rangefinder.config import Parameters
from rangefinder.evaluation.metrics import SUMS, Double, coverage, json_number, scores
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
from rangefinder.evaluation.resampling import SceneBootstrap, score_bounds, score_ratios
from rangefinder.evaluation.sparsification import SparsificationCurve


@dataclass(frozen=True)
class Dataset:
    """What the models were scored on: digest of the set, and the scene of each capture."""

    digest: str
    scenes: Sequence[str]


def summarise(
    dataset: Dataset,
    sums: Mapping[str, Double],
    curves: Mapping[str, SparsificationCurve],
    regions: Regions,
    params: Parameters,
) -> dict[str, Any]:
    """Put all scores together.

    Args:
        dataset: What was scored on.
        sums: Per model `[captures, texture, position, edge, distance, frame, len(SUMS)]`.
        curves: Per model, whether it knows where it is wrong.
        regions: The cells' meaning.
        params: All parameters.

    Returns:
        A mapping for JSON. `dataset` and `models` are a contract; `comparisons` (ratios of paired
        scores) and `protocol` (what was counted) stand beside them. No score is null unless
        there was no pixel for it.
    """
    bootstrap = SceneBootstrap.over(dataset.scenes, params.evaluation.bootstrap, params.seed)
    pooled = {name: table[..., 0, :].sum(axis=(1, 2, 3, 4)) for name, table in sums.items()}
    models = {}
    for name, table in sums.items():
        models[name] = _model_summary(table, curves[name], regions)
        models[name]["ci95"] = score_bounds(bootstrap, pooled[name])
        models[name]["real_scenes"] = {
            scene: scores(pooled[name][np.asarray(dataset.scenes) == scene].sum(axis=0))
            for scene in params.captures.real_scenes
        }
    return {
        "dataset": {"digest": dataset.digest, "captures": len(dataset.scenes)},
        "models": models,
        "comparisons": {
            f"{later}/{earlier}": score_ratios(bootstrap, pooled[later], pooled[earlier])
            for earlier, later in combinations(sums, 2)
        },
        "protocol": _protocol(next(iter(sums.values())), dataset, regions, params),
    }


def _model_summary(table: Double, curve: SparsificationCurve, regions: Regions) -> dict[str, Any]:
    inside = table[..., 0, :].sum(axis=0)
    overall = inside.sum(axis=(0, 1, 2, 3))
    whole = table.sum(axis=(0, 1, 2, 3, 4, 5))
    groups = {
        group: {name: scores(part) for name, part in parts.items()}
        for group, parts in _region_sums(inside, regions).items()
    }
    mean = overall[SUMS.index("abs_rel")] / overall[0]
    return {
        "overall": scores(overall),
        **groups,
        "coverage": coverage(overall),
        "ause": json_number(curve.ause),
        "ause_relative": json_number(curve.ause / mean) if mean > 0 else None,
        "surer_half_abs_rel": json_number(curve.surer_half),
        "full_frame": scores(whole) if np.isfinite(whole).all() else None,
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
    table: Double, dataset: Dataset, regions: Regions, params: Parameters
) -> dict[str, Any]:
    inside = table[..., 0, :].sum(axis=0)
    parts = _region_sums(inside, regions)
    pixels = {
        group: {name: int(part[0]) for name, part in named.items()}
        for group, named in parts.items()
    }
    return {
        "report_m": list(params.range.report_m),
        "scenes": len(set(dataset.scenes)),
        "strong_texture_energy": json_number(regions.strong_texture),
        "ause_unit": "AbsRel",
        "pixels": {"overall": int(inside[..., 0].sum()), **pixels},
    }
