"""The figure of an ablation: every variant's error, and how it differs between seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from rangefinder.evaluation.claims import WHOLE, best_first
from rangefinder.evaluation.style import GREY, GRID, SETTINGS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS = {
    "abs_rel": "everywhere",
    "strong_abs_rel": "strong texture",
    "weak_abs_rel": "weak texture",
    "corner_abs_rel": "corners",
}
_BLUE, _GREEN = "#0072b2", "#009e73"


def ablation_figure(table: pd.DataFrame) -> Figure:
    """AbsRel of each variant, best first; a dot per seed.

    Args:
        table: As from `deploy.ablation.ablate`.
    """
    import matplotlib as mpl

    order = best_first(table)[::-1]
    says = dict(zip(table["variant"], table["says"], strict=True))
    with mpl.rc_context(SETTINGS):
        figure = new_figure(13.0, 1.6 + 0.36 * len(order))
        figure.suptitle("AbsRel of each variant on held-out scenes", x=0.01, ha="left")
        panels = figure.subplots(1, len(PANELS), sharey=True, squeeze=False)[0]
        for axes, (column, title) in zip(panels, PANELS.items(), strict=True):
            means = table.groupby("variant")[column].mean()
            colours = [_GREEN if name == WHOLE else _BLUE for name in order]
            axes.barh(range(len(order)), means[order], color=colours, height=0.62)
            for place, name in enumerate(order):
                seeds = table.loc[table["variant"] == name, column]
                axes.plot(seeds, [place] * len(seeds), "o", color=GREY, ms=3)
                axes.text(0, place, f" {means[name]:.3f}", va="center", color="white", size=8)
            axes.axvline(means[WHOLE], color="#555555", lw=1, ls=(0, (4, 3)))
            axes.set_title(title)
            axes.grid(visible=True, axis="x", color=GRID)
        panels[0].set_yticks(range(len(order)), [f"{says[name]}\n{name}" for name in order], size=8)
    return figure
