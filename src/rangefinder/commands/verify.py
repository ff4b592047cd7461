"""`rangefinder verify`: the tape-measure check."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from rangefinder.commands.options import Place, model_options, open_bench

OUTSIDE = 1  # exit code


@click.command()
@click.argument("photos", nargs=-1, required=True, metavar="PHOTO...")
@click.option(
    "--distance",
    "distances",
    type=click.FloatRange(min=0, min_open=True),
    multiple=True,
    required=True,
    help="What the tape says [m]: once for all photos, or once for each, in order.",
)
@click.option(
    "--at", "points", type=Place(), multiple=True, help="Where [px].  [default: the middle]"
)
@click.option("--json", "as_json", is_flag=True, help="One line of JSON per check.")
@model_options
@click.pass_context
def command(
    context: click.Context,
    /,
    photos: tuple[str, ...],
    distances: tuple[float, ...],
    points: tuple[tuple[float, float], ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Compare photos with a tape measure.

    The tape runs along the optical axis from where the camera record says (by default the sensor
    plane, which many cameras mark with a crossed circle). The exit code is 1 if a distance is
    outside of the model's 80 % interval.
    """
    from rangefinder.deploy.photo import find_photos
    from rangefinder.deploy.verify import check, table

    paths = find_photos(photos)
    if len(distances) not in (1, len(paths)):
        raise click.BadParameter(
            f"{len(distances)} distances for {len(paths)} photos: give one, or one for each",
            param_hint="--distance",
        )
    bench = open_bench(**options)
    each = distances if len(distances) == len(paths) else distances * len(paths)
    checks = [
        one
        for path, distance in zip(paths, each, strict=True)
        for one in check(bench, path, distance, points)
    ]
    if as_json:
        for one in checks:
            content = asdict(one) | {"photo": str(one.photo), "inside": one.inside}
            click.echo(json.dumps(content | {"error": round(one.error, 4)}))
    else:
        click.echo(table(checks))
    if not all(one.inside for one in checks):
        context.exit(OUTSIDE)
