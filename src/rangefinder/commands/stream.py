"""`rangefinder stream`: a video, a camera or a folder measured frame by frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from rangefinder.commands import (
    open_session,
    out_option,
    points_option,
    session_options,
    stop_event,
)
from rangefinder.errors import MASK, masked


@click.command()
@click.argument("source")
@out_option("measured", "Folder for the overlay video and the table of readings.")
@points_option
@click.option(
    "--live", is_flag=True, help="Drop frames of a file or folder instead of lagging behind it."
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True, max=1000),
    default=10.0,
    show_default=True,
    help="Photos of a folder in a second.",
)
@session_options
def stream(
    source: str,
    out: Path,
    points: tuple[tuple[float, float], ...],
    live: bool,
    rate: float,
    **options: Any,
) -> None:
    """Measure SOURCE, a video file, a camera's number or a folder, until it ends or Ctrl-C.

    Writes a video of overlays and a table (CSV) of the distances at the points --at of every frame.
    Frames of a camera are dropped while another is measured. Frames that are broken are passed
    over; so are those that the model refuses, unless it refuses the first. A frame has to be as the
    model was trained on: the camera's whole picture, at its focus, not compressed more. Needs
    rangefinder[stream].
    """
    from tqdm import tqdm

    from rangefinder.inference.stream import (
        OverlayVideo,
        Reader,
        Tally,
        is_camera,
        measure_stream,
        read_frames,
        require_pyav,
    )

    require_pyav()
    session = open_session(**options)
    stop = stop_event()
    name = f"camera{source}" if is_camera(source) else Path(masked(source)).stem.removeprefix(MASK)
    video, table = out / f"{name}_overlay.mp4", out / f"{name}_points.csv"
    tally = Tally()
    frames = read_frames(source, rate)
    with (
        Reader(frames, tally, live=live or is_camera(source)) as reader,
        OverlayVideo(video) as overlays,
        tqdm(desc="Measuring", unit="frame", disable=None) as bar,
    ):
        for readings in measure_stream(session, reader, points, overlays, table, tally):
            bar.set_postfix_str(f"{tally.dropped} dropped" if tally.dropped else "", refresh=False)
            bar.update()
            for reading in readings if not bar.disable else ():
                bar.write(str(reading))
            if stop.is_set():
                break
    if tally.reason:
        click.echo(f"The last refusal: {tally.reason}", err=True)
    click.echo(f"{tally}.\n  overlay: {video}\n  points: {table}")
