"""What a model says of a set of captures, and on which pixels models are compared."""

from __future__ import annotations

from collections.abc import Callable

from rangefinder.captures.manifest import CaptureSet
from rangefinder.config import CacheParams
from rangefinder.deploy.measure import ranger
from rangefinder.evaluation.metrics import Model
from rangefinder.location import PatchGrid
from rangefinder.models.io import Card, TrainedModel

Box = tuple[int, int, int, int]


def answers(model: TrainedModel, captures: CaptureSet, params: CacheParams) -> Model:
    """What a model says of capture `index`.

    Args:
        model: Teacher or student.
        captures: The captures.
        params: How a teacher sweeps.
    """
    measure = ranger(model, captures.camera, params)
    return lambda index: measure(captures.image(index), captures.placement(index))


def support(card: Card, captures: CaptureSet) -> Callable[[int], Box]:
    """The pixels of capture `index` that patch centres surround: left, top, right, bottom."""

    def box(index: int) -> Box:
        row = captures.row(index)
        grid = PatchGrid(row["height_px"], row["width_px"], card.patch_px, card.stride_px)
        return grid.support_px

    return box
