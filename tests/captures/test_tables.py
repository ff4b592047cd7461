"""Tables of captures: separators, encodings, folders per distance, and what is refused."""

from __future__ import annotations

import pytest

from rangefinder.captures.tables import inside, read_table
from rangefinder.errors import CaptureError

from .conftest import save_photo, table_of


@pytest.mark.parametrize(
    ("encoding", "mark", "separator"),
    [("utf-8-sig", "\r\n", ";"), ("utf-8", "\n", ","), ("utf-8", "\r\n", "\t")],
)
def test_tables_of_all_programs_are_read(tmp_path, encoding, mark, separator):
    save_photo(tmp_path / "Küche 1.png")
    number = "1,25" if separator == ";" else "1.25"
    lines = (
        f"Image {separator} role{separator}distance_m",
        f"Küche 1.png{separator}chart {separator}{number}",
    )
    (row,) = read_table(table_of(tmp_path, *lines, mark=mark, encoding=encoding)).rows
    assert (row.image, row.role, row.distance_m) == ("Küche 1.png", "chart", 1.25)
    assert inside(tmp_path, row.image).is_file()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((), "lacks the column image and role"),
        (("image,role",), "names no captures"),
        (("image", "a.png"), "lacks the column role"),
        (("image,role", "a.png\0,chart"), "zero bytes"),
    ],
)
def test_invalid_tables_are_refused(tmp_path, lines, message):
    with pytest.raises(CaptureError, match=message):
        read_table(table_of(tmp_path, *lines))


def test_a_table_in_another_encoding_is_refused(tmp_path):
    with pytest.raises(CaptureError, match="UTF-8"):
        read_table(table_of(tmp_path, "image,role", "Küche.png,chart", encoding="latin-1"))


def test_a_folder_per_distance_is_a_table(tmp_path):
    save_photo(tmp_path / "charts/sheet1/1.25m/a.jpg", 1)
    save_photo(tmp_path / "charts/2,5m/sheet2/b.png", 2)
    save_photo(tmp_path / "photos/garden/c.png", 3)
    rows = {row.image: row for row in read_table(tmp_path).rows}
    assert rows["charts/sheet1/1.25m/a.jpg"].distance_m == 1.25
    assert rows["charts/2,5m/sheet2/b.png"].distance_m == 2.5
    assert {row.scene for row in rows.values()} == {"sheet1", "sheet2", "garden"}
    assert rows["photos/garden/c.png"].role == "unlabelled"
