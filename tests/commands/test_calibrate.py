"""`rangefinder simulate --pairs` or `--sheets`, then `calibrate`, then a bank through that lens."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from rangefinder.camera import Camera
from rangefinder.captures.images import write_linear
from rangefinder.captures.tables import read_table
from rangefinder.charts.calibration import PairReader, read_windows
from rangefinder.config import BankParams, CameraParams, Parameters
from rangefinder.optics.psf_bank import build_bank
from rangefinder.optics.psf_sources import camera_record

from .conftest import call

PAIRS = 6
CAMERA = {
    "focal_length_mm": 50.0,
    "f_number": 2.8,
    "pixel_pitch_um": 100.0,
    "width_px": 144,
    "height_px": 108,
    "focus_distance_m": 1.5,
}
LARGER = CAMERA | {"pixel_pitch_um": 80.0, "width_px": 240, "height_px": 180}
BANK = BankParams(distances=7, field_rows=3, field_cols=3, kernel_px=25)
RANGE_M = (0.8, 5.0)
CALIBRATED = "calibration_practice"
RF50 = Path(__file__).resolve().parents[3] / "shared/data/rf50_f4"
needs_rf50 = pytest.mark.skipif(
    not RF50.is_dir(), reason="the photos of the RF 50 mm are not part of the project"
)


@pytest.fixture(scope="module")
def practice(tmp_path_factory):
    """A folder with pairs through a thin lens whose record is 4 % wrong, and what came of it."""
    folder = tmp_path_factory.mktemp("practice")
    true = CAMERA | {"lens": {"kind": "thin"}}
    (folder / "true.yml").write_text(yaml.safe_dump(true))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        options = ("--camera", "true.yml", "--record-error", "0.04", "--out", "photos")
        done = call("simulate", "--pairs", PAIRS, *options)
        assert done.exit_code == 0, done.output
        said = call("calibrate", "photos")
        assert said.exit_code == 0, said.output
    return folder, said.output


@pytest.fixture
def photos(practice, tmp_path, monkeypatch):
    """A copy of the pairs."""
    shutil.copytree(practice[0] / "photos", tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def test_focus_and_aperture_are_found_although_the_record_is_wrong(practice):
    content = yaml.safe_load((practice[0] / CALIBRATED / "camera.yml").read_text())
    assert content["focus_distance_m"] == pytest.approx(1.5, rel=0.02)
    assert content["f_number"] == pytest.approx(2.8, rel=0.03)
    assert content["lens"] == {"kind": "calibrated", "file": f"{CALIBRATED}/lens.safetensors"}
    assert "Good: measured discs deviate" in practice[1]


def nearness(folder: Path, true: dict) -> float:
    """Distance of the calibrated bank from the true one / that of the record's thin lens."""
    thin = {"lens": {"kind": "thin"}}
    told = yaml.safe_load((folder / "photos/camera.yml").read_text())
    banks = [
        build_bank(camera_record(params, folder), BANK, RANGE_M, folder).kernels
        for params in (
            CameraParams.model_validate(true | thin),
            CameraParams.model_validate(told | thin),
            Camera.read(folder / CALIBRATED / "camera.yml"),
        )
    ]
    wrong, found = (float((b - banks[0]).abs().sum((-1, -2)).mean()) for b in banks[1:])
    return found / wrong


def test_the_calibrated_bank_is_nearer_to_the_truth_than_the_records(practice):
    assert nearness(practice[0], CAMERA) < 0.5


def test_the_report_has_figures_and_a_table_of_discs(practice):
    out = practice[0] / CALIBRATED
    for name in ("discs", "residuals", "kernels"):
        with Image.open(out / f"{name}.png") as figure:
            assert figure.width > 500
    discs = pd.read_csv(out / "discs.csv")
    assert set(discs["colour"]) == {"red", "green", "blue"}
    assert discs["distance_m"].nunique() == PAIRS
    assert (discs["measured_px"] - discs["modelled_px"]).abs().median() < 0.3


def test_check_accepts_tables_of_pairs(photos):
    done = call("check", "photos", "--camera", photos / "camera.yml")
    assert done.exit_code == 0, done.output
    assert f"{PAIRS} rows can be used" in done.output
    assert "sharp_image" not in done.output


def table(photos: Path, change) -> None:
    """Rewrite captures.csv through `change` of its frame."""
    frame = pd.read_csv(photos / "captures.csv")
    change(frame).to_csv(photos / "captures.csv", index=False)


def refused(*options: str) -> str:
    done = call("calibrate", "photos", *options)
    assert done.exit_code == 2, done.output
    return done.output


def test_a_table_without_pairs_is_refused(photos):
    table(photos, lambda frame: frame.drop(columns="sharp_image"))
    assert "no photos with a sharp reference" in refused()


def test_one_distance_is_refused(photos):
    table(photos, lambda frame: frame.iloc[:1])
    assert "of too few distances" in refused()


def test_pairs_on_one_side_of_the_focus_are_refused(photos):
    table(photos, lambda frame: frame[frame["distance_m"] < 1.2])
    found = refused()
    assert "one side of the focus" in found
    assert "--one-side" in found


def test_photos_that_do_not_match_are_named_and_can_be_left_out(photos):
    shutil.copy(photos / "flat-03-sharp.tif", photos / "flat-02-sharp.tif")
    table(photos, lambda frame: frame.iloc[[2, 4]])
    found = refused()
    assert "row 2 (flat-02.tif)" in found
    assert "do not show the same" in found
    camera = Camera.read(photos / "camera.yml")
    reader = PairReader(read_table(photos), camera, Parameters(), skip_bad=True)
    windows, registered, problems = read_windows(reader)
    assert set(windows.pair) == {1}
    assert set(registered) == {"flat-04.tif"}
    assert [problem.row for problem in problems] == [2]


def test_photos_without_texture_are_refused(photos):
    table(photos, lambda frame: frame.iloc[:2])
    for seed, path in enumerate(sorted(photos.glob("*.tif"))):
        generator = torch.Generator().manual_seed(seed)
        write_linear(path, 0.5 + 0.004 * torch.randn(3, 108, 144, generator=generator))
    assert "no photo of captures.csv shows blur that can be measured" in refused()


def test_a_sharp_photo_of_another_size_is_refused(photos):
    Image.fromarray(np.zeros((50, 60, 3), np.uint8)).save(photos / "flat-01-sharp.tif")
    assert "has another size" in refused()


def test_an_unknown_or_too_low_f_number_of_the_sharp_photo_is_refused(photos):
    assert "hardly stopped down" in refused("--sharp-f-number", "4")
    table(photos, lambda frame: frame.drop(columns="sharp_f_number"))
    assert "the f-number of flat-00-sharp.tif is not known" in refused()


@pytest.mark.slow
@needs_rf50
def test_discs_of_a_real_lens_are_those_measured_otherwise(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = ["image,role,distance_m,scene,sharp_image"]
    for name, distance in (("0600", 0.6), ("1500", 1.5)):
        for stop in ("f4", "f20"):
            shutil.copy(RF50 / f"flat_{name}mm_{stop}.png", tmp_path)
        lines.append(f"flat_{name}mm_f4.png,chart,{distance},flat,flat_{name}mm_f20.png")
    Path("captures.csv").write_text("\n".join(lines))
    camera = {"f_number": 4.0, "pixel_pitch_um": 46.74, "width_px": 768, "height_px": 512}
    Path("camera.yml").write_text(yaml.safe_dump(camera | {"focus_distance_m": 1.0}))
    done = call("calibrate", "captures.csv", "--sharp-f-number", "20")
    assert done.exit_code == 0, done.output
    discs = pd.read_csv("calibration_default/discs.csv")
    found = discs.groupby(["distance_m", "colour"])["measured_px"].median()
    for distance, colour, expected in (
        *((0.6, "red", 8.2), (0.6, "green", 7.9), (0.6, "blue", 8.45)),
        *((1.5, "red", 4.55), (1.5, "green", 5.05)),
    ):
        assert found[distance, colour] == pytest.approx(expected, abs=0.3)


@pytest.fixture(scope="module")
def sheets(tmp_path_factory):
    """A folder with photos of printed sheets, of a record that is 6 % wrong."""
    folder = tmp_path_factory.mktemp("sheets")
    (folder / "true.yml").write_text(yaml.safe_dump(LARGER | {"lens": {"kind": "thin"}}))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        options = ("--camera", "true.yml", "--record-error", "0.06", "--out", "photos")
        done = call("simulate", "--sheets", 8, *options)
        assert done.exit_code == 0, done.output
    return folder


@pytest.mark.slow
def test_printed_sheets_are_references_too(sheets, monkeypatch):
    monkeypatch.chdir(sheets)
    done = call("calibrate", "photos", "--skip-bad")
    assert done.exit_code == 0, done.output
    content = yaml.safe_load(Path(f"{CALIBRATED}/camera.yml").read_text())
    assert content["focus_distance_m"] == pytest.approx(1.5, rel=0.02)
    assert "Good: measured discs deviate" in done.output
    assert nearness(sheets, LARGER) < 0.5


def test_check_accepts_tables_of_sheets_and_misses_their_drawings(sheets, tmp_path, monkeypatch):
    shutil.copytree(sheets / "photos", tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    options = ("check", "photos", "--camera", "photos/camera.yml")
    done = call(*options)
    assert done.exit_code == 0, done.output
    assert "is missing" not in done.output
    drawing = next(Path("photos").glob("sheet-*.png"))
    drawing.unlink()
    assert f"no '{drawing.name}'" in call(*options).output


def test_a_photo_without_a_sheet_is_named(sheets, tmp_path, monkeypatch):
    shutil.copytree(sheets / "photos", tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    flat = torch.full((3, 180, 240), 0.5)
    write_linear(Path("photos/photo-05.tif"), flat)
    table(Path("photos"), lambda frame: frame.iloc[[4, 5]])
    found = refused()
    assert "row 3 (photo-05.tif): no sheet is seen in photo-05.tif" in found
    assert "all six discs" in found
