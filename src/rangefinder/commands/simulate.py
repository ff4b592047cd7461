"""`rangefinder simulate`: what a camera would see of a sharp photo with a distance map."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rangefinder.errors import CaptureError, ConfigError
from rangefinder.files import write_whole

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".png", ".tif", ".tiff")


@click.command()
@click.option("--rgb", required=True, type=click.Path(path_type=Path), help="Sharp photo.")
@click.option("--distance", required=True, type=click.Path(path_type=Path), help="Distance map.")
@click.option("--camera", default="default", show_default=True, help="Configuration or camera.yml.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="PNG (sRGB) or TIFF.")
@click.option("--seed", default=0, show_default=True, help="Of exposure and noise.")
def command(rgb: Path, distance: Path, camera: str, out: Path, seed: int) -> None:
    """Photograph an rgbd frame with a camera that is simulated: blur, vignetting and noise."""
    import numpy as np

    from rangefinder.captures.decode import decode
    from rangefinder.captures.maps import read_distances
    from rangefinder.captures.records import parameters_of
    from rangefinder.captures.simulate import simulate_rgbd
    from rangefinder.optics.lens import bank_for
    from rangefinder.optics.sources import camera_record

    if out.suffix.lower() not in SUFFIXES:
        raise CaptureError("--out has an unknown type", got=str(out), expected=", ".join(SUFFIXES))
    home = Path()
    params = parameters_of(camera, home)
    for path in (rgb, distance):
        if not path.is_file():
            raise CaptureError("a file is missing", got=f"no {path}")
    picture = decode(rgb, orientation="apply").image
    distance_m = read_distances(distance, (int(picture.shape[1]), int(picture.shape[2])))
    record = camera_record(params.camera, home)
    with _traced_lenses() as folder:
        bank = bank_for(record, params.bank, params.range.working_m, folder, home)
    capture = simulate_rgbd(bank, picture, distance_m, params, np.random.default_rng(seed))
    write_whole(out, lambda path: _write(path, capture.image, out.suffix.lower()))
    size = "x".join(str(side) for side in reversed(capture.image.shape[1:]))
    click.echo(f"Wrote {out}: {size} px, as {params.camera.name} would see it")


@contextmanager
def _traced_lenses() -> Iterator[Path]:
    """Where a traced lens is kept: in the project around; outside of one, for this once."""
    from rangefinder.deploy.project import Project

    with tempfile.TemporaryDirectory(prefix="rangefinder-") as once:
        try:
            folder = Project.find(Path()).traced_lenses
        except ConfigError:
            folder = Path(once)
        yield folder


def _write(path: Path, image: Tensor, suffix: str) -> None:
    """Write 16-bit linear TIFF, or 8-bit sRGB PNG."""
    from PIL import Image

    from rangefinder.captures.images import srgb_pixels, write_linear

    if suffix != ".png":
        write_linear(path, image)
        return
    Image.fromarray(srgb_pixels(image)).save(path, "PNG")
