"""`rangefinder drift`: whether photos are still of the camera that a model was trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from rangefinder.commands import (
    json_option,
    open_session,
    parameters_for,
    photos_argument,
    session_options_without_force,
)

DRIFT = 1  # exit code


@click.command()
@photos_argument
@click.option(
    "--out", type=click.Path(path_type=Path), help="Report to write: a page (.html) or .json."
)
@json_option
@session_options_without_force
@click.pass_context
def drift(
    context: click.Context,
    /,
    photos: tuple[str, ...],
    out: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Look whether lens, aperture or encoding have changed since a model was trained.

    Some fifty unlabelled photos of any scenes are compared with those that the training held out:
    how photos are stored, how red and blue are blurred and displaced against green at one predicted
    distance, and the directions of blur. The exit code is 1 if something of the camera has changed.
    Other scenes are no drift. A focus that has moved a little cannot be told from other distances:
    compare it with a tape measure (rangefinder verify). Levels and numbers of photos are in
    section drift of conf/base/parameters.yml.
    """
    from rangefinder.captures.photos import find_photos
    from rangefinder.inference.drift import find_drift
    from rangefinder.inference.drift_report import require_report_type, write_report

    if out is not None:
        require_report_type(out)
    paths = find_photos(photos)
    params = parameters_for(options["env"]).drift
    session = open_session(force=True, **options)
    found = find_drift(session, paths, params)
    click.echo(json.dumps(found.content()) if as_json else str(found))
    if out is not None:
        write_report(out, found, params.level)
        click.echo(f"Report: {out}", err=True)
    if found.is_drift:
        context.exit(DRIFT)
