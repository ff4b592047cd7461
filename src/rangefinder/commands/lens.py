"""`rangefinder lens`: what a lens can measure, before anything is trained."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rangefinder.commands import camera_option, env_option, out_option, parameters_for, patch_px_of
from rangefinder.common.files import atomic_write
from rangefinder.common.lengths import length_unit

if TYPE_CHECKING:
    import pandas as pd

    from rangefinder.camera import Camera


_COLUMNS = ("radius", "distance_m", "blur_px", "sd_m", "confusion", "partner_m")


@click.command()
@env_option
@camera_option
@out_option("data/08_reporting", "Folder for lens_limit.png and lens_limit.csv.")
def lens(env: str, camera: Path | None, out: Path) -> None:
    """Print and draw what a camera's lens can measure.

    A lens with a prescription (camera.lens.kind: zemax; file: a .zmx, .seq or .json file) is first
    compared with the camera record: focal length, traced, and f-number.

    For one patch at the centre, the edge and the corner of the sensor: blur against distance; the
    Cramer-Rao bound of distance; and the probability that the most similar distance on the other
    side of focus is taken for the true one, by an observer who does not know the texture. The last
    sentence says where in its working range the camera can tell distances apart, and where not.
    Takes a minute.
    """
    from rangefinder.camera import Camera
    from rangefinder.evaluation.input_figures import draw_limits
    from rangefinder.optics.blur import reduction_advice
    from rangefinder.optics.identifiability import (
        gap_within,
        identifiability_bank,
        identifiability_table,
        told_apart_m,
        verdict,
        weak_texture_bound_m,
    )

    params = parameters_for(env, camera)
    record = Camera.from_params(params.camera)
    if record.lens.kind == "zemax":
        click.echo(describe_prescription(record))
    patch_px = patch_px_of(params)
    working_m = params.range.working_m
    gap = gap_within(working_m, params.identifiability.least_gap)
    sampling = params.identifiability.model_copy(update={"least_gap": gap})
    bank = identifiability_bank(record, params.bank, working_m, sampling)
    table = identifiability_table(bank, record, patch_px, sampling)
    name = f"{record.lens.title} {record.focal_length_mm:g} mm f/{record.f_number:g}"
    title = f"{name}, focused at {record.focus_distance_m:g} m, patch of {patch_px} px"
    click.echo(f"{title}\n\n{describe(table)}")
    bound = weak_texture_bound_m(bank, patch_px, sampling)
    click.echo(verdict(working_m, told_apart_m(*bound, gap), gap))
    for advice in reduction_advice(record, patch_px, working_m):
        click.echo(advice)
    csv, png = out / "lens_limit.csv", out / "lens_limit.png"
    atomic_write(csv, lambda path: table.to_csv(path, index=False))
    figure = draw_limits(table, working_m, record.focus_distance_m, title)
    atomic_write(png, partial(figure.savefig, format="png"))
    click.echo(f"Written: {csv}, {png}")


def describe_prescription(camera: Camera) -> str:
    """A prescription's own data, and whether the camera record agrees with them."""
    from rangefinder.optics.lens_data import AGREEMENT, lens_data

    own = lens_data(camera)
    widest = f"f/{own.f_number:.2f}" if own.f_number else "no f-number"
    lines = [
        f"{own.name}: focal length {own.focal_length_mm:.2f} mm (traced), {widest}; "
        f"{own.surfaces} surfaces, {own.aspheres} of them aspheric"
    ]
    apart = camera.focal_length_mm / own.focal_length_mm - 1
    if abs(apart) > AGREEMENT:
        lines.append(
            f"Warning: camera.focal_length_mm {camera.focal_length_mm:g} is {apart:+.1%} off. The "
            "camera record's is used: the whole lens is scaled to it."
        )
    else:
        lines.append(f"The camera record's {camera.focal_length_mm:g} mm agrees.")
    if own.f_number and camera.f_number > own.f_number * (1 + AGREEMENT):
        lines.append(f"Stopped down to the camera record's f/{camera.f_number:g}.")
    return "\n".join(lines) + "\n"


def describe(table: pd.DataFrame) -> str:
    """The identifiability table in plain text: a part per texture, and means."""
    unit = length_unit((float(table["distance_m"].min()), float(table["distance_m"].max())))
    headings = [heading.format(unit.name) for heading in _HEADINGS]

    def distance(value_m: float) -> str:
        return f"{value_m * unit.per_m:.2f}"

    formats = {
        "radius": "{:.2f}".format,
        "distance_m": distance,
        "blur_px": "{:.1f}".format,
        "sd_m": lambda value_m: f"{value_m * unit.per_m:.4f}",
        "confusion": "{:.1%}".format,
        "partner_m": distance,
    }
    parts = []
    for name, rows in table.groupby("texture", sort=False):
        text = rows[list(_COLUMNS)].to_string(
            index=False, formatters=formats, na_rep="-", header=headings
        )
        parts.append(f"{name} texture\n{text}")
    keys = ["texture", "radius"]
    mean = table.groupby(keys, sort=False)["confusion"].mean().reset_index()
    lines = [
        f"  {row['texture']}, radius {row['radius']:.2f}: {row['confusion']:.1%}"
        for row in mean.to_dict("records")
    ]
    parts.append("Front and behind confused, mean over distances (50 %: no way to tell)")
    return "\n\n".join([*parts[:-1], parts[-1] + "\n" + "\n".join(lines)]) + "\n"


_HEADINGS = ("radius", "distance [{}]", "blur [px]", "least sd [{}]", "confused", "with [{}]")
