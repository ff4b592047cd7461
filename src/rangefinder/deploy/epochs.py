"""What an epoch of distillation costs: targets from the cache, from memory, from a live teacher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from rangefinder.cache.store import TeacherCache
from rangefinder.cache.sweep import Sweep
from rangefinder.captures.manifest import CaptureSet
from rangefinder.config import Parameters
from rangefinder.evaluation.timing import Timing
from rangefinder.location import PatchGrid
from rangefinder.models.io import TrainedModel
from rangefinder.training.pace import ROUNDS, Steps, batches_of, step_times

Target = Callable[[str], Tensor]


def time_epochs(
    captures: CaptureSet,
    teacher: TrainedModel,
    cache: TeacherCache,
    params: Parameters,
    loop_s_per_patch: float,
) -> dict[str, Any]:
    """Time epochs by where their targets come from.

    The live patch loop is extrapolated: the epoch on fixed targets, and the loop over every photo.

    Args:
        captures: All captures.
        teacher: The teacher.
        cache: Its predictions for the unlabelled captures.
        params: All parameters.
        loop_s_per_patch: What the patch loop takes.

    Returns:
        `seconds` of an epoch by source, `steps` (timings) and `waiting_share`: the share of the
        steps on cached targets that went into waiting for the data loader.
    """
    train = captures.select(role="unlabelled", split="train")
    count = -(-params.benchmark.epoch_steps // ROUNDS) + 2  # one warms up, one is made ahead
    needed = {index for batch in batches_of(captures, params, count) for index in batch}
    fixed, live = _in_memory(train, needed, teacher, cache), _live(train, needed, teacher, params)
    times = step_times(
        captures,
        teacher,
        {"cached": cache.read},
        {"fixed": fixed, "online_dense": live},
        params,
        params.benchmark.epoch_steps,
    )
    steps = {name: Timing.of(one.seconds) for name, one in times.items()}
    per_epoch = -(-len(train) // params.student.batch_size)
    seconds = {name: timing.seconds * per_epoch for name, timing in steps.items()}
    patches = sum(_patches(train, i, teacher) for i in range(len(train)))
    seconds["online_loop"] = seconds["fixed"] + patches * loop_s_per_patch
    return {
        "seconds": seconds,
        "extrapolated": ["online_loop"],
        "paired_excess": _paired_excess(times["cached"], times["fixed"]),
        "photos": len(train),
        "steps_per_epoch": per_epoch,
        "step_s": {name: vars(timing) for name, timing in steps.items()},
        "waiting_share": float(np.sum(times["cached"].waited) / np.sum(times["cached"].seconds)),
    }


def _paired_excess(one: Steps, other: Steps) -> float:
    """Median of (step of one / the same step of other) - 1: what noise leaves of a small cost."""
    return float(np.median(np.divide(one.seconds, other.seconds)) - 1)


def _in_memory(
    captures: CaptureSet, needed: set[int], teacher: TrainedModel, cache: TeacherCache
) -> Target:
    ids = captures.table["capture_id"].tolist()
    held = {ids[i]: teacher.prediction.unpack(cache.read(ids[i])) for i in needed}
    return held.__getitem__


def _live(
    captures: CaptureSet, needed: set[int], teacher: TrainedModel, params: Parameters
) -> Target:
    """The teacher on photos that are in memory already: nothing but its own work is added."""
    card, ids = teacher.card, captures.table["capture_id"].tolist()
    photos = {ids[i]: (captures.image(i), captures.placement(i)) for i in needed}
    sweep = Sweep(
        teacher.network,
        captures.camera,
        params.cache,
        card.patch_px,
        card.stride_px,
        params.compute,
    )
    return lambda name: sweep(*photos[name]).clone()  # gradients want no inference tensors


def _patches(captures: CaptureSet, index: int, teacher: TrainedModel) -> int:
    row, card = captures.row(index), teacher.card
    grid = PatchGrid(row["height_px"], row["width_px"], card.patch_px, card.stride_px)
    return grid.rows * grid.cols
