"""A model as one ONNX file gives the metres of the predictor."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from rangefinder.camera import Camera
from rangefinder.captures.images import linear_light
from rangefinder.commands import main
from rangefinder.coordinates import Placement, grid_location, location_map
from rangefinder.errors import ConfigError, ModelError
from rangefinder.inference.predictor import Outputs, Predictor
from rangefinder.inference.session import Session
from rangefinder.models.distribution import (
    CALIBRATION_LEVELS,
    INTERVAL_LEVELS,
    Calibration,
    central_mass,
)
from rangefinder.models.model_files import Card, TrainedModel, load_model, save_model
from rangefinder.serving import export
from rangefinder.serving.export import INPUTS, OUTPUTS, MetresFromLight
from rangefinder.serving.export_check import (
    Agreement,
    agreement,
    check_photos,
    open_onnx,
    require_agreement,
)

from ..conftest import ROOT
from ..tiny_camera import make_model, random_pixels

CALIBRATION = Calibration(central=tuple(x**1.5 for x in CALIBRATION_LEVELS), tilt_power=-0.5)


@pytest.fixture(scope="module", params=["teacher", pytest.param("student", marks=pytest.mark.slow)])
def exported(request, tmp_path_factory):
    """A calibrated model and its file, by the command."""
    model, folder = make_model(request.param, calibration=CALIBRATION), tmp_path_factory.mktemp("m")
    save_model(folder, model)
    path = folder / "model.onnx"
    ended = CliRunner().invoke(main, ["export", "--model", str(folder), "--out", str(path)])
    assert ended.exit_code == 0, ended.output
    said = rf"model.onnx: {request.param} {model.fingerprint}, camera tiny, \d+\.\d MB\."
    assert re.search(said, ended.output)
    return model, path


@pytest.fixture(scope="module")
def session(exported):
    return open_onnx(exported[1], threads=1)


def test_file_agrees_with_torch_on_photos_of_five_sizes(exported):
    model, path = exported
    sizes = {samples.shape for samples, _, _ in check_photos(model)}
    assert len(sizes) == 5
    for one in agreement(model, path):
        assert one.distance < 1e-5
        assert one.largest < 1e-4
        assert one.interval < 1e-4
        assert one.accuracy < 1e-5


def test_8_bits_are_srgb_and_defaults_are_a_whole_photo_and_the_reported_interval(
    exported, session
):
    model, _ = exported
    pixels = random_pixels()
    feeds = {"photo": pixels[None].astype(np.uint16), "bits": np.array(8)}
    distance, near, far, accuracy = session.run(list(OUTPUTS), feeds)
    expected = Predictor(model, "cpu", exact=True)(linear_light("photo", pixels))
    np.testing.assert_allclose(distance[0], expected.distance_m, rtol=1e-5)
    np.testing.assert_allclose(near[0, 0], expected.interval_m[0.8][0], rtol=1e-4)
    np.testing.assert_allclose(far[0, 0], expected.interval_m[0.8][1], rtol=1e-4)
    np.testing.assert_allclose(accuracy[0], expected.accuracy_probability, atol=1e-5)


def test_12_bits_of_16(exported, session):
    samples = random_pixels().astype(np.uint16) * 16
    feeds = {"photo": samples[None], "bits": np.array(12)}
    light = linear_light("photo", samples, bits=12)
    expected = Predictor(exported[0], "cpu", exact=True)(light, outputs=Outputs(levels=()))
    found = session.run(["distance_m"], feeds)[0]
    np.testing.assert_allclose(found[0], expected.distance_m, rtol=1e-5)


def test_photos_of_a_batch_are_measured_each_for_itself(session):
    photos = np.stack([random_pixels(seed=seed) for seed in (1, 2, 3)]).astype(np.uint16)
    bits = np.array(8)
    together = session.run(["distance_m", "near_m"], {"photo": photos, "bits": bits})
    assert together[0].shape == (3, 48, 64)
    assert together[1].shape == (3, 1, 48, 64)
    for index in range(3):
        alone = session.run(["distance_m"], {"photo": photos[index : index + 1], "bits": bits})
        np.testing.assert_allclose(together[0][index], alone[0][0], rtol=1e-5)


def test_file_says_what_it_is(exported):
    model, path = exported
    graph = onnx.load(path)
    onnx.checker.check_model(graph, full_check=True)
    assert [opset.version for opset in graph.opset_import if not opset.domain] == [export.OPSET]
    meta = {entry.key: entry.value for entry in graph.metadata_props}
    assert meta["fingerprint"] == model.fingerprint
    assert meta["camera_fingerprint"] == model.card.camera_fingerprint
    assert Camera.model_validate_json(meta["camera"]) == model.card.camera
    assert Card.model_validate_json(meta["card"]) == load_model(path.parent).card
    assert json.loads(meta["units"])["distance"] == "m"
    assert [value.name for value in graph.graph.input] == list(INPUTS)
    assert [value.name for value in graph.graph.output] == list(OUTPUTS)
    assert not list(path.parent.glob("*.data"))


def test_example_of_the_documentation(exported, tmp_path, monkeypatch, capsys):
    shutil.copy(exported[1], tmp_path / "model.onnx")
    Image.fromarray(random_pixels()).save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    exec(re.findall(r"^```python$(.*?)^```$", page, re.MULTILINE | re.DOTALL)[0], {})
    measured = Session(exported[0], "cpu").measure("photo.png").at(32, 24)
    found = [float(number) for number in re.findall(r"[\d.]+", capsys.readouterr().out)]
    expected = [measured.distance_m, measured.near_m, measured.far_m]
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_tables_of_the_documentation_name_inputs_and_outputs():
    page = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    for name, about in (INPUTS | OUTPUTS).items():
        kind, shape = re.match(r"(\w+) (\[.*?\])", about).groups()
        assert re.search(rf"`{name}`.*\| {kind} `{re.escape(shape)}`", page), name


@pytest.mark.parametrize("kind", ["teacher", "student"])
def test_graph_computes_what_the_predictor_computes(kind):
    model, light = make_model(kind, calibration=CALIBRATION), torch.rand(3, 41, 53)
    origin, levels = torch.tensor((3.0, 5.0), dtype=torch.float64), torch.tensor(INTERVAL_LEVELS)
    y_px, x_px = torch.arange(41) + 0.5, torch.arange(53) + 0.5
    with torch.no_grad():
        maps = MetresFromLight(model).eval()(light[None], origin, y_px, x_px, levels)
    distance, near, far, accuracy = (values[0].numpy() for values in maps)
    predict, outputs = Predictor(model, "cpu", exact=True), Outputs(levels=INTERVAL_LEVELS)
    expected = predict(light, Placement((3.0, 5.0)), outputs)
    np.testing.assert_allclose(distance, expected.distance_m, rtol=1e-5)
    np.testing.assert_allclose(accuracy, expected.accuracy_probability, atol=1e-5)
    for index, level in enumerate(INTERVAL_LEVELS):
        np.testing.assert_allclose(near[index], expected.interval_m[level][0], rtol=1e-4)
        np.testing.assert_allclose(far[index], expected.interval_m[level][1], rtol=1e-4)


def test_central_mass_is_that_of_the_calibration():
    graph = MetresFromLight(make_model("student", calibration=CALIBRATION))
    levels = [0.01, 0.05, 0.33, 0.8, 0.95, 0.97, 0.995]
    found = graph._central_mass(torch.tensor(levels)).tolist()
    expected = [central_mass(CALIBRATION.central, level) for level in levels]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_locations_are_those_of_the_coordinate_system():
    model, light = make_model("student"), torch.zeros(1, 3, 40, 51)
    place = Placement((3.5, 7.25))
    origin = torch.tensor(place.origin_px, dtype=torch.float64)
    found = MetresFromLight(model)._location(light, origin)[0]
    np.testing.assert_array_equal(found, location_map(model.card.camera, place, 40, 51))
    model = make_model("teacher")
    found = MetresFromLight(model)._location(light, origin)[0]
    grid = Predictor(model, "cpu")._sweep.grid(light[0])
    np.testing.assert_array_equal(found, grid_location(model.card.camera, place, grid))


def test_teacher_whose_grid_takes_several_passes_is_refused():
    model = make_model("teacher")
    model = TrainedModel(model.network, model.card.model_copy(update={"stride_px": 6}))
    with pytest.raises(ModelError, match=r"several passes.*stride 6 px.*multiple of 4 px"):
        MetresFromLight(model)


def test_file_that_differs_is_an_error(tmp_path):
    results = [Agreement((48, 64), 1.0, distance, 1.0, 0.0, 0.0) for distance in (1e-6, 2e-4)]
    with pytest.raises(ModelError, match=r"up to 2\.0e-04 on 99% of a photo of 64x48 px"):
        require_agreement(results, tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="nan"):
        require_agreement([Agreement((48, 64), 1.0, float("nan"), 0, 0, 0)], tmp_path / "m")


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "onnxscript" else 1)
    with pytest.raises(ConfigError, match=r"needs onnxscript.*pip install 'rangefinder\[onnx\]'"):
        export.require_packages()
