"""Tables of captures that somebody brought: captures.csv, or a folder per distance."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rangefinder.captures.decode import PICTURE_SUFFIXES
from rangefinder.captures.problems import Problem
from rangefinder.captures.schema import ROLES
from rangefinder.captures.splits import SPLITS
from rangefinder.errors import CaptureError

if TYPE_CHECKING:
    import pandas as pd
    import pandera.pandas as pa

REQUIRED = ("image", "role")
TEXTS = ("image", "role", "distance_map", "valid_mask", "scene", "split", "encoding")
NUMBERS = ("distance_m", "origin_x_px", "origin_y_px", "scale", "exposure")
ENCODINGS = ("auto", "srgb", "linear")
FARTHEST_M = 200.0  # a distance beyond was surely written in millimetres
DISTANCE_FOLDER = re.compile(r"^(\d+(?:[.,]\d+)?)\s*m$", re.IGNORECASE)
CHARTS, PHOTOS = "charts", "photos"


@dataclass(frozen=True)
class Row:
    """One line of a table; see `Capture` for what the columns mean.

    Attributes:
        number: Its line, the header being 1.
        image: Path from the table's folder.
        encoding: How light became numbers; auto: 8 bits sRGB, more bits linear.
    """

    number: int
    image: str
    role: str
    scene: str
    distance_m: float | None = None
    distance_map: str | None = None
    valid_mask: str | None = None
    split: str | None = None
    encoding: str = "auto"
    origin_x_px: float = 0.0
    origin_y_px: float = 0.0
    scale: float = 1.0
    exposure: float = 1.0


@dataclass(frozen=True)
class Table:
    """What was read.

    Attributes:
        path: The file or folder.
        folder: What its paths start from.
        rows: Lines that make sense.
        problems: What is wrong with the others.
        ignored: Columns that mean nothing here.
        fields: The lines as they stood, by number, for those who sort them.
    """

    path: Path
    folder: Path
    rows: tuple[Row, ...]
    problems: tuple[Problem, ...]
    ignored: tuple[str, ...] = ()
    fields: dict[int, dict[str, str]] = field(default_factory=dict)


def read_table(path: Path) -> Table:
    """Read `captures.csv`, or a folder that holds one, or a folder per distance.

    Args:
        path: The file or folder.

    Raises:
        CaptureError: If there is no such table, or it is none.
    """
    if path.is_dir() and (path / "captures.csv").is_file():
        path = path / "captures.csv"
    if path.is_dir():
        return _folder_table(path)
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
            got=f"byte {raw[exc.start]:#04x} at place {exc.start}",
            todo="Save it as 'CSV UTF-8'.",
        ) from exc
    if "\0" in text:
        raise CaptureError(f"{path} is no table: it holds zero bytes", todo="Save it as CSV.")
    return text


def _parse(path: Path, text: str) -> tuple[dict[int, dict[str, str]], tuple[str, ...]]:
    """Lines by number, and the columns; commas, semicolons or tabs between them."""
    header = text.split("\n", 1)[0]
    mark = max(",;\t", key=header.count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=mark, skipinitialspace=True)
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
    if mark == ";":  # where semicolons part cells, commas part decimals
        for named in fields.values():
            named.update({name: named[name].replace(",", ".") for name in NUMBERS if name in named})
    return fields, columns


def _table(
    path: Path, folder: Path, fields: dict[int, dict[str, str]], columns: tuple[str, ...]
) -> Table:
    import pandas as pd

    frame = pd.DataFrame.from_dict(fields, orient="index").reindex(columns=[*TEXTS, *NUMBERS])
    frame = frame.astype("object").replace("", None)
    frame = frame.where(frame.notna(), None)
    problems: dict[int, list[str]] = {}
    for name in NUMBERS:
        numbers = pd.to_numeric(frame[name], errors="coerce")
        for row in frame.index[numbers.isna() & frame[name].notna()]:
            problems.setdefault(row, []).append(f"{name} is no number: {frame[name][row]!r}")
        frame[name] = numbers.astype("float64")
    for row, told in _schema_problems(frame):
        problems.setdefault(row, []).append(told)
    for row, told in [*_lacking(frame), *_repeated(frame)]:
        problems.setdefault(row, []).append(told)
    rows = tuple(_row(int(n), frame.loc[n]) for n in frame.index if n not in problems)
    listed = tuple(
        Problem(path.name, row, str(frame["image"][row] or ""), "; ".join(told), "Mend the row.")
        for row, told in sorted(problems.items())
    )
    ignored = tuple(name for name in columns if name and name not in TEXTS + NUMBERS)
    return Table(path, folder, rows, listed, ignored, fields)


@cache
def _schema() -> pa.DataFrameSchema:
    import pandera.pandas as pa

    def one_of(names: tuple[str, ...]) -> pa.Check:
        return pa.Check.isin(names, error=f"expected one of {', '.join(names)}")

    def within(low: float, high: float, unit: str) -> pa.Check:
        told = f"expected above {low:g} and up to {high:g} {unit}"
        return pa.Check(lambda x: (x > low) & (x <= high), error=told)

    metres = within(0.0, FARTHEST_M, "metres; were these millimetres?")
    return pa.DataFrameSchema(
        {
            "image": pa.Column(object, nullable=False),
            "role": pa.Column(object, one_of(ROLES), nullable=False),
            "split": pa.Column(object, one_of(SPLITS), nullable=True),
            "encoding": pa.Column(object, one_of(ENCODINGS), nullable=True),
            "distance_m": pa.Column(float, metres, nullable=True),
            "scale": pa.Column(float, within(0.0, 64.0, "sensor px"), nullable=True),
            "exposure": pa.Column(float, within(0.0, 100.0, ""), nullable=True),
            "origin_x_px": pa.Column(float, within(-1.0, 1e5, "px"), nullable=True),
            "origin_y_px": pa.Column(float, within(-1.0, 1e5, "px"), nullable=True),
        }
    )


def _schema_problems(frame: pd.DataFrame) -> Iterator[tuple[int, str]]:
    import pandera.errors

    try:
        _schema().validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as exc:
        for case in exc.failure_cases.to_dict("records"):
            value, check = case["failure_case"], case["check"]
            told = "is empty" if check == "not_nullable" else f"is {value!r}, {check}"
            yield int(case["index"]), f"{case['column']} {told}"


def _lacking(frame: pd.DataFrame) -> Iterator[tuple[int, str]]:
    needs = (("chart", "distance_m"), ("labelled", "distance_map"), ("rgbd", "distance_map"))
    for role, column in needs:
        for row in frame.index[frame["role"].eq(role) & frame[column].isna()]:
            yield row, f"a capture of role {role} needs its {column}"
    for row in frame.index[frame["scene"].isna() & frame["role"].isin(("labelled", "rgbd"))]:
        yield row, "scene is empty: name the room, so that splits keep it together"


def _repeated(frame: pd.DataFrame) -> Iterator[tuple[int, str]]:
    again = frame["image"].duplicated() & frame["image"].notna()
    for row in frame.index[again]:
        first = frame.index[frame["image"].eq(frame["image"][row])][0]
        yield row, f"the image stands in row {first} already"


def _row(number: int, values: pd.Series[Any]) -> Row:
    known = {name: values[name] for name in (*TEXTS, *NUMBERS) if values[name] == values[name]}
    known = {
        name: float(value) if name in NUMBERS else value
        for name, value in known.items()
        if value is not None
    }
    scene = known.pop("scene", None) or Path(str(known["image"])).with_suffix("").as_posix()
    return Row(number=number, scene=str(scene), **known)


def _folder_table(folder: Path) -> Table:
    """Rows of `charts/[sheet/]1.25m/[sheet/]*.jpg` and `photos/[scene/]*.jpg`."""
    fields, number = {}, 1
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in PICTURE_SUFFIXES or not path.is_file():
            continue
        parts = path.relative_to(folder).parts
        number += 1
        fields[number] = {"image": "/".join(parts), **_folder_fields(parts)}
    if not fields:
        raise CaptureError(
            f"{folder} holds no captures",
            expected="captures.csv, or charts/1.25m/*.jpg and photos/*.jpg",
            todo="Put photos of the chart into a folder named by its distance.",
        )
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
