"""The choice of a runtime: the fastest that agrees, found once; models are exported once."""

import json
import time

import numpy as np
import pytest

import rangefinder
from rangefinder.errors import ConfigError
from rangefinder.inference.exported import FilePredictor
from rangefinder.inference.predictor import Predictor
from rangefinder.serving import runtimes
from rangefinder.serving.runtimes import fastest, predictor_of_file, predictor_of_model

from ..tiny_camera import make_model


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The user's cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return runtimes.cache_folder()


class Slow(FilePredictor):
    """Takes longer."""

    def posterior(self, *args, **options):
        time.sleep(0.5)
        return super().posterior(*args, **options)


class Wrong(FilePredictor):
    """Computes other distances."""

    def of_samples(self, samples, bits, *more, **options):
        return super().of_samples(samples[::-1], bits, *more, **options)


def test_the_cache_is_in_the_users_folder(cache, tmp_path):
    assert tmp_path in cache.parents


def test_the_fastest_is_chosen_once(exported, cache):
    opened = []

    def opener(name, kind):
        return lambda: opened.append(name) or kind(exported.path, threads=1)

    candidates = {"slow": opener("slow", Slow), "quick": opener("quick", FilePredictor)}
    reference = FilePredictor(exported.path, threads=1)
    assert fastest("model", candidates, reference) == "quick"
    assert sorted(opened) == ["quick", "slow"]
    opened.clear()
    assert fastest("model", candidates, reference) == "quick"
    assert opened == []
    assert fastest("other model", candidates, reference) == "quick"
    assert sorted(opened) == ["quick", "slow"]


def test_another_machine_or_a_damaged_record_is_compared_anew(exported, cache):
    candidates = {"file": lambda: FilePredictor(exported.path, threads=1)}
    reference = FilePredictor(exported.path, threads=1)
    fastest("model", candidates, reference)
    (record,) = cache.glob("*.json")
    known = json.loads(record.read_text())
    record.write_text(json.dumps(known | {"runtime": "kept"}))
    assert fastest("model", candidates, reference) == "kept"
    changed = known["machine"] | {"cores": "1000"}
    for text in (json.dumps(known | {"machine": changed, "runtime": "kept"}), "damaged", "[]"):
        record.write_text(text)
        assert fastest("model", candidates, reference) == "file"
        assert json.loads(record.read_text())["runtime"] == "file"


def test_a_runtime_whose_distances_differ_is_not_used(exported, caplog):
    candidates = {
        "wrong": lambda: Wrong(exported.path, threads=1),
        "right": lambda: Slow(exported.path, threads=1),
    }
    assert fastest("model", candidates, FilePredictor(exported.path, threads=1)) == "right"
    assert "wrong is not used: its distances differ by" in caplog.text


def test_auto_takes_an_installed_runtime_for_a_file(exported, monkeypatch):
    predictor = predictor_of_file(exported.path, "auto", "auto")
    assert predictor.runtime in ("onnx", "openvino")
    monkeypatch.setattr(runtimes, "installed_runtimes", lambda: ["onnx"])
    assert predictor_of_file(exported.path, "auto", "cpu").runtime == "onnx"


def test_a_model_is_exported_once_for_another_runtime_than_torch(exported, cache, monkeypatch):
    cache.mkdir(parents=True)
    kept = cache / f"{exported.model.fingerprint}.onnx"
    kept.write_bytes(exported.path.read_bytes())
    predictor = predictor_of_model(exported.model, "onnx", "auto")
    assert isinstance(predictor, FilePredictor)
    photo = np.random.default_rng(0).random((3, 48, 64), dtype=np.float32)
    expected = Predictor(exported.model, "cpu", exact=True)(photo).distance_m
    np.testing.assert_allclose(predictor(photo).distance_m, expected, rtol=1e-3)
    kept.unlink()
    written = []

    def content(model, scores):
        written.append(model)
        return exported.path.read_bytes()

    monkeypatch.setattr("rangefinder.serving.export.onnx_content", content)
    for _ in range(2):
        predictor_of_model(exported.model, "onnx", "auto")
    assert written == [exported.model]
    assert kept.is_file()


def test_auto_of_a_model_compares_with_torch_too(exported, cache):
    cache.mkdir(parents=True)
    kept = cache / f"{exported.model.fingerprint}.onnx"
    kept.write_bytes(exported.path.read_bytes())
    session = rangefinder.load_model(str(exported.folder), runtime="auto")
    (record,) = cache.glob("*.json")
    seconds = json.loads(record.read_text())["seconds"]
    assert {"torch", "onnx"} <= set(seconds)
    assert session.fingerprint == exported.model.fingerprint


def test_a_file_that_differs_is_not_kept(exported, cache, monkeypatch):
    monkeypatch.setattr(
        "rangefinder.serving.export.onnx_content", lambda *_: exported.path.read_bytes()
    )
    other = make_model(exported.model.card.kind)  # not what is in the file
    with pytest.raises(rangefinder.RangefinderError, match="does not give the distances"):
        predictor_of_model(other, "onnx", "auto")
    assert not cache.exists()


def test_torch_is_the_default_for_models(exported):
    assert isinstance(predictor_of_model(exported.model, None, "cpu"), Predictor)
    assert isinstance(predictor_of_model(exported.model, "torch", "cpu"), Predictor)
    with pytest.raises(ConfigError, match="no such device"):
        predictor_of_model(exported.model, None, "tpu")
