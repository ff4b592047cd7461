"""Report of a calibration: figures, a table of discs, and what they say in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rangefinder.charts.calibration import COLOUR_NAMES, Calibration
from rangefinder.charts.distances import coverage, wanted_distances
from rangefinder.charts.registration import GREEN
from rangefinder.common.figures import (
    BLUE,
    DASHED,
    MARK,
    SETTINGS,
    VERMILION,
    distance_axis,
    new_figure,
)
from rangefinder.common.figures import GREEN as GREEN_INK
from rangefinder.common.lengths import length, length_unit
from rangefinder.optics.lens_model import LensModel, LensShape, Points

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from rangefinder.config import Interval

Double = NDArray[np.float64]
INKS = (VERMILION, GREEN_INK, BLUE)  # of red, green, blue
GOOD_SHARE, USABLE_SHARE = 0.06, 0.15  # of contrast that neither lens nor noise explain
GOOD_DISC_PX, USABLE_DISC_PX = 0.35, 0.8  # median deviation of measured discs
MISSING_PX = 4.0  # of blur between distances, more than which interpolation should be checked
CENTRE, CORNER = 0.4, 0.7  # field radii
SHOWN_DISTANCES = 4  # kernels drawn
DEGENERATE = 0.9  # correlation of two parameters from which photos cannot tell them apart
WORDS = {
    "f_number": "f-number",
    "focus_dpt": "focus distance",
    "distance_offset_m": "zero of distances",
    "red_dpt": "focus of red",
    "blue_dpt": "focus of blue",
    "tangential_dpt": "tangential field curvature",
    "tangential4_dpt": "its higher order",
    "sagittal_dpt": "sagittal field curvature",
    "sagittal4_dpt": "its higher order (sagittal)",
    "spherical_dpt": "spherical aberration",
    "coma_dpt": "coma",
    "front_shift": "vignetting before the stop",
    "rear_shift": "vignetting behind the stop",
    "front_radius": "size of the aperture before the stop",
    "rear_radius": "size of the aperture behind the stop",
}


def unexplained_share(calibration: Calibration) -> float:
    """Contrast of the blurred windows that neither the lens nor noise explain."""
    square = calibration.fit.unexplained**2 - calibration.noise**2
    return float(np.sqrt(max(square, 0.0)))


def disc_deviation_px(discs: pd.DataFrame) -> float:
    """Median of |measured - modelled| over windows and colours [px]."""
    return float((discs["measured_px"] - discs["modelled_px"]).abs().median())


def verdict(calibration: Calibration) -> str:
    """Whether the calibrated lens can be trained through, as a sentence."""
    share, disc = unexplained_share(calibration), disc_deviation_px(calibration.discs)
    found = (
        f"measured discs deviate from the model by {disc:.2f} px (median), and {share:.1%} of the "
        f"contrast of the blurred photos is explained neither by the lens nor by noise "
        f"({calibration.noise:.1%})"
    )
    if share < GOOD_SHARE and disc < GOOD_DISC_PX:
        return f"Good: {found}."
    if share < USABLE_SHARE and disc < USABLE_DISC_PX:
        return f"Usable: {found}. Look at discs.png and residuals.png for where."
    return (
        f"Do not train through this lens: {found}. Was the thing flat and square to the camera, "
        "the focus locked, every distance right, and nothing sharpened or clipped?"
    )


def report_lines(calibration: Calibration, working_m: Interval) -> list[str]:
    """What was found, for people."""
    fit, shape = calibration.fit, calibration.fit.model.shape
    record = fit.model.record
    focus_sd = fit.sd.get("focus_dpt", 0.0) * shape.focus_distance_m**2
    windows = calibration.relation.windows
    near, far = calibration.distances_m[0], calibration.distances_m[-1]
    lines = [
        f"{len(calibration.registrations)} photos at {len(calibration.distances_m)} distances from "
        f"{length(near)} to {length(far)}, {len(windows)} windows of {windows.window_px} px.",
        f"Focus distance  {shape.focus_distance_m:.4g} +- {focus_sd:.2g} m  "
        f"(record: {record.focus_distance_m:g})",
        f"f-number        {shape.f_number:.4g} +- {fit.sd.get('f_number', 0.0):.2g}  "
        f"(record: {record.f_number:g})",
        f"zero            {1000 * shape.distance_offset_m:+.0f} +- "
        f"{1000 * fit.sd.get('distance_offset_m', 0.0):.0f} mm from the "
        f"{record.distance_reference}  (record: {1000 * record.distance_offset_m:+.0f})",
    ]
    px = fit.model.px_per_dpt
    lines += [
        f"Red and blue are focused {px * shape.red_dpt:+.2f} and {px * shape.blue_dpt:+.2f} px of "
        "blur from green; at the corner "
        f"{px * (shape.tangential_dpt + shape.tangential4_dpt):+.1f} px (tangential) and "
        f"{px * (shape.sagittal_dpt + shape.sagittal4_dpt):+.1f} px (sagittal) from the centre; "
        f"spherical aberration {px * shape.spherical_dpt:+.2f} px."
    ]
    lines += _degeneracies(calibration)
    if calibration.lens.residual is not None:
        lines.append(
            "Corrections to the model's kernels are kept: they explain "
            f"{calibration.residual_share:.0%} of the residuals at distances left out."
        )
    else:
        lines.append(
            "No corrections to the model's kernels are kept: at distances left out they explain "
            f"{max(calibration.residual_share, 0.0):.1%} of the residuals."
        )
    lines += _missing(calibration, working_m)
    return [*lines, verdict(calibration)]


def _degeneracies(calibration: Calibration) -> list[str]:
    """Parameters that the photos cannot tell."""
    fit, names = calibration.fit, list(calibration.fit.sd)
    lines = []
    if fit.open_parameters:
        told = ", ".join(WORDS[name] for name in fit.open_parameters)
        lines.append(f"These photos say next to nothing about: {told}.")
    if fit.surprising:
        told = ", ".join(WORDS[name] for name in fit.surprising)
        lines.append(
            f"Far from what the camera record makes likely: {told}. Is the record right, and every "
            "distance?"
        )
    pairs = [
        f"{WORDS[a]} and {WORDS[b]}"
        for i, a in enumerate(names[:3])
        for j, b in enumerate(names[:3])
        if i < j and abs(fit.correlation[i, j]) > DEGENERATE
    ]
    if pairs:
        lines.append(
            f"Hardly told apart: {'; '.join(pairs)}; together they fit, each alone may be wrong."
        )
    return lines


def _missing(calibration: Calibration, working_m: Interval) -> list[str]:
    """Distances to photograph as well."""
    camera = calibration.fit.model.camera
    found = coverage(camera, np.array(calibration.distances_m), working_m, MISSING_PX)
    lines = []
    for gap in found.missing:
        unit = length_unit(gap)
        asked = (unit.fixed(d, 2) for d in wanted_distances(camera, gap, MISSING_PX))
        near, far = (unit.fixed(d, 2) for d in gap)
        lines.append(
            f"Nothing was photographed between {near} and {far} {unit.name}, where blur changes by "
            f"more than {MISSING_PX:g} px: the model interpolates. To be sure, add "
            f"{', '.join(asked)} {unit.name}."
        )
    return lines


def figures(calibration: Calibration) -> dict[str, Figure]:
    """Figures by name: discs over distance, deviations by place, kernels side by side."""
    from matplotlib import rc_context

    with rc_context(SETTINGS):
        return {
            "discs": _discs_figure(calibration),
            "residuals": _places_figure(calibration),
            "kernels": _kernels_figure(calibration),
        }


def _discs_figure(calibration: Calibration) -> Figure:
    """Measured discs with their quartiles, and modelled ones, in the centre and the corners."""
    discs = calibration.discs
    figure = new_figure(10, 4)
    parts = {
        f"centre (radius below {CENTRE:g})": discs[discs["radius"] < CENTRE],
        f"outside (radius above {CORNER:g})": discs[discs["radius"] > CORNER],
    }
    near, far = discs["distance_m"].min() / 1.05, discs["distance_m"].max() * 1.05
    axes = figure.subplots(1, 2, sharey=True)
    for ax, (title, part) in zip(axes, parts.items(), strict=True):
        for colour, ink in zip(COLOUR_NAMES, INKS, strict=True):
            group = part[part["colour"] == colour].groupby("distance_m")
            if not len(group):
                continue
            low, middle, high = (group["measured_px"].quantile(q) for q in (0.25, 0.5, 0.75))
            bars = np.stack([middle - low, high - middle])
            ax.errorbar(
                middle.index, middle, bars, fmt="o", ms=4, lw=1, color=ink, label=f"{colour}"
            )
            ax.plot(middle.index, group["modelled_px"].median(), color=ink, lw=1.2)
        ax.axvline(calibration.fit.model.shape.focus_distance_m, color=MARK, **DASHED)
        ax.set_title(title)
        distance_axis(ax, "x", (near, far), "distance")
    axes[0].set_ylabel("disc between sharp and blurred [px]")
    axes[0].legend(title="measured; lines: model")
    return figure


def _places_figure(calibration: Calibration) -> Figure:
    """Measured less modelled disc over the sensor, nearer than the focus and farther."""
    discs = calibration.discs[calibration.discs["colour"] == COLOUR_NAMES[GREEN]]
    focus_m = calibration.fit.model.shape.focus_distance_m
    figure = new_figure(10, 3.8)
    axes = figure.subplots(1, 2, sharey=True)
    parts = {
        "nearer than the focus": discs[discs["distance_m"] < focus_m],
        "farther": discs[discs["distance_m"] >= focus_m],
    }
    limit = max(3 * disc_deviation_px(calibration.discs), 0.3)
    for ax, (title, part) in zip(axes, parts.items(), strict=True):
        off = part["measured_px"] - part["modelled_px"]
        places = part.assign(off=off).groupby(["x_px", "y_px"], as_index=False)["off"].median()
        ax.scatter(
            places["x_px"], places["y_px"], c=places["off"], cmap="RdBu_r", vmin=-limit, vmax=limit,
            s=90, edgecolors=MARK, linewidths=0.4,
        )  # fmt: skip
        ax.set(title=title, xlabel="from the optical centre [px]", aspect="equal")
    axes[0].invert_yaxis()
    figure.colorbar(axes[0].collections[0], ax=axes, label="measured - modelled disc, green [px]")
    return figure


def _kernels_figure(calibration: Calibration) -> Figure:
    """Kernels of some distances: of the record's thin lens, of the model, and with corrections."""
    lens, relation = calibration.lens, calibration.relation
    record = relation.record
    near, far = calibration.distances_m[0], calibration.distances_m[-1]
    distances = 1 / np.linspace(1 / near, 1 / far, SHOWN_DISTANCES)
    rows = (("centre", 0.0), ("corner", 0.8))
    figure = new_figure(2.2 * SHOWN_DISTANCES, 6.6)
    axes = figure.subplots(2 * len(rows), SHOWN_DISTANCES)
    angle = np.arctan2(record.height_px, record.width_px)
    thin = LensModel(record, LensShape.of(record)).with_values(
        {"front_radius": 9.0, "rear_radius": 9.0}
    )
    for row, (place, radius) in enumerate(rows):
        for col, distance in enumerate(distances):
            points = Points(*(np.array([x]) for x in (distance, radius, angle, GREEN)))
            drawn = axes[2 * row : 2 * row + 2, col]
            drawn[0].imshow(thin.kernels(points, relation.response)[0][0], cmap="magma")
            drawn[1].imshow(lens.kernels(points, relation.response)[0][0], cmap="magma")
        for i, name in enumerate(("record", "calibrated")):
            axes[2 * row + i, 0].set_ylabel(f"{place}:\n{name}")
    for ax, distance in zip(axes[0], distances.tolist(), strict=True):
        ax.set_title(length(distance))
    for ax in axes.flat:
        ax.set_xticks([])
        ax.set_yticks([])
    return figure
