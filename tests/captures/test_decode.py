"""Picture files: what is read as it is, and what is refused with the reason."""

from __future__ import annotations

import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from rangefinder.captures.decode import decode
from rangefinder.errors import CaptureError

from .conftest import photo

RNG = np.random.default_rng(0)


def broken(folder: Path, kind: str) -> Path:
    path = folder / "a.png"
    pixels = RNG.integers(0, 255, (48, 64, 3), dtype=np.uint8)
    rgb = Image.fromarray(pixels)
    if kind == "zero bytes":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("hello")
    elif kind == "truncated png":
        rgb.save(path)
        path.write_bytes(path.read_bytes()[:2000])
    elif kind == "truncated jpeg":
        path = path.with_suffix(".jpg")
        rgb.save(path)
        path.write_bytes(path.read_bytes()[:1000])
    elif kind == "one pixel":
        rgb.crop((0, 0, 1, 1)).save(path)
    elif kind == "bomb":
        rgb.save(path)  # a header that promises what nobody could unpack
        content = bytearray(path.read_bytes())
        content[16:24] = (40000).to_bytes(4) * 2
        content[29:33] = zlib.crc32(content[12:29]).to_bytes(4)
        path.write_bytes(content)
    elif kind == "cmyk":
        path = path.with_suffix(".jpg")
        rgb.convert("CMYK").save(path)
    elif kind == "palette":
        rgb.convert("P").save(path)
    elif kind == "alpha":
        rgb.putalpha(100)
        rgb.save(path)
    elif kind == "bright float":
        path = path.with_suffix(".tif")
        tifffile.imwrite(path, np.full((48, 64, 3), 2.0, np.float32), photometric="rgb")
    elif kind == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        path = path.with_suffix(".jpg")
        rgb.save(path, exif=exif)
    return path


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("zero bytes", "empty"),
        ("text", "no JPEG, PNG or TIFF"),
        ("truncated png", "damaged"),
        ("truncated jpeg", "damaged"),
        ("one pixel", "too small"),
        ("bomb", "too large"),
        ("cmyk", "CMYK"),
        ("palette", "palette"),
        ("alpha", "transparent"),
        ("bright float", "leaves 0..1"),
        ("turned", "stored turned"),
    ],
)
def test_pictures_that_cannot_be_used_are_refused(tmp_path, kind, told):
    with pytest.raises(CaptureError, match=told):
        decode(broken(tmp_path, kind))


def test_turned_photos_are_turned_as_pillow_turns_them(tmp_path):
    from PIL import ImageOps

    for orientation in range(2, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = photo(tmp_path / f"{orientation}.png", exif=exif)
        with Image.open(path) as picture:
            stored, upright = np.asarray(picture), np.asarray(ImageOps.exif_transpose(picture))
        for choice, pixels in (("ignore", stored), ("apply", upright)):
            image = decode(path, "linear", choice).image.permute(1, 2, 0).numpy()
            assert np.array_equal(np.rint(image * 255), pixels)


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_stay_16_bits_in_png_and_tiff(tmp_path, channels):
    pixels = RNG.integers(0, 65535, (48, 64, channels), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels.squeeze())
    if channels == 1:
        Image.fromarray(pixels[..., 0]).save(tmp_path / "a.png")
    else:
        (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    tifffile.imwrite(tmp_path / "packed.tif", pixels.squeeze(), compression="lzw")
    for name in ("a.tif", "a.png", "packed.tif"):
        image = decode(tmp_path / name).image.permute(1, 2, 0).numpy()
        assert np.array_equal(np.rint(image[..., :channels] * 65535), pixels)
