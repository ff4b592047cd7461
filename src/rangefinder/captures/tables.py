"""Tables of captures to import: captures.csv, or a folder per distance."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from rangefinder.captures.distance_maps import KINDS, Kind, MapMeaning
from rangefinder.captures.formats import say_skipped, skipped_lines, sort_photos
from rangefinder.captures.manifest import ROLES
from rangefinder.captures.splits import SPLITS
from rangefinder.common.foreign import guarded, short_repr
from rangefinder.config.imaging import FARTHEST_M
from rangefinder.errors import CaptureError, RangefinderError

SHOWN = 10  # problems that an error lists; `rangefinder check` lists all
REQUIRED = ("image", "role")
TEXTS = (
    *("image", "role", "distance_map", "distance_kind", "valid_mask"),
    *("scene", "split", "encoding", "sharp_image", "sheet"),
)
LIMITS = {  # of numbers: above, and up to
    "distance_m": (0.0, FARTHEST_M, "metres; were these millimetres?"),
    "origin_x_px": (-1.0, 1e5, "px"),
    "origin_y_px": (-1.0, 1e5, "px"),
    "scale": (0.0, 64.0, "sensor px"),
    "exposure": (0.0, 100.0, "times full scale"),
    "distance_scale": (0.0, 1000.0, "metres per number of the map"),
    "focal_length_px": (0.0, 1e6, "px"),
    "baseline_m": (0.0, 100.0, "metres; were these millimetres?"),
    "disparity_offset_px": (-1e5, 1e5, "px"),
    "sharp_f_number": (0.5, 128.0, "(focal length / aperture)"),
}
NUMBERS = tuple(LIMITS)
CHOICES = {
    "role": ROLES,
    "split": SPLITS,
    "encoding": ("auto", "srgb", "linear"),
    "distance_kind": KINDS,
}
NEEDS = {
    "chart": ("distance_m",),
    "labelled": ("distance_map", "scene"),
    "rgbd": ("distance_map", "scene"),
}
KIND_NEEDS = {
    "disparity": ("focal_length_px", "baseline_m"),
    "radial": ("focal_length_px",),  # of an rgbd frame: the camera record is that of another camera
}
NAME_ROOM = ": name the room, so that splits keep it together"
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
DISTANCE_FOLDER = re.compile(r"^(\d+(?:[.,]\d+)?)\s*m$", re.IGNORECASE)
CHARTS, PHOTOS = "charts", "photos"
MOVE_IT = "Copy the file into the table's folder and name it from there."


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong."""

    table: str  # name of the table
    row: int  # line of the table, the header being 1; 0: the table as a whole
    image: str  # the row's image column
    found: str  # what is wrong, and what was found
    todo: str  # what to do about it
    is_fatal: bool = True  # whether the row cannot be used; otherwise it is worth a look

    @classmethod
    def of(cls, table: str, row: int, image: str, error: RangefinderError) -> Problem:
        """The problem of an error."""
        return cls(table, row, image, error.finding, error.todo)

    def __str__(self) -> str:
        """As in: captures.csv, row 3 (a.jpg): what was found. What to do."""
        place = f"{self.table}, row {self.row}" if self.row else self.table
        name = f" ({self.image})" if self.image else ""
        return f"{place}{name}: {self.found.rstrip('.')}. {self.todo}".rstrip()


def refuse(problems: Sequence[Problem], skip: str) -> None:
    """Raise if any problem is fatal; `skip`: how to go on without these rows.

    Raises:
        CaptureError: Listing the fatal ones.
    """
    fatal = [problem for problem in problems if problem.is_fatal]
    if not fatal:
        return
    listed = "\n  ".join(str(problem) for problem in fatal[:SHOWN])
    rest = f"\n  ... and {len(fatal) - SHOWN} more" if len(fatal) > SHOWN else ""
    count = "one problem" if len(fatal) == 1 else f"{len(fatal)} problems"
    raise CaptureError(f"captures cannot be imported, {count}:\n  {listed}{rest}\n{skip}")


def inside(folder: Path, name: str) -> Path:
    r"""Path of an existing file inside a table's folder.

    Args:
        folder: Folder of the table.
        name: From the table; `/` or `\\` between folders.

    Raises:
        CaptureError: If the name is absolute, leads out of the folder (also by a symbolic link),
            or there is no such file.
    """
    parts = PurePosixPath(name.replace("\\", "/"))
    problem = ""
    if parts.is_absolute() or PureWindowsPath(name).drive or "\0" in name:
        problem = "a path is not relative to the table's folder"
    elif ".." in parts.parts:
        problem = "a path leads out of the table's folder"
    else:
        shown = short_repr(name)
        with guarded(CaptureError, "a path cannot be followed", got=shown, todo=MOVE_IT):
            path = _spelled(folder, parts)  # fails for a name that is too long
            if not path.resolve().is_relative_to(folder.resolve()):
                problem = "a symbolic link leads out of the table's folder"
    if problem:
        raise CaptureError(problem, got=short_repr(name), todo=MOVE_IT)
    if path.is_dir():
        raise CaptureError("a folder is where a file should be", got=repr(name))
    if not path.is_file():
        raise CaptureError(
            "a file is missing",
            got=f"no {short_repr(name)} in {folder}",
            todo="Restore it or take its row out.",
        )
    return path


def _spelled(folder: Path, parts: PurePosixPath) -> Path:
    """The path in the Unicode normal form of the file system."""
    plain = folder / parts
    for form in ("NFC", "NFD"):
        other = folder / unicodedata.normalize(form, str(parts))
        if not plain.exists() and other.exists():
            return other
    return plain


@dataclass(frozen=True)
class Row:
    """One line of a table; for its columns see `Capture`."""

    number: int  # its line, the header being 1
    image: str  # path from the table's folder
    role: str
    scene: str
    distance_m: float | None = None
    distance_map: str | None = None
    valid_mask: str | None = None
    split: str | None = None
    encoding: str = "auto"  # srgb, linear, or auto: 8 bits sRGB, more bits linear
    origin_x_px: float = 0.0
    origin_y_px: float = 0.0
    scale: float = 1.0
    exposure: float = 1.0
    distance_kind: Kind | None = None
    distance_scale: float | None = None
    focal_length_px: float | None = None
    baseline_m: float | None = None
    disparity_offset_px: float = 0.0
    sharp_image: str | None = None  # the same view stopped down, for calibration
    sharp_f_number: float | None = None  # of that photo; None: its EXIF says it
    sheet: str | None = None  # the drawing of the printed sheet that is photographed

    @property
    def map_meaning(self) -> MapMeaning:
        """What the numbers of its distance map mean."""
        return MapMeaning(
            self.distance_kind,
            self.distance_scale,
            self.focal_length_px,
            self.baseline_m,
            self.disparity_offset_px,
        )


@dataclass(frozen=True)
class Table:
    """A table as read.

    Attributes:
        fields: All lines as they were, by number.
    """

    path: Path  # the file or folder
    folder: Path  # what its paths are relative to
    rows: tuple[Row, ...]  # valid lines
    problems: tuple[Problem, ...]  # what is wrong with the others
    ignored: tuple[str, ...] = ()  # unknown columns
    fields: dict[int, dict[str, str]] = field(default_factory=dict)


def read_table(path: Path) -> Table:
    """Read `captures.csv`, a folder that holds one, or a folder per distance.

    Raises:
        CaptureError: If there is no such table, or it is none.
    """
    if path.is_dir() and (path / "captures.csv").is_file():
        path = path / "captures.csv"
    if path.is_dir():
        return _folder_table(path)
    with guarded(CaptureError, f"{path} cannot be read"):
        fields, columns = _parse(path, _text(path))
        return _table(path, path.parent, fields, columns)


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as exc:
        raise CaptureError(
            f"{path} cannot be read ({exc.strerror})",
            todo="Name a captures.csv, or a folder with charts/1.25m/*.jpg.",
        ) from exc
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise CaptureError(
            f"{path} is not text in UTF-8",
            got=f"byte {raw[exc.start]:#04x} at offset {exc.start}",
            todo="Save it as 'CSV UTF-8'.",
        ) from exc
    if "\0" in text:
        raise CaptureError(f"{path} is no table: it holds zero bytes", todo="Save it as CSV.")
    return text


def _parse(path: Path, text: str) -> tuple[dict[int, dict[str, str]], tuple[str, ...]]:
    """Lines by number, and the columns; separated by commas, semicolons or tabs."""
    header = text.split("\n", 1)[0]
    separator = max(",;\t", key=header.count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    try:
        columns = tuple(name.strip().lower() for name in next(lines, []))
        fields = {}
        for cells in lines:
            if any(cell.strip() for cell in cells):
                named = dict(zip(columns, (cell.strip() for cell in cells), strict=False))
                fields[lines.line_num] = named
    except csv.Error as exc:
        raise CaptureError(f"{path} is no table of comma-separated values ({exc})") from exc
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise CaptureError(
            f"{path} lacks the column {' and '.join(missing)}",
            got=", ".join(filter(None, columns)) or "nothing",
            expected=", ".join(REQUIRED + TEXTS[2:] + NUMBERS),
            todo="Write the names of the columns into the first line.",
        )
    if not fields:
        raise CaptureError(f"{path} names no captures", todo="Add a line for every photo.")
    if separator == ";":  # then commas are decimal
        for named in fields.values():
            named.update({name: named[name].replace(",", ".") for name in NUMBERS if name in named})
    return fields, columns


def _table(
    path: Path, folder: Path, fields: dict[int, dict[str, str]], columns: tuple[str, ...]
) -> Table:
    rows: list[Row] = []
    problems: list[Problem] = []
    numbers: dict[str, int] = {}
    for number, cells in fields.items():
        known = {name: cells[name] for name in TEXTS + NUMBERS if cells.get(name)}
        image = known.get("image", "")
        found = list(_row_problems(known))
        if image and numbers.setdefault(image, number) != number:
            found.append(f"the image stands in row {numbers[image]} already")
        if found:
            problems.append(Problem(path.name, number, image, "; ".join(found), "Mend the row."))
            continue
        values: dict[str, Any] = {**known, **{n: float(known[n]) for n in NUMBERS if n in known}}
        values.setdefault("scene", Path(image).with_suffix("").as_posix())
        rows.append(Row(number=number, **values))
    ignored = tuple(name for name in columns if name and name not in TEXTS + NUMBERS)
    return Table(path, folder, tuple(rows), tuple(problems), ignored, fields)


def _row_problems(known: dict[str, str]) -> Iterator[str]:
    """What is wrong with a row, given its cells that are not empty."""
    for name in sorted(LIMITS.keys() & known.keys()):
        low, high, unit = LIMITS[name]
        if not NUMBER.fullmatch(known[name]):
            yield f"{name} is no number: {known[name]!r}"
            continue
        value = float(known[name])
        if not low < value <= high:
            yield f"{name} is {value!r}, expected above {low:g} and up to {high:g} {unit}"
    yield from (f"{name} is empty" for name in REQUIRED if name not in known)
    if "image" in known and not Path(known["image"]).name:
        yield f"image names no file: {known['image']!r}"
    for name in sorted(CHOICES.keys() & known.keys()):
        if known[name] not in CHOICES[name]:
            yield f"{name} is {known[name]!r}, expected one of {', '.join(CHOICES[name])}"
    role = known.get("role", "")
    yield from (
        f"a capture of role {role} needs its {name}" + (NAME_ROOM if name == "scene" else "")
        for name in NEEDS.get(role, ())
        if name not in known
    )
    kind = known.get("distance_kind", "")
    if kind == "disparity" or (kind, role) == ("radial", "rgbd"):
        yield from (
            f"a map of kind {kind} needs its {name}"
            for name in KIND_NEEDS[kind]
            if name not in known
        )


def _folder_table(folder: Path) -> Table:
    """Rows of `charts/[sheet/]1.25m/[sheet/]*.jpg` and `photos/[scene/]*.jpg`."""
    fields = {}
    photos, skipped = sort_photos(folder.rglob("*"))
    for number, path in enumerate(photos, start=2):
        parts = path.relative_to(folder).parts
        fields[number] = {"image": "/".join(parts), **_folder_fields(parts)}
    if not fields:
        raise CaptureError(
            f"{folder} holds no captures",
            got="; ".join(skipped_lines(skipped)) or None,
            expected="captures.csv, or charts/1.25m/*.jpg and photos/*.jpg",
            todo="Put photos of the chart into a folder named by its distance.",
        )
    say_skipped(skipped)
    return _table(folder, folder, fields, ())


def _folder_fields(parts: tuple[str, ...]) -> dict[str, str]:
    *folders, name = parts[1:]
    if parts[0].lower() == CHARTS:
        found = [match for part in folders if (match := DISTANCE_FOLDER.match(part))]
        sheet = "-".join(part for part in folders if not DISTANCE_FOLDER.match(part))
        distance = found[0][1].replace(",", ".") if found else ""
        return {"role": "chart", "distance_m": distance, "scene": sheet or "sheet"}
    if parts[0].lower() == PHOTOS:
        return {"role": "unlabelled", "scene": "-".join(folders) or Path(name).stem}
    return {"role": "", "scene": ""}
