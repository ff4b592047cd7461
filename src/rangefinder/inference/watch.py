"""Watching a folder: photos are measured as they land."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

from rangefinder.captures.formats import say_skipped, sort_photos
from rangefinder.common.foreign import reason
from rangefinder.errors import CaptureError, RangefinderError
from rangefinder.inference.output import DISTANCE
from rangefinder.inference.session import OutputRequest, Session

Stamp = tuple[int, int]  # size [byte], time of last change [ns]
TRIES = 3  # of a photo that the system could not read, or whose maps it could not write
log = logging.getLogger(__name__)


class Arrivals:
    """Photos of a folder that are there in full and were not handed out before.

    A photo counts as complete when neither its size nor its time has changed between two looks.

    Args:
        folder: The folder; those inside it are not looked at.
        done: Whether a photo needs nothing, for those that lie there from the start.
    """

    def __init__(self, folder: Path, done: Callable[[Path], bool]) -> None:
        self.folder = folder
        self._seen: dict[Path, Stamp] = {}
        self._tried: Counter[tuple[Path, Stamp]] = Counter()
        self._is_listed = True
        self._skipped: set[Path] = set()
        self._handed: dict[Path, Stamp] = {
            path: stamp
            for path in sort_photos(folder.iterdir())[0]
            if (stamp := _stamp(path)) is not None and done(path)
        }

    def look(self) -> list[Path]:
        """Photos that are complete and new, or were changed since they were handed out.

        Nothing while the folder cannot be listed, as when a network drive is away.

        Raises:
            CaptureError: If the folder has gone.
        """
        try:
            present, skipped = sort_photos(self.folder.iterdir())
        except FileNotFoundError as exc:
            raise CaptureError(f"the watched folder {self.folder} has gone") from exc
        except OSError as exc:
            if self._is_listed:
                log.warning("%s cannot be listed (%s): trying again", self.folder, reason(exc))
            self._is_listed = False
            return []
        self._is_listed = True
        say_skipped([path for path in skipped if path not in self._skipped])
        self._skipped = set(skipped)
        ready = []
        now = {path: stamp for path in present if (stamp := _stamp(path)) is not None}
        for path, stamp in now.items():
            if stamp[0] and self._seen.get(path) == stamp and self._handed.get(path) != stamp:
                self._handed[path] = stamp
                ready.append(path)
        self._seen = now
        return ready

    def again(self, path: Path) -> bool:
        """Hand a photo out once more, unless it was tried `TRIES` times as it is now."""
        tried = path, self._handed[path]
        self._tried[tried] += 1
        if self._tried[tried] >= TRIES:
            return False
        del self._handed[path]
        return True


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except OSError:  # moved away between two looks
        return None
    return status.st_size, status.st_mtime_ns


def watch_folder(
    session: Session, folder: Path, request: OutputRequest, interval_s: float, stop: Event
) -> Iterator[dict[str, Any]]:
    """Measure photos as they land, until told to stop; a photo begun is finished first.

    Args:
        session: The loaded model.
        folder: Where photos land. Those that have newer maps already are left alone.
        request: What is asked for of each photo.
        interval_s: Time between two looks [s].
        stop: Set it to end.

    Yields:
        For each photo what there is to say, or `photo` and `error`.

    Raises:
        CaptureError: If the folder is none, or has gone.
    """
    if not folder.is_dir():
        raise CaptureError(f"there is no folder {folder} to watch")
    if request.folder is not None and request.folder.resolve() == folder.resolve():
        raise CaptureError(
            "results must not land among the photos", got=folder, todo="Name another --out."
        )
    arrivals = Arrivals(folder, lambda path: _has_newer_maps(path, request.folder))
    while not stop.is_set():
        for path in arrivals.look():
            if stop.is_set():
                return
            if (report := _report(session, path, request, arrivals)) is not None:
                yield report
        stop.wait(interval_s)


def _report(
    session: Session, path: Path, request: OutputRequest, arrivals: Arrivals
) -> dict[str, Any] | None:
    """Report of a photo; None if it is tried again."""
    try:
        return session.report(path, _stem(path), request)
    except (RangefinderError, OSError) as error:
        if _is_of_the_system(error) and arrivals.again(path):
            log.warning("%s: %s; trying again", path, reason(error))
            return None
        return {"photo": str(path), "error": str(error)}


def _is_of_the_system(error: Exception) -> bool:
    """Whether the operating system failed, which may pass: a full disk, a share that is away."""
    system = error if isinstance(error, OSError) else error.__cause__
    return isinstance(system, OSError) and system.errno is not None


def _stem(path: Path) -> str:
    """Name of a photo's files: with its ending, since `a.jpg` and `a.png` may both land."""
    return path.name


def _has_newer_maps(path: Path, folder: Path | None) -> bool:
    if folder is None:
        return False
    result = folder / f"{_stem(path)}_{DISTANCE}"
    return result.is_file() and result.stat().st_mtime_ns >= path.stat().st_mtime_ns
