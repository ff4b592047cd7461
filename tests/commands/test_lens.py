"""`rangefinder lens`: table and figure of the bounds and ambiguities of a camera."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image

from rangefinder.camera import Camera
from rangefinder.commands import BAD_INPUT, main

from ..conftest import ROOT


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    out = tmp_path_factory.mktemp("lens")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        done = CliRunner().invoke(main, ["lens", "--env", "smoke", "--out", str(out)])
    assert done.exit_code == 0, done.output
    return done, out


def test_it_prints_blur_bound_and_confusion_of_every_texture(result):
    done, _ = result
    assert "CookeTriplet 50 mm f/3.5, focused at 3 m, patch of 17 px" in done.output
    for word in ("strong grey", "weak coloured", "blur [px]", "least sd [m]", "confused"):
        assert word in done.output


def test_it_ends_in_a_verdict(result):
    done, _ = result
    verdict = done.output.splitlines()[-2]
    assert "this camera can" in verdict
    assert "10 % apart look" in verdict


def test_it_writes_a_table_and_a_figure(result):
    _, out = result
    table = pd.read_csv(out / "lens_limit.csv")
    assert set(table["radius"]) == {0.0, 0.8, 1.0}
    assert (table["sd_m"] > 0).all()
    assert table["confusion"].between(0, 0.5).all()
    assert table["distance_m"].min() >= 0.7
    with Image.open(out / "lens_limit.png") as figure:
        assert figure.width > 1000
        assert len(set(figure.convert("L").resize((64, 32)).tobytes())) > 8


def test_a_camera_record_replaces_the_configured_one(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    camera = Camera(name="odd", lens={"name": "NoSuchLens"})
    camera.save(tmp_path / "camera.json")
    done = CliRunner().invoke(main, ["lens", "--camera", str(tmp_path / "camera.json")])
    assert done.exit_code == BAD_INPUT
    assert "NoSuchLens" in done.output


def test_a_described_lens_is_not_named_after_the_default_one(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    record = {"pixel_pitch_um": 160.0, "width_px": 120, "height_px": 90}
    (tmp_path / "camera.yml").write_text(yaml.safe_dump({"focal_length_mm": 35.0, **record}))
    options = ("--camera", str(tmp_path / "camera.yml"), "--out", str(tmp_path))
    done = CliRunner().invoke(main, ["lens", "--env", "smoke", *options])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("thin lens 35 mm f/3.5, focused at 3 m")


def test_an_invalid_camera_record_is_refused_with_the_expected_one(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    (tmp_path / "camera.json").write_text("text")
    done = CliRunner().invoke(main, ["lens", "--camera", str(tmp_path / "camera.json")])
    assert done.exit_code == BAD_INPUT
    assert "camera.json as ingestion writes it" in done.output


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "conf/base/parameters.yml"), ({"camera": {"f_number": -1}}, "camera.f_number")],
)
def test_an_invalid_configuration_is_named(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for env in ("base", "local"):
        (tmp_path / "conf" / env).mkdir(parents=True)
    if content is not None:
        (tmp_path / "conf/base/parameters.yml").write_text(json.dumps(content))
    done = CliRunner().invoke(main, ["lens"])
    assert done.exit_code == BAD_INPUT
    assert message in done.output
