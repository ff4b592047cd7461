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
from rangefinder.commands.lens import describe_prescription
from rangefinder.errors import LensError
from rangefinder.optics.prescription import focused_optic

from ..conftest import ROOT
from ..optics.small_lenses import singlet, write


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


def lens_of(folder, monkeypatch, text: str = "", name: str = "small.zmx", **record: object):
    """`rangefinder lens` of a camera.yml that names a file."""
    monkeypatch.chdir(ROOT)
    path = write(folder, text or singlet(), name)
    lens = {"kind": "zemax", "file": str(path), **record.pop("lens", {})}
    camera = {"f_number": 5.6, "focus_distance_m": 1.5, "pixel_pitch_um": 80.0, "width_px": 96}
    content = camera | {"height_px": 72, **record, "lens": lens}
    (folder / "camera.yml").write_text(yaml.safe_dump(content))
    options = ("--camera", str(folder / "camera.yml"), "--out", str(folder))
    return CliRunner().invoke(main, ["lens", "--env", "smoke", *options])


def test_a_prescription_is_shown_beside_the_camera_record_that_agrees(tmp_path, monkeypatch):
    done = lens_of(tmp_path, monkeypatch)
    assert done.exit_code == 0, done.output
    assert done.output.startswith(
        "small.zmx: focal length 50.13 mm (traced), f/4.00; 3 surfaces, 1 of them aspheric\n"
        "The camera record's 50 mm agrees.\nStopped down to the camera record's f/5.6.\n"
    )
    assert "strong grey" in done.output


def test_a_prescription_without_an_aperture_is_not_said_to_be_stopped_down(tmp_path, monkeypatch):
    done = lens_of(tmp_path, monkeypatch, singlet(front="", aperture=""))
    assert "no f-number" in done.output
    assert "Stopped down" not in done.output


def test_a_focal_length_that_is_off_is_said_with_which_is_used(tmp_path, monkeypatch):
    done = lens_of(tmp_path, monkeypatch, focal_length_mm=46.0)
    assert done.exit_code == 0, done.output
    assert "Warning: camera.focal_length_mm 46 is -8.2% off. The camera record's is used" in (
        done.output
    )


@pytest.mark.parametrize(
    ("name", "text", "record", "words"),
    [
        ("a.zmx", "", {"f_number": 2.8}, ["a.zmx", "f_number 2.8", "at least 4.00"]),
        ("a.zmx", "not a lens", {}, ["a.zmx", "thin, or measured"]),
        ("a.len", "LEN NEW", {}, ["a.len", ".zmx (Zemax), .seq (CODE V) or .json (optiland)"]),
        ("a.zmx", singlet(glass="SF53 0 0 1.5 40"), {}, ["a.zmx", "SF53", "camera.lens.glasses"]),
        ("a.zmx", "", {"focus_distance_m": 0.1}, ["a.zmx does not focus this near"]),
        ("a.zmx", "", {"pixel_pitch_um": 500.0, "width_px": 900}, ["a.zmx", "image circle"]),
        ("a.zmx", "", {"lens": {"glasses": {"X": {"nd": 1.5}}}}, ["glasses.X", "nd and vd"]),
    ],
)
def test_a_prescription_is_refused_in_words_that_name_it(
    tmp_path, monkeypatch, name, text, record, words
):
    done = lens_of(tmp_path, monkeypatch, text, name, **record)
    assert done.exit_code == BAD_INPUT, done.output
    for word in words:
        assert word in done.output
    assert "CookeTriplet" not in done.output


FIELD_CASES = ROOT.parent / "shared/data/field_cases"


@pytest.mark.skipif(not FIELD_CASES.is_dir(), reason="the field cases are not part of the project")
@pytest.mark.parametrize(
    ("name", "record", "focal_mm", "refusal"),
    [
        ("lens_no_stop.zmx", {}, None, "does not focus where it says"),
        ("lens_no_aperture_stated.zmx", {"focal_length_mm": 243.0, "f_number": 8.0}, 243.19, ""),
        ("lens_glass_unknown_Smith1998a.zmx", {}, None, "LAFN21, SF53"),
        ("lens_glass_unknown_Smith1998a.zmx", {"glasses": True}, 52.09, ""),
        ("lens_300mm.zmx", {"focal_length_mm": 300.0, "f_number": 2.8}, None, "at least 5.60"),
        ("lens_300mm.zmx", {"focal_length_mm": 300.0, "f_number": 8.0}, 299.98, ""),
    ],
)
def test_prescriptions_of_the_field_are_traced_or_refused_for_a_true_reason(
    name, record, focal_mm, refusal
):
    glasses = {"LAFN21": {"nd": 1.788, "vd": 47.4}, "SF53": {"nd": 1.7283, "vd": 28.7}}
    given = glasses if record.pop("glasses", False) else {}
    lens = {"kind": "zemax", "file": str(FIELD_CASES / name), "glasses": given}
    camera = Camera(lens=lens, **({"f_number": 5.6, "focus_distance_m": 5.0} | record))
    if refusal:
        with pytest.raises(LensError, match=refusal) as error:
            focused_optic(camera)
        assert name in str(error.value)
    else:
        focused_optic(camera)
        assert f"focal length {focal_mm:.2f} mm" in describe_prescription(camera)
