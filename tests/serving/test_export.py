"""A model as one ONNX file gives the metres of the predictor."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from rangefinder.camera import Camera
from rangefinder.captures.light import light_of_samples
from rangefinder.coordinates import Placement, grid_location, location_map
from rangefinder.errors import ConfigError, ModelError
from rangefinder.inference.exported import FilePredictor
from rangefinder.inference.interface import Outputs
from rangefinder.inference.predictor import Predictor
from rangefinder.inference.session import Session
from rangefinder.models.calibration import central_mass
from rangefinder.models.card import Card
from rangefinder.models.model_files import TrainedModel, load_model
from rangefinder.models.prediction import INTERVAL_LEVELS
from rangefinder.serving import export
from rangefinder.serving.export import INPUTS, OUTPUTS, MetresFromLight
from rangefinder.serving.export_check import (
    TOLERANCE,
    Deviation,
    check_photos,
    deviations,
    require_tolerance,
)

from ..conftest import ROOT
from ..tiny_camera import CALIBRATION, make_calibrated_model, make_model, random_pixels

HEADERS = Path(os.environ.get("ONNXRUNTIME_INCLUDE", "/usr/include/onnxruntime"))


@pytest.fixture(scope="module")
def predict(exported):
    return FilePredictor(exported.path, threads=1)


def test_command_says_what_it_wrote(exported):
    card = exported.model.card
    said = rf"model.onnx: {card.kind} {exported.model.fingerprint}, camera tiny, \d+\.\d MB\."
    assert re.search(said, exported.said)


def test_file_agrees_with_torch_on_photos_of_five_sizes(exported, predict):
    exact = Predictor(exported.model, "cpu", exact=True)
    sizes = {samples.shape for samples, _, _ in check_photos(predict.card)}
    assert len(sizes) == 5
    for one in deviations(exact, predict, check_photos(predict.card)):
        assert one.distance < TOLERANCE
        assert one.interval < TOLERANCE
        assert one.accuracy < TOLERANCE


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_samples_are_decoded_as_a_photo_of_so_many_bits(exported, predict, bits):
    pixels = random_pixels()
    samples = pixels if bits == 8 else pixels.astype(np.uint16) * 2 ** (bits - 8)
    light = light_of_samples("photo", samples, bits=bits)
    expected = Predictor(exported.model, "cpu", exact=True)(light)
    found = predict.of_samples(samples, bits).decode()
    np.testing.assert_allclose(found.distance_m, expected.distance_m, rtol=1e-5)


def test_photos_of_a_batch_are_measured_each_for_itself(predict):
    photos = np.stack([random_pixels(seed=seed) for seed in (1, 2, 3)]).astype(np.float32)
    feeds = {
        "bits": np.array(8),
        "origin_px": np.zeros(2),
        "scale": np.array(1.0),
        "levels": np.array([0.8], dtype=np.float32),
    }
    distance, near = predict.run({"photo": photos, **feeds}, ["distance_m", "near_m"])
    assert distance.shape == (3, 48, 64)
    assert near.shape == (3, 1, 48, 64)
    for index in range(3):
        (alone,) = predict.run({"photo": photos[index : index + 1], **feeds}, ["distance_m"])
        np.testing.assert_allclose(distance[index], alone[0], rtol=1e-5)


def test_file_says_what_it_is(exported):
    model, path = exported.model, exported.path
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
    shutil.copy(exported.path, tmp_path / "model.onnx")
    Image.fromarray(random_pixels()).save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    exec(re.findall(r"^```python$(.*?)^```$", page, re.MULTILINE | re.DOTALL)[0], {})
    measured = Session(exported.model, "cpu").measure("photo.png").at(32, 24)
    found = [float(number) for number in re.findall(r"[\d.]+", capsys.readouterr().out)]
    expected = [measured.distance_m, measured.near_m, measured.far_m]
    np.testing.assert_allclose(found, expected, atol=0.05)


@pytest.mark.slow
@pytest.mark.skipif(
    not (HEADERS / "onnxruntime_cxx_api.h").is_file(), reason="no libonnxruntime-dev"
)
def test_example_in_cpp_of_the_documentation(exported, predict, tmp_path):
    (library,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (tmp_path / name).symlink_to(library)
    page = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    (source,) = re.findall(r"^```cpp$(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "measure.cpp").write_text(source)
    built = re.search(r"^g\+\+ .*", page, re.MULTILINE)[0].split()
    found = [f"-I{HEADERS}", f"-L{tmp_path}", f"-Wl,-rpath,{tmp_path}"]
    subprocess.run([*built, *found], cwd=tmp_path, check=True)
    pixels = random_pixels()
    Image.fromarray(pixels).save(tmp_path / "photo.ppm")
    command = ["./measure", str(exported.path), "photo.ppm"]
    said = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    height, width, _ = pixels.shape
    reading = Session(predict).measure(pixels).at(width // 2, height // 2)
    expected = f"{reading.distance_m:.2f} m ({reading.near_m:.2f} to {reading.far_m:.2f} m)\n"
    assert said == expected


def test_tables_of_the_documentation_name_inputs_and_outputs():
    page = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    for name, about in (INPUTS | OUTPUTS).items():
        kind, shape = re.match(r"(\w+) (\[.*?\])", about).groups()
        assert re.search(rf"`{name}`.*\| {kind} `{re.escape(shape)}`", page), name


@pytest.mark.parametrize("kind", ["teacher", "student"])
def test_graph_computes_what_the_predictor_computes(kind):
    model, light = make_calibrated_model(kind), torch.rand(3, 41, 53)
    origin, levels = torch.tensor((3.0, 5.0), dtype=torch.float64), torch.tensor(INTERVAL_LEVELS)
    y_px, x_px = torch.arange(41) + 0.5, torch.arange(53) + 0.5
    with torch.no_grad():
        maps = MetresFromLight(model).eval()(light[None], origin, y_px, x_px, levels)
    distance, near, far, accuracy, sd, probs = (values[0].numpy() for values in maps)
    predict, outputs = Predictor(model, "cpu", exact=True), Outputs(INTERVAL_LEVELS, sd=True)
    posterior = predict.posterior(light, Placement((3.0, 5.0)))
    np.testing.assert_allclose(probs, posterior.probs.movedim(-1, 0), atol=1e-5)
    expected = posterior.decode(outputs)
    np.testing.assert_allclose(sd, expected.sd_dpt, atol=1e-3)  # a root of a difference
    np.testing.assert_allclose(distance, expected.distance_m, rtol=1e-5)
    np.testing.assert_allclose(accuracy, expected.accuracy_probability, atol=1e-5)
    for index, level in enumerate(INTERVAL_LEVELS):
        np.testing.assert_allclose(near[index], expected.interval_m[level][0], rtol=1e-4)
        np.testing.assert_allclose(far[index], expected.interval_m[level][1], rtol=1e-4)


def test_central_mass_is_that_of_the_calibration():
    graph = MetresFromLight(make_calibrated_model("student"))
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


def test_file_that_differs_is_an_error():
    results = [Deviation((48, 64), 1.0, distance, 1.0, 0.0, 0.0) for distance in (1e-6, 2e-4)]
    with pytest.raises(ModelError, match=r"up to 2\.0e-04 on 99% of a photo of 64x48 px"):
        require_tolerance(results, "model.onnx")
    with pytest.raises(ModelError, match="nan"):
        require_tolerance([Deviation((48, 64), 1.0, float("nan"), 0, 0, 0)], "m")


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "onnxscript" else 1)
    with pytest.raises(ConfigError, match=r"needs onnxscript.*pip install 'rangefinder\[export\]'"):
        export.require_packages()
