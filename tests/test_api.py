"""The public Python API: its names, its imports, arrays it refuses, intervals and files."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest

import rangefinder
from rangefinder.errors import CaptureError, ConfigError

from .conftest import clean_environment

HEAVY = {"dvc", "kedro", "lightning", "mlflow"}
PUBLIC = {"Measurement", "PointReading", "RangefinderError", "Session", "__version__", "load_model"}


@pytest.fixture(scope="module")
def session(model_folder):
    return rangefinder.load_model(str(model_folder / "student"), device="cpu")


def pixels(dtype=np.uint16, shape=(48, 64, 3)):
    values = np.random.default_rng(0).random(shape)
    return (values * 65535).astype(dtype) if dtype == np.uint16 else values.astype(dtype)


def run_python(code: str) -> str:
    command = [sys.executable, "-c", code]
    environment = clean_environment()
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_public_names_are_those_of_all_and_can_be_imported():
    assert set(rangefinder.__all__) == PUBLIC
    assert all(hasattr(rangefinder, name) for name in rangefinder.__all__)
    defined = {
        name
        for name, value in vars(rangefinder).items()
        if getattr(value, "__module__", "") == "rangefinder" and not name.startswith("_")
    }
    assert defined <= PUBLIC
    code = "from rangefinder import *; print(sorted(n for n in dir() if n[:2] != '__'))"
    assert run_python(code) == str(sorted(PUBLIC - {"__version__"}))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'measure'"):
        _ = rangefinder.measure


def test_measuring_with_a_model_folder_imports_no_kedro_mlflow_or_lightning(
    model_folder, photo_folder
):
    code = (
        "import sys, rangefinder\n"
        f"assert 'torch' not in sys.modules\n"
        f"session = rangefinder.load_model({str(model_folder / 'student')!r})\n"
        f"print(session.measure({str(photo_folder / 'b.png')!r}).at(3, 4).distance_m > 0)\n"
        f"print({HEAVY!r} & set(sys.modules))\n"
    )
    assert run_python(code).split("\n") == ["True", "set()"]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(48, 64, 3), (48, 64)])
def test_arrays_of_photos_are_measured(session, dtype, shape):
    assert session.measure(pixels(dtype, shape)).distance_m.shape == (48, 64)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (pixels(shape=(48,)), "shape"),
        (pixels(shape=(48, 64, 4)), "transparent"),
        (pixels(shape=(3, 48, 64)), "shape"),
        (pixels(shape=(2, 48, 64, 3)), "shape"),
        (pixels(shape=(40, 64, 3)), "64x40"),
        (pixels().astype(np.int32), "int32"),
        (pixels().astype(bool), "bool"),
        (pixels().astype(str), "<U"),
        (pixels(np.float32) * 2, "0..1"),
        (pixels(np.float32) - 0.5, "0..1"),
        (
            np.where(np.arange(48)[:, None, None] == 7, np.nan, pixels(np.float64)),
            "192 samples that",
        ),
    ],
)
def test_other_arrays_are_refused(session, array, message):
    with pytest.raises(CaptureError, match=message) as refusal:
        session.measure(array)
    assert isinstance(refusal.value, rangefinder.RangefinderError)


def test_a_crop_is_measured_at_its_placement(session):
    crop = session.measure(pixels()[8:, 16:], origin_px=(16, 8))
    assert crop.distance_m.shape == (40, 48)
    with pytest.raises(CaptureError, match="reaches to"):
        session.measure(pixels(), origin_px=(16, 8))


def test_intervals_of_higher_levels_contain_those_of_lower_ones(session):
    measured = session.measure(pixels())
    ends = [measured.interval_m(level) for level in (0.01, 0.3, 0.8, 0.9, 0.999)]
    for (near, far), (wider_near, wider_far) in itertools.pairwise(ends):
        assert (wider_near <= near).all()
        assert (far <= wider_far).all()
    for near, far in ends:
        assert near.shape == far.shape == (48, 64)
        assert (near < far).all()


@pytest.mark.parametrize("level", [0, 1, -0.5, 80, float("nan")])
def test_levels_outside_0_to_1_are_refused(session, level):
    with pytest.raises(ConfigError, match="between 0 and 1"):
        session.measure(pixels()).interval_m(level)


def test_points_are_read_at_their_pixel_and_refused_outside(session):
    measured = session.measure(pixels())
    reading = measured.at(20.7, 10.2)
    assert (reading.x_px, reading.y_px) == (20.7, 10.2)
    assert reading.distance_m == pytest.approx(measured.distance_m[10, 20], abs=1e-4)
    assert reading.near_m < reading.distance_m < reading.far_m
    for point in ((64, 0), (0, 48), (-1, 0)):
        with pytest.raises(CaptureError, match="outside"):
            measured.at(*point)


def test_save_writes_its_files(session, tmp_path):
    measured = session.measure(pixels())
    files = measured.save(tmp_path / "maps", "a")
    assert set(files) == {"distance", "accuracy_probability", "overlay"}
    files = measured.save(tmp_path / "maps", "b", cloud=True)
    assert set(files) == {"distance", "accuracy_probability", "overlay", "cloud"}
    names = {f"a_{n}" for n in ("distance.tif", "accuracy_probability.tif", "overlay.png")}
    names |= {name.replace("a_", "b_", 1) for name in names} | {"b_cloud.ply"}
    assert {path.name for path in (tmp_path / "maps").iterdir()} == names
