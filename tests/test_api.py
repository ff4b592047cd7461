"""The public Python API: its names, its imports, arrays it refuses, intervals and files."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

import rangefinder
from rangefinder.captures.images import write_linear
from rangefinder.errors import CaptureError, ConfigError
from rangefinder.models.model_files import save_model

from .conftest import ROOT, clean_environment
from .tiny_camera import CAMERA, make_model

HEAVY = {"dvc", "kedro", "lightning", "mlflow"}
PUBLIC = {"Measurement", "OneOfTwo", "PointReading", "RangefinderError", "Session"}
PUBLIC |= {"__version__", "load_model"}


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


@pytest.mark.parametrize("scale", [0, -1.0, float("nan"), float("inf"), 1e-3])
def test_a_scale_that_no_photo_has_is_refused(session, scale):
    with pytest.raises(CaptureError, match=r"scale|smaller than one patch"):
        session.measure(pixels(), scale=scale)


def test_an_unknown_device_is_refused(model_folder):
    with pytest.raises(ConfigError, match=r"gpu.*auto, cpu, cuda"):
        rangefinder.load_model(str(model_folder / "student"), device="gpu")


def readme_lines():
    return re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)[1]


def test_the_lines_of_the_readme_run(tmp_path, monkeypatch, capsys):
    camera = CAMERA.model_copy(update={"width_px": 320, "height_px": 240})
    save_model(tmp_path / "data/06_models/student", make_model("student", camera))
    write_linear(tmp_path / "photo.tif", torch.rand(3, 240, 320))
    monkeypatch.chdir(tmp_path)
    exec(readme_lines(), {})
    assert re.match(
        r"\(240, 180\): [\d.]+ m, 80% intervals? .* \(240, 320\)", capsys.readouterr().out
    )
    assert (tmp_path / "measured/photo_distance.tif").is_file()


def test_the_package_shows_the_lines_of_the_readme():
    shown = textwrap.dedent(rangefinder.__doc__.split("\n\n", 1)[1].rsplit("\n\n", 1)[0])
    without_comment = re.sub(r"  # .*", "", readme_lines())
    assert shown.strip() == without_comment.strip()


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
