"""The commands around captures: init, check and simulate, as a user calls them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image
from scipy import ndimage

from rangefinder.camera import Camera
from rangefinder.commands.main import main
from rangefinder.config import CameraParams, parse_parameters
from rangefinder.deploy.project import Project
from rangefinder.optics.geometry import blur_px

ROOT = Path(__file__).resolve().parents[2]
CAMERA = {
    "focal_length_mm": 50.0,
    "f_number": 2.0,
    "pixel_pitch_um": 60.0,
    "width_px": 128,
    "height_px": 96,
    "focus_distance_m": 1.5,
}


def chart(path: Path, distance_m: float, seed: int) -> None:
    """White noise as blurred as a lens would leave it."""
    circle = float(blur_px(Camera.model_validate(CAMERA), distance_m))
    noise = np.random.default_rng(seed).normal(0.5, 0.4, (96, 128))
    light = ndimage.gaussian_filter(noise, (circle / 4, circle / 4)) if circle else noise
    light = (light - light.mean()) / light.std() * 0.15 + 0.5
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((light.clip(0, 1) * 255).astype(np.uint8)).convert("RGB").save(path)


@pytest.fixture
def captures(tmp_path, monkeypatch):
    """A folder of charts in a project's folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "conf/base", tmp_path / "conf/base")
    folder = tmp_path / "mine"
    lines = ["image,role,distance_m,scene"]
    for number, distance in enumerate((0.8, 1.0, 1.2, 1.5, 2.0, 3.0, 4.5)):
        for sheet in ("s1", "s2", "s3"):
            name = f"{sheet}_{distance}.png"
            chart(folder / name, distance, 10 * number + int(sheet[1]))
            lines.append(f"{name},chart,{distance},{sheet}")
    (folder / "captures.csv").write_text("\n".join(lines))
    (folder / "camera.yml").write_text(yaml.safe_dump(CAMERA))
    return folder


def call(*arguments: str):
    return CliRunner().invoke(main, list(arguments))


def test_check_tells_where_the_focus_is_and_which_distances_are_missing(captures):
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


def test_check_lists_bad_rows_and_sets_them_aside_when_told(captures):
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


def test_check_tells_of_other_cameras_and_of_one_view_under_two_names(captures):
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


def test_init_makes_a_configuration_that_is_valid_and_says_what_is_next(captures):
    done = call("init", "mycamera", "--from", "mine/captures.csv")
    assert done.exit_code == 0, done.output
    assert "--env mycamera" in done.output
    raw = yaml.safe_load(Path("conf/mycamera/parameters.yml").read_text())
    params = parse_parameters(raw)
    assert raw.keys() == yaml.safe_load((ROOT / "conf/base/parameters.yml").read_text()).keys()
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


def test_init_replaces_what_it_made_when_told(captures):
    assert call("init", "mycamera", "--camera", "mine/camera.yml").exit_code == 0
    assert call("init", "mycamera", "--from", "mine/captures.csv", "--force").exit_code == 0
    assert "mine/captures.csv" in Path("conf/mycamera/parameters.yml").read_text()


def test_init_without_a_camera_record_says_what_to_write(captures):
    (captures / "camera.yml").unlink()
    done = call("init", "mycamera", "--from", "mine")
    assert done.exit_code == 2
    assert "focal_length_mm" in done.output
    assert not Path("conf/mycamera").exists()


def simulate(metres: float, out: str) -> Path:
    """Photograph a chart through a thin lens."""
    record = CameraParams.model_validate(CAMERA | {"lens": {"kind": "thin"}})
    Path("mine/thin.yml").write_text(yaml.safe_dump(record.model_dump(mode="json")))
    chart(Path("mine/sharp.png"), 1.5, 3)
    Image.fromarray(np.full((96, 128), metres * 1000, np.uint16)).save("mm.png")
    wanted = ("--rgb", "mine/sharp.png", "--distance", "mm.png", "--camera", "mine/thin.yml")
    done = call("simulate", *wanted, "--out", out)
    assert done.exit_code == 0, done.output
    return Path(out)


def test_simulate_blurs_what_is_out_of_focus(captures):
    focus, far = simulate(1.5, "focus.png"), simulate(4.0, "far.png")
    assert np.asarray(Image.open(far)).std() < 0.5 * np.asarray(Image.open(focus)).std()
    assert not Path("data").exists()  # the folder is no project's


def test_a_project_keeps_the_lens_that_simulate_traced(captures):
    shutil.copy(ROOT / "pyproject.toml", "pyproject.toml")
    first = simulate(1.5, "first.png")
    (bank,) = Project.find(Path()).traced_lenses.iterdir()
    written = bank.stat().st_mtime_ns
    assert first.read_bytes() == simulate(1.5, "second.png").read_bytes()
    assert bank.stat().st_mtime_ns == written


def test_simulate_refuses_what_is_not_there_and_other_sizes(captures):
    assert (
        call("simulate", "--rgb", "no.png", "--distance", "no.png", "--out", "x.png").exit_code == 2
    )
    Image.fromarray(np.full((9, 9), 2000, np.uint16)).save("d.png")
    wanted = ("--rgb", "mine/s1_1.5.png", "--distance", "d.png", "--out", "x.png")
    done = call("simulate", *wanted)
    assert done.exit_code == 2
    assert "another size" in done.output
    assert not Path("x.png").exists()


def test_what_the_disk_refuses_ends_with_1(captures):
    Path("file").write_text("in the way")
    done = call("check", "mine", "--out", "file/report")
    assert done.exit_code == 1
    assert "file" in done.output
