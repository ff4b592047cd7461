"""`rangefinder simulate`: what a camera would see of a sharp photo with a distance map."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rangefinder.commands import camera_option, env_option, parameters_for
from rangefinder.common.files import atomic_write
from rangefinder.errors import CaptureError, ConfigError

if TYPE_CHECKING:
    from torch import Tensor


SUFFIXES = (".png", ".tif", ".tiff")


@click.command()
@click.option("--rgb", required=True, type=click.Path(path_type=Path), help="Sharp photo.")
@click.option("--distance", required=True, type=click.Path(path_type=Path), help="Distance map.")
@env_option
@camera_option
@click.option("--out", required=True, type=click.Path(path_type=Path), help="PNG (sRGB) or TIFF.")
@click.option("--seed", default=0, show_default=True, help="Of exposure and noise.")
def simulate(
    rgb: Path, distance: Path, env: str, camera: Path | None, out: Path, seed: int
) -> None:
    """Photograph an rgbd frame with a camera that is simulated: blur, vignetting and noise."""
    import numpy as np

    from rangefinder.captures.decoding import decode
    from rangefinder.captures.distance_maps import read_distances
    from rangefinder.optics.psf_bank import bank_for
    from rangefinder.optics.psf_sources import camera_record
    from rangefinder.synthesis.rgbd import simulate_rgbd

    if out.suffix.lower() not in SUFFIXES:
        raise CaptureError("--out has an unknown type", got=str(out), expected=", ".join(SUFFIXES))
    home = Path()
    params = parameters_for(env, camera)
    for path in (rgb, distance):
        if not path.is_file():
            raise CaptureError("a file is missing", got=f"no {path}")
    picture = decode(rgb, orientation="apply").image
    distance_m = read_distances(distance, (int(picture.shape[1]), int(picture.shape[2])))
    record = camera_record(params.camera, home)
    with _traced_lenses() as folder:
        bank = bank_for(record, params.bank, params.range.working_m, folder, home)
    capture = simulate_rgbd(bank, params, picture, distance_m, np.random.default_rng(seed))
    atomic_write(out, lambda path: _write(path, capture.image, out.suffix.lower()))
    size = "x".join(str(side) for side in reversed(capture.image.shape[1:]))
    click.echo(f"Wrote {out}: {size} px, as {params.camera.name} would see it")


@contextmanager
def _traced_lenses() -> Iterator[Path]:
    """Where a traced lens is kept: in the project around; outside of one, for this once."""
    from rangefinder.config.project import Project

    with tempfile.TemporaryDirectory(prefix="rangefinder-") as once:
        try:
            folder = Project.find(Path()).traced_lenses
        except ConfigError:
            folder = Path(once)
        yield folder


def _write(path: Path, image: Tensor, suffix: str) -> None:
    """Write 16-bit linear TIFF, or 8-bit sRGB PNG."""
    from PIL import Image

    from rangefinder.captures.images import write_linear
    from rangefinder.optics.sensor import srgb_pixels

    if suffix != ".png":
        write_linear(path, image)
        return
    Image.fromarray(srgb_pixels(image)).save(path, "PNG")
