"""`rangefinder measure`: photos to metres."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from rangefinder.commands.main import BAD_INPUT
from rangefinder.commands.options import Place, model_options, open_bench
from rangefinder.errors import RangefinderError


@click.command()
@click.argument("photos", nargs=-1, required=True, metavar="PHOTO...")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default="measured",
    show_default=True,
    help="Folder for distance map, confidence map and overlay of every photo.",
)
@click.option("--at", "points", type=Place(), multiple=True, help="Say the distance there [px].")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON per photo.")
@click.option("--ply", is_flag=True, help="Write a point cloud too.")
@model_options
@click.pass_context
def command(
    context: click.Context,
    /,
    photos: tuple[str, ...],
    out: Path,
    points: tuple[tuple[float, float], ...],
    as_json: bool,
    ply: bool,
    **options: Any,
) -> None:
    """Measure photos: files, folders or patterns such as 'shots/*.jpg'.

    Every photo gets a distance map (float32 TIFF, metres along the optical axis), a confidence map
    (probability that the truth is within 10 %) and a coloured overlay. A photo that the model was
    not made for is refused; with --force it is measured and the result says so.
    """
    from rangefinder.deploy.bench import Wanted, stems
    from rangefinder.deploy.photo import find_photos

    paths = find_photos(photos)
    bench = open_bench(**options)
    wanted = Wanted(points, out, ply)
    failed = 0
    for path, stem in _with_progress(list(zip(paths, stems(paths), strict=True))):
        try:
            say(bench.report(path, stem, wanted), as_json)
        except RangefinderError as error:
            failed += 1
            say({"photo": str(path), "error": str(error)}, as_json)
    if failed:
        if len(paths) > 1:
            click.echo(f"{failed} of {len(paths)} photos could not be measured.", err=True)
        context.exit(BAD_INPUT)


def _with_progress(items: list[Any]) -> Iterator[Any]:
    from tqdm import tqdm

    quiet = True if len(items) == 1 else None
    yield from tqdm(items, "Measuring", unit="photo", disable=quiet)


def say(report: dict[str, Any], as_json: bool) -> None:
    """Print what there is to say of one photo: a line of JSON, or lines for people."""
    if as_json:
        _write(json.dumps(report))
        return
    if "error" in report:
        click.echo(f"Error: {report['error']}", err=True)
        return
    from rangefinder.deploy.bench import Reading

    if report["forced"]:
        _write(f"{report['photo']}: FORCED, do not trust it: {'; '.join(report['forced'])}")
    _write(f"{report['photo']}: median {report['median_m']:.2f} m")
    for reading in report["at"]:
        _write(f"  at {Reading(**reading)}")
    for name, file in report["files"].items():
        _write(f"  {name}: {file}")


def _write(line: str) -> None:
    from tqdm import tqdm

    tqdm.write(line)  # to standard output, without tearing the progress bar
    sys.stdout.flush()  # a script that reads line by line waits for it
