"""`rangefinder calibrate`: the point spread functions of a lens from some forty photos."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rangefinder.commands import camera_option, env_option, out_option, parameters_for
from rangefinder.common.files import atomic_write

if TYPE_CHECKING:
    from rangefinder.camera import Camera
    from rangefinder.charts.calibration import Calibration
    from rangefinder.config import Parameters

LENS_FILE = "lens.safetensors"
HEAD = "# Camera {name}, as calibrated: focus, f-number and zero of distances are fitted.\n"


@click.command()
@click.argument("table", type=click.Path(path_type=Path))
@env_option
@camera_option
@out_option(None, "Folder for the lens, camera.yml and the report.  [default: calibration_NAME]")
@click.option(
    "--sharp-f-number",
    type=click.FloatRange(min=0.5, max=128),
    help="f-number of all sharp photos.  [default: column sharp_f_number, else EXIF]",
)
@click.option("--one-side", is_flag=True, help="Accept photos on one side of the focus only.")
@click.option("--skip-bad", is_flag=True, help="Go on without photos that cannot be used.")
def calibrate(
    table: Path,
    env: str,
    camera: Path | None,
    out: Path | None,
    sharp_f_number: float | None,
    one_side: bool,
    skip_bad: bool,
) -> None:
    """Find out how a lens blurs from the photos in TABLE (captures.csv).

    Its rows of role chart with distance_m name what the photo would show without blur: sharp_image,
    a second photo of the same view from the same place, stopped down by three stops or more; or
    sheet, the drawing of the printed sheet that is seen (rangefinder chart --format png). Without
    --camera, the record is the camera.yml beside TABLE, else the configuration's camera. Written
    are the lens (lens.safetensors), a camera.yml that names it, with refined focus distance,
    f-number and zero of distances, discs.csv and figures.
    """
    from rangefinder.camera import CAMERA_FILE, Camera
    from rangefinder.captures.tables import read_table
    from rangefinder.charts import calibration as calibrations
    from rangefinder.charts.calibration_report import report_lines

    read = read_table(table)
    beside = read.folder / CAMERA_FILE
    params = parameters_for(env, camera or (beside if beside.is_file() else None))
    record = Camera.from_params(params.camera)
    any_distance = _any_distance(params)
    reader = calibrations.PairReader(read, record, any_distance, sharp_f_number, skip_bad)
    found = calibrations.calibrate(reader, one_side)
    for problem in found.problems:
        click.echo(f"Left out: {problem}", err=True)
    folder = out or Path(f"calibration_{record.name}")
    _write(folder, found, record)
    click.echo("\n".join(report_lines(found, params.range.working_m)))
    click.echo(f"\nWrote {folder / LENS_FILE}, camera.yml that names it, discs.csv and figures.")
    click.echo(f"Next: rangefinder init NAME --camera {folder / CAMERA_FILE}")


def _any_distance(params: Parameters) -> Parameters:
    """Parameters that accept photos beyond the working range, which is not known yet."""
    return params.model_copy(
        update={"captures": params.captures.model_copy(update={"doubtful_maps": "accept"})}
    )


def _write(folder: Path, found: Calibration, record: Camera) -> None:
    from rangefinder.camera import CAMERA_FILE
    from rangefinder.charts.calibration_report import figures

    folder.mkdir(parents=True, exist_ok=True)
    lens = folder / LENS_FILE
    found.lens.save(lens)
    text = _record_text(found, record, lens)
    atomic_write(folder / CAMERA_FILE, lambda path: path.write_text(text, encoding="utf-8"))
    rounded = found.discs.round(4)
    atomic_write(folder / "discs.csv", partial(rounded.to_csv, index=False))
    for name, figure in figures(found).items():
        atomic_write(folder / f"{name}.png", partial(figure.savefig, format="png"))


def _record_text(found: Calibration, record: Camera, lens: Path) -> str:
    """The camera record as YAML, with what was fitted."""
    import yaml

    shape = found.fit.model.shape
    content = record.model_dump(mode="json", exclude_unset=True, exclude={"lens"})
    content |= {
        "f_number": round(shape.f_number, 4),
        "focus_distance_m": round(shape.focus_distance_m, 5),
        "distance_offset_m": round(shape.distance_offset_m, 4),
        "lens": {"kind": "calibrated", "file": Path(os.path.relpath(lens)).as_posix()},
    }
    return HEAD.format(name=record.name) + yaml.safe_dump(content, sort_keys=False)
