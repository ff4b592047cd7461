"""What is written of a measured photo, and the models that are read."""

import json
import pickle
import shutil

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from rangefinder.camera import Camera
from rangefinder.config import StudentParams
from rangefinder.deploy.bench import Bench, Wanted, stems
from rangefinder.deploy.output import back_project
from rangefinder.deploy.overlay import distance_colours
from rangefinder.deploy.source import find_model
from rangefinder.errors import CaptureError, ModelError
from rangefinder.location import Placement
from rangefinder.models.io import Card, load_model, save_model
from rangefinder.optics.geometry import image_distance_m

from .conftest import make_model


def test_maps_are_in_metres_and_named_after_the_photo(photos, tmp_path):
    bench = Bench(make_model("student"), "cpu")
    report = bench.report(photos / "b.png", "b", Wanted(((10, 20),), tmp_path / "out", cloud=True))
    distance = tifffile.imread(report["files"]["distance"])
    confidence = tifffile.imread(report["files"]["confidence"])
    assert (distance.dtype, distance.shape) == (np.float32, (48, 64))
    assert (confidence.dtype, confidence.shape) == (np.float32, (48, 64))
    near, far = bench.range_m
    assert ((distance > 0.9 * near) & (distance < 1.1 * far)).all()
    at = report["at"][0]
    assert at["distance_m"] == pytest.approx(distance[20, 10], abs=1e-4)
    assert at["near_m"] < at["distance_m"] < at["far_m"]
    assert report["median_m"] == pytest.approx(np.median(distance), abs=1e-3)
    names = {"b_distance.tif", "b_confidence.tif", "b_overlay.png", "b_cloud.ply"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    json.dumps(report)


def test_forced_result_says_so_everywhere(photos, tmp_path):
    Image.open(photos / "b.png").resize((32, 24)).save(photos / "small.png")
    bench = Bench(make_model("student"), "cpu", force=True)
    report = bench.report(photos / "small.png", "s", Wanted(folder=tmp_path))
    assert "32x24" in report["forced"][0]
    with tifffile.TiffFile(report["files"]["distance"]) as file:
        assert json.loads(file.pages[0].description)["made_by"].startswith("FORCED: ")
    red = np.asarray(Image.open(report["files"]["overlay"]))
    assert (red == (200, 0, 0)).all(axis=-1).any()


def test_failed_write_leaves_nothing_behind(photos, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/b_overlay.png").mkdir()  # cannot be replaced by a file
    with pytest.raises(OSError, match="b_overlay"):
        Bench(make_model("student"), "cpu").report(
            photos / "b.png", "b", Wanted((), tmp_path / "out")
        )
    assert not list((tmp_path / "out").glob(".*"))


def test_place_outside_of_the_photo_is_refused(photos):
    bench = Bench(make_model("student"), "cpu")
    for place in ((64, 0), (0, 48), (-1, 0)):
        with pytest.raises(CaptureError, match="outside"):
            bench.report(photos / "b.png", "b", Wanted((place,)))


def test_photos_of_one_name_get_files_of_their_own(tmp_path):
    named = stems([tmp_path / "a/x.jpg", tmp_path / "b/x.jpg", tmp_path / "y.jpg"])
    assert len(set(named)) == 3
    assert named[2] == "y"


def test_colours_are_even_in_dioptres():
    far, middle, near = distance_colours(np.array([4.0, 1.6, 1.0]), (1.0, 4.0))
    assert near.tolist() == [0xFD, 0xE7, 0x25]
    assert middle.tolist() == [0x21, 0x91, 0x8C]
    assert far.tolist() == [0x44, 0x01, 0x54]


def test_points_lie_on_rays_through_the_lens():
    camera = Camera(distance_reference="entrance_pupil", focus_distance_m=1.5)
    places = back_project(np.full((360, 480), 2.0, np.float32), camera, Placement())
    image_m = image_distance_m(camera)
    assert image_m == pytest.approx(1 / (1 / 0.05 - 1 / 1.5))
    wide = 480 * camera.pixel_pitch_um * 1e-6 / image_m * 2.0
    assert np.ptp(places[..., 0]) == pytest.approx(wide * 479 / 480, rel=1e-5)
    crop = back_project(np.full((90, 120), 2.0, np.float32), camera, Placement((100, 50), 2.0))
    between = places[50:230, 100:340].reshape(90, 2, 120, 2, 3).mean(axis=(1, 3))
    assert np.allclose(crop, between, atol=1e-6)


def test_sensor_to_object_is_lens_to_sensor_and_lens_to_object():
    image_m = image_distance_m(Camera(focus_distance_m=1.5))
    assert 1 / image_m + 1 / (1.5 - image_m) == pytest.approx(1 / 0.05)


@pytest.fixture
def model(models, tmp_path):
    return shutil.copytree(models / "student", tmp_path / "student")


def test_model_is_found_by_folder_file_and_inside_what_mlflow_keeps(model, tmp_path):
    wanted = load_model(model).fingerprint
    assert find_model(str(model)).fingerprint == wanted
    assert find_model(str(model / "weights.safetensors")).fingerprint == wanted
    shutil.copytree(model, tmp_path / "kept/data/student")
    assert find_model(str(tmp_path / "kept")).fingerprint == wanted
    with pytest.raises(ModelError, match="nothing there"):
        find_model(str(tmp_path / "none"))
    with pytest.raises(ModelError, match=r"no card\.json"):
        find_model(str(tmp_path))


@pytest.mark.parametrize("save", ["pickle", "torch"])
def test_pickle_is_refused_unread(model, save):
    path = model / "weights.safetensors"
    if save == "torch":
        torch.save({"x": torch.zeros(2)}, path)
    else:
        path.write_bytes(pickle.dumps({"x": 1}))
    with pytest.raises(ModelError, match="pickle"):
        load_model(model)


def test_tampered_card_is_refused(model):
    card = json.loads((model / "card.json").read_text())
    card["prediction"]["inverse_range_dpt"] = [0.2, 2.0]
    (model / "card.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match="changed after training"):
        load_model(model)


def test_weights_of_another_version_are_refused_in_a_line(tmp_path):
    model = make_model("student")
    del model.network.borders.look4
    save_model(tmp_path, model)
    with pytest.raises(ModelError, match="Another version of Rangefinder") as refusal:
        load_model(tmp_path)
    assert len(str(refusal.value)) < 500


def test_students_from_before_cells_answered_together_go_on_alone(model):
    card = json.loads((model / "card.json").read_text())
    assert Card.model_validate(card).student.agreement_sd == StudentParams().agreement_sd
    del card["student"]["agreement_sd"], card["student"]["laid_charts"]
    assert Card.model_validate(card).student.agreement_sd is None
    assert Card.model_validate(card).student.laid_charts == 0


def test_card_may_be_written_in_another_layout(model):
    card = json.loads((model / "card.json").read_text())
    (model / "card.json").write_text(json.dumps(dict(reversed(card.items()))))
    load_model(model)


def test_weights_without_the_seal_of_their_card_are_refused(model):
    import hashlib

    path = model / "weights.safetensors"
    save_file(load_file(path), path)
    card = json.loads((model / "card.json").read_text())
    card["weights_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (model / "card.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match="changed after training"):
        load_model(model)
