"""Which files of a folder are photos; those that nothing here can read are named."""

from __future__ import annotations

import sys

import pytest

from rangefinder.captures.formats import skipped_lines, sort_photos
from rangefinder.captures.photos import find_photos
from rangefinder.captures.tables import read_table
from rangefinder.errors import CaptureError

from .conftest import save_photo

UNRELATED = ("notes.txt", "captures.csv", "camera.yml", "map.npy", "a_cloud.ply", "clip.mov")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of everything, where no extra is installed."""
    for module in ("pillow_heif", "rawpy"):
        monkeypatch.setitem(sys.modules, module, None)
    for name in ("b.GIF", "c.bmp", "d.jp2", "e.HEIC", "f.heif", "g.nef", *UNRELATED):
        (tmp_path / name).write_bytes(b"something")
    save_photo(tmp_path / "a.png")
    return tmp_path


def test_photos_without_a_reader_are_named_with_a_count_and_a_remedy(folder):
    photos, skipped = sort_photos(folder.iterdir())
    assert [path.name for path in photos] == ["a.png"]
    assert skipped_lines(skipped) == [
        "3 files skipped: b.GIF, c.bmp, d.jp2 (save as JPEG, PNG or TIFF)",
        "2 files skipped: e.HEIC, f.heif (pip install 'rangefinder[heic]')",
        "1 file skipped: g.nef (pip install 'rangefinder[raw]')",
    ]


def test_many_names_are_cut_short(folder):
    for number in range(20):
        (folder / f"photo{number:02d}.gif").write_bytes(b"something")
    line = skipped_lines(sort_photos(folder.glob("photo*"))[1])[0]
    assert line.startswith("20 files skipped: photo00.gif, ")
    assert ", ... (save" in line
    assert len(line) < 160


def test_finding_photos_says_once_what_is_skipped(folder, caplog):
    assert [path.name for path in find_photos([str(folder)])] == ["a.png"]
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "3 files skipped",
        "2 files skipped",
        "1 file skipped",
    ]


def test_a_folder_of_nothing_else_is_refused_with_the_reason(folder):
    (folder / "a.png").unlink()
    (folder / "captures.csv").unlink()
    with pytest.raises(CaptureError, match=r"no photo in .*e\.HEIC.*rangefinder\[heic\]"):
        find_photos([str(folder)])
    with pytest.raises(CaptureError, match=r"holds no captures.*e\.HEIC.*rangefinder\[heic\]"):
        read_table(folder)


def test_folders_of_charts_name_what_they_skip(tmp_path, caplog):
    save_photo(tmp_path / "charts/1.25m/a.png")
    (tmp_path / "charts/2m").mkdir()
    (tmp_path / "charts/2m/b.gif").write_bytes(b"something")
    assert [row.distance_m for row in read_table(tmp_path).rows] == [1.25]
    assert "1 file skipped: b.gif" in caplog.text
