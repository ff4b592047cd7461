"""HEIC photos are laid out as their sensor is, whichever way HEIF turns them for display."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rangefinder.captures.decoding import decode
from rangefinder.captures.exif import upright
from rangefinder.errors import CaptureError
from rangefinder.optics.srgb import srgb_pixels

RAMP = np.linspace(40, 200, 64)[None, :, None] * np.linspace(0.5, 1, 64)[:64, None, None]
STORED = (RAMP[:48] * np.array([1.0, 0.8, 0.6])).astype(np.uint8)
HEIC_START = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


def exif_of(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def write(path: Path, **options) -> Path:
    heif = pytest.importorskip("pillow_heif")
    heif.from_pillow(Image.fromarray(STORED)).save(path, quality=95, **options)
    return path


def difference(path: Path, choice: str, expected: np.ndarray) -> float:
    found = srgb_pixels(decode(path, orientation=choice).image)
    return float(np.abs(found.astype(float) - expected).mean())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_sensor_s_layout_is_found_whether_heif_or_exif_turns(tmp_path, orientation):
    both = write(tmp_path / "both.heic", exif=exif_of(orientation))
    exif_only = tmp_path / "exif.heic"
    turn = both.read_bytes()
    for box in (b"irot", b"imir"):
        turn = turn.replace(box, b"skip")  # a property that readers pass over
    exif_only.write_bytes(turn)
    for path in (both, exif_only):
        assert difference(path, "ignore", STORED) < 4
        assert difference(path, "apply", upright(STORED, orientation)) < 4
    if orientation != 1:
        with pytest.raises(CaptureError, match=f"EXIF orientation {orientation}"):
            decode(both)


def test_heic_is_told_by_its_content(tmp_path):
    path = write(tmp_path / "a.heic").rename(tmp_path / "a.jpg")
    assert difference(path, "refuse", STORED) < 4


def test_hdr_is_refused(tmp_path):
    path = write(tmp_path / "a.heic", color_primaries=9, transfer_characteristics=16)
    with pytest.raises(CaptureError, match=r"a\.heic is an HDR photo \(PQ\)"):
        decode(path)


def test_without_a_reader_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.heic").write_bytes(HEIC_START + bytes(100))
    with pytest.raises(CaptureError, match=r"no reader is installed.*rangefinder\[heic\]"):
        decode(tmp_path / "a.heic")


def test_damaged_files_are_named(tmp_path):
    path = write(tmp_path / "a.heic")
    whole = path.read_bytes()
    for length in (40, 400, len(whole) - 100):
        path.write_bytes(whole[:length])
        with pytest.raises(CaptureError, match=r"a\.heic is damaged"):
            decode(path)
