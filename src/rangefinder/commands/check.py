"""`rangefinder check`: look at captures before anybody trains on them."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rangefinder.commands import camera_option, env_option, out_option, parameters_for
from rangefinder.common.files import atomic_write
from rangefinder.common.lengths import length_unit
from rangefinder.errors import CaptureError

if TYPE_CHECKING:
    from rangefinder.captures.checks import Findings
    from rangefinder.captures.tables import Table
    from rangefinder.config import Parameters


@click.command()
@click.argument("table", type=click.Path(path_type=Path))
@env_option
@camera_option
@out_option(None, "Folder for figures and problems.csv.")
@click.option("--skip-bad", is_flag=True, help="Write good and bad rows into tables of their own.")
def check(table: Path, env: str, camera: Path | None, out: Path | None, skip_bad: bool) -> None:
    """Look at every capture of TABLE (captures.csv, or a folder) and list what is wrong.

    Without --camera, the record is the camera.yml beside TABLE, else the configuration's camera.
    Photos are read as captures.orientation and captures.sample_bits of the configuration say; files
    of a folder that nothing here can read are named.
    """
    from rangefinder.camera import CAMERA_FILE, Camera
    from rangefinder.captures.checks import check_table
    from rangefinder.captures.tables import read_table

    read = read_table(table)
    beside = read.folder / CAMERA_FILE
    params = parameters_for(env, camera or (beside if beside.is_file() else None))
    findings = check_table(read, Camera.from_params(params.camera), params)
    lines = [*_problem_lines(findings), "", *_summary(findings, params)]
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


def _summary(findings: Findings, params: Parameters) -> list[str]:
    """What the captures are good for, in words."""
    import numpy as np

    from rangefinder.camera import Camera
    from rangefinder.captures.checks import SharpnessCurve
    from rangefinder.charts.distances import coverage, wanted_distances

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
        unit = length_unit(params.range.working_m)
        for gap in found.missing:
            near, far, *asked = (
                unit.fixed(distance, 2) for distance in (*gap, *wanted_distances(camera, gap))
            )
            lines.append(
                f"No chart between {near} and {far} {unit.name}: take some at {', '.join(asked)} "
                f"{unit.name}."
            )
        if found.idle:
            lines.append(f"{len(found.idle)} chart distances add next to no change of blur.")
    lines.append(SharpnessCurve.of(findings.places).verdict(camera))
    return lines


def _write_report(folder: Path, findings: Findings, params: Parameters) -> None:
    import pandas as pd

    from rangefinder.camera import Camera
    from rangefinder.evaluation.input_figures import capture_figures

    folder.mkdir(parents=True, exist_ok=True)
    columns = ("row", "image", "is_fatal", "found", "todo")
    problems = [[getattr(one, name) for name in columns] for one in findings.problems]
    written = pd.DataFrame(problems, columns=columns).rename(columns={"is_fatal": "fatal"})
    atomic_write(folder / "problems.csv", partial(written.to_csv, index=False))
    camera, working_m = Camera.from_params(params.camera), params.range.working_m
    for name, figure in capture_figures(findings, camera, working_m).items():
        atomic_write(folder / f"{name}.png", partial(figure.savefig, format="png"))


def _sort_rows(table: Table, findings: Findings) -> list[Path]:
    """Write good rows and bad ones, as they stood, beside the table."""
    import pandas as pd

    good = {row.number for row in findings.good}
    reasons = defaultdict(list)
    for problem in findings.fatal:
        reasons[problem.row].append(f"{problem.found} {problem.todo}".strip())
    rows = pd.DataFrame.from_dict(table.fields, orient="index").fillna("")
    rows = rows[[name for name in rows.columns if name]]
    is_good = rows.index.isin(good)
    bad = rows[~is_good].assign(reason=["; ".join(reasons[n]) for n in rows.index[~is_good]])
    stem = table.path.stem if table.path.is_file() else "captures"
    paths = table.folder / f"{stem}_good.csv", table.folder / f"{stem}_quarantined.csv"
    for path, kept in zip(paths, (rows[is_good], bad), strict=True):
        atomic_write(path, partial(kept.to_csv, index=False))
    return list(paths)
