"""ingestion: lens -> PSF bank -> simulated captures; tables -> imported captures."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kedro.pipeline import Pipeline, node

from rangefinder.camera import Camera
from rangefinder.config import (
    BankParams,
    CameraParams,
    CaptureParams,
    NoiseParams,
    Parameters,
    RangeParams,
)
from rangefinder.pipelines import sections

if TYPE_CHECKING:
    from rangefinder.captures.manifest import Capture
    from rangefinder.optics.blur import TracedBlur
    from rangefinder.optics.psf_bank import PsfBank


@dataclass(frozen=True)
class Lens:
    """A camera and its PSF bank; None where nothing is simulated."""

    camera: Camera
    bank: PsfBank | None


def trace_lens(
    camera: CameraParams,
    range_: RangeParams,
    bank: BankParams,
    captures: CaptureParams,
    raw: Path,
    folder: Path,
) -> Lens:
    """The camera's PSF bank, made once and then kept in `folder`.

    `raw` is the project's data/01_raw; paths in the parameters start from the project's folder.
    """
    from rangefinder.captures.importer import read_tables
    from rangefinder.optics.psf_bank import bank_for
    from rangefinder.optics.psf_sources import camera_record

    home = raw.parents[1]
    record = camera_record(camera, home)
    tables = read_tables(captures, home)
    simulated = captures.source != "files" or any(
        row.role == "rgbd" for table in tables for row in table.rows
    )
    if not simulated:
        return Lens(record, None)
    return Lens(record, bank_for(record, bank, range_.working_m, folder, home))


def gather(
    seed: int,
    range_: RangeParams,
    noise: NoiseParams,
    captures: CaptureParams,
    lens: Lens,
    raw: Path,
) -> tuple[Camera, Iterator[Capture], TracedBlur | None]:
    """Captures, rendered or imported one by one as they are written, and their lens's blur."""
    from rangefinder.captures.importer import import_captures, read_tables
    from rangefinder.synthesis.renderer import render_captures
    from rangefinder.synthesis.rgbd import simulate_rgbd

    params = Parameters.only(
        seed=seed, camera=lens.camera, range=range_, noise=noise, captures=captures
    )
    parts: list[Iterator[Capture]] = []
    if captures.source != "files" and lens.bank is not None:
        parts.append(render_captures(params, lens.bank))
    if captures.source != "builtin":
        tables = read_tables(captures, raw.parents[1])
        simulate = partial(simulate_rgbd, lens.bank, params) if lens.bank else None
        parts.append(import_captures(params, lens.camera, simulate, tables))
    blur = None if lens.bank is None else lens.bank.blur()
    return lens.camera, _one_after_the_other(parts), blur


def _one_after_the_other(parts: list[Iterator[Capture]]) -> Generator[Capture]:
    """The captures of all parts; the one under way is closed with this (`chain` would not)."""
    for part in parts:
        yield from part


def create_pipeline() -> Pipeline:
    """Trace the lens, then simulate captures through it and import those that were brought."""
    return Pipeline(
        [
            node(
                trace_lens,
                [*sections("camera", "range", "bank", "captures"), "raw", "psf_banks"],
                "psf_bank",
                name="trace_lens",
            ),
            node(
                gather,
                [*sections("seed", "range", "noise", "captures"), "psf_bank", "raw"],
                "captures",
                name="gather_captures",
            ),
        ]
    )
