"""Camera records: saved and loaded, fingerprinted, and refused where they were changed."""

import json

import pytest

from rangefinder.camera import Camera
from rangefinder.errors import CameraMismatchError, ConfigError


def test_a_saved_record_is_loaded_unchanged(tmp_path):
    camera = Camera(focus_distance_m=2.0, optical_centre_px=(230.0, 181.0))
    camera.save(tmp_path / "camera.json")
    assert Camera.load(tmp_path / "camera.json") == camera


@pytest.mark.parametrize(
    "change",
    [{"f_number": 2.8}, {"focus_distance_m": 1.6}, {"width_px": 481}, {"symmetric": False}],
)
def test_whatever_changes_the_blur_changes_the_fingerprint(change):
    assert Camera(**change).fingerprint != Camera().fingerprint


def test_the_name_is_not_part_of_the_fingerprint():
    assert Camera(name="mine").fingerprint == Camera().fingerprint


def test_a_changed_record_is_refused(tmp_path):
    path = tmp_path / "camera.json"
    Camera().save(path)
    content = json.loads(path.read_text()) | {"f_number": 4.0}
    path.write_text(json.dumps(content))
    with pytest.raises(CameraMismatchError, match="belongs to another camera"):
        Camera.load(path)


@pytest.mark.parametrize("text", ["", "[]", "{}x", '{"focal_length_mm": -1}', '{"lense": {}}'])
def test_an_invalid_record_is_refused_by_name(tmp_path, text):
    path = tmp_path / "camera.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"camera\.json is not a camera record"):
        Camera.load(path)
