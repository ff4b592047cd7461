"""How fast captures are rendered."""

from __future__ import annotations

import itertools
import time

from rangefinder.captures.builtin import render_captures
from rangefinder.config import Parameters
from rangefinder.optics.lens import PsfBank


def seconds_per_capture(params: Parameters, bank: PsfBank, count: int) -> list[float]:
    """Time the rendering of default captures in one process, the first left out.

    Args:
        params: All parameters.
        bank: Point spread functions of the camera.
        count: Charts and scenes, of each.

    Returns:
        Seconds of each capture.
    """
    few = params.captures.model_copy(
        update={
            "train_charts": count,
            "unlabelled": count,
            "validation_charts": 1,
            "validation": 1,
            "test": 1,
            "real_scenes": (),
            "workers": 1,
        }
    )
    moments = []
    for _ in render_captures(params.model_copy(update={"captures": few}), bank):
        moments.append(time.perf_counter())
    return [later - earlier for earlier, later in itertools.pairwise(moments)]
