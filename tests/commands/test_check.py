"""`rangefinder check`: focus, missing distances, bad rows and suspicious photos."""

from __future__ import annotations

import shutil
from pathlib import Path

import imagecodecs
import numpy as np
import pandas as pd
from PIL import Image

from ..conftest import ROOT
from .conftest import call, chart


def test_check_reports_the_focus_and_missing_distances(captures):
    done = call("check", "mine/captures.csv", "--out", "report")
    assert done.exit_code == 0, done.output
    assert "Sharpest at 1.50 m" in done.output
    assert "No chart between 0.80 and 1.00 m: take some at" in done.output
    assert {path.name for path in Path("report").iterdir()} == {
        "problems.csv",
        "distance_coverage.png",
        "sharpness.png",
        "exposure.png",
    }


def test_check_lists_bad_rows_and_separates_them_with_skip_bad(captures):
    (captures / "s1_0.8.png").write_text("text")
    Image.new("RGB", (128, 96), "white").save(captures / "s2_0.8.png")
    done = call("check", "mine", "--out", "report")
    assert done.exit_code == 2
    assert "row 2 (s1_0.8.png): s1_0.8.png is no JPEG" in done.output
    assert "row 3 (s2_0.8.png): 100% of the pixels are burnt out" in done.output
    assert not list(captures.glob("*_good.csv"))
    assert call("check", "mine", "--out", "report", "--skip-bad").exit_code == 0
    good = pd.read_csv(captures / "captures_good.csv")
    bad = pd.read_csv(captures / "captures_quarantined.csv")
    assert len(good) == 20
    assert bad["image"].tolist() == ["s1_0.8.png"]
    assert "no JPEG" in bad["reason"][0]


def test_check_finds_other_cameras_and_one_view_in_two_scenes(captures):
    exif = Image.Exif()
    for name, model in (("s1_0.8", "A"), ("s1_1.0", "A"), ("s1_1.2", "B")):
        exif[0x0110] = model
        with Image.open(captures / f"{name}.png") as picture:
            picture.save(captures / f"{name}.png", exif=exif)
    with Image.open(captures / "s1_1.5.png") as picture:
        for name, shift in (("x", 1), ("y", 2)):
            Image.fromarray(np.asarray(picture) + shift).save(captures / f"{name}.png")
    with (captures / "captures.csv").open("a") as file:
        file.write("\nx.png,unlabelled,,room1\ny.png,unlabelled,,room2")
    table = pd.read_csv(captures / "captures.csv")
    table["split"] = np.where(table["scene"] == "room2", "test", "")
    table.to_csv(captures / "captures.csv", index=False)
    done = call("check", "mine", "--out", "report")
    assert done.exit_code == 2
    assert "was taken by B, most others by A" in done.output
    assert "looks like x.png (scene room1)" in done.output


def project_settings() -> Path:
    """Where the project that is made of the current folder has settings of its own."""
    shutil.copy(ROOT / "pyproject.toml", "pyproject.toml")
    Path("conf/local").mkdir()
    return Path("conf/local/parameters.yml")


def test_portrait_photos_are_checked_as_the_configuration_says(captures):
    exif = Image.Exif()
    exif[0x0112] = 6
    for path in captures.glob("s1_*.png"):
        with Image.open(path) as picture:
            picture.save(path, exif=exif)
    done = call("check", "mine", "--out", "report")
    assert done.exit_code == 2
    assert "Set captures.orientation: ignore" in done.output
    settings = project_settings()
    for choice, code, said in (("ignore", 0, "21 rows can be used"), ("apply", 2, "by a quarter")):
        settings.write_text(f"captures: {{orientation: {choice}}}")
        done = call("check", "mine", "--out", "report")
        assert done.exit_code == code, done.output
        assert said in done.output


def test_untold_bits_are_doubted_in_one_line_until_they_are_set(captures):
    for path in captures.glob("s*.png"):
        with Image.open(path) as picture:
            pixels = np.asarray(picture).astype(np.uint16) * 16
        imagecodecs.imwrite(path, pixels)
    done = call("check", "mine", "--out", "report")
    doubt = (
        "no sample of 21 16-bit photos is above 4095. 12 bits in 16? Set captures.sample_bits: 12"
    )
    assert done.output.count(doubt) == 1
    project_settings().write_text("captures: {sample_bits: 12}")
    assert "bits" not in call("check", "mine", "--out", "report").output


def test_a_file_that_cannot_be_written_ends_with_exit_code_1(captures):
    Path("file").write_text("in the way")
    done = call("check", "mine", "--out", "file/report")
    assert done.exit_code == 1
    assert "file" in done.output


def test_check_names_doubtful_maps_with_a_guess(captures):
    generator = np.random.default_rng(0)
    chart(captures / "room.png", 1.5, 3)
    np.save(captures / "cm.npy", 100 * generator.uniform(1, 3, (96, 128)))
    with (captures / "captures.csv").open("w") as file:
        file.write("image,role,distance_map,scene\nroom.png,labelled,cm.npy,room")
    done = call("check", "mine", "--out", "report")
    assert done.exit_code == 2
    assert "bad   captures.csv, row 2 (room.png): cm.npy is doubtful: 100% of its" in done.output
    assert "Centimetres? Give distance_scale 0.01." in done.output
    shutil.copy(ROOT / "pyproject.toml", "pyproject.toml")
    Path("conf/local").mkdir()
    Path("conf/local/parameters.yml").write_text("captures:\n  doubtful_maps: accept\n")
    done = call("check", "mine", "--out", "report")
    assert done.exit_code == 0, done.output
    assert "look  captures.csv, row 2 (room.png): cm.npy is doubtful: 100% of its" in done.output
