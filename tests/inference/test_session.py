"""A session over photo files."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageOps

from rangefinder.errors import CaptureError
from rangefinder.inference.session import (
    OneOfTwo,
    OutputRequest,
    PointReading,
    Session,
    TapeCheck,
    stems,
)
from rangefinder.models.model_files import TrainedModel
from rangefinder.optics.srgb import srgb_pixels
from rangefinder.photo_domain import Effect, PhotoDomain

from ..tiny_camera import CAMERA, make_model, random_pixels

TRANSPOSES = {3: "ROTATE_180", 6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"}


def test_a_point_outside_of_the_photo_is_refused(photo_folder):
    session = Session(make_model("student"), "cpu")
    for point in ((64, 0), (0, 48), (-1, 0)):
        with pytest.raises(CaptureError, match="outside"):
            session.report(photo_folder / "b.png", "b", OutputRequest((point,)))


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_reading_names_both_distances_where_two_are_possible(tmp_path, orientation):
    session = Session(make_model("student", orientation="ignore"), "cpu")
    measured = session.measure(portrait(tmp_path, orientation))
    probs = torch.zeros_like(measured.posterior.probs)
    probs[..., 9] = 1.0
    probs[-3:, :, 2], probs[-3:, :, 9] = 0.4, 0.6  # the lowest rows of the sensor
    measured = replace(measured, posterior=replace(measured.posterior, probs=probs))
    lowest = (20, 47) if orientation == 1 else (0, 20)  # turned clockwise they are on the left
    reading = measured.at(*lowest)
    nearer, farther = reading.two_distances
    assert nearer.far_m < CAMERA.focus_distance_m < farther.near_m
    assert (nearer.share, farther.share) == (0.6, 0.4)
    for one in (nearer, farther):
        assert one.near_m < one.distance_m < one.far_m
    assert str(reading) == (
        f"({lowest[0]}, {lowest[1]}): {reading.distance_m:.3f} m, 80% intervals "
        f"{nearer.distance_m:.3f} m (60%: {nearer.near_m:.2f}-{nearer.far_m:.2f} m) or "
        f"{farther.distance_m:.3f} m (40%: {farther.near_m:.2f}-{farther.far_m:.2f} m)"
    )
    content = json.loads(json.dumps(asdict(reading)))
    assert content["two_distances"][1]["share"] == 0.4
    assert PointReading.read(content) == reading
    both = measured.two_distances
    assert both.share.shape == (*measured.distance_m.shape, 2)
    assert both.share[lowest[1], lowest[0]] == pytest.approx([0.6, 0.4])
    assert both.near_m[lowest[1], lowest[0]] == pytest.approx(
        [nearer.near_m, farther.near_m], abs=1e-4
    )
    one = measured.at(20, 20)
    assert one.two_distances is None
    assert np.isnan(both.distance_m[20, 20]).all()
    assert PointReading.read(asdict(one)) == one
    assert f"m, 80% interval {one.near_m:.2f}-{one.far_m:.2f} m" in str(one)


@pytest.mark.parametrize(
    ("tape_m", "inside"), [(0.9, True), (1.05, False), (3.0, False), (4.2, True), (5.0, False)]
)
def test_a_tape_is_inside_if_one_of_both_intervals_holds_it(tape_m, inside):
    both = OneOfTwo(0.95, 0.7, 0.9, 1.0), OneOfTwo(4.1, 0.3, 3.9, 4.3)
    reading = PointReading(1, 2, 0.96, 0.9, 4.2, 0.5, both)
    assert TapeCheck(Path("a.png"), reading, tape_m).inside is inside
    whole = replace(reading, two_distances=None)
    assert TapeCheck(Path("a.png"), whole, 3.0).inside


def portrait(folder, orientation=6):
    """A photo of the tiny camera, held so that viewers turn it by this EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = folder / f"portrait{orientation}.png"
    Image.fromarray(random_pixels(seed=4)).save(path, exif=exif)
    return path


@pytest.mark.parametrize("orientation", [3, 6, 7, 8])
def test_photos_held_any_way_are_measured_on_the_sensor_and_shown_as_viewers_do(
    tmp_path, orientation
):
    session = Session(make_model("student", orientation="ignore"), "cpu")
    path = portrait(tmp_path, orientation)
    plain = session.measure(random_pixels(seed=4))
    turned = session.measure(path)
    with Image.open(path) as picture:
        shown = ImageOps.exif_transpose(picture)
    code = getattr(Image.Transpose, TRANSPOSES[orientation])

    def as_shown(values):
        return np.asarray(Image.fromarray(values).transpose(code))

    assert turned.photo.warnings == ()
    assert turned.distance_m.shape == (shown.height, shown.width)
    assert np.array_equal(turned.distance_m, as_shown(plain.distance_m))
    assert np.array_equal(turned.accuracy_probability, as_shown(plain.accuracy_probability))
    for level in (0.8, 0.5):
        for one, other in zip(turned.interval_m(level), plain.interval_m(level), strict=True):
            assert np.array_equal(one, as_shown(other))
    assert turned.at(5, 7).distance_m == pytest.approx(turned.distance_m[7, 5], abs=1e-4)
    files = turned.save(tmp_path / "out", cloud=True)
    assert np.array_equal(tifffile.imread(files["distance"]), turned.distance_m)
    assert np.array_equal(srgb_pixels(turned.photo.shown_light), np.asarray(shown))
    cloud = plain.save(tmp_path / "plain", "x", cloud=True)["cloud"]
    assert files["cloud"].read_bytes() == cloud.read_bytes()  # it stays on the sensor


def test_apply_means_a_camera_that_is_always_held_alike(tmp_path):
    upright = CAMERA.model_copy(update={"width_px": 48, "height_px": 64})
    session = Session(make_model("student", upright, orientation="apply"), "cpu")
    path = portrait(tmp_path)
    with Image.open(path) as picture:
        expected = session.measure(np.asarray(ImageOps.exif_transpose(picture)))
    found = session.measure(path)
    assert np.array_equal(found.distance_m, expected.distance_m)
    with pytest.raises(CaptureError, match="turned by a quarter"):
        session.measure(portrait(tmp_path, 1))


def test_a_model_that_was_trained_to_refuse_turned_photos_says_so(tmp_path):
    path = portrait(tmp_path)
    with pytest.raises(CaptureError, match=r"orientation 6.*captures\.orientation: refuse"):
        Session(make_model("student"), "cpu").measure(path)
    forced = Session(make_model("student"), "cpu", force=True).measure(path)
    assert "captures.orientation" in forced.photo.warnings[0]
    assert forced.distance_m.shape == (64, 48)


def test_bits_of_samples_are_those_of_training_unless_others_are_given(tmp_path):
    twelve = random_pixels(seed=5).astype(np.uint16) * 16
    tifffile.imwrite(tmp_path / "a.tif", twelve, photometric="rgb")
    trained = make_model("student", sample_bits=12)
    scaled = (twelve / 4095).astype(np.float32)
    expected = Session(trained, "cpu").measure(scaled).distance_m
    for session in (Session(trained, "cpu"), Session(make_model("student"), "cpu", sample_bits=12)):
        for photo in (tmp_path / "a.tif", twelve):
            np.testing.assert_allclose(session.measure(photo).distance_m, expected, rtol=1e-4)
        assert not session.bits.doubt
    for photo in (tmp_path / "a.tif", twelve):
        session = Session(make_model("student"), "cpu")
        session.measure(photo)
        assert session.bits.suspected == 12


def test_photos_of_one_name_get_different_stems(tmp_path):
    found = stems([tmp_path / "a/x.jpg", tmp_path / "b/x.jpg", tmp_path / "y.jpg"])
    assert len(set(found)) == 3
    assert found[2] == "y"


def test_photos_unlike_those_of_training_are_refused_or_have_wider_intervals(tmp_path):
    model = make_model("student")
    central = tuple(min(0.2 + 0.05 * step, 0.99) for step in range(20))
    effect = Effect(error_ratio=3.0, coverage=0.4, central=central)
    statistics = {"brightness": (-1.0, 0.0)}
    photos = PhotoDomain(formats=("srgb",), statistics=statistics, effects={"jpeg_420": (effect,)})
    model = TrainedModel(model.network, model.card.model_copy(update={"photos": photos}))
    Image.fromarray(random_pixels()).save(tmp_path / "a.png")
    Image.fromarray(random_pixels()).save(tmp_path / "a.jpg", quality=95, subsampling="4:2:0")
    Session(model, "cpu").measure(tmp_path / "a.png")
    with pytest.raises(CaptureError) as refused:
        Session(model, "cpu").measure(tmp_path / "a.jpg")
    assert "JPEG of quality 95, chroma 4:2:0 (error 3 times as large)" in str(refused.value)
    assert "trained on 8-bit sRGB: measure such photos, train for others" in str(refused.value)
    forced = Session(model, "cpu", force=True).measure(tmp_path / "a.jpg")
    assert "JPEG of quality 95" in forced.photo.warnings[0]
    usual = replace(forced.posterior, shifts=()).decode()
    (near, far), (nearer, farther) = usual.interval_m[0.8], forced.interval_m()
    inside = np.isfinite(near)
    assert (nearer < near)[inside].mean() > 0.9
    assert (farther > far)[inside].mean() > 0.9
