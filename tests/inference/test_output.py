"""Files of a measured photo: maps in metres, overlay, point cloud."""

import itertools
import json

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageFont

from rangefinder.camera import Camera
from rangefinder.coordinates import Placement
from rangefinder.inference.output import (
    back_project,
    distance_colours,
    draw_overlay,
    scale_bar_labels,
)
from rangefinder.inference.session import OutputRequest, Session
from rangefinder.models.prediction import Prediction
from rangefinder.optics.blur import image_distance_m

from ..tiny_camera import make_model


def test_maps_are_in_metres_and_named_after_the_photo(photo_folder, tmp_path):
    session = Session(make_model("student"), "cpu")
    report = session.report(
        photo_folder / "b.png", "b", OutputRequest(((10, 20),), tmp_path / "out", cloud=True)
    )
    distance = tifffile.imread(report["files"]["distance"])
    accuracy = tifffile.imread(report["files"]["accuracy_probability"])
    assert (distance.dtype, distance.shape) == (np.float32, (48, 64))
    assert (accuracy.dtype, accuracy.shape) == (np.float32, (48, 64))
    near, far = (1 / end for end in reversed(session.card.prediction.inverse_range_dpt))
    assert ((distance > 0.9 * near) & (distance < 1.1 * far)).all()
    at = report["at"][0]
    assert at["distance_m"] == pytest.approx(distance[20, 10], abs=1e-4)
    assert at["near_m"] < at["distance_m"] < at["far_m"]
    assert report["median_m"] == pytest.approx(np.median(distance), abs=1e-3)
    expected = {"b_distance.tif", "b_accuracy_probability.tif", "b_overlay.png", "b_cloud.ply"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == expected
    json.dumps(report)


def test_a_forced_result_is_marked_in_every_file(photo_folder, tmp_path):
    Image.open(photo_folder / "b.png").resize((32, 24)).save(photo_folder / "small.png")
    session = Session(make_model("student"), "cpu", force=True)
    report = session.report(photo_folder / "small.png", "s", OutputRequest(folder=tmp_path))
    assert "32x24" in report["forced"][0]
    with tifffile.TiffFile(report["files"]["distance"]) as file:
        assert json.loads(file.pages[0].description)["made_by"].startswith("FORCED: ")
    with Image.open(report["files"]["overlay"]) as overlay:
        pixels = np.asarray(overlay.convert("RGB"))
    assert (pixels == (200, 0, 0)).all(axis=-1).any()


def test_failed_write_leaves_nothing_behind(photo_folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/b_overlay.png").mkdir()  # cannot be replaced by a file
    with pytest.raises(OSError, match="b_overlay"):
        Session(make_model("student"), "cpu").report(
            photo_folder / "b.png", "b", OutputRequest((), tmp_path / "out")
        )
    assert not list((tmp_path / "out").glob(".*"))


def test_colours_are_even_in_dioptres():
    far, middle, near = distance_colours(np.array([4.0, 1.6, 1.0]), (1.0, 4.0))
    assert near.tolist() == [0xFD, 0xE7, 0x25]
    assert middle.tolist() == [0x21, 0x91, 0x8C]
    assert far.tolist() == [0x44, 0x01, 0x54]


@pytest.mark.parametrize(("accuracy", "opacity"), [(0.0, 0.12), (0.3, 0.435), (0.9, 0.75)])
def test_colours_cover_the_photo_where_they_are_accurate(accuracy, opacity):
    size = (48, 64)
    prediction = Prediction(
        np.full(size, 1.6, np.float32), {}, accuracy_probability=np.full(size, accuracy, np.float32)
    )
    overlay = draw_overlay(torch.zeros(3, *size), prediction, (1.0, 4.0), "b.png")
    covered = np.array(overlay.getpixel((300, 200))) / (0x21, 0x91, 0x8C)
    assert covered == pytest.approx(opacity, abs=0.02)


def test_labels_of_the_scale_bar_can_be_read():
    font = ImageFont.load_default(13)
    labels = list(scale_bar_labels((0.6, 10.0), 588, font))
    assert [text for _, text in labels][:2] == ["0.7 m", "1 m"]
    ends = [(x - font.getlength(text) / 2, x + font.getlength(text) / 2) for x, text in labels]
    assert all(here[1] < after[0] for here, after in itertools.pairwise(ends))


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
