"""`rangefinder check`: look at captures before anybody trains on them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rangefinder.errors import CaptureError
from rangefinder.files import write_whole

if TYPE_CHECKING:
    from rangefinder.captures.check import Findings
    from rangefinder.captures.tables import Table
    from rangefinder.config import Parameters


@click.command()
@click.argument("table", type=click.Path(path_type=Path))
@click.option("--camera", help="Name of a configuration, or a camera.yml; default: beside TABLE.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for figures and problems.csv.")
@click.option("--skip-bad", is_flag=True, help="Write good and bad rows into tables of their own.")
def command(table: Path, camera: str | None, out: Path | None, skip_bad: bool) -> None:
    """Look at every capture of TABLE (captures.csv, or a folder) and list what is wrong."""
    from rangefinder.camera import Camera
    from rangefinder.captures.check import check_table
    from rangefinder.captures.records import CAMERA_FILE, parameters_of
    from rangefinder.captures.tables import read_table

    read = read_table(table)
    beside = read.folder / CAMERA_FILE
    params = parameters_of(camera or str(beside), Path())
    findings = check_table(read, Camera.from_params(params.camera), params)
    lines = [*_problem_lines(findings), "", *_story(findings, params)]
    click.echo("\n".join(lines))
    folder = out or Path(f"check_{read.folder.resolve().name}")
    _write_report(folder, findings, params)
    click.echo(f"\nFigures and problems.csv are in {folder}")
    if skip_bad:
        for path in _sort_rows(read, findings):
            click.echo(f"Wrote {path}")
    elif findings.fatal:
        bad = len({problem.row for problem in findings.fatal})
        raise CaptureError(
            f"{bad} rows of {read.path} cannot be used",
            todo="Mend them, or let --skip-bad set them aside.",
        )


def _problem_lines(findings: Findings) -> list[str]:
    ordered = sorted(findings.problems, key=lambda problem: (not problem.is_fatal, problem.row))
    return [f"{'bad ' if problem.is_fatal else 'look'}  {problem}" for problem in ordered]


def _story(findings: Findings, params: Parameters) -> list[str]:
    """What the captures are good for, in words."""
    import numpy as np

    from rangefinder.camera import Camera
    from rangefinder.captures.sharpness import SharpnessCurve, coverage, wanted_distances

    camera = Camera.from_params(params.camera)
    lines = [
        f"{len(findings.good)} rows can be used, {len(findings.fatal)} problems keep others out."
    ]
    for (role, split), count in sorted(findings.counts.items()):
        lines.append(f"  {role:<10}  {split:<10}  {count}")
    for split in ("validation", "test"):
        if not any(count for (role, s), count in findings.counts.items() if s == split):
            lines.append(f"No capture is held out for {split}: bring more scenes or chart sheets.")
    if findings.table.ignored:
        lines.append("Columns not used here: " + ", ".join(findings.table.ignored))
    if findings.chart_distances_m:
        found = coverage(camera, np.array(findings.chart_distances_m), params.range.working_m)
        for gap in found.missing:
            asked = ", ".join(f"{distance:.2f}" for distance in wanted_distances(camera, gap))
            lines.append(
                f"No chart between {gap[0]:.2f} and {gap[1]:.2f} m: take some at {asked} m."
            )
        if found.idle:
            lines.append(f"{len(found.idle)} chart distances add next to no change of blur.")
    lines.append(SharpnessCurve.of(findings.places).verdict(camera))
    return lines


def _write_report(folder: Path, findings: Findings, params: Parameters) -> None:
    from rangefinder.camera import Camera
    from rangefinder.evaluation.capture_plots import capture_figures

    folder.mkdir(parents=True, exist_ok=True)
    header = ("row", "image", "fatal", "found", "todo")
    rows = ((p.row, p.image, p.is_fatal, p.found, p.todo) for p in findings.problems)
    _write_csv(folder / "problems.csv", header, rows)
    camera, working_m = Camera.from_params(params.camera), params.range.working_m
    for name, figure in capture_figures(findings, camera, working_m).items():
        write_whole(folder / f"{name}.png", partial(figure.savefig, format="png"))


def _sort_rows(table: Table, findings: Findings) -> list[Path]:
    """Write good rows and bad ones, as they stood, beside the table."""
    columns = list(dict.fromkeys(name for row in table.fields.values() for name in row if name))
    good = {row.number for row in findings.good}
    reasons: dict[int, str] = {}
    for problem in findings.fatal:
        told = f"{problem.found} {problem.todo}".strip()
        reasons[problem.row] = "; ".join(filter(None, (reasons.get(problem.row), told)))
    stem = table.path.stem if table.path.is_file() else "captures"
    lines = table.fields.items()
    kept = [[row.get(name, "") for name in columns] for n, row in lines if n in good]
    bad = [
        [*(row.get(name, "") for name in columns), reasons.get(number, "")]
        for number, row in table.fields.items()
        if number not in good
    ]
    paths = table.folder / f"{stem}_good.csv", table.folder / f"{stem}_quarantined.csv"
    _write_csv(paths[0], columns, kept)
    _write_csv(paths[1], [*columns, "reason"], bad)
    return list(paths)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    def write(unfinished: Path) -> None:
        with unfinished.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])

    write_whole(path, write)
