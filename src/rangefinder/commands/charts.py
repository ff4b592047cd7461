"""`rangefinder chart`, `mask` and `distances`: sheets to print and photograph."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rangefinder.commands import (
    BAD_INPUT,
    camera_option,
    env_option,
    out_option,
    parameters_for,
    patch_px_of,
    photos_argument,
)

if TYPE_CHECKING:
    from rangefinder.config import Orientation

SIZES = ("A6", "A5", "A4", "A3", "A2", "A1")
size_option = click.option(
    "--size", type=click.Choice(SIZES), default="A3", show_default=True, help="Of a printed sheet."
)
NO_SHEET = "no mask, six discs are not to be seen (none is needed where the texture fills it)"


@click.command()
@size_option
@click.option("--sheets", type=click.IntRange(1, 100), default=6, show_default=True)
@click.option(
    "--format", "kind", type=click.Choice(["pdf", "png"]), default="pdf", show_default=True
)
@click.option("--dpi", type=click.IntRange(50, 1200), default=200, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@out_option("charts", "Folder for the sheets.")
def chart(size: str, sheets: int, kind: str, dpi: int, seed: int, out: Path) -> None:
    """Draw sheets to print, photograph at known distances, and train on.

    Their textures look alike at every magnification, so that nothing but blur tells how far they
    are. The discs in the margin let `rangefinder mask` tell the sheet from the wall. Print them at
    100 %: the line in the margin tells whether the printer did.
    """
    from tqdm import tqdm

    from rangefinder.charts.sheets import SheetPlan, draw_sheet, write_pdf
    from rangefinder.common.files import atomic_write

    plan = SheetPlan(size, dpi, seed)
    for number in tqdm(range(1, sheets + 1), "Drawing", unit="sheet", disable=None):
        sheet = draw_sheet(plan, number)
        path = out / f"sheet-{number:02d}.{kind}"
        if kind == "pdf":
            atomic_write(path, partial(write_pdf, sheet=sheet, dpi=dpi))
        else:
            atomic_write(path, partial(sheet.save, format="PNG", dpi=(dpi, dpi)))
        tqdm.write(str(path))


@click.command()
@photos_argument
@out_option("masks", "Folder for the masks.")
@env_option
@click.pass_context
def mask(context: click.Context, /, photos: tuple[str, ...], out: Path, env: str) -> None:
    """Write a valid mask for every photo of a sheet: white where its texture is.

    All six discs must be in the photo. Others are named: those that the texture fills need no mask.
    A mask is laid out as the configuration's captures.orientation has the photo.
    """
    from PIL import Image
    from tqdm import tqdm

    from rangefinder.captures.decoding import decode
    from rangefinder.captures.photos import find_photos
    from rangefinder.charts.detection import find_sheet
    from rangefinder.common.files import atomic_write
    from rangefinder.errors import CaptureError
    from rangefinder.inference.session import stems

    captures = parameters_for(env).captures
    orientation: Orientation = "apply" if captures.orientation == "apply" else "ignore"
    paths = find_photos(photos)
    bad = 0
    pairs = list(zip(paths, stems(paths), strict=True))
    for path, stem in tqdm(pairs, "Looking", unit="photo", disable=None):
        try:
            photo = decode(path, orientation=orientation, sample_bits=captures.sample_bits)
            sheet = find_sheet(photo.image)
        except CaptureError as error:
            bad += 1
            tqdm.write(f"Error: {error}", file=sys.stderr)
            continue
        if sheet is None:
            tqdm.write(f"{path}: {NO_SHEET}")
            continue
        shown = sheet.mask()
        atomic_write(out / f"{stem}.png", partial(Image.fromarray(shown).save, format="PNG"))
        tqdm.write(f"{path}: sheet on {shown.mean():.0%} of the photo, {out / stem}.png")
    if bad:
        context.exit(BAD_INPUT)


@click.command()
@env_option
@camera_option
@size_option
@click.option("--count", type=click.IntRange(2, 500), help="How many.  [default: by the blur]")
def distances(env: str, camera: Path | None, size: str, count: int | None) -> None:
    """List distances to photograph charts at, for the camera of a configuration.

    They are spaced evenly in dioptres over its working range, because blur changes evenly there.
    Where sheets would be too many, too small or too coarse, the lines below say what to do instead.
    """
    from rangefinder.camera import Camera
    from rangefinder.charts.distances import distance_table, plan_distances
    from rangefinder.optics.blur import require_room

    params = parameters_for(env, camera)
    record = Camera.from_params(params.camera)
    require_room(record, params.range.working_m)
    plan = plan_distances(record, params.range.working_m, size, count)
    click.echo(distance_table(plan, record, size, patch_px_of(params)))
