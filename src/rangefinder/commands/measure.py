"""`rangefinder measure`, `verify` and `watch`: photos to metres."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rangefinder.commands import (
    BAD_INPUT,
    Point,
    json_option,
    open_session,
    out_option,
    parameters_for,
    photos_argument,
    points_option,
    session_options,
    stop_event,
)
from rangefinder.common.lengths import length_unit
from rangefinder.errors import RangefinderError

if TYPE_CHECKING:
    from rangefinder.captures.sample_bits import SampleBits
    from rangefinder.inference.session import TapeCheck

OUTSIDE = 1  # exit code of `verify`


@click.command()
@photos_argument
@out_option("measured", "Folder for distance map, accuracy map and overlay of every photo.")
@points_option
@json_option
@click.option("--ply", is_flag=True, help="Write a point cloud too.")
@click.option("--html", is_flag=True, help="Write a page to look at too, which needs no network.")
@session_options
@click.pass_context
def measure(
    context: click.Context,
    /,
    photos: tuple[str, ...],
    out: Path,
    points: tuple[tuple[float, float], ...],
    as_json: bool,
    ply: bool,
    html: bool,
    **options: Any,
) -> None:
    """Measure photos: files, folders or patterns such as 'shots/*.jpg'.

    Every photo gets a distance map (float32 TIFF, metres along the optical axis), an accuracy map
    (probability of a relative error below 10 %) and a coloured overlay, turned as viewers turn the
    photo. JPEG, PNG, TIFF, WebP, AVIF, HEIC (with rangefinder[heic]) and camera raw files (with
    rangefinder[raw]) are read; others in a folder are named. A photo that the model was not made
    for is refused: of another camera, focus or size, or stored or processed unlike those of its
    training (JPEG, grey, sharpened, enlarged, too few bits). With --force it is measured, the
    result says so, and intervals are widened for how it was processed.
    """
    from rangefinder.captures.photos import find_photos
    from rangefinder.inference.session import OutputRequest, stems

    paths = find_photos(photos)
    session = open_session(**options)
    request = OutputRequest(points, out, ply, html)
    failed = 0
    for path, stem in _with_progress(list(zip(paths, stems(paths), strict=True))):
        try:
            print_report(session.report(path, stem, request), as_json)
        except RangefinderError as error:
            failed += 1
            print_report({"photo": str(path), "error": str(error)}, as_json)
    _say_doubt(session.bits)
    if failed:
        if len(paths) > 1:
            click.echo(f"{failed} of {len(paths)} photos could not be measured.", err=True)
        context.exit(BAD_INPUT)


def _with_progress(items: list[Any]) -> Iterator[Any]:
    from tqdm import tqdm

    quiet = True if len(items) == 1 else None
    yield from tqdm(items, "Measuring", unit="photo", disable=quiet)


def _say_doubt(bits: SampleBits) -> None:
    """Whether 16-bit photos seem to use fewer bits, as a line."""
    if bits.doubt:
        unless = "unless the model was trained on such photos"
        click.echo(f"{bits.doubt.capitalize()}. {bits.todo('Give --bits')}, {unless}.", err=True)


def print_report(report: dict[str, Any], as_json: bool) -> None:
    """Print one photo's results: a line of JSON, or lines for people."""
    if as_json:
        _write(json.dumps(report))
        return
    if "error" in report:
        click.echo(f"Error: {report['error']}", err=True)
        return
    from rangefinder.inference.session import PointReading

    if report["forced"]:
        _write(f"{report['photo']}: FORCED, do not trust it: {'; '.join(report['forced'])}")
    median_m = report["median_m"]
    unit = length_unit((median_m, median_m))
    _write(f"{report['photo']}: median {unit.fixed(median_m, 2)} {unit.name}")
    for point in report["at"]:
        _write(f"  at {PointReading.read(point)}")
    for name, file in report["files"].items():
        _write(f"  {name}: {file}")


def _write(line: str) -> None:
    from tqdm import tqdm

    tqdm.write(line)  # to standard output, without tearing the progress bar
    sys.stdout.flush()  # a script that reads line by line waits for it


@click.command()
@photos_argument
@click.option(
    "--distance",
    "distances",
    type=click.FloatRange(min=0, min_open=True),
    multiple=True,
    required=True,
    help="What the tape says [m]: once for all photos, or once for each, in order.",
)
@click.option(
    "--at", "points", type=Point(), multiple=True, help="Where [px].  [default: the middle]"
)
@json_option
@session_options
@click.pass_context
def verify(
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
    outside of the model's 80 % interval, or of both where two are possible; 2 if it looks like
    millimetres.
    """
    from rangefinder.captures.photos import find_photos
    from rangefinder.inference.session import tape_checks

    paths = find_photos(photos)
    if len(distances) not in (1, len(paths)):
        raise click.BadParameter(
            f"{len(distances)} distances for {len(paths)} photos: give one, or one for each",
            param_hint="--distance",
        )
    session = open_session(**options)
    each = distances if len(distances) == len(paths) else distances * len(paths)
    range_m = session.card.prediction.range_m
    for distance in distances:
        _require_metres(distance, range_m)
    checks = [
        one
        for path, distance in zip(paths, each, strict=True)
        for one in tape_checks(session, path, distance, points)
    ]
    _say_doubt(session.bits)
    if as_json:
        for one in checks:
            content = asdict(one) | {"photo": str(one.photo), "inside": one.inside}
            in_range = range_m[0] <= one.tape_m <= range_m[1]
            click.echo(json.dumps(content | {"error": round(one.error, 4), "in_range": in_range}))
    else:
        _print_checks(checks)
        for distance in sorted(set(each)):
            if not range_m[0] <= distance <= range_m[1]:
                covered = f"{range_m[0]:.2f} to {range_m[1]:.2f} m"
                click.echo(f"{distance:g} m is outside of the model's range, {covered}.")
    if not all(one.inside for one in checks):
        context.exit(OUTSIDE)


def _require_metres(distance_m: float, range_m: tuple[float, float]) -> None:
    """Refuse a tape's distance beyond the model's range that makes sense in millimetres."""
    near_m, far_m = range_m
    if not math.isfinite(distance_m):
        raise click.BadParameter(f"{distance_m} is no distance", param_hint="--distance")
    if distance_m > far_m and distance_m / 1000 >= near_m:
        raise click.BadParameter(
            f"{distance_m:g} m is far beyond the model's range, {near_m:.2f} to {far_m:.2f} m: "
            f"were millimetres meant? Give {distance_m / 1000:g}",
            param_hint="--distance",
        )


def _print_checks(checks: list[TapeCheck]) -> None:
    """A line for each check, and a summary where there are several."""
    from rangefinder.evaluation.report import print_parts, text_table
    from rangefinder.models.prediction import REPORTED_LEVEL

    level = f"{REPORTED_LEVEL:.0%}"
    unit = length_unit(
        (0.0, max(max(one.tape_m, one.reading.intervals_m[-1][1]) for one in checks))
    )
    lengths = f"tape [{unit.name}]", f"model [{unit.name}]"
    head = ("photo", "at [px]", *lengths, "error", f"{level} interval [{unit.name}]", "")
    rows = []
    for one in checks:
        read = one.reading
        verdict = ("inside" if one.inside else "OUTSIDE") + (" (forced)" if one.forced else "")
        tape, model = (unit.fixed(value, 3) for value in (one.tape_m, read.distance_m))
        spans = (" - ".join(unit.fixed(end, 3) for end in ends) for ends in read.intervals_m)
        at, error = f"{read.x_px:g},{read.y_px:g}", f"{one.error:+.0%}"
        rows.append((one.photo.name, at, tape, model, error, " or ".join(spans), verdict))
    print_parts([text_table(head, rows)])
    if len(checks) > 1:
        inside = sum(one.inside for one in checks)
        mean = sum(abs(one.error) for one in checks) / len(checks)
        click.echo(
            f"{inside} of {len(checks)} inside ({level} expected if calibrated); "
            f"mean absolute error {mean:.1%}"
        )


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@out_option(None, "Folder for the maps.  [default: FOLDER/measured]")
@points_option
@json_option
@click.option(
    "--interval",
    type=click.FloatRange(min=0.05, max=3600),
    default=0.5,
    show_default=True,
    help="Time between two looks [s].",
)
@session_options
def watch(
    folder: Path,
    out: Path | None,
    points: tuple[tuple[float, float], ...],
    as_json: bool,
    interval: float,
    **options: Any,
) -> None:
    """Measure the photos in FOLDER, then every one that lands there, until Ctrl-C.

    Photos are measured when they are there in full. One that cannot be measured or read is named
    with the reason, and watching goes on. Photos that have newer maps already are left alone. If
    the last ones show that the camera has changed ('rangefinder drift'), that is said once.
    """
    stop = stop_event()
    from rangefinder.inference.drift import DriftMonitor
    from rangefinder.inference.session import OutputRequest
    from rangefinder.inference.watch import watch_folder

    session = open_session(**options)
    if session.card.drift is not None:
        DriftMonitor.attached_to(session, parameters_for(options["env"]).drift)
    request = OutputRequest(points, out or folder / "measured")
    click.echo(f"Watching {folder}; Ctrl-C ends it.", err=True)
    measured = refused = 0
    said = False
    for report in watch_folder(session, folder, request, interval, stop):
        refused += "error" in report
        measured += "error" not in report
        print_report(report, as_json)
        if session.bits.doubt and not said:
            said = True
            _say_doubt(session.bits)
    click.echo(f"{measured} photos measured, {refused} refused.", err=True)
