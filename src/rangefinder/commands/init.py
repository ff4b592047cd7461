"""`rangefinder init`: a configuration for a camera of your own."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rangefinder.commands import camera_option, patch_px_of
from rangefinder.common.files import atomic_write
from rangefinder.common.lengths import round_distances_m
from rangefinder.errors import ConfigError

if TYPE_CHECKING:
    from rangefinder.captures.tables import Table
    from rangefinder.config import CameraParams, Interval, Parameters
    from rangefinder.optics.working_range import WorkingRange


NAME = re.compile(r"[a-z0-9_-]+")
TAKEN = ("base", "default", "local")
MADE = "made by `rangefinder init`"
HEAD = """\
# Camera {name}: {made} from {source}.
# conf/base/parameters.yml lists every parameter; what stands here replaces its values.
# Run it with: kedro run --pipeline distill --env {name}
"""
THIN = (
    "Lens: a thin one of that focal length and f-number (camera.lens.kind: thin), since the record "
    "names none; with a prescription, add `lens: {kind: zemax, file: LENS.zmx}` to it."
)
MOTORCYCLE_M = (2.1, 5.0)  # distances of the real scene that is rendered by default
WHOLE_PX = 768  # side of a photo from which on the student trains on crops
MARGIN = 0.04  # of the range in dioptres, beyond which bins begin and end
LEAST_LOW = 0.6  # of the width of a bin: lowest bin centre


@click.command()
@click.argument("name")
@click.option("--from", "tables", multiple=True, type=click.Path(path_type=Path), help="Captures.")
@camera_option
@click.option("--force", is_flag=True, help="Replace a configuration that this command made.")
def init(name: str, tables: tuple[Path, ...], camera: Path | None, force: bool) -> None:
    """Write conf/NAME/parameters.yml for a camera described in camera.yml.

    Without --camera, the record is the camera.yml beside the first table. The range is that of the
    charts in the tables, else around the focus as far as this camera can tell distances apart;
    where it cannot, and how often to reduce photos whose blur is too large, is printed.
    """
    import yaml

    from rangefinder.camera import CAMERA_FILE, Camera
    from rangefinder.captures.tables import read_table
    from rangefinder.config import parse_parameters
    from rangefinder.config.project import Project
    from rangefinder.optics.working_range import Observer, plan_working_range

    target = _target(name, force)
    read = [read_table(path) for path in tables]
    beside = read[0].folder if read else Path()
    record = Camera.read(camera or beside / CAMERA_FILE)
    base = Project(Path(), "base").parameters()
    observer = Observer(base.bank, base.identifiability, patch_px_of(base))
    plan = plan_working_range(record, observer, _charts_m(read))
    report = plan.report(record, observer)
    content = _content(name, record, read, plan, base)
    content["captures"]["tables"] = [_from_here(path) for path in tables]
    parse_parameters(content)
    source = "camera.yml" if not tables else f"camera.yml and {len(tables)} table(s)"
    text = HEAD.format(name=name, made=MADE, source=source)
    for section, values in content.items():
        text += "\n" + yaml.safe_dump({section: values}, sort_keys=False)
    atomic_write(target, lambda path: path.write_text(text, encoding="utf-8"))
    click.echo(f"Wrote {target}")
    if "lens" not in record.model_fields_set:
        click.echo(THIN)
    for line in report:
        click.echo(line)
    click.echo(f"Next: kedro run --pipeline distill --env {name}")


def _target(name: str, force: bool) -> Path:
    if not Path("conf/base/parameters.yml").is_file():
        raise ConfigError(
            "this is not the project's folder",
            got=str(Path.cwd()),
            expected="a folder with conf/base/parameters.yml",
            todo="Go there first.",
        )
    if not NAME.fullmatch(name) or name in TAKEN:
        raise ConfigError(
            "a configuration cannot have this name",
            got=repr(name),
            expected=f"small letters, digits, - and _, but not {', '.join(TAKEN)}",
        )
    target = Path("conf") / name / "parameters.yml"
    if not target.exists():
        return target
    if MADE not in target.read_text(encoding="utf-8"):
        raise ConfigError(f"{target} was not {MADE}", todo="Choose another name.")
    if not force:
        raise ConfigError(f"{target} exists", todo="Choose another name, or --force.")
    return target


def _from_here(path: Path) -> str:
    """A path from the project's folder."""
    return Path(os.path.relpath(path)).as_posix()


def _content(
    name: str, record: CameraParams, tables: list[Table], plan: WorkingRange, base: Parameters
) -> dict[str, Any]:
    """Sections that differ from the defaults."""
    camera = record.model_dump(mode="json", exclude_unset=True) | {"name": name}
    if "lens" not in camera:
        # Nothing is known of the lens but focal length and f-number.
        camera["lens"] = {"kind": "thin"}
    near_m, far_m = plan.working_m
    captures: dict[str, Any] = {"source": "files" if tables else "builtin", "tables": []}
    if tables or near_m > MOTORCYCLE_M[0] or far_m < MOTORCYCLE_M[1]:
        captures["real_scenes"] = []
    if tables:
        roles = {row.role for table in tables for row in table.rows}
        if "unlabelled" not in roles and roles & {"labelled", "rgbd"}:
            captures["withheld_share"] = 0.4
    content: dict[str, Any] = {
        "seed": 0,
        "camera": camera,
        "range": {"working_m": [near_m, far_m], "report_m": [near_m, far_m]},
        "captures": captures,
        "prediction": {"inverse_range_dpt": _bins_dpt(near_m, far_m, base.prediction.bins)},
        "evaluation": {
            "distance_edges_m": sorted({near_m, *round_distances_m(plan.working_m), far_m})
        },
    }
    if plan.kernel_px > base.bank.kernel_px:
        content["bank"] = {"kernel_px": plan.kernel_px}
    if max(record.width_px, record.height_px) > WHOLE_PX:
        content["student"] = {"crop_px": WHOLE_PX}
    return content


def _bins_dpt(near_m: float, far_m: float, bins: int) -> list[float]:
    """Lowest and highest bin centre: a little more than the range, and no bin beyond infinity."""
    low, high = 1 / far_m, 1 / near_m
    margin = MARGIN * (high - low)
    least = LEAST_LOW * (high - low + 2 * margin) / (bins - 1)
    return [float(f"{end:.5g}") for end in (max(low - margin, least), high + margin)]


def _charts_m(tables: list[Table]) -> Interval | None:
    """Nearest and farthest chart, where they differ."""
    distances = [row.distance_m for table in tables for row in table.rows if row.distance_m]
    return (min(distances), max(distances)) if len(set(distances)) > 1 else None
