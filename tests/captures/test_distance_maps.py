"""Distance maps: all formats hold the same distances; impossible values are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from rangefinder.captures.distance_maps import read_distance_png, read_distances, write_distance_png
from rangefinder.errors import CaptureError

from .conftest import save_distances

RNG = np.random.default_rng(0)


def write_pfm(path: Path, values) -> None:
    body = values[::-1].astype("<f4").tobytes()
    path.write_bytes(f"Pf\n{values.shape[1]} {values.shape[0]}\n-1.0\n".encode() + body)


def test_maps_of_all_formats_are_read_alike(tmp_path):
    metres = RNG.uniform(0.5, 5, (48, 64)).astype(np.float32)
    metres[0] = 0
    Image.fromarray(np.rint(metres * 1000).astype(np.uint16)).save(tmp_path / "m.png")
    tifffile.imwrite(tmp_path / "m.tif", metres)
    np.save(tmp_path / "m.npy", metres)
    write_pfm(tmp_path / "m.pfm", metres)
    for name in ("m.png", "m.tif", "m.npy", "m.pfm"):
        found = read_distances(tmp_path / name, (48, 64))
        torch.testing.assert_close(found, torch.from_numpy(metres), atol=6e-4, rtol=0)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "NaN"),
        (np.inf, "infinity"),
        (-1.0, "negative"),
        (0.0, "no known distance"),
        (1500.0, "implausible distances"),
    ],
)
def test_maps_of_impossible_values_are_refused(tmp_path, value, message):
    values = np.full((48, 64), value, np.float32)
    np.save(tmp_path / "m.npy", values)
    with pytest.raises(CaptureError, match=message):
        read_distances(tmp_path / "m.npy")


def test_a_map_too_large_to_unpack_is_refused_as_such(tmp_path):
    (tmp_path / "m.pfm").write_bytes(b"Pf\n40000 40000\n-1.0\n")
    with pytest.raises(CaptureError, match="too large"):
        read_distances(tmp_path / "m.pfm")


def test_maps_of_other_sizes_or_kinds_are_refused(tmp_path):
    with pytest.raises(CaptureError, match="another size"):
        read_distances(save_distances(tmp_path / "m.png", size=(24, 32)), (48, 64))
    np.save(tmp_path / "i.npy", np.ones((48, 64), np.int32))
    with pytest.raises(CaptureError, match="floating-point metres"):
        read_distances(tmp_path / "i.npy")
    np.save(tmp_path / "o.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(CaptureError, match="damaged"):
        read_distances(tmp_path / "o.npy")


def test_a_distance_png_keeps_millimetres_and_unknown_pixels(tmp_path: Path):
    distance_m = torch.tensor([[0.0, 0.7004, 5.0], [65.535, 1.2345, 2.0]])
    write_distance_png(tmp_path / "d.png", distance_m)
    again = read_distance_png(tmp_path / "d.png")
    assert again[0, 0] == 0
    assert torch.allclose(again, distance_m, atol=0.00051)


@pytest.mark.parametrize("wrong", [-0.1, 70.0, float("nan")])
def test_distances_that_do_not_fit_are_refused(tmp_path: Path, wrong: float):
    with pytest.raises(CaptureError, match="millimetres"):
        write_distance_png(tmp_path / "d.png", torch.tensor([[1.0, wrong]]))


def test_8_bit_distance_maps_are_refused(tmp_path: Path):
    Image.fromarray(np.ones((4, 5), np.uint8)).save(tmp_path / "d.png")
    with pytest.raises(CaptureError, match="16-bit"):
        read_distance_png(tmp_path / "d.png")


@pytest.mark.parametrize("channel", ["Z", "Y", "depth.V"])
def test_an_exr_map_is_read_as_it_was_written(tmp_path, channel):
    exr = pytest.importorskip("OpenEXR")
    metres = np.random.default_rng(0).uniform(0.5, 5, (48, 64)).astype(np.float32)
    header = {"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}
    exr.File(header, {channel: metres}).write(str(tmp_path / "m.exr"))
    found = read_distances(tmp_path / "m.exr", (48, 64))
    torch.testing.assert_close(found, torch.from_numpy(metres))


def test_a_damaged_exr_map_is_named(tmp_path):
    pytest.importorskip("OpenEXR")
    (tmp_path / "m.exr").write_bytes(b"v/1\x01" + bytes(100))
    with pytest.raises(CaptureError, match=r"m\.exr"):
        read_distances(tmp_path / "m.exr", (48, 64))
