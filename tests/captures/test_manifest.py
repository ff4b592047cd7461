"""Sets of captures on disk: written atomically, read whole or in parts, validated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from PIL import Image

from rangefinder.camera import Camera
from rangefinder.captures.manifest import (
    BLUR_FILE,
    SEAL_FILE,
    TABLE_FILE,
    Capture,
    capture_id,
    read_captures,
    write_captures,
    write_manifest,
)
from rangefinder.captures.pixels import Pixels
from rangefinder.common.files import checksum
from rangefinder.coordinates import Placement
from rangefinder.errors import CameraMismatchError, CaptureError
from rangefinder.optics.blur import ThinBlur, TracedBlur


@pytest.fixture
def chart(labelled: Capture) -> Capture:
    return Capture(
        image=labelled.image.flip(2),
        role="chart",
        scene="chart",
        split="train",
        distance_m=1.25,
        texture_sources=("leaves:train:0",),
        placement=Placement((8.0, 4.0), 1.0),
    )


def _edit(folder: Path, column: str, value: object) -> None:
    table = pd.read_parquet(folder / TABLE_FILE)
    table[column] = value
    write_manifest(folder, table)


def test_round_trip(tmp_path: Path, camera: Camera, labelled: Capture, chart: Capture):
    written = write_captures(tmp_path / "set", camera, iter([labelled, chart]))
    again = read_captures(tmp_path / "set")
    pd.testing.assert_frame_equal(written.table, again.table)
    assert again.camera == camera
    assert len(again) == 2
    assert torch.allclose(again.image(0), labelled.image, atol=0.51 / 65535)
    assert torch.allclose(again.distance_map(0), labelled.distance_map, atol=0.00051)
    assert torch.equal(again.distance_map(0) == 0, labelled.distance_map == 0)
    assert torch.allclose(again.texture(0), labelled.texture, rtol=1e-3)
    assert again.texture(1) is None
    assert torch.all(again.distance_map(1) == 1.25)
    assert again.placement(1) == chart.placement
    assert again.row(0)["texture_sources"] == "photo:camera;leaves:test:0"
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == [
        "camera.json",
        "captures.parquet",
        "distance",
        "images",
        "seal.json",
        "texture",
    ]


def test_captures_carry_the_blur_of_their_lens(tmp_path: Path, camera: Camera, labelled: Capture):
    nodes = (np.array([0.2, 1.4]), np.array([0.0, 90.0]), np.array([0.0, 120.0]))
    traced = TracedBlur(np.arange(8.0).reshape(2, 2, 2), *nodes)
    written = write_captures(tmp_path / "set", camera, [labelled], traced)
    again = read_captures(tmp_path / "set").select(role="labelled")
    assert written.blur.fingerprint == again.blur.fingerprint == traced.fingerprint
    (tmp_path / "set" / BLUR_FILE).write_bytes(b"nothing")
    with pytest.raises(CaptureError, match=r"blur\.safetensors.*Run ingestion again"):
        read_captures(tmp_path / "set")
    write_captures(tmp_path / "set", camera, [labelled])
    assert read_captures(tmp_path / "set").blur == ThinBlur(camera)


def test_ids_are_hashes_of_pixels_placement_and_camera(camera: Camera, labelled: Capture):
    name = capture_id(labelled.image, labelled.placement, camera)
    stored = (labelled.image * 65535).round() / 65535
    assert name == capture_id(stored, labelled.placement, camera)
    other = camera.model_copy(update={"f_number": 4.0})
    moved = Placement((1.0, 0.0))
    assert name != capture_id(labelled.image, moved, camera)
    assert name != capture_id(labelled.image, labelled.placement, other)
    assert name != capture_id(labelled.image * 0.5, labelled.placement, camera)


def test_rendered_captures_are_told_from_photographed_ones(
    tmp_path: Path, camera: Camera, labelled: Capture, chart: Capture
):
    photo = replace(labelled, image=labelled.image / 2, texture=None, texture_sources=())
    captures = write_captures(tmp_path / "set", camera, iter([labelled, photo, chart]))
    assert captures.sources == ["simulated", "photographed", "simulated"]
    assert captures.select(role="labelled").sources == ["simulated", "photographed"]


def test_select_and_digest(tmp_path: Path, camera: Camera, labelled: Capture, chart: Capture):
    both = write_captures(tmp_path / "a", camera, [labelled, chart])
    swapped = write_captures(tmp_path / "b", camera, [chart, labelled])
    assert both.digest == swapped.digest
    assert len(both.select(role="chart")) == 1
    assert len(both.select(role=["chart", "labelled"], split="test")) == 1
    assert len(both.select(split="validation")) == 0
    assert both.select(role="chart").row(0)["distance_m"] == 1.25
    assert both.select(role="chart").digest != both.digest


def test_a_failing_source_leaves_the_old_set_alone(
    tmp_path: Path, camera: Camera, labelled: Capture, chart: Capture
):
    old = write_captures(tmp_path / "set", camera, [labelled])

    def broken() -> Iterator[Capture]:
        yield chart
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_captures(tmp_path / "set", camera, broken())
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert read_captures(tmp_path / "set").digest == old.digest


def test_writing_again_replaces_everything(
    tmp_path: Path, camera: Camera, labelled: Capture, chart: Capture
):
    (tmp_path / ".set.partial" / "images").mkdir(parents=True)  # left by a killed run
    write_captures(tmp_path / "set", camera, [labelled])
    write_captures(tmp_path / "set", camera, [chart])
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert len(list((tmp_path / "set" / "images").iterdir())) == 1
    assert len(read_captures(tmp_path / "set")) == 1


def test_the_digest_follows_labels_and_places_but_not_names_of_files(
    tmp_path: Path, camera: Camera, labelled: Capture
):
    first = write_captures(tmp_path / "a", camera, [labelled])
    nearer = replace(labelled, distance_map=labelled.distance_map * 0.9)
    assert write_captures(tmp_path / "b", camera, [nearer]).digest != first.digest
    assert replace(first, table=first.table.assign(image="x.tif")).digest == first.digest
    assert checksum(first.listing.encode()) == first.digest


def test_a_damaged_capture_is_named_and_verified_once(
    tmp_path: Path, camera: Camera, labelled: Capture
):
    captures = write_captures(tmp_path / "set", camera, [labelled])
    captures.verify()
    path = captures.folder / captures.row(0)["image"]
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    captures.select(role="labelled").image(0)  # a subset of what was verified before
    again = read_captures(tmp_path / "set")
    for read in (again.verify, lambda: again.image(0), lambda: Pixels(again).crop(0, 0, 0, 4, 4)):
        with pytest.raises(CaptureError, match=rf"{path} is damaged; .*Run ingestion again"):
            read()


def test_sets_of_earlier_versions_and_lost_files_are_named(
    tmp_path: Path, camera: Camera, labelled: Capture
):
    captures = write_captures(tmp_path / "set", camera, [labelled])
    (captures.folder / captures.row(0)["texture_map"]).unlink()
    with pytest.raises(CaptureError, match=r"texture/.* cannot be read .*Run ingestion again"):
        read_captures(tmp_path / "set").verify()
    (tmp_path / "set" / SEAL_FILE).unlink()
    with pytest.raises(CaptureError, match="holds no checksums: an earlier version wrote it"):
        read_captures(tmp_path / "set")


@pytest.mark.parametrize("name", [BLUR_FILE, "camera.json"])
def test_a_lost_blur_or_camera_is_not_replaced_by_a_default(
    tmp_path: Path, camera: Camera, labelled: Capture, name: str
):
    nodes = (np.array([0.2, 1.4]), np.array([0.0, 90.0]), np.array([0.0, 120.0]))
    traced = TracedBlur(np.arange(8.0).reshape(2, 2, 2), *nodes)
    write_captures(tmp_path / "set", camera, [labelled], traced)
    (tmp_path / "set" / name).unlink()
    with pytest.raises(CaptureError, match=f"{name} cannot be read"):
        read_captures(tmp_path / "set")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("role", "portrait"),
        ("split", "holdout"),
        ("image", "/etc/passwd"),
        ("distance_map", "../outside.png"),
        ("scale", 0.0),
        ("exposure", -1.0),
        ("capture_id", "short"),
        ("colour", "an unknown column"),
    ],
)
def test_rows_that_break_the_schema_are_refused(
    tmp_path: Path, camera: Camera, labelled: Capture, column: str, value: object
):
    write_captures(tmp_path / "set", camera, [labelled])
    _edit(tmp_path / "set", column, value)
    with pytest.raises(CaptureError, match=column):
        read_captures(tmp_path / "set")


def test_twins_are_refused(tmp_path: Path, camera: Camera, labelled: Capture):
    with pytest.raises(CaptureError, match="capture_id"):
        write_captures(tmp_path / "set", camera, [labelled, labelled])


@pytest.mark.parametrize(
    ("capture", "missing"),
    [({"role": "chart", "distance_map": None}, "distance_m"), ({"distance_map": None}, "_map")],
)
def test_labels_must_be_there(
    tmp_path: Path, camera: Camera, labelled: Capture, capture: dict[str, object], missing: str
):
    with pytest.raises(CaptureError, match=missing):
        write_captures(tmp_path / "set", camera, [replace(labelled, **capture)])


def test_no_captures_is_an_error(tmp_path: Path, camera: Camera):
    with pytest.raises(CaptureError, match="no captures"):
        write_captures(tmp_path / "set", camera, [])


def test_unknown_distance_is_an_error(tmp_path: Path, camera: Camera, labelled: Capture):
    blind = replace(labelled, role="unlabelled", distance_map=None)
    captures = write_captures(tmp_path / "set", camera, [blind])
    with pytest.raises(CaptureError, match="no distance"):
        captures.distance_map(0)


def test_another_cameras_captures_are_refused(tmp_path: Path, camera: Camera, labelled: Capture):
    captures = write_captures(tmp_path / "set", camera, [labelled])
    camera.model_copy(update={"f_number": 4.0}).save(tmp_path / "set" / "camera.json")
    write_manifest(captures.folder, captures.table)
    with pytest.raises(CameraMismatchError):
        read_captures(tmp_path / "set")


def test_a_folder_without_captures_is_named(tmp_path: Path):
    with pytest.raises(CaptureError, match="no set of captures"):
        read_captures(tmp_path / "nothing")


def test_files_of_the_wrong_size_are_refused(tmp_path: Path, camera: Camera, labelled: Capture):
    write_captures(tmp_path / "set", camera, [labelled])
    _edit(tmp_path / "set", "width_px", 65)
    with pytest.raises(CaptureError, match="wrong size"):
        read_captures(tmp_path / "set").image(0)


@pytest.fixture
def captures(tmp_path):
    image = torch.rand(3, 20, 31, generator=torch.Generator().manual_seed(0))
    capture = Capture(image, "unlabelled", "scene", "train")
    return write_captures(tmp_path / "set", Camera(width_px=31, height_px=20), [capture])


def as_format(captures, name):
    """The same capture with its picture in another format."""
    pixels = (captures.image(0).permute(1, 2, 0) * 65535).round().numpy().astype(np.uint16)
    path = captures.folder / name
    if name.endswith("png"):
        Image.fromarray((pixels >> 8).astype(np.uint8)).save(path)
    else:
        options = {"big.tif": {"byteorder": ">"}, "packed.tif": {"compression": "zlib"}}
        tifffile.imwrite(path, pixels, photometric="rgb", metadata=None, **options[name])
    contents = {"image": name, "image_sha256": checksum(path.read_bytes())}
    return replace(captures, table=captures.table.assign(**contents))


@pytest.mark.parametrize("name", [None, "big.tif", "packed.tif", "eight.png"])
@pytest.mark.parametrize("window", [(0, 0, 20, 31), (3, 5, 7, 9), (19, 30, 1, 1)])
def test_a_crop_equals_that_of_the_decoded_picture(captures, name, window):
    captures = as_format(captures, name) if name else captures
    top, left, height, width = window
    decoded = captures.image(0)[:, top : top + height, left : left + width]
    pixels = Pixels(captures)
    for _ in range(2):
        part = pixels.crop(0, *window)
        torch.testing.assert_close(part, decoded, atol=1e-5 if name == "eight.png" else 0, rtol=0)


def test_a_truncated_picture_is_an_error(captures):
    path = captures.folder / captures.table["image"][0]
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises((CaptureError, ValueError)):
        Pixels(captures).crop(0, 0, 0, 20, 31)


def test_a_picture_of_another_size_is_an_error(captures):
    wrong = replace(captures, table=captures.table.assign(width_px=30))
    with pytest.raises(CaptureError, match="wrong size"):
        Pixels(wrong).crop(0, 0, 0, 20, 30)
