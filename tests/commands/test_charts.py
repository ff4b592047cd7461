"""`rangefinder mask`, on photos with and without a sheet and on other files."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image

from rangefinder.charts.sheets import SIZES_MM, SheetPlan, draw_sheet
from rangefinder.commands import BAD_INPUT, main
from rangefinder.commands.charts import SIZES

from ..conftest import ROOT
from ..dng import FULL, LINEAR_RAW, LONG, write_dng


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """The current folder has photos of a sheet, and of its texture alone."""
    monkeypatch.chdir(tmp_path)
    sheet = draw_sheet(SheetPlan("A4", 60), 1).convert("RGB").resize((360, 255))
    wall = Image.new("RGB", (480, 360), (120, 120, 120))
    wall.paste(sheet, (60, 50))
    (tmp_path / "photos").mkdir()
    wall.save("photos/sheet.png")
    sheet.crop((60, 60, 300, 200)).save("photos/close.png")
    return tmp_path / "photos"


def mask(*options):
    return CliRunner().invoke(main, ["mask", "photos", "--out", "masks", *options])


def test_a_photo_without_marks_is_named_and_no_error(photos):
    done = mask()
    assert done.exit_code == 0, done.output
    assert "close.png: no mask" in done.output
    assert [path.name for path in (photos.parent / "masks").iterdir()] == ["sheet.png"]
    with Image.open("masks/sheet.png") as found:
        assert found.size == (480, 360)
        assert 0.15 < np.asarray(found).astype(bool).mean() < 0.5


def test_a_file_that_is_no_photo_is_named_and_the_others_are_masked(photos):
    (photos / "a.jpg").write_text("text")
    done = mask()
    assert done.exit_code == BAD_INPUT
    assert "a.jpg is no JPEG" in done.output
    assert (photos.parent / "masks/sheet.png").is_file()


def test_a_mask_is_laid_out_as_the_configuration_has_the_photo(photos):
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(photos / "sheet.png") as picture:
        picture.save(photos / "sheet.png", exif=exif)
    shutil.copytree(ROOT / "conf/base", "conf/base")
    shutil.copy(ROOT / "pyproject.toml", "pyproject.toml")
    for choice, size in (("ignore", (480, 360)), ("apply", (360, 480))):
        Path("conf", choice).mkdir()
        Path("conf", choice, "parameters.yml").write_text(f"captures: {{orientation: {choice}}}")
        done = mask("--env", choice)
        assert done.exit_code == 0, done.output
        with Image.open("masks/sheet.png") as found:
            assert found.size == size


def test_raw_photos_are_read(photos):
    pytest.importorskip("rawpy")
    with Image.open(photos / "sheet.png") as picture:
        samples = np.rint((np.asarray(picture) / 255) ** 2.2 * FULL).astype(np.uint16)
    write_dng(photos / "raw.dng", samples, LINEAR_RAW, (50717, LONG, 3, (FULL,) * 3, True))
    done = mask()
    assert done.exit_code == 0, done.output
    assert (photos.parent / "masks/raw.png").is_file()


def test_every_size_of_sheets_can_be_asked_for():
    assert tuple(SIZES_MM) == SIZES


def test_a_range_nearer_than_the_lens_allows_is_refused_with_its_nearest_distance(tmp_path):
    record = {"focal_length_mm": 400, "focus_distance_m": 3.0, "pixel_pitch_um": 41.0}
    (tmp_path / "camera.yml").write_text(yaml.safe_dump(record))
    done = CliRunner().invoke(main, ["distances", "--camera", str(tmp_path / "camera.yml")])
    assert done.exit_code == BAD_INPUT
    assert "a lens of 400 mm does not work this near" in done.output
    assert "0.7 m in range.working_m" in done.output
    assert "or more. Let range.working_m begin there" in done.output
