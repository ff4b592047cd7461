"""`rangefinder mask`: where the printed sheet is in photos of it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from rangefinder.commands.main import BAD_INPUT


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

    All six discs must be in the photo. A photo that the texture fills needs no mask.
    """
    from PIL import Image
    from tqdm import tqdm

    from rangefinder.captures.fiducials import find_sheet
    from rangefinder.captures.images import read_linear
    from rangefinder.deploy.bench import stems
    from rangefinder.deploy.photo import find_photos
    from rangefinder.errors import CaptureError
    from rangefinder.files import write_whole

    paths = find_photos(photos)
    missing = 0
    pairs = list(zip(paths, stems(paths), strict=True))
    for path, stem in tqdm(pairs, "Looking", unit="photo", disable=None):
        try:
            sheet = find_sheet(read_linear(path))
            if sheet is None:
                raise CaptureError(f"{path}: the six discs of a sheet are not all to be seen")
        except CaptureError as error:
            missing += 1
            click.echo(f"Error: {error}", err=True)
            continue
        mask = sheet.mask()
        write_whole(out / f"{stem}.png", partial(Image.fromarray(mask).save, format="PNG"))
        tqdm.write(f"{path}: sheet on {mask.mean():.0%} of the photo, {out / stem}.png")
    if missing:
        context.exit(BAD_INPUT)
