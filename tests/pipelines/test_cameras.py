"""Cameras as people have them: `init`, `lens`, `distances` and a short training work end to end."""

from __future__ import annotations

import json

import pytest
import yaml

from rangefinder.config.project import merged

from ..conftest import ROOT, Project

SMOKE = yaml.safe_load((ROOT / "conf/smoke/parameters.yml").read_text())
SMOKE = {name: values for name, values in SMOKE.items() if name != "camera"}
del SMOKE["bank"]["kernel_px"]  # of that camera's blur
CAMERAS = {  # small photos of: a security camera, a lens close to things, one far from them
    "security": (2.8, 1.6, 4.0, 240, 4.0),
    "close": (8.0, 2.8, 18.0, 240, 0.08),
    "far": (400.0, 5.6, 48.0, 240, 100.0),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CAMERAS)
def test_a_camera_is_planned_trained_and_measures(project: Project, name: str) -> None:
    focal, f_number, pitch, width, focus = CAMERAS[name]
    record = {
        "focal_length_mm": focal,
        "f_number": f_number,
        "pixel_pitch_um": pitch,
        "width_px": width,
        "height_px": width * 3 // 4,
        "focus_distance_m": focus,
    }
    (project.folder / "camera.yml").write_text(yaml.safe_dump(record))
    said = project.run("rangefinder", "init", name, "--camera", "camera.yml")
    path = project.folder / f"conf/{name}/parameters.yml"
    made = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(merged(SMOKE, made)))
    planned = project.run("rangefinder", "distances", "--env", name)
    judged = project.run("rangefinder", "lens", "--env", name)
    trained = project.run("kedro", "run", "--pipeline", "distill", "--env", name)
    for done in (said, planned, judged, trained):
        assert "Traceback" not in done.stdout + done.stderr
    assert "this camera can" in said.stdout
    assert "this camera can" in judged.stdout
    assert "photos of each sheet" in planned.stdout
    unit = "cm" if name == "close" else "m"
    assert f"MAE [{unit}]" in trained.stdout
    summary = json.loads((project.folder / "data/08_reporting/evaluation.json").read_text())
    assert summary["protocol"]["report_m"] == made["range"]["report_m"]
    for model in summary["models"].values():
        assert 0 < model["overall"]["abs_rel"] < 1
