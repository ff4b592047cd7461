"""Import of a user's captures: rows, splits, withheld scenes, and rows that are refused."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rangefinder.camera import Camera
from rangefinder.captures.importer import Importer, import_captures, plan_splits
from rangefinder.captures.manifest import write_captures
from rangefinder.captures.tables import Row, read_table
from rangefinder.config import CaptureParams, EncodingParams, Parameters
from rangefinder.errors import CaptureError
from rangefinder.synthesis.rgbd import simulate_rgbd

from ..simulated_camera import CAMERA, PARAMS, gaussian_bank
from .conftest import room, save_distances, save_photo, table_of

SIZE = {"width_px": 64, "height_px": 48}
RNG = np.random.default_rng(0)


def params_of(**captures: object) -> Parameters:
    raw = {"camera": {**SIZE, "lens": {"kind": "none"}}}
    raw["captures"] = {"source": "files", "tables": ["."], **captures}
    return Parameters.model_validate(raw)


def imported(path: Path, params: Parameters | None = None):
    params = params or params_of()
    return list(
        import_captures(params, Camera.from_params(params.camera), None, [read_table(path)])
    )


def refusal(path: Path, params: Parameters | None = None) -> str:
    with pytest.raises(CaptureError) as caught:
        imported(path, params)
    return str(caught.value)


def test_every_kind_of_row_is_imported_and_can_be_written(tmp_path):
    for number, name in enumerate(("a.png", "b.png", "c.png")):
        save_photo(tmp_path / name, number)
    save_distances(tmp_path / "b_mm.png")
    mask = np.zeros((48, 64), np.uint8)
    mask[:, :32] = 255
    Image.fromarray(mask).save(tmp_path / "valid.png")
    path = table_of(
        tmp_path,
        "image,role,distance_m,distance_map,valid_mask,scene,note",
        "a.png,chart,2.0,,valid.png,sheet,hello",
        "b.png,labelled,,b_mm.png,valid.png,kitchen,",
        "c.png,unlabelled,,,,garden,",
    )
    captures = imported(path)
    assert [capture.role for capture in captures] == ["chart", "labelled", "unlabelled"]
    for capture, metres in zip(captures, (2.0, 1.5), strict=False):
        assert capture.distance_map is not None
        assert (capture.distance_map[:, :32] == metres).all()
        assert (capture.distance_map[:, 32:] == 0).all()
    camera = Camera.from_params(params_of().camera)
    written = write_captures(tmp_path / "set", camera, captures)
    assert written.table["distance_m"].tolist()[0] == 2.0


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a.png,chart,,,s", "needs its distance_m"),
        ("a.png,labelled,,,s", "needs its distance_map"),
        ("a.png,photo,,,s", "role is 'photo', expected one of chart"),
        ("a.png,chart,1250,,s", "were these millimetres"),
        ("a.png,chart,-1,,s", "distance_m is -1.0"),
        ("a.png,chart,near,,s", "distance_m is no number: 'near'"),
        ("a.png,chart,1_5,,s", "distance_m is no number: '1_5'"),
        ("a.png,chart,nan,,s", "distance_m is no number: 'nan'"),
        (",chart,1,,s", "image is empty"),
        ("gone.png,chart,1,,s", "no 'gone.png'"),
        ("../../secret.png,chart,1,,s", "leads out of the table's folder"),
        (f"{300 * 'x'}.png,chart,1,,s", "a path cannot be followed (File name too long)"),
        ("/etc/passwd,chart,1,,s", "not relative"),
        ("C:\\x.png,chart,1,,s", "not relative"),
    ],
)
def test_bad_rows_are_named_with_what_is_wrong(tmp_path, line, reason):
    save_photo(tmp_path / "a.png")
    message = refusal(table_of(tmp_path, "image,role,distance_m,distance_map,scene", line))
    assert reason in message
    assert "row 2" in message


def test_a_row_twice_and_a_photo_twice_are_refused(tmp_path):
    save_photo(tmp_path / "a.png", 1)
    save_photo(tmp_path / "b.png", 1)
    rows = ("a.png,chart,1", "a.png,chart,1", "b.png,chart,1")
    message = refusal(table_of(tmp_path, "image,role,distance_m", *rows))
    assert "stands in row 2 already" in message
    assert "same content as a.png" in message


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    secret = save_photo(tmp_path / "secret.png")
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "a.png").symlink_to(secret)
    assert "symbolic link leads out" in refusal(
        table_of(folder, "image,role,distance_m", "a.png,chart,1")
    )


def test_bad_rows_are_skipped_if_configured_and_else_nothing_is_written(tmp_path):
    save_photo(tmp_path / "a.png")
    path = table_of(tmp_path, "image,role,distance_m", "a.png,chart,1", "gone.png,chart,1")
    assert len(imported(path, params_of(skip_bad=True))) == 1
    params = params_of()
    camera = Camera.from_params(params.camera)
    with pytest.raises(CaptureError, match="one problem"):
        write_captures(
            tmp_path / "out", camera, import_captures(params, camera, None, [read_table(path)])
        )
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_a_photo_of_another_size_is_refused_unless_its_placement_is_given(tmp_path):
    save_photo(tmp_path / "a.png", size=(24, 32))
    header = "image,role,distance_m,origin_x_px,origin_y_px,scale"
    assert "does not fit the camera" in refusal(table_of(tmp_path, header, "a.png,chart,1,,,"))
    (capture,) = imported(table_of(tmp_path, header, "a.png,chart,1,10,20,1"))
    assert capture.placement.origin_px == (10.0, 20.0)
    assert "does not fit" in refusal(table_of(tmp_path, header, "a.png,chart,1,40,20,1"))


def test_exif_of_another_focal_length_is_refused(tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x920A] = 35.0
    save_photo(tmp_path / "a.jpg", exif=exif)
    message = refusal(table_of(tmp_path, "image,role,distance_m", "a.jpg,chart,1"))
    assert "focal length [mm] 35, the camera record 50" in message


def rows_of(role: str, count: int, **values: object) -> list[Row]:
    return [Row(i, f"{role}{i}.png", role, f"{role}-{i}", **values) for i in range(count)]


def test_a_scene_is_in_one_split_whatever_the_order_of_rows():
    rows = rows_of("labelled", 12) + rows_of("unlabelled", 5) + rows_of("chart", 6, distance_m=1.0)
    params = CaptureParams(validation_share=0.2, test_share=0.25, withheld_share=0.5)
    plan = plan_splits(rows, params)
    assert plan == plan_splits(rows[::-1], params)
    counts = {
        (role, split): sum(s == split and k.startswith(f"{role}-") for k, s in plan.splits.items())
        for role in ("labelled", "unlabelled", "chart")
        for split in ("train", "validation", "test")
    }
    assert [counts["labelled", s] for s in ("train", "validation", "test")] == [7, 2, 3]
    assert counts["unlabelled", "train"] == 5
    assert [counts["chart", s] for s in ("train", "validation", "test")] == [3, 1, 2]
    assert len(plan.withheld) == 4
    assert all(plan.splits[scene] == "train" for scene in plan.withheld)


def test_a_split_column_takes_precedence_and_contradictions_are_refused():
    rows = [*rows_of("labelled", 4), Row(9, "x.png", "labelled", "mine", split="test")]
    assert plan_splits(rows, CaptureParams()).splits["mine"] == "test"
    rows.append(Row(10, "y.png", "labelled", "mine", split="train"))
    with pytest.raises(CaptureError, match="stands in two splits"):
        plan_splits(rows, CaptureParams())


def test_only_wanted_splits_are_imported(tmp_path):
    for name in "abc":
        save_photo(tmp_path / f"{name}.png", seed=ord(name))
    rows = ("a.png,chart,1,train", "b.png,chart,1,validation", "c.png,chart,1,test")
    table = table_of(tmp_path, "image,role,distance_m,split", *rows)
    (capture,) = imported(table, params_of(import_splits=("test",)))
    assert capture.split == "test"


def test_withheld_scenes_become_unlabelled(tmp_path):
    params = params_of(withheld_share=1.0, validation_share=0, test_share=0)
    save_photo(tmp_path / "a.png")
    save_distances(tmp_path / "m.png")
    path = table_of(tmp_path, "image,role,distance_map,scene", "a.png,labelled,m.png,room")
    (capture,) = imported(path, params)
    assert (capture.role, capture.split) == ("unlabelled", "train")


def test_rgbd_rows_are_rendered_through_the_bank(tmp_path):
    save_photo(tmp_path / "a.png", size=(60, 90))
    save_distances(tmp_path / "m.png", 3.0, (60, 90))
    path = table_of(tmp_path, "image,role,distance_map,scene", "a.png,rgbd,m.png,room")
    table, simulate = read_table(path), partial(simulate_rgbd, gaussian_bank(), PARAMS)
    (capture,) = Importer(CAMERA, PARAMS, simulate).captures([table])
    assert capture.role == "labelled"
    assert capture.image.shape == (3, CAMERA.height_px, CAMERA.width_px)
    assert capture.distance_map.unique().tolist() == pytest.approx([3.0, 3.6])
    (again,) = Importer(CAMERA, PARAMS, simulate).captures([table])
    assert torch.equal(capture.image, again.image)


@pytest.mark.parametrize(("split", "copies"), [("train", 3), ("test", 0)])
def test_training_frames_are_rendered_again_at_other_distances(tmp_path, split, copies):
    save_photo(tmp_path / "a.png", size=(60, 90))
    save_distances(tmp_path / "m.png", 3.0, (60, 90))
    row = f"a.png,rgbd,m.png,room,{split}"
    table = read_table(table_of(tmp_path, "image,role,distance_map,scene,split", row))
    simulate = partial(simulate_rgbd, gaussian_bank(), PARAMS)
    (plain,) = Importer(CAMERA, PARAMS, simulate).captures([table])
    first, *others = Importer(CAMERA, params_of(remapped_frames=3), simulate).captures([table])
    assert torch.equal(first.image, plain.image)
    assert len(others) == copies
    assert len({float(one.distance_map.median()) for one in [first, *others]}) == 1 + copies
    assert {(one.scene, one.split) for one in [first, *others]} == {("room", split)}


def test_untold_bits_are_doubted_once_and_set_for_photos_of_the_camera_only(tmp_path, caplog):
    pixels = RNG.integers(0, 4096, (48, 64), dtype=np.uint16)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(pixels[::-1]).save(tmp_path / "b.png")
    save_distances(tmp_path / "b_mm.png")
    path = table_of(
        tmp_path,
        "image,role,distance_map,scene",
        "a.png,unlabelled,,garden",
        "b.png,rgbd,b_mm.png,kitchen",
    )
    table, params = read_table(path), params_of(sample_bits=12)
    importer = Importer(Camera.from_params(params.camera), params)
    own, other = (importer.read(table, row)[0].image[0].numpy() for row in table.rows)
    np.testing.assert_allclose(own, pixels / 4095, rtol=1e-6)
    np.testing.assert_allclose(other, pixels[::-1] / 65535, rtol=1e-6)
    imported(table_of(tmp_path, "image,role,scene", "a.png,unlabelled,garden"))
    doubt = "no sample of a 16-bit photo is above 4095. 12 bits in 16? Set captures.sample_bits: 12"
    assert caplog.messages.count(doubt) == 1


def test_photos_that_software_turned_upright_are_refused_with_what_to_do(tmp_path):
    save_photo(tmp_path / "a.png", size=(64, 48))
    path = table_of(tmp_path, "image,role,scene", "a.png,unlabelled,garden")
    assert "turned by a quarter" in refusal(path)
    save_photo(tmp_path / "a.png", size=(60, 48))
    assert "origin_x_px" in refusal(path)


def test_photos_that_are_stored_unlike_simulated_ones_are_said(tmp_path, caplog):
    save_photo(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as photo:
        photo.convert("RGB").save(tmp_path / "a.jpg", quality=90, subsampling="4:2:0")
    path = table_of(tmp_path, "image,role,scene", "a.jpg,unlabelled,garden")
    doubt = "photos are stored as jpeg 90 4:2:0, simulated ones as linear"
    for source, formats, said in (
        ("files", ("linear",), False),
        ("both", ("linear",), True),
        ("both", ("jpeg",), False),
    ):
        params = params_of(source=source, tables=["."])
        encoding = EncodingParams(formats=formats)
        camera = params.camera.model_copy(update={"encoding": encoding})
        caplog.clear()
        imported(path, params.model_copy(update={"camera": camera}))
        assert (doubt in caplog.text) == said


@pytest.mark.parametrize(("distance", "accepted"), [(1.2, True), (6.0, True), (70, False)])
def test_charts_far_outside_of_the_working_range_are_in_another_unit(tmp_path, distance, accepted):
    save_photo(tmp_path / "a.png")
    path = table_of(tmp_path, "image,role,distance_m,scene", f"a.png,chart,{distance},sheet")
    if accepted:
        (capture,) = imported(path)
        assert capture.distance_m == distance
    else:
        assert "70 m; expected range.working_m, 0.7 to 5 m" in refusal(path)


def save_room(folder: Path) -> np.ndarray:
    """Save the photo of a room as a.png; its distances `[48, 64]` [m]."""
    photo, distance_m = room(size=(48, 64))
    Image.fromarray(photo).save(folder / "a.png")
    return distance_m


MAPS = {
    "scale": ("distance_scale", "0.01", lambda z: 100 * z),
    "integers": ("distance_scale", "0.0002", lambda z: np.rint(5000 * z).astype(np.int32)),
    "inverse": ("distance_kind", "inverse", lambda z: 1 / z),
    "disparity": (
        "distance_kind,focal_length_px,baseline_m,disparity_offset_px",
        "disparity,700,0.12,5",
        lambda z: 700 * 0.12 / z - 5,
    ),
}


@pytest.mark.parametrize("kind", MAPS)
def test_columns_say_what_the_numbers_of_a_map_mean(tmp_path, kind):
    columns, cells, numbers = MAPS[kind]
    distance_m = save_room(tmp_path)
    np.save(tmp_path / "m.npy", numbers(distance_m))
    lines = f"image,role,distance_map,scene,{columns}", f"a.png,labelled,m.npy,room,{cells}"
    (capture,) = imported(table_of(tmp_path, *lines))
    assert capture.distance_map is not None
    np.testing.assert_allclose(capture.distance_map, distance_m, rtol=2e-4)


def test_radial_maps_become_distances_along_the_axis_by_the_camera_record(tmp_path):
    distance_m = save_room(tmp_path)
    camera = {**SIZE, "pixel_pitch_um": 500.0, "distance_reference": "entrance_pupil"}
    image_px = 50 * 3000 / 2950 / 0.5  # at a focus of 3 m
    rows, cols = np.mgrid[:48, :64] + 0.5
    ray = np.sqrt((cols - 32) ** 2 + (rows - 24) ** 2 + image_px**2) / image_px
    assert ray.max() > 1.05
    np.save(tmp_path / "m.npy", distance_m * ray)
    lines = "image,role,distance_map,scene,distance_kind", "a.png,labelled,m.npy,room,radial"
    raw = {"camera": {**camera, "lens": {"kind": "none"}}, "captures": {"tables": ["."]}}
    (capture,) = imported(table_of(tmp_path, *lines), Parameters.model_validate(raw))
    assert capture.distance_map is not None
    np.testing.assert_allclose(capture.distance_map, distance_m, rtol=1e-5)


@pytest.mark.parametrize(
    ("columns", "cells", "reason"),
    [
        ("distance_kind", "labelled,m.npy,s,disparity", "disparity needs its focal_length_px"),
        ("distance_kind", "rgbd,m.npy,s,radial", "radial needs its focal_length_px"),
        ("distance_kind", "labelled,m.npy,s,depth", "expected one of z, radial, inverse"),
        ("distance_scale", "labelled,m.npy,s,0", "distance_scale is 0.0"),
        ("baseline_m", "labelled,m.npy,s,193", "were these millimetres"),
    ],
)
def test_columns_of_maps_are_checked(tmp_path, columns, cells, reason):
    save_room(tmp_path)
    lines = f"image,role,distance_map,scene,{columns}", f"a.png,{cells}"
    assert reason in refusal(table_of(tmp_path, *lines))


def test_doubtful_maps_are_refused_unless_they_are_accepted(tmp_path, caplog):
    distance_m = save_room(tmp_path)
    np.save(tmp_path / "m.npy", 100 * distance_m)
    lines = "image,role,distance_map,scene", "a.png,labelled,m.npy,room"
    path = table_of(tmp_path, *lines)
    message = refusal(path)
    assert "m.npy is doubtful: 100% of its known pixels are outside of range.working_m" in message
    assert "Centimetres? Give distance_scale 0.01." in message
    (capture,) = imported(path, params_of(doubtful_maps="accept"))
    assert capture.distance_map is not None
    np.testing.assert_allclose(capture.distance_map, 100 * distance_m, rtol=1e-6)
    camera = Camera.from_params(params_of().camera)
    written = write_captures(tmp_path / "set", camera, [capture])
    assert torch.equal(written.distance_map(0), capture.distance_map)  # beyond 65.535 m


FIELD = Path(__file__).resolve().parents[3] / "shared/data/field_cases"


@pytest.mark.parametrize(
    ("name", "scale", "answer"),
    [
        ("map_centimetres_float32.tif", "", "Centimetres? Give distance_scale 0.01."),
        ("map_centimetres_float32.tif", "0.01", 1.878),
        ("map_kitti_x256.png", "", "Give distance_scale 0.00390625."),
        ("map_kitti_x256.png", "0.00390625", 1.879),
        ("map_blender_multilayer.exr", "", 1.878),
    ],
)
def test_maps_of_the_field_are_read_or_doubted(tmp_path, name, scale, answer):
    if not FIELD.is_dir():
        pytest.skip(f"{FIELD} is not there")
    if name.endswith(".exr"):
        pytest.importorskip("OpenEXR")
    shutil.copy(FIELD / name, tmp_path)
    with Image.open(FIELD / "photo_exif_orientation6.jpg") as photo:
        photo.convert("RGB").save(tmp_path / "a.png", exif=b"")
    header = "image,role,distance_map,scene,distance_scale"
    path = table_of(tmp_path, header, f"a.png,labelled,{name},room,{scale}")
    raw = {"camera": {"width_px": 240, "height_px": 180, "lens": {"kind": "none"}}}
    params = Parameters.model_validate(raw)
    if isinstance(answer, str):
        assert answer in refusal(path, params)
        return
    (capture,) = imported(path, params)
    assert capture.distance_map is not None
    known = capture.distance_map[capture.distance_map > 0]
    assert float(known.median()) == pytest.approx(answer, abs=0.002)
