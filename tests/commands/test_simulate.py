"""`rangefinder simulate`: an rgbd frame through a thin lens."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from rangefinder.config import CameraParams
from rangefinder.config.project import Project

from .conftest import CAMERA, call, chart


def simulate(metres: float, out: str) -> Path:
    """Photograph a chart through a thin lens."""
    record = CameraParams.model_validate(CAMERA | {"lens": {"kind": "thin"}})
    Path("mine/thin.yml").write_text(yaml.safe_dump(record.model_dump(mode="json")))
    chart(Path("mine/sharp.png"), 1.5, 3)
    Image.fromarray(np.full((96, 128), metres * 1000, np.uint16)).save("mm.png")
    frame = ("--rgb", "mine/sharp.png", "--distance", "mm.png", "--camera", "mine/thin.yml")
    done = call("simulate", *frame, "--out", out)
    assert done.exit_code == 0, done.output
    return Path(out)


def test_simulate_blurs_what_is_out_of_focus(captures):
    shutil.rmtree("conf")
    focus, far = simulate(1.5, "focus.png"), simulate(4.0, "far.png")
    assert np.asarray(Image.open(far)).std() < 0.5 * np.asarray(Image.open(focus)).std()
    assert not Path("data").exists()  # the folder is no project


def test_a_project_keeps_the_psf_bank_of_simulate(captures):
    first = simulate(1.5, "first.png")
    (bank,) = Project.find(Path()).traced_lenses.iterdir()
    written = bank.stat().st_mtime_ns
    assert first.read_bytes() == simulate(1.5, "second.png").read_bytes()
    assert bank.stat().st_mtime_ns == written


def test_simulate_refuses_missing_files_and_other_sizes(captures):
    assert (
        call("simulate", "--rgb", "no.png", "--distance", "no.png", "--out", "x.png").exit_code == 2
    )
    Image.fromarray(np.full((20, 20), 2000, np.uint16)).save("d.png")
    frame = ("--rgb", "mine/s1_1.5.png", "--distance", "d.png", "--out", "x.png")
    done = call("simulate", *frame)
    assert done.exit_code == 2
    assert "another size" in done.output
    assert not Path("x.png").exists()


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--rgb", "a.png"),
        ("--pairs", "2", "--sheets", "2"),
        ("--rgb", "a.png", "--distance", "a.npy", "--pairs", "2"),
        ("--rgb", "a.png", "--pairs", "2"),
    ],
)
def test_one_of_frame_pairs_and_sheets_is_asked_for(options):
    done = call("simulate", *options, "--out", "out")
    assert done.exit_code == 2
    assert "Give --rgb and --distance, or --pairs, or --sheets." in done.output
