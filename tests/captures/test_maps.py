"""Distance maps: every format says the same, and what cannot be true is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from rangefinder.captures.maps import read_distances
from rangefinder.errors import CaptureError

from .conftest import distances

RNG = np.random.default_rng(0)


def write_pfm(path: Path, values) -> None:
    body = values[::-1].astype("<f4").tobytes()
    path.write_bytes(f"Pf\n{values.shape[1]} {values.shape[0]}\n-1.0\n".encode() + body)


def test_maps_of_all_formats_say_the_same(tmp_path):
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
    ("value", "told"),
    [
        (np.nan, "NaN"),
        (np.inf, "infinity"),
        (-1.0, "negative"),
        (0.0, "knows no distance"),
        (1500.0, "implausible distances"),
    ],
)
def test_maps_that_cannot_be_true_are_refused(tmp_path, value, told):
    values = np.full((48, 64), value, np.float32)
    np.save(tmp_path / "m.npy", values)
    with pytest.raises(CaptureError, match=told):
        read_distances(tmp_path / "m.npy")


def test_maps_of_other_sizes_or_kinds_are_refused(tmp_path):
    with pytest.raises(CaptureError, match="another size"):
        read_distances(distances(tmp_path / "m.png", size=(24, 32)), (48, 64))
    np.save(tmp_path / "i.npy", np.ones((48, 64), np.int32))
    with pytest.raises(CaptureError, match="floating-point metres"):
        read_distances(tmp_path / "i.npy")
    np.save(tmp_path / "o.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(CaptureError, match="damaged"):
        read_distances(tmp_path / "o.npy")
