"""Distance maps: all formats and kinds hold the same distances; impossible values are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rangefinder.camera import Camera
from rangefinder.captures.distance_maps import (
    MapMeaning,
    frame_from_rays,
    from_rays,
    read_distances,
    read_stored,
    write_stored,
)
from rangefinder.coordinates import Placement
from rangefinder.errors import CaptureError

from .conftest import save_distances

RNG = np.random.default_rng(0)
FOCAL_PX, BASELINE_M, OFFSET_PX = 994.978, 0.193, 31.086


def write_pfm(path: Path, values) -> Path:
    body = values[::-1].astype("<f4").tobytes()
    path.write_bytes(f"Pf\n{values.shape[1]} {values.shape[0]}\n-1.0\n".encode() + body)
    return path


def write_png(path: Path, values) -> Path:
    Image.fromarray(np.rint(values).astype(np.uint16)).save(path)
    return path


def write_npy(path: Path, values) -> Path:
    np.save(path, values)
    return path


def distances() -> np.ndarray:
    metres = RNG.uniform(0.5, 5, (48, 64)).astype(np.float32)
    metres[0] = 0
    return metres


def test_maps_of_all_formats_are_read_alike(tmp_path):
    metres = distances()
    write_png(tmp_path / "m.png", metres * 1000)
    tifffile.imwrite(tmp_path / "m.tif", metres)
    np.save(tmp_path / "m.npy", metres)
    np.save(tmp_path / "channel.npy", metres[..., None])
    np.save(tmp_path / "double.npy", metres.astype(np.float64))
    write_pfm(tmp_path / "m.pfm", metres)
    for name in ("m.png", "m.tif", "m.npy", "channel.npy", "double.npy", "m.pfm"):
        found = read_distances(tmp_path / name, (48, 64))
        torch.testing.assert_close(found, torch.from_numpy(metres), atol=6e-4, rtol=0)


@pytest.mark.parametrize(
    "scale", [1 / 256, 1 / 5000, 1 / 4000, 0.001, 0.01], ids=lambda scale: f"{1 / scale:g}"
)
def test_integers_of_any_format_are_read_by_their_scale(tmp_path, scale):
    metres = distances()
    numbers = np.rint(metres / scale)
    tifffile.imwrite(tmp_path / "m.tif", numbers.astype(np.uint16))
    np.save(tmp_path / "m.npy", numbers.astype(np.int32))
    write_png(tmp_path / "m.png", numbers)
    for name in ("m.tif", "m.npy", "m.png"):
        found = read_distances(tmp_path / name, meaning=MapMeaning(scale=scale))
        torch.testing.assert_close(found, torch.from_numpy(metres), atol=0.51 * scale, rtol=1e-6)


def test_8_bit_disparities_are_read_by_their_scale(tmp_path):
    Image.fromarray(np.full((48, 64), 120, np.uint8)).save(tmp_path / "m.png")
    meaning = MapMeaning("disparity", 0.25, focal_length_px=600.0, baseline_m=0.1)
    assert read_distances(tmp_path / "m.png", meaning=meaning)[0, 0] == 2.0


@pytest.mark.parametrize(
    ("kind", "scale"), [("inverse", None), ("inverse", 0.01), ("disparity", None)]
)
def test_inverse_maps_and_disparities_become_metres(tmp_path, kind, scale):
    metres = distances()
    with np.errstate(divide="ignore"):
        inverse = np.where(metres > 0, 1 / metres, 0) / (scale or 1)
        disparity = np.where(metres > 0, FOCAL_PX * BASELINE_M / metres - OFFSET_PX, np.inf)
    numbers = inverse if kind == "inverse" else disparity
    path = write_pfm(tmp_path / "m.pfm", numbers)
    meaning = MapMeaning(kind, scale, FOCAL_PX, BASELINE_M, OFFSET_PX)
    found = read_distances(path, meaning=meaning)
    torch.testing.assert_close(found, torch.from_numpy(metres), rtol=1e-4, atol=0)


@pytest.mark.parametrize("kind", ["radial", "inverse", "disparity"])
@pytest.mark.parametrize("gap", [np.nan, np.inf, 0.0])
def test_gaps_that_a_kind_of_map_has_are_unknown(tmp_path, kind, gap):
    values = np.full((48, 64), 2.0, np.float32)
    values[3] = gap
    meaning = MapMeaning(kind, focal_length_px=10.0, baseline_m=0.2)
    found = read_distances(write_npy(tmp_path / "m.npy", values), meaning=meaning)
    assert (found[3] == 0).all()
    assert (np.delete(found.numpy(), 3, axis=0) > 0).all()


def test_the_sky_of_renderers_is_unknown_and_far_things_are_not(tmp_path):
    values = np.full((48, 64), 480.0, np.float32)
    values[:4] = 1e10
    found = read_distances(write_npy(tmp_path / "m.npy", values))
    assert found.unique().tolist() == [0.0, 480.0]


@pytest.mark.parametrize("reference", ["sensor", "entrance_pupil"])
def test_rays_become_distances_along_the_axis_from_the_record_s_reference(reference):
    camera = Camera(width_px=64, height_px=48, distance_reference=reference)
    placement = Placement((8.0, 4.0), 2.0)
    lens_m = 0.05 * 3.0 / 2.95  # image distance at a focus of 3 m from the lens
    if reference == "sensor":
        lens_m = (3.0 - np.sqrt(9.0 - 4 * 0.05 * 3.0)) / 2
    rows, cols = np.mgrid[:16, :20]
    x_m, y_m = ((8 + 2 * (cols + 0.5) - 32) * 41.6667e-6, (4 + 2 * (rows + 0.5) - 24) * 41.6667e-6)
    ray_m = 2.0 * np.sqrt(x_m**2 + y_m**2 + lens_m**2) / lens_m  # of a plane 2 m from the lens
    ray_m[0, 0] = 0
    found = from_rays(torch.from_numpy(ray_m.astype(np.float32)), camera, placement)
    assert found[0, 0] == 0
    found[0, 0] = found[0, 1]
    expected = 2.0 + (lens_m if reference == "sensor" else 0.0)
    torch.testing.assert_close(found, torch.full((16, 20), expected), rtol=1e-5, atol=0)


def test_rays_of_a_frame_become_distances_from_its_own_camera():
    rows, cols = np.mgrid[:48, :64] + 0.5
    ray_m = 3.0 * np.sqrt((cols - 32) ** 2 + (rows - 24) ** 2 + 50.0**2) / 50.0
    found = frame_from_rays(torch.from_numpy(ray_m.astype(np.float32)), 50.0)
    torch.testing.assert_close(found, torch.full((48, 64), 3.0), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "NaN"),
        (np.inf, "infinity"),
        (-1.0, "negative"),
        (0.0, "no known distance"),
        (1e12, "no known distance"),
    ],
)
def test_maps_of_impossible_values_are_refused(tmp_path, value, message):
    path = write_npy(tmp_path / "m.npy", np.full((48, 64), value, np.float32))
    with pytest.raises(CaptureError, match=message):
        read_distances(path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones((48, 64), np.int32), "does not say its unit.*distance_scale"),
        (np.ones((48, 64), bool), "no numbers"),
        (np.ones((48, 64), np.complex64), "no numbers"),
        (np.ones((48, 64, 3), np.float32), r"shape \(48, 64, 3\)"),
    ],
)
def test_arrays_that_are_no_maps_are_refused(tmp_path, values, message):
    with pytest.raises(CaptureError, match=message):
        read_distances(write_npy(tmp_path / "m.npy", values))


def test_maps_of_other_sizes_or_depths_are_refused(tmp_path):
    with pytest.raises(CaptureError, match="another size"):
        read_distances(save_distances(tmp_path / "m.png", size=(24, 32)), (48, 64))
    Image.fromarray(np.ones((48, 64), np.uint8)).save(tmp_path / "8.png")
    with pytest.raises(CaptureError, match="16-bit PNG of millimetres"):
        read_distances(tmp_path / "8.png")
    with pytest.raises(CaptureError, match="does not say its unit"):
        read_distances(save_distances(tmp_path / "i.png"), meaning=MapMeaning("inverse"))


@given(
    far_m=st.sampled_from([1.0, 5.0, 65.0, 500.0]), near_m=st.sampled_from([0.05, 0.3, 0.7, 0.999])
)
def test_a_stored_map_keeps_distances_to_a_thousandth(tmp_path_factory, far_m, near_m):
    distance_m = torch.from_numpy(RNG.uniform(near_m, far_m, (16, 20)).astype(np.float32))
    distance_m[0] = 0
    path = write_stored(tmp_path_factory.mktemp("map") / "a.b", distance_m)
    assert path.stem == "a.b"
    found = read_stored(path)
    assert (found[0] == 0).all()
    torch.testing.assert_close(found, distance_m, rtol=1e-3, atol=0)
    if path.suffix == ".tif":
        assert torch.equal(found, distance_m)


def test_maps_in_millimetres_of_16_bits_stay_small(tmp_path):
    distance_m = torch.from_numpy(RNG.integers(50, 65536, (48, 64)).astype(np.float32) / 1000)
    path = write_stored(tmp_path / "a", distance_m)
    assert path.suffix == ".png"
    assert torch.equal(read_stored(path), distance_m)


@pytest.mark.parametrize("wrong", [-0.1, float("inf"), float("nan")])
def test_distances_that_cannot_be_stored_are_refused(tmp_path, wrong):
    distance_m = torch.ones(16, 16)
    distance_m[3, 4] = wrong
    with pytest.raises(CaptureError, match="cannot be stored"):
        write_stored(tmp_path / "d", distance_m)


def test_a_stored_map_of_other_samples_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "d.tif", np.ones((16, 16), np.uint16))
    with pytest.raises(CaptureError, match="no stored distance map"):
        read_stored(tmp_path / "d.tif")
