"""Lens -> point spread functions -> simulated captures; tables -> imported captures."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rangefinder.camera import Camera
from rangefinder.config import Parameters

if TYPE_CHECKING:
    from rangefinder.captures.manifest import Capture
    from rangefinder.optics.border import TracedBlur
    from rangefinder.optics.lens import PsfBank


@dataclass(frozen=True)
class Lens:
    """A camera and its point spread functions; None where nothing is simulated."""

    camera: Camera
    bank: PsfBank | None


def trace_lens(parameters: Parameters, raw: Path, folder: Path) -> Lens:
    """Point spread functions of the camera, made once and then kept in `folder`.

    Args:
        parameters: All parameters.
        raw: The project's data/01_raw; paths in the parameters start from the project's folder.
        folder: Where banks are kept.
    """
    from rangefinder.captures.importer import read_tables
    from rangefinder.optics.lens import bank_for
    from rangefinder.optics.sources import camera_record

    home = raw.parents[1]
    camera = camera_record(parameters.camera, home)
    tables = read_tables(parameters.captures, home)
    simulated = parameters.captures.source != "files" or any(
        row.role == "rgbd" for table in tables for row in table.rows
    )
    if not simulated:
        return Lens(camera, None)
    working_m = parameters.range.working_m
    return Lens(camera, bank_for(camera, parameters.bank, working_m, folder, home))


def gather(
    parameters: Parameters, lens: Lens, raw: Path
) -> tuple[Camera, Iterator[Capture], TracedBlur | None]:
    """Captures, rendered or imported one by one as they are written, and their lens's blur."""
    from rangefinder.captures.builtin import render_captures
    from rangefinder.captures.importer import import_captures, read_tables
    from rangefinder.optics.border import TracedBlur

    parameters = parameters.model_copy(update={"camera": lens.camera})
    source = parameters.captures.source
    parts: list[Iterator[Capture]] = []
    if source != "files" and lens.bank is not None:
        parts.append(render_captures(parameters, lens.bank))
    if source != "builtin":
        tables = read_tables(parameters.captures, raw.parents[1])
        parts.append(import_captures(parameters, lens.camera, lens.bank, tables))
    blur = None if lens.bank is None else TracedBlur.of(lens.bank)
    return lens.camera, itertools.chain(*parts), blur
