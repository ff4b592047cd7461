"""Photos measured with an exported file: as by torch, with all checks, and without torch."""

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from PIL import Image

import rangefinder
from rangefinder.captures.images import write_linear
from rangefinder.common.onnx_checksum import with_checksum
from rangefinder.errors import CaptureError, ConfigError, ModelError
from rangefinder.inference import exported as module
from rangefinder.inference.exported import FilePredictor, is_exported
from rangefinder.inference.interface import FOR_SCORES, Outputs
from rangefinder.inference.predictor import Predictor
from rangefinder.inference.session import Session

from ..conftest import clean_environment
from ..tiny_camera import CAMERA, random_pixels

WITHOUT_TORCH = """
import json, sys
import rangefinder
result = rangefinder.load_model(sys.argv[1], runtime=sys.argv[3]).measure(sys.argv[2])
point = result.at(20, 10)
result.interval_m(0.5)
result.save(sys.argv[4], cloud=True)
print(json.dumps({"at": point.distance_m, "modules": sorted(sys.modules)}))
"""
HEAVY = {"torch", "mlflow", "kedro", "lightning", "onnx", "pandas", "scipy", "skimage"}


@pytest.fixture(scope="module", params=["onnx", "openvino"])
def predict(request, exported):
    if request.param == "openvino":
        pytest.importorskip("openvino", reason="OpenVINO is not installed")
    return FilePredictor(exported.path, request.param)


@pytest.fixture(scope="module")
def exact(exported):
    return Predictor(exported.model, "cpu", exact=True)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(random_pixels()).save(path)
    return path


def same(found, expected, rtol=1e-4):
    """Nearly all pixels agree: where a distribution has two peaks, rounding moves its median."""
    assert found.shape == expected.shape
    assert np.quantile(np.abs(found / expected - 1), 0.99) < rtol


def test_a_photo_has_the_distances_of_torch(predict, exact, photo):
    found, expected = Session(predict).measure(photo), Session(exact).measure(photo)
    assert found.fingerprint == expected.fingerprint
    assert np.ptp(expected.distance_m) > 0.2
    same(found.distance_m, expected.distance_m)
    for level in (0.8, 0.5, 0.93):
        same(np.stack(found.interval_m(level)), np.stack(expected.interval_m(level)))
    np.testing.assert_allclose(found.accuracy_probability, expected.accuracy_probability, atol=1e-4)


@pytest.mark.parametrize(("size", "scale"), [((48, 64), 1.0), ((40, 52), 1.0), ((32, 40), 1.5)])
def test_parts_and_reduced_photos_sit_where_they_are_said_to(predict, exact, size, scale):
    pixels = random_pixels(*size[::-1], seed=3)
    options = {"origin_px": (0.0, 0.0) if size == (48, 64) else (3.0, 1.0), "scale": scale}
    found = Session(predict).measure(pixels, **options).distance_m
    same(found, Session(exact).measure(pixels, **options).distance_m)


def test_standard_deviation_is_that_of_torch(predict, exact):
    light, outputs = (
        np.random.default_rng(4).random((3, 48, 64), dtype=np.float32),
        Outputs(sd=True),
    )
    expected = exact(light, outputs=outputs)
    np.testing.assert_allclose(
        predict(light, outputs=outputs).sd_dpt, expected.sd_dpt, atol=1e-3
    )  # a root of a difference


def test_two_distances_are_those_of_torch(predict, exact):
    light = np.random.default_rng(5).random((3, 48, 64), dtype=np.float32)
    found, expected = predict.posterior(light), exact.posterior(light)
    rows, columns = np.arange(0, 48, 5), np.arange(0, 64, 5)
    wanted = expected.two_distances(rows, columns)
    assert np.isfinite(wanted.share).any()
    assert np.isnan(wanted.share).any()
    both = found.two_distances(rows, columns)
    for values, those in zip(both.maps, wanted.maps, strict=True):
        np.testing.assert_allclose(values, those, rtol=1e-4)
    whole = found.decode(Outputs(two_distances=True)).two_distances
    np.testing.assert_array_equal(whole.far_m[np.ix_(rows, columns)], both.far_m)


def test_photos_unlike_those_of_training_are_refused_and_forced_ones_have_wider_intervals(
    predict, exact, tmp_path
):
    path = tmp_path / "photo.jpg"
    Image.fromarray(random_pixels()).save(path, quality=95, subsampling="4:2:0")
    with pytest.raises(CaptureError, match=r"JPEG of quality 95.*error 3 times as large"):
        Session(predict).measure(path)
    found, expected = (Session(one, force=True).measure(path) for one in (predict, exact))
    assert found.photo.warnings == expected.photo.warnings != ()
    for level in (0.8, 0.5):
        same(np.stack(found.interval_m(level)), np.stack(expected.interval_m(level)))
    usual = predict(found.photo.light).interval_m[0.8]
    assert (found.interval_m()[0] < usual[0]).mean() > 0.9
    assert str(found.at(20, 10)) == str(expected.at(20, 10))


def test_refusals_of_size_setting_and_orientation_hold(predict, tmp_path):
    with pytest.raises(CaptureError, match=r"it has 60x48 px, the camera 64x48"):
        Session(predict).measure(random_pixels(60, 48))
    path, exif = tmp_path / "photo.png", Image.Exif()
    exif[0x920A] = 2 * CAMERA.focal_length_mm
    Image.fromarray(random_pixels()).save(path, exif=exif)
    with pytest.raises(CaptureError, match="focal length"):
        Session(predict).measure(path)
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(random_pixels()).save(path, exif=turned)
    with pytest.raises(CaptureError, match=r"captures\.orientation: refuse"):
        Session(predict).measure(path)
    with pytest.raises(CaptureError, match="smaller than one patch"):
        Session(predict, force=True).measure(random_pixels(20, 20), scale=0.5)


def test_a_measured_photo_writes_the_same_files(predict, exact, tmp_path):
    write_linear(tmp_path / "a.tif", exact_photo())
    for name, one in (("file", predict), ("torch", exact)):
        Session(one).measure(tmp_path / "a.tif").save(tmp_path / name, cloud=True)
    names = sorted(path.name for path in (tmp_path / "torch").iterdir())
    assert sorted(path.name for path in (tmp_path / "file").iterdir()) == names
    overlays = [np.asarray(Image.open(tmp_path / n / "a_overlay.png")) for n in ("file", "torch")]
    assert (overlays[0] != overlays[1]).any(axis=-1).mean() < 0.02


def exact_photo():
    import torch

    return torch.rand(3, 48, 64, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_torch_is_not_imported(exported, photo, tmp_path, runtime):
    if runtime == "openvino":
        pytest.importorskip("openvino", reason="OpenVINO is not installed")
    command = [sys.executable, "-c", WITHOUT_TORCH, exported.path, photo, runtime, tmp_path / "out"]
    done = subprocess.run(
        command, env=clean_environment(), capture_output=True, text=True, check=True
    )
    said = json.loads(done.stdout)
    assert HEAVY.isdisjoint(said["modules"])
    expected = Session(exported.model, "cpu").measure(photo).at(20, 10).distance_m
    assert said["at"] == pytest.approx(expected, rel=0.02)
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_commands_take_a_file_and_do_not_import_torch(exported, photo, tmp_path):
    code = (
        "import sys; from rangefinder.commands import main; main(standalone_mode=False); "
        "assert 'torch' not in sys.modules"
    )
    for arguments in (
        ["measure", photo, "--out", tmp_path / "out", "--at", "20,10", "--ply"],
        ["verify", photo, "--distance", "1.5"],
    ):
        command = [sys.executable, "-c", code, *arguments, "--model", exported.path]
        done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True)
        assert done.returncode in (0, 1), done.stderr
        assert "Error" not in done.stderr
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_the_sign_of_defocus_is_refused(predict):
    with pytest.raises(ModelError, match="defocus sign"):
        predict(np.zeros((3, 48, 64), dtype=np.float32), outputs=FOR_SCORES)


def test_files_that_are_no_models_are_refused(exported, tmp_path):
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"bad\.onnx cannot be read as a model"):
        rangefinder.load_model(str(bad))
    with pytest.raises(ModelError, match="there is no model"):
        rangefinder.load_model(str(tmp_path / "none.onnx"))
    graph = onnx.load(exported.path)
    graph.doc_string = "optimised"  # by another program
    onnx.save(graph, bad)
    with pytest.raises(ModelError, match=r"damaged, or changed.*Export it again"):
        rangefinder.load_model(str(bad))
    del graph.metadata_props[:]
    bad.write_bytes(with_checksum(graph.SerializeToString()))
    with pytest.raises(ModelError, match=r"no model that this version.*Export it again"):
        rangefinder.load_model(str(bad))
    onnx.helper.set_model_props(graph, {"card": json.dumps({"format": 2})})
    bad.write_bytes(with_checksum(graph.SerializeToString()))
    with pytest.raises(ModelError, match="another card format"):
        rangefinder.load_model(str(bad))


@pytest.mark.parametrize("flips", [40, pytest.param(400, marks=pytest.mark.faults)])
def test_no_flipped_bit_of_a_file_is_used_silently(exported, tmp_path, flips, survived):
    content, bad = exported.path.read_bytes(), tmp_path / "bad.onnx"
    for place in np.random.default_rng(flips).integers(8 * len(content), size=flips):
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        bad.write_bytes(damaged)
        with pytest.raises(ModelError, match="damaged, or changed"):
            rangefinder.load_model(str(bad))
    survived("flipped bit: exported file", flips)
    for size in (len(content) - 1, 100, 0):
        bad.write_bytes(content[:size])
        with pytest.raises(ModelError, match="damaged, or changed"):
            rangefinder.load_model(str(bad))


def test_what_a_file_cannot_be_computed_by_is_refused(exported, monkeypatch):
    path = str(exported.path)
    for options in ({"runtime": "torch"}, {"device": "cuda"}):
        with pytest.raises(ConfigError, match=r"exported file.*runtime onnx, openvino or auto"):
            rangefinder.load_model(path, **options)
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"onnxruntime.*rangefinder\[onnx\]"):
        rangefinder.load_model(path)


def test_names_of_files():
    assert is_exported("folder/model.onnx")
    assert is_exported("MODEL.ONNX")
    assert not is_exported("data/06_models/student")
    assert not is_exported("models:/rangefinder-student@champion")
