"""`rangefinder init`: a valid configuration that holds what differs from the defaults."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from rangefinder.camera import Camera
from rangefinder.config.project import Project
from rangefinder.optics.psf_bank import build_bank

from ..conftest import ROOT
from .conftest import CAMERA, call


def test_init_writes_what_differs_from_the_base_configuration_and_names_the_next_command(captures):
    done = call("init", "mycamera", "--from", "mine/captures.csv")
    assert done.exit_code == 0, done.output
    assert "--env mycamera" in done.output
    raw = yaml.safe_load(Path("conf/mycamera/parameters.yml").read_text())
    assert "teacher" not in raw
    assert raw["camera"].keys() == {*CAMERA, "name", "lens"}
    params = Project(Path(), "mycamera").parameters()
    assert params.captures.tables == ("mine/captures.csv",)
    assert params.camera.lens.kind == "thin"
    assert params.range.working_m == (0.8, 4.5)
    again = call("init", "mycamera", "--from", "mine/captures.csv")
    assert again.exit_code == 2
    assert "exists" in again.output


@pytest.mark.parametrize("name", ["base", "local", "smoke", "long", "full", "onera", "rgbd"])
def test_init_never_replaces_a_configuration_of_the_project(captures, name):
    shutil.copytree(ROOT / "conf" / name, Path("conf") / name, dirs_exist_ok=True)
    before = {path: path.read_bytes() for path in Path("conf").rglob("*") if path.is_file()}
    done = call("init", name, "--from", "mine/captures.csv", "--force")
    assert done.exit_code == 2
    assert "cannot have this name" in done.output or "was not made by" in done.output
    assert {path: path.read_bytes() for path in Path("conf").rglob("*") if path.is_file()} == before


def test_init_replaces_what_it_wrote_with_force(captures):
    assert call("init", "mycamera", "--camera", "mine/camera.yml").exit_code == 0
    assert call("init", "mycamera", "--from", "mine/captures.csv", "--force").exit_code == 0
    assert "mine/captures.csv" in Path("conf/mycamera/parameters.yml").read_text()


def test_init_without_a_prescription_sets_a_thin_lens_and_says_so(captures):
    done = call("init", "mycamera", "--camera", "mine/camera.yml")
    assert done.exit_code == 0, done.output
    assert "Lens: a thin one" in done.output
    assert Project(Path(), "mycamera").parameters().camera.lens.kind == "thin"
    record = CAMERA | {"lens": {"kind": "optiland_sample", "name": "CookeTriplet"}}
    (captures / "camera.yml").write_text(yaml.safe_dump(record))
    done = call("init", "mycamera", "--camera", "mine/camera.yml", "--force")
    assert "Lens:" not in done.output
    assert Project(Path(), "mycamera").parameters().camera.lens.name == "CookeTriplet"


def test_what_init_writes_can_be_traced_and_has_no_bin_beyond_infinity(captures):
    """A telephoto lens from 20 m on, whose blur needs larger kernels than the default camera's."""
    telephoto = {
        "focal_length_mm": 300.0,
        "f_number": 4.0,
        "pixel_pitch_um": 60.0,
        "width_px": 128,
        "height_px": 96,
        "focus_distance_m": 45.0,
    }
    (captures / "camera.yml").write_text(yaml.safe_dump(telephoto))
    done = call("init", "far", "--camera", "mine/camera.yml")
    assert done.exit_code == 0, done.output
    params = Project(Path(), "far").parameters()
    assert params.range.working_m == (20.3, 157.5)
    assert params.captures.real_scenes == ()
    low, high = params.prediction.inverse_range_dpt
    assert 0 < low < 1 / 157.5 < 1 / 20.3 < high
    coarse = params.bank.model_copy(update={"distances": 9, "field_rows": 3, "field_cols": 3})
    build_bank(Camera.from_params(params.camera), coarse, params.range.working_m)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"focus_distance_m": 3000}, "3000: millimetres? then 3.0"),
        ({"focal_length_mm": 0.05}, "0.05: metres? then 50.0"),
        ({"focus_distance_m": 0.15}, "a lens of 50 mm does not focus this near"),
    ],
)
def test_init_refuses_impossible_lengths_and_writes_nothing(captures, change, words):
    (captures / "camera.yml").write_text(yaml.safe_dump(CAMERA | change))
    done = call("init", "mycamera", "--camera", "mine/camera.yml")
    assert done.exit_code == 2
    assert words in done.output
    assert not Path("conf/mycamera").exists()


def test_init_without_a_camera_record_names_its_entries(captures):
    (captures / "camera.yml").unlink()
    done = call("init", "mycamera", "--from", "mine")
    assert done.exit_code == 2
    assert "focal_length_mm" in done.output
    assert not Path("conf/mycamera").exists()
