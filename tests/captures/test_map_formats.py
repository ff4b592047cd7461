"""Files of distance maps: channels of EXR files, and files that are damaged or something else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from rangefinder.captures.distance_maps import read_distances
from rangefinder.captures.map_formats import MAP_SUFFIXES, read_numbers
from rangefinder.errors import CaptureError

METRES = np.random.default_rng(0).uniform(0.5, 5, (48, 64)).astype(np.float32)
OTHER = np.zeros_like(METRES)


def write_exr(path: Path, *parts: dict[str, np.ndarray], deep: bool = False) -> Path:
    exr: Any = pytest.importorskip("OpenEXR")
    kind = exr.deepscanline if deep else exr.scanlineimage
    header = {"compression": exr.ZIPS_COMPRESSION, "type": kind}
    if len(parts) == 1:
        exr.File(header, parts[0]).write(str(path))
    else:
        named = zip(("beauty", "depth", "more"), parts, strict=False)
        exr.File([exr.Part(dict(header), channels, name) for name, channels in named]).write(
            str(path)
        )
    return path


@pytest.mark.parametrize(
    "parts",
    [
        [{"Z": METRES}],
        [{"Y": METRES}],
        [{"depth.V": METRES}],
        [{"R": METRES}],
        [{"anything": METRES}],
        [{"Y": METRES, "A": OTHER}],
        [{"RGB": np.zeros((48, 64, 3), np.float32), "Z": METRES}],
        [{"ViewLayer.Combined.R": OTHER, "ViewLayer.Depth.Z": METRES}],
        [{"ViewLayer.Mist.Z": OTHER, "ViewLayer.Depth.Z": METRES}],
        [{"View.Normal.X": OTHER, "View.Normal.Y": OTHER, "View.Normal.Z": OTHER, "V.D.Z": METRES}],
        [{"RGB": np.zeros((48, 64, 3), np.float32)}, {"Z": METRES}],
        [{"RGB": np.zeros((48, 64, 3), np.float32)}, {"Y": METRES}],
    ],
    ids=lambda parts: "/".join("+".join(part) for part in parts),
)
def test_the_channel_of_distances_is_found(tmp_path, parts):
    path = write_exr(tmp_path / "m.exr", *parts)
    assert np.array_equal(read_numbers(path), METRES)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([{"RGB": np.zeros((48, 64, 3), np.float32)}], "no channel of distances; found B, G, R"),
        ([{"A.Depth.Z": METRES, "B.Depth.Z": METRES}], "2 channels of distances"),
        ([{"N.X": OTHER, "N.Y": OTHER, "N.Z": OTHER}], "no channel of distances"),
        ([{"Left.D.Z": METRES, "Right.D.Z": METRES}], "2 channels of distances; found Left"),
    ],
)
def test_files_without_one_channel_of_distances_are_refused(tmp_path, parts, message):
    path = write_exr(tmp_path / "m.exr", *parts)
    with pytest.raises(CaptureError, match=message):
        read_numbers(path)


def test_an_archive_of_arrays_is_refused(tmp_path):
    np.savez(tmp_path / "m.npz", METRES)
    (tmp_path / "m.npz").rename(tmp_path / "m.npy")
    with pytest.raises(CaptureError, match="several arrays"):
        read_numbers(tmp_path / "m.npy")


def test_a_cut_exr_file_is_called_damaged(tmp_path):
    path = write_exr(tmp_path / "m.exr", {"Y": METRES}, {"Z": METRES})
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CaptureError, match="damaged"):
        read_numbers(path)


def test_deep_files_are_refused(tmp_path):
    samples = np.empty((48, 64), dtype=object)
    for place in np.ndindex(samples.shape):
        samples[place] = np.array([1.0, 2.0], np.float32)
    path = write_exr(tmp_path / "m.exr", {"Z": samples, "A": samples}, deep=True)
    with pytest.raises(CaptureError, match="deep EXR"):
        read_numbers(path)


def test_infinity_and_the_sky_of_an_exr_file_are_unknown(tmp_path):
    values = METRES.copy()
    values[0], values[1], values[2] = np.inf, 1e10, np.nan
    found = read_distances(write_exr(tmp_path / "m.exr", {"Z": values}))
    assert (found[:3] == 0).all()
    assert np.array_equal(found[3:], METRES[3:])


def test_a_pfm_with_comments_is_read_or_refused(tmp_path):
    body = METRES[::-1].tobytes()
    (tmp_path / "m.pfm").write_bytes(b"Pf\n# a comment\n64 48\n-1.0\n" + body)
    assert np.array_equal(read_numbers(tmp_path / "m.pfm"), METRES)
    (tmp_path / "c.pfm").write_bytes(b"PF\n64 48\n-1.0\n" + 3 * body)
    with pytest.raises(CaptureError, match="grey PFM"):
        read_numbers(tmp_path / "c.pfm")


@pytest.mark.parametrize("mode", ["RGB", "P", "1", "LA"])
def test_pictures_that_are_no_maps_are_refused(tmp_path, mode):
    Image.new("RGB", (64, 48)).convert(mode).save(tmp_path / "m.png")
    with pytest.raises(CaptureError, match=f"mode {mode}; expected grey PNG"):
        read_numbers(tmp_path / "m.png")


def test_maps_too_large_to_unpack_are_refused_by_their_header(tmp_path):
    (tmp_path / "m.pfm").write_bytes(b"Pf\n40000 40000\n-1.0\n")
    with pytest.raises(CaptureError, match="too large"):
        read_numbers(tmp_path / "m.pfm")
    with (tmp_path / "m.npy").open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (90000, 90000)}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(METRES.tobytes())
    with pytest.raises(CaptureError, match="damaged"):
        read_numbers(tmp_path / "m.npy")


def write(path: Path) -> Path:
    writers: dict[str, Callable[[Path], object]] = {
        ".png": lambda p: Image.fromarray(np.rint(METRES * 1000).astype(np.uint16)).save(p),
        ".tif": lambda p: tifffile.imwrite(p, METRES, compression="deflate"),
        ".tiff": lambda p: tifffile.imwrite(p, METRES),
        ".npy": lambda p: np.save(p, METRES),
        ".pfm": lambda p: p.write_bytes(b"Pf\n64 48\n-1.0\n" + METRES.tobytes()),
        ".exr": lambda p: write_exr(p, {"Z": METRES}),
    }
    writers[path.suffix](path)
    return path


@pytest.mark.parametrize("suffix", MAP_SUFFIXES)
def test_damaged_maps_end_in_the_named_error(tmp_path, suffix):
    """Cut, emptied, overwritten at any place, or of another format than they say."""
    content = write(tmp_path / f"whole{suffix}").read_bytes()
    generator, path = np.random.default_rng(0), tmp_path / f"m{suffix}"
    changed = [content[: len(content) * part // 8] for part in range(8)]
    changed += [b"depth\n", bytes(100), b"v/1\x01" + bytes(100), b"\x93NUMPY" + bytes(60)]
    for _ in range(60):
        broken = bytearray(content)
        at = generator.integers(0, min(len(content), 400))
        broken[at : at + generator.integers(1, 9)] = generator.bytes(4)
        changed.append(bytes(broken))
    errors = []
    for one in changed:
        path.write_bytes(one)
        try:
            read_distances(path, (48, 64))
        except CaptureError as error:
            errors.append(str(error))
    assert len(errors) >= 11  # a change of the numbers themselves cannot be seen
    assert all(f"m{suffix}" in error and "\n" not in error for error in errors)


@pytest.mark.parametrize("suffix", MAP_SUFFIXES)
@pytest.mark.parametrize("other", MAP_SUFFIXES)
def test_a_map_under_the_name_of_another_format_is_refused(tmp_path, suffix, other):
    if {suffix, other} <= {".tif", ".tiff"} or suffix == other:
        return
    path = tmp_path / f"m{other}"
    path.write_bytes(write(tmp_path / f"whole{suffix}").read_bytes())
    with pytest.raises(CaptureError):
        read_numbers(path)
