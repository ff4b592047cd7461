"""A folder of chart photos beside a configuration, and a caller of commands."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from PIL import Image
from scipy import ndimage

from rangefinder.camera import Camera
from rangefinder.commands import main
from rangefinder.optics.blur import blur_px

from ..conftest import ROOT

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
    """A folder of charts in the current folder, which has a configuration."""
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


def call(*arguments: object) -> Result:
    """Run a `rangefinder` command."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])
