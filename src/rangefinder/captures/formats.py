"""Which files are photos and can be read here; warnings about the others; opening pictures."""

from __future__ import annotations

import logging
import mmap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

TIFF_SUFFIXES = (".tif", ".tiff")
RAW_SUFFIXES = (
    *(".dng", ".nef", ".nrw", ".cr2", ".cr3", ".crw", ".arw", ".sr2", ".raf", ".orf", ".rw2"),
    *(".rwl", ".pef", ".srw", ".erf", ".3fr", ".fff", ".iiq", ".mef", ".mos", ".mrw", ".x3f"),
)
HEIC_SUFFIXES = (".heic", ".heif", ".hif")
PICTURE_SUFFIXES = (
    *(".jpg", ".jpeg", ".png", *TIFF_SUFFIXES, ".webp", ".avif"),
    *(*HEIC_SUFFIXES, *RAW_SUFFIXES),
)
UNREAD_SUFFIXES = (
    *(".gif", ".bmp", ".jp2", ".j2k", ".jpf", ".jpx", ".jxl", ".jxr", ".hdp", ".wdp", ".insp"),
    *(".heics", ".heifs", ".mpo", ".pcx", ".pgm", ".pnm", ".ppm", ".psb", ".psd", ".tga", ".xcf"),
)
READERS = {"heic": ("pillow_heif", HEIC_SUFFIXES), "raw": ("rawpy", RAW_SUFFIXES)}  # extras
SAVE_AS = "Save it as JPEG, or as PNG or TIFF with 8 or 16 bits, in RGB."
CONVERT = "save as JPEG, PNG or TIFF"
SHOWN = 5  # names in a line
log = logging.getLogger(__name__)


def how_to_read(path: Path) -> str:
    """What to do before a photo can be read; empty if it can be, or is no photo by its name."""
    suffix = path.suffix.lower()
    if suffix in UNREAD_SUFFIXES:
        return CONVERT
    for extra, (module, suffixes) in READERS.items():
        if suffix in suffixes and find_spec(module) is None:
            return install(extra)
    return ""


def install(extra: str) -> str:
    """How to install an extra of this package."""
    return f"pip install 'rangefinder[{extra}]'"


def sort_photos(paths: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Files that are photos, by name: those that can be read, and those that cannot."""
    found: dict[bool, list[Path]] = {True: [], False: []}
    for path in sorted(paths):
        if path.suffix.lower() in PICTURE_SUFFIXES + UNREAD_SUFFIXES and path.is_file():
            found[not how_to_read(path)].append(path)
    return found[True], found[False]


def skipped_lines(skipped: Sequence[Path]) -> list[str]:
    """For each remedy a line such as: 2 files skipped: a.heic, b.heic (how to read them)."""
    lines = []
    for todo in dict.fromkeys(map(how_to_read, skipped)):
        names = [path.name for path in skipped if how_to_read(path) == todo]
        files = "1 file" if len(names) == 1 else f"{len(names)} files"
        more = ", ..." if len(names) > SHOWN else ""
        lines.append(f"{files} skipped: {', '.join(names[:SHOWN])}{more} ({todo})")
    return lines


def say_skipped(skipped: Sequence[Path]) -> None:
    """Name photos that are passed over because nothing here can read them."""
    for line in skipped_lines(skipped):
        log.warning("%s", line)


@contextmanager
def open_picture(path: Path, formats: Sequence[str]) -> Iterator[Image.Image]:
    """An open picture of one of Pillow's formats.

    The file is mapped: a reader of a damaged one may ask for gigabytes, and gets what is there.

    Raises:
        PIL.UnidentifiedImageError: If it is of another format.
        ValueError: If it is empty.
    """
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        Image.open(content, formats=formats) as picture,  # type: ignore[arg-type]
    ):
        yield picture
