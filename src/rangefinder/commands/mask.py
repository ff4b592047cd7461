"""`rangefinder mask`: where the printed sheet is in photos of it."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import click

from rangefinder.commands.main import BAD_INPUT

NO_SHEET = "no mask, six discs are not to be seen (none is needed where the texture fills it)"


@click.command()
@click.argument("photos", nargs=-1, required=True, metavar="PHOTO...")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default="masks",
    show_default=True,
    help="Folder for the masks.",
)
@click.pass_context
def command(context: click.Context, /, photos: tuple[str, ...], out: Path) -> None:
    """Write a valid mask for every photo of a sheet: white where its texture is.

    All six discs must be in the photo. Others are named: those that the texture fills need no mask.
    """
    from PIL import Image
    from tqdm import tqdm

    from rangefinder.captures.decode import decode
    from rangefinder.captures.fiducials import find_sheet
    from rangefinder.deploy.bench import stems
    from rangefinder.deploy.photo import find_photos
    from rangefinder.errors import CaptureError
    from rangefinder.files import write_whole

    paths = find_photos(photos)
    bad = 0
    pairs = list(zip(paths, stems(paths), strict=True))
    for path, stem in tqdm(pairs, "Looking", unit="photo", disable=None):
        try:
            sheet = find_sheet(decode(path, orientation="ignore").image)
        except CaptureError as error:
            bad += 1
            tqdm.write(f"Error: {error}", file=sys.stderr)
            continue
        if sheet is None:
            tqdm.write(f"{path}: {NO_SHEET}")
            continue
        mask = sheet.mask()
        write_whole(out / f"{stem}.png", partial(Image.fromarray(mask).save, format="PNG"))
        tqdm.write(f"{path}: sheet on {mask.mean():.0%} of the photo, {out / stem}.png")
    if bad:
        context.exit(BAD_INPUT)
