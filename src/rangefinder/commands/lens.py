"""`rangefinder lens`: what a lens can measure, before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("radius", "distance_m", "blur_px", "sd_m", "confusion", "partner_m")
_FORMATS = {
    "radius": "{:.2f}".format,
    "distance_m": "{:.2f}".format,
    "blur_px": "{:.1f}".format,
    "sd_m": "{:.4f}".format,
    "confusion": "{:.1%}".format,
    "partner_m": "{:.2f}".format,
}


@click.command()
@click.option("--env", default="local", show_default=True, help="Configuration of the project.")
@click.option(
    "--camera",
    "record",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Camera record (camera.json or camera.yml) instead of the configuration's camera.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("data/08_reporting"),
    show_default=True,
    help="Folder for lens_limit.png and lens_limit.csv.",
)
def command(env: str, record: Path | None, out: Path) -> None:
    """Print and draw what a camera's lens can measure.

    For one patch at the centre, the edge and the corner of the sensor: blur against distance; the
    Cramer-Rao bound of distance; and how easily the most similar distance on the other side of
    focus is taken for the true one, by an observer who does not know the texture. Takes a minute.
    """
    from rangefinder.camera import Camera
    from rangefinder.captures.records import read_record
    from rangefinder.deploy.project import Project
    from rangefinder.evaluation.limit_plots import draw_limits
    from rangefinder.models.teacher import Teacher
    from rangefinder.optics.survey import survey, survey_bank

    params = Project.find(Path(), env).parameters()
    camera = read_record(record) if record else Camera.from_params(params.camera)
    patch_px = Teacher(params.teacher, params.prediction.bins).patch_px
    bank = survey_bank(camera, params.bank, params.range.working_m, params.limit)
    table = survey(bank, camera, patch_px, params.limit)
    lens = f"{camera.lens.title} {camera.focal_length_mm:g} mm f/{camera.f_number:g}"
    title = f"{lens}, focused at {camera.focus_distance_m:g} m, patch of {patch_px} px"
    click.echo(f"{title}\n\n{describe(table)}")
    out.mkdir(parents=True, exist_ok=True)
    table.to_csv(out / "lens_limit.csv", index=False)
    figure = draw_limits(table, params.range.working_m, camera.focus_distance_m, title)
    figure.savefig(out / "lens_limit.png")
    click.echo(f"Written: {out / 'lens_limit.csv'}, {out / 'lens_limit.png'}")


def describe(table: pd.DataFrame) -> str:
    """The survey in plain text: a table per texture, and what it comes to."""
    parts = []
    for name, rows in table.groupby("texture", sort=False):
        text = rows[list(_COLUMNS)].to_string(
            index=False, formatters=_FORMATS, na_rep="-", header=_HEADINGS
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


_HEADINGS = ["radius", "distance [m]", "blur [px]", "least sd [m]", "confused", "with [m]"]
