"""Streams of photos: video files, cameras, folders; measured frame by frame without lagging.

A live stream is read in a thread of its own, which keeps only the newest frame: what comes while
another is measured is dropped. Videos are read and written by PyAV.
"""

from __future__ import annotations

import csv
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field, fields
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from rangefinder.captures.formats import install
from rangefinder.captures.photos import find_photos
from rangefinder.errors import CaptureError, ConfigError, RangefinderError
from rangefinder.inference.output import draw_overlay
from rangefinder.inference.session import Measurement, OneOfTwo, Point, PointReading, Session

if TYPE_CHECKING:
    import av
    from av.container import InputContainer, OutputContainer
    from av.video.stream import VideoStream

_CAMERAS = {"linux": ("/dev/video{}", "v4l2"), "darwin": ("{}", "avfoundation")}
_CODECS = ("libx264", "mpeg4")  # the first that PyAV has
_TICK = Fraction(1, 1000)  # of times in written videos [s]
ONE_OF_TWO = tuple(one.name for one in fields(OneOfTwo))
COLUMNS = (
    *("frame", "time_s", "x_px", "y_px", "distance_m", "near_m", "far_m", "accuracy_probability"),
    *(f"{which}_{name}" for which in ("nearer", "farther") for name in ONE_OF_TWO),
)


@dataclass(frozen=True)
class Frame:
    """One picture of a stream.

    Attributes:
        number: Of the frames that came, from 0.
        time_s: Since the first [s].
        photo: `[H, W, 3]` sRGB, or a photo file; None: it is broken.
    """

    number: int
    time_s: float
    photo: NDArray[np.uint8] | Path | None


@dataclass
class Tally:
    """What became of the frames."""

    measured: int = 0
    dropped: int = 0  # newer ones came while another was measured
    broken: int = 0  # could not be decoded
    refused: int = 0  # not such as the model accepts
    reason: str = ""  # of the last refusal
    seconds: float = 0.0
    _started: float = field(default_factory=time.monotonic, repr=False)

    def stop(self) -> None:
        """Take the time."""
        self.seconds = time.monotonic() - self._started

    @property
    def frames_per_s(self) -> float:
        """Frames measured in a second."""
        return self.measured / max(self.seconds, 1e-9)

    def __str__(self) -> str:
        parts = [f"{self.measured} frames measured, {self.frames_per_s:.1f} a second"]
        for name in ("dropped", "broken", "refused"):
            if count := getattr(self, name):
                parts.append(f"{count} {name}")
        return ", ".join(parts)


def require_pyav() -> None:
    """Refuse to read or write videos where PyAV is missing.

    Raises:
        ConfigError: In that case.
    """
    try:
        import av  # noqa: F401
    except ModuleNotFoundError as exc:
        raise ConfigError(
            "streams need PyAV, which is not installed", todo=f"{install('stream')}."
        ) from exc


def is_camera(source: str) -> bool:
    """Whether a stream's name is a camera's number."""
    return source.isdecimal()


def read_frames(source: str, photos_per_s: float) -> Iterator[Frame]:
    """Frames of a camera (its number), a folder of photos or a video file.

    Args:
        source: Which.
        photos_per_s: Of a folder.

    Raises:
        CaptureError: If there is no such source, or it cannot be read.
    """
    if Path(source).is_dir():
        for number, path in enumerate(find_photos([source])):
            yield Frame(number, number / photos_per_s, path)
        return
    with _opened(source) as container:
        if not container.streams.video:
            raise CaptureError(f"{source} has no pictures", expected="a video, a folder, a camera")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        rate = float(stream.average_rate or photos_per_s)
        first_s = None
        for number, frame in enumerate(_decoded(container, stream)):
            if frame is None:
                yield Frame(number, number / rate, None)
                continue
            time_s = number / rate if frame.time is None else frame.time
            first_s = time_s if first_s is None else first_s
            pixels = cast("NDArray[np.uint8]", frame.to_ndarray(format="rgb24"))
            yield Frame(number, time_s - first_s, pixels)


@contextmanager
def _opened(source: str) -> Iterator[InputContainer]:
    import av

    name, kind = source, None
    if is_camera(source):
        if sys.platform not in _CAMERAS:
            raise CaptureError("cameras are read on Linux and macOS only", got=sys.platform)
        pattern, kind = _CAMERAS[sys.platform]
        name = pattern.format(source)
    try:
        container = av.open(name, format=kind)
    except (OSError, ValueError) as exc:  # errors of PyAV are these
        raise CaptureError(
            f"{name} cannot be opened ({exc})", expected="a video, a folder or a camera's number"
        ) from exc
    with container:
        yield container


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame | None]:
    """Frames as they come; None for each that is broken."""
    from av.error import FFmpegError

    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except FFmpegError:
            yield None


class Reader:
    """Frames of a source, read in a thread of its own while others are measured.

    Args:
        frames: The source.
        tally: Counts those that are dropped and broken.
        live: Hand out only the newest frame, and those of files when it is their time.
    """

    def __init__(self, frames: Iterator[Frame], tally: Tally, *, live: bool) -> None:
        self._frames, self._tally, self._live = frames, tally, live
        self._changed = threading.Condition()
        self._next: Frame | None = None
        self._ended = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._thread.join()

    def __iter__(self) -> Iterator[Frame]:
        """Frames to measure.

        Raises:
            CaptureError: If the source cannot be read.
        """
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._next is not None or self._ended)
                frame, self._next = self._next, None
                self._changed.notify_all()
            if frame is None:
                break
            yield frame
        if self._error is not None:
            raise self._error

    def _read(self) -> None:
        try:
            started = time.monotonic()
            for frame in self._frames:
                if self._live and self._wait(started + frame.time_s - time.monotonic()):
                    return
                if frame.photo is None:
                    self._tally.broken += 1
                elif self._put(frame):
                    return
        except BaseException as exc:  # it is raised where frames are taken
            self._error = exc
        finally:
            with self._changed:
                self._changed.wait_for(lambda: self._next is None or self._ended)
                self._ended = True
                self._changed.notify_all()

    def _wait(self, seconds: float) -> bool:
        """Wait until it is time; whether the reader was told to end."""
        with self._changed:
            return self._changed.wait_for(lambda: self._ended, max(seconds, 0.0))

    def _put(self, frame: Frame) -> bool:
        """Offer a frame; whether the reader was told to end."""
        with self._changed:
            if self._live:
                self._tally.dropped += self._next is not None
            else:
                self._changed.wait_for(lambda: self._next is None or self._ended)
            self._next = frame
            self._changed.notify_all()
            return self._ended


class OverlayVideo:
    """A video of overlays, which begins with the first of them.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._last = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._container is not None and self._stream is not None:
            self._container.mux(self._stream.encode(None))
            self._container.close()

    def add(self, measured: Measurement, time_s: float, title: str) -> None:
        """Add the overlay of one frame."""
        import av

        range_m = measured.card.prediction.range_m
        picture = draw_overlay(measured.photo.shown_light, measured.prediction, range_m, title)
        if self._container is None:
            self._container, self._stream = self._begin(picture.width, picture.height)
        assert self._stream is not None
        pixels = np.asarray(picture.crop((0, 0, *self._size)))
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        self._last = max(self._last + 1, round(time_s / _TICK))
        frame.pts, frame.time_base = self._last, _TICK
        self._container.mux(self._stream.encode(frame))

    def _begin(self, width: int, height: int) -> tuple[OutputContainer, VideoStream]:
        import av

        self._size = width // 2 * 2, height // 2 * 2  # as encoders want it
        self.path.parent.mkdir(parents=True, exist_ok=True)
        container = av.open(str(self.path), "w")
        codec = next(name for name in _CODECS if name in av.codecs_available)
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height = self._size
        stream.pix_fmt, stream.time_base = "yuv420p", _TICK
        stream.codec_context.time_base = _TICK
        return container, stream


def measure_stream(
    session: Session,
    reader: Reader,
    points: Sequence[Point],
    video: OverlayVideo,
    table: Path,
    tally: Tally,
) -> Iterator[list[PointReading]]:
    """Measure frames, and write overlays and readings as they come.

    Args:
        session: The loaded model.
        reader: The frames.
        points: Places (x, y) [px] to read out of each.
        video: Of overlays.
        table: CSV of readings.
        tally: Counts what becomes of the frames.

    Yields:
        The readings of each frame.

    Raises:
        CaptureError: If the first frame is refused, as all will be.
    """
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for frame in reader:
            if (found := _measure(session, frame, points, tally)) is None:
                continue
            measured, readings = found
            video.add(measured, frame.time_s, f"{frame.time_s:.2f} s")
            rows.writerows(_row(frame, reading) for reading in readings)
            file.flush()
            tally.stop()
            yield readings


def _measure(
    session: Session, frame: Frame, points: Sequence[Point], tally: Tally
) -> tuple[Measurement, list[PointReading]] | None:
    """What a frame shows; None if it is refused, unless it is the first."""
    assert frame.photo is not None
    try:
        measured = session.measure(frame.photo)
        readings = [measured.at(*point) for point in points]
    except RangefinderError as exc:
        if not tally.measured and not tally.refused:
            raise
        tally.refused, tally.reason = tally.refused + 1, str(exc)
        return None
    tally.measured += 1
    return measured, readings


def _row(frame: Frame, reading: PointReading) -> list[Any]:
    both: list[Any] = [value for one in reading.two_distances or () for value in astuple(one)]
    values = (reading.distance_m, reading.near_m, reading.far_m, reading.accuracy_probability)
    place = (frame.number, round(frame.time_s, 4), reading.x_px, reading.y_px)
    return [*place, *values, *(both or [""] * (2 * len(ONE_OF_TWO)))]
