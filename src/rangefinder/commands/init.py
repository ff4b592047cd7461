"""`rangefinder init`: a configuration for a camera of your own."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rangefinder.commands import camera_option
from rangefinder.common.files import atomic_write
from rangefinder.errors import ConfigError

if TYPE_CHECKING:
    from rangefinder.captures.tables import Table
    from rangefinder.config import CameraParams


NAME = re.compile(r"[a-z0-9_-]+")
TAKEN = ("base", "default", "local")
MADE = "made by `rangefinder init`"
HEAD = """\
# Camera {name}: {made} from {source}.
# conf/base/parameters.yml lists every parameter; what stands here replaces its values.
# Run it with: kedro run --pipeline distill --env {name}
"""


@click.command()
@click.argument("name")
@click.option("--from", "tables", multiple=True, type=click.Path(path_type=Path), help="Captures.")
@camera_option
@click.option("--force", is_flag=True, help="Replace a configuration that this command made.")
def init(name: str, tables: tuple[Path, ...], camera: Path | None, force: bool) -> None:
    """Write conf/NAME/parameters.yml for a camera described in camera.yml.

    Without --camera, the record is the camera.yml beside the first table.
    """
    import yaml

    from rangefinder.camera import CAMERA_FILE, Camera
    from rangefinder.captures.tables import read_table
    from rangefinder.config import parse_parameters

    target = _target(name, force)
    read = [read_table(path) for path in tables]
    beside = read[0].folder if read else Path()
    record = Camera.read(camera or beside / CAMERA_FILE)
    content = _content(name, record, read)
    content["captures"]["tables"] = [_from_here(path) for path in tables]
    parse_parameters(content)
    source = "camera.yml" if not tables else f"camera.yml and {len(tables)} table(s)"
    text = HEAD.format(name=name, made=MADE, source=source)
    for section, values in content.items():
        text += "\n" + yaml.safe_dump({section: values}, sort_keys=False)
    atomic_write(target, lambda path: path.write_text(text, encoding="utf-8"))
    click.echo(f"Wrote {target}")
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


def _content(name: str, record: CameraParams, tables: list[Table]) -> dict[str, Any]:
    """Sections that differ from the defaults."""
    camera = record.model_dump(mode="json", exclude_unset=True) | {"name": name}
    near_m, far_m = _working_m(record, tables)
    captures: dict[str, Any] = {"source": "files" if tables else "builtin", "tables": []}
    if tables:
        captures["real_scenes"] = []
        if "lens" not in camera:
            # Nothing is known of the lens but focal length and f-number.
            camera["lens"] = {"kind": "thin"}
        roles = {row.role for table in tables for row in table.rows}
        if "unlabelled" not in roles and roles & {"labelled", "rgbd"}:
            captures["withheld_share"] = 0.4
    low, high = 1 / far_m, 1 / near_m
    margin = 0.04 * (high - low)
    edges = [edge for edge in (0.7, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0) if near_m < edge < far_m]
    return {
        "seed": 0,
        "camera": camera,
        "range": {"working_m": [near_m, far_m], "report_m": [near_m, far_m]},
        "captures": captures,
        "prediction": {
            "inverse_range_dpt": [round(max(low - margin, 0.01), 4), round(high + margin, 4)]
        },
        "evaluation": {"distance_edges_m": [near_m, *edges, far_m]},
    }


def _working_m(record: CameraParams, tables: list[Table]) -> tuple[float, float]:
    """Distances of the charts, else the defaults around the focus."""
    distances = [row.distance_m for table in tables for row in table.rows if row.distance_m]
    if len(set(distances)) > 1:
        return round(min(distances), 3), round(max(distances), 3)
    focus_m = record.focus_distance_m
    return round(focus_m * 0.45, 3), round(focus_m * 3.5, 3)
