"""`rangefinder simulate`: an rgbd frame as a camera would see it, and photos to practise on."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rangefinder.commands import camera_option, env_option, parameters_for
from rangefinder.common.files import atomic_write
from rangefinder.errors import CaptureError, ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from rangefinder.camera import Camera
    from rangefinder.config import CameraParams, Interval, Parameters
    from rangefinder.optics.psf_bank import PsfBank


SUFFIXES = (".png", ".tif", ".tiff")


@click.command()
@click.option("--rgb", type=click.Path(path_type=Path), help="Sharp photo.")
@click.option("--distance", type=click.Path(path_type=Path), help="Distance map.")
@click.option(
    "--pairs",
    type=click.IntRange(2, 500),
    help="Pairs of photos for `rangefinder calibrate`, in place of a frame.",
)
@click.option(
    "--sheets",
    type=click.IntRange(2, 500),
    help="Photos of printed sheets for `rangefinder calibrate`, in place of a frame.",
)
@click.option(
    "--sharp-f-number", default=16.0, show_default=True, help="Of the sharp photos of --pairs."
)
@click.option(
    "--record-error",
    type=click.FloatRange(-0.2, 0.2),
    default=0.0,
    show_default=True,
    help="Relative error of f-number and focus in the camera.yml beside --pairs or --sheets.",
)
@env_option
@camera_option
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="PNG (sRGB) or TIFF; a folder for --pairs and --sheets.",
)
@click.option("--seed", default=0, show_default=True, help="Of textures, exposure and noise.")
def simulate(
    rgb: Path | None,
    distance: Path | None,
    pairs: int | None,
    sheets: int | None,
    env: str,
    camera: Path | None,
    out: Path,
    seed: int,
    **practice: float,
) -> None:
    """Photograph with a camera that is simulated: blur, vignetting and noise.

    Either a frame (--rgb and --distance), or photos of flat things at known distances over
    range.working_m, with the captures.csv and camera.yml that `rangefinder calibrate` takes; the
    record says nothing of the lens. --pairs are blurred and stopped down; --sheets are of sheets
    that a printer printed, whose drawings lie beside them.
    """
    from rangefinder.camera import CAMERA_FILE

    params = parameters_for(env, camera)
    one_of_three = [rgb or distance, pairs, sheets].count(None) == 2
    if one_of_three and pairs is not None:
        table = _simulate_pairs(params, pairs, out, seed, practice["sharp_f_number"])
    elif one_of_three and sheets is not None:
        table = _simulate_sheets(params, sheets, out, seed)
    elif one_of_three and rgb is not None and distance is not None:
        _simulate_frame(params, rgb, distance, out, seed)
        return
    else:
        raise click.UsageError("Give --rgb and --distance, or --pairs, or --sheets.")
    text = "\n".join(table) + "\n"
    atomic_write(out / "captures.csv", lambda path: path.write_text(text, encoding="utf-8"))
    told = _record_without_lens(params.camera, 1 + practice["record_error"])
    atomic_write(out / CAMERA_FILE, lambda path: path.write_text(told, encoding="utf-8"))
    click.echo(
        f"Wrote {len(table) - 1} lines of captures.csv, their photos and camera.yml into {out}"
    )


def _simulate_frame(params: Parameters, rgb: Path, distance: Path, out: Path, seed: int) -> None:
    import numpy as np

    from rangefinder.captures.decoding import decode
    from rangefinder.captures.distance_maps import read_distances
    from rangefinder.synthesis.rgbd import simulate_rgbd

    if out.suffix.lower() not in SUFFIXES:
        raise CaptureError("--out has an unknown type", got=str(out), expected=", ".join(SUFFIXES))
    for path in (rgb, distance):
        if not path.is_file():
            raise CaptureError("a file is missing", got=f"no {path}")
    picture = decode(rgb, orientation="apply").image
    distance_m = read_distances(distance, (int(picture.shape[1]), int(picture.shape[2])))
    _, bank = _traced(params)
    capture = simulate_rgbd(bank, params, picture, distance_m, np.random.default_rng(seed))
    atomic_write(out, lambda path: _write(path, capture.image, out.suffix.lower()))
    size = "x".join(str(side) for side in reversed(capture.image.shape[1:]))
    click.echo(f"Wrote {out}: {size} px, as {params.camera.name} would see it")


def _simulate_pairs(
    params: Parameters, count: int, out: Path, seed: int, sharp_f_number: float
) -> list[str]:
    """Write pairs of photos.

    Returns:
        Lines of their table.
    """
    import numpy as np
    from tqdm import tqdm

    from rangefinder.optics.psf_bank import build_bank
    from rangefinder.synthesis.pairs import simulate_pairs

    if sharp_f_number <= params.camera.f_number:
        raise CaptureError(
            "the sharp photos are not stopped down",
            got=f"f/{sharp_f_number:g}",
            expected=f"more than camera.f_number, {params.camera.f_number:g}",
            todo="Give a higher --sharp-f-number.",
        )
    record, bank = _traced(params)
    sharp = build_bank(record, params.bank, params.range.working_m, Path(), sharp_f_number)
    lines = ["image,role,distance_m,scene,sharp_image,sharp_f_number"]
    distances_m, generator = _distances(params.range.working_m, count), np.random.default_rng(seed)
    rendered = simulate_pairs(params, bank, sharp, distances_m, generator)
    bar = tqdm(rendered, "rendering pairs", count, unit="pair", disable=None)
    for number, pair in enumerate(bar):
        names = f"flat-{number:02d}.tif", f"flat-{number:02d}-sharp.tif"
        for name, image in zip(names, (pair.image, pair.sharp_image), strict=True):
            atomic_write(out / name, partial(_write, image=image, suffix=".tif"))
        cells = (names[0], "chart", f"{pair.distance_m:.4f}", f"flat-{number:02d}", names[1])
        lines.append(",".join((*cells, f"{sharp_f_number:g}")))
    return lines


def _simulate_sheets(params: Parameters, count: int, out: Path, seed: int) -> list[str]:
    """Write photos of printed sheets, and the drawings of these.

    Returns:
        Lines of their table.
    """
    import numpy as np
    from tqdm import tqdm

    from rangefinder.charts.simulated_sheets import simulate_sheets

    record, bank = _traced(params)
    lines = ["image,role,distance_m,scene,sheet"]
    distances_m, generator = _distances(params.range.working_m, count), np.random.default_rng(seed)
    rendered = simulate_sheets(params, record, bank, distances_m, generator)
    bar = tqdm(rendered, "photographing sheets", count, unit="photo", disable=None)
    for number, photo in enumerate(bar):
        name, sheet = f"photo-{number:02d}.tif", photo.sheet
        if not (out / sheet.name).is_file():
            atomic_write(out / sheet.name, partial(sheet.picture.save, format="PNG"))
        atomic_write(out / name, partial(_write, image=photo.image, suffix=".tif"))
        scene = sheet.name.removesuffix(".png")
        lines.append(f"{name},chart,{photo.distance_m:.4f},{scene},{sheet.name}")
    return lines


def _distances(working_m: Interval, count: int) -> NDArray[np.float64]:
    """Distances `[count]` [m] over a range, evenly spaced in dioptres."""
    import numpy as np

    distances_m = 1 / np.linspace(1 / working_m[1], 1 / working_m[0], count)
    return np.clip(np.round(distances_m, 4), *working_m)


def _record_without_lens(camera: CameraParams, factor: float) -> str:
    """A camera record as YAML that says nothing of the lens, its numbers wrong by a factor."""
    import yaml

    fields = ("focal_length_mm", "pixel_pitch_um", "width_px", "height_px", "distance_reference")
    content = {
        "name": "practice",
        "f_number": round(camera.f_number * factor, 4),
        "focus_distance_m": round(camera.focus_distance_m * factor, 4),
        **{name: getattr(camera, name) for name in fields},
    }
    return yaml.safe_dump(content, sort_keys=False)


def _traced(params: Parameters) -> tuple[Camera, PsfBank]:
    """The camera record and its bank, kept in the project around; outside of one, for this once."""
    from rangefinder.config.project import Project
    from rangefinder.optics.psf_bank import bank_for
    from rangefinder.optics.psf_sources import camera_record

    record = camera_record(params.camera, Path())
    with tempfile.TemporaryDirectory(prefix="rangefinder-") as once:
        try:
            folder = Project.find(Path()).traced_lenses
        except ConfigError:
            folder = Path(once)
        return record, bank_for(record, params.bank, params.range.working_m, folder, Path())


def _write(path: Path, image: Tensor, suffix: str) -> None:
    """Write 16-bit linear TIFF, or 8-bit sRGB PNG."""
    from PIL import Image

    from rangefinder.captures.images import write_linear
    from rangefinder.optics.srgb import srgb_pixels

    if suffix != ".png":
        write_linear(path, image)
        return
    Image.fromarray(srgb_pixels(image)).save(path, "PNG")
