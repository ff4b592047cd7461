"""Lens -> point spread functions -> simulated captures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rangefinder.camera import Camera
from rangefinder.config import Parameters

if TYPE_CHECKING:
    from rangefinder.captures.manifest import Capture
    from rangefinder.optics.lens import PsfBank


def trace_lens(parameters: Parameters, folder: Path) -> PsfBank:
    """Point spread functions of the camera, traced once and then kept in `folder`."""
    from rangefinder.optics.lens import bank_for

    camera = Camera.from_params(parameters.camera)
    return bank_for(camera, parameters.bank, parameters.range.working_m, folder)


def simulate(parameters: Parameters, bank: PsfBank) -> tuple[Camera, Iterator[Capture]]:
    """Captures through the lens, rendered one by one as they are written."""
    from rangefinder.captures.builtin import render_captures

    return Camera.from_params(parameters.camera), render_captures(parameters, bank)
