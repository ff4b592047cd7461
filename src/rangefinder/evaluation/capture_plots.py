"""What captures look like as a whole: distances against blur, sharpness, exposure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rangefinder.camera import Camera
from rangefinder.captures.check import Findings
from rangefinder.captures.sharpness import SharpnessCurve, coverage
from rangefinder.config import Interval
from rangefinder.evaluation.style import GREY, SETTINGS, distance_axis, new_figure, percent_axis
from rangefinder.optics.geometry import blur_px

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BLUE, _RED = "#0072b2", "#d55e00"


def capture_figures(findings: Findings, camera: Camera, working_m: Interval) -> dict[str, Figure]:
    """Figures by file name without suffix.

    Args:
        findings: What was found.
        camera: The camera.
        working_m: Distances that matter.
    """
    import matplotlib as mpl

    with mpl.rc_context(SETTINGS):
        figures = {"distance_coverage": _coverage(findings, camera, working_m)}
        if len(findings.places):
            figures["sharpness"] = _sharpness(findings, camera, working_m)
        if findings.brightest:
            figures["exposure"] = _exposure(findings)
    return figures


def _coverage(findings: Findings, camera: Camera, working_m: Interval) -> Figure:
    figure = new_figure(7.0, 4.0)
    axes = figure.add_subplot()
    distance_m = np.geomspace(*working_m, 300)
    axes.plot(distance_m, blur_px(camera, distance_m), color=GREY, label="thin lens")
    taken = np.array(findings.chart_distances_m)
    if taken.size:
        axes.plot(taken, blur_px(camera, taken), "o", color=_BLUE, label="charts")
        for near, far in coverage(camera, taken, working_m).missing:
            axes.axvspan(near, far, color=_RED, alpha=0.15, lw=0)
    places = findings.places[:, 0] if len(findings.places) else np.empty(0)
    if places.size:
        inverse = 1 / np.clip(places, *working_m)
        shares = axes.twinx()
        shares.hist(1 / inverse, bins=np.geomspace(*working_m, 40).tolist(), color=_BLUE, alpha=0.2)
        shares.set_ylabel("textured places")
    distance_axis(axes, "x", working_m, "distance [m]")
    axes.set_ylabel("blur circle [px]")
    axes.set_title("Distances taken, and blur there (red: a gap that blur changes over)")
    axes.legend()
    return figure


def _sharpness(findings: Findings, camera: Camera, working_m: Interval) -> Figure:
    figure = new_figure(7.0, 4.0)
    axes = figure.add_subplot()
    curve = SharpnessCurve.of(findings.places)
    axes.fill_between(curve.distance_m, curve.low, curve.high, color=_BLUE, alpha=0.2, lw=0)
    axes.plot(curve.distance_m, curve.sharpness, "o-", color=_BLUE)
    axes.axvline(camera.focus_distance_m, color=GREY, ls=":", label="focus of the camera record")
    distance_axis(axes, "x", working_m, "distance [m]")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("fine / coarse detail")
    axes.set_title("Sharpness against distance: median and quartiles")
    axes.legend()
    return figure


def _exposure(findings: Findings) -> Figure:
    figure = new_figure(7.0, 3.0)
    axes = figure.add_subplot()
    axes.hist(list(findings.brightest.values()), bins=np.linspace(0, 1, 41).tolist(), color=_BLUE)
    percent_axis(axes, "x", "brightest light of a photo / full scale")
    axes.set_ylabel("photos")
    axes.set_title("Exposure")
    return figure
