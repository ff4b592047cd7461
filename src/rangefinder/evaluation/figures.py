"""All figures of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from rangefinder.config import Parameters
from rangefinder.evaluation.metrics import Model
from rangefinder.evaluation.style import BASELINE, SETTINGS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rangefinder.captures.manifest import CaptureSet
    from rangefinder.evaluation.maps import Scene
    from rangefinder.evaluation.score import Evaluation


def draw_figures(
    captures: CaptureSet, models: Mapping[str, Model], evaluation: Evaluation, params: Parameters
) -> dict[str, Figure]:
    """Draw everything.

    Args:
        captures: The captures that were scored.
        models: The models that were scored, by name.
        evaluation: Their scores.
        params: All parameters.

    Returns:
        Figures by file name without suffix: `overview` (photo, truth, models, error and
        confidence side by side), `capture_<number>_<scene>` (the same, large),
        `predicted_against_true`, `reliability`, `sparsification` and `error_by_distance`.
    """
    import matplotlib as mpl

    from rangefinder.evaluation import maps, plots

    report_m = params.range.report_m
    with mpl.rc_context(SETTINGS):
        scenes = {
            index: _scene(captures, models, evaluation, index)
            for index in chosen_captures(evaluation, params)
        }
        figures = {"overview": maps.side_by_side(list(scenes.values()), report_m)}
        for index, scene in scenes.items():
            name = str(captures.table["scene"].iloc[index])
            figures[f"capture_{index:03d}_{_file_name(name)}"] = maps.close_up(scene, report_m)
        curves, summary = evaluation.curves, evaluation.summary
        figures["predicted_against_true"] = plots.predicted_against_true(curves, summary, report_m)
        figures["reliability"] = plots.reliability(summary)
        figures["sparsification"] = plots.sparsification(curves, summary)
        figures["error_by_distance"] = plots.error_by_distance(
            evaluation, report_m, captures.camera.focus_distance_m
        )
    return figures


def chosen_captures(evaluation: Evaluation, params: Parameters) -> list[int]:
    """Captures that are shown: real scenes, then from the best to the worst in even steps.

    Args:
        evaluation: The scores; the last model's AbsRel ranks the captures.
        params: `evaluation.figures` says how many, `captures.real_scenes` which are real.

    Returns:
        Places of the captures in the set.
    """
    last = list(evaluation.curves)[-1]
    table = evaluation.per_image
    table = table[table["model"] == last].reset_index(drop=True)
    table = table[table["pixels"] > 0]
    real = table.index[table["scene"].isin(params.captures.real_scenes)].tolist()
    ranked = table.drop(index=real).sort_values("abs_rel", kind="stable").index.to_numpy()
    real = real[: params.evaluation.figures]
    room = min(params.evaluation.figures - len(real), len(ranked))
    steps = np.linspace(0, max(len(ranked) - 1, 0), room).round().astype(np.intp)
    return [*real, *(int(index) for index in ranked[steps])]


def _scene(
    captures: CaptureSet, models: Mapping[str, Model], evaluation: Evaluation, index: int
) -> Scene:
    from rangefinder.evaluation.maps import Scene

    name = str(captures.table["scene"].iloc[index])
    shown = [model for model in models if model != BASELINE] or list(models)
    row = evaluation.per_image.iloc[index * len(models) + len(models) - 1]
    return Scene(
        title=f"{name}, AbsRel {row['abs_rel']:.3f}",
        photo=np.asarray(captures.image(index), dtype=np.float32),
        truth_m=np.asarray(captures.distance_map(index), dtype=np.float32),
        rangings={model: models[model](index) for model in shown},
    )


def _file_name(text: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in text)
