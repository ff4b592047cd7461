"""Picture files: 8 bits, 16 bits and camera raw are read; others are refused with the reason."""

from __future__ import annotations

import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from rangefinder.captures.decoding import decode
from rangefinder.captures.exif import upright
from rangefinder.errors import CaptureError
from rangefinder.optics.srgb import srgb_pixels

from ..dng import BYTE, FULL, LINEAR_RAW, LONG, MOSAIC, SHORT, write_dng
from .conftest import save_photo

RNG = np.random.default_rng(0)
RAMP = np.linspace(0.05, 0.9, 64)[None, :, None] * np.ones((48, 64, 3))


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def truncated(name: str, length: int):
    def save(path: Path, rgb: Image.Image) -> None:
        rgb.save(path)
        path.write_bytes(path.read_bytes()[:length])

    return name, save


def save_bomb(path: Path, rgb: Image.Image) -> None:
    """A header of a picture too large to unpack."""
    rgb.save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = (40000).to_bytes(4) * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4)
    path.write_bytes(content)


def save_transparent(path: Path, rgb: Image.Image) -> None:
    rgb.putalpha(100)
    rgb.save(path)


def save_animation(path: Path, rgb: Image.Image) -> None:
    rgb.save(path, save_all=True, append_images=[rgb.rotate(180)])


def save_bright(path: Path, rgb: Image.Image) -> None:
    tifffile.imwrite(path, np.full((48, 64, 3), 2.0, np.float32), photometric="rgb")


UNUSABLE = {
    "empty": ("a.png", lambda path, rgb: path.write_bytes(b"")),
    "no JPEG, PNG or TIFF": ("a.png", lambda path, rgb: path.write_text("hello")),
    "a.tif is no TIFF": ("a.tif", lambda path, rgb: path.write_text("hello")),
    "damaged": truncated("a.png", 2000),
    "a.jpg is damaged": truncated("a.jpg", 1000),
    "too small": ("a.png", lambda path, rgb: rgb.crop((0, 0, 1, 1)).save(path)),
    "too large": ("a.png", save_bomb),
    "CMYK": ("a.jpg", lambda path, rgb: rgb.convert("CMYK").save(path)),
    "palette": ("a.png", lambda path, rgb: rgb.convert("P").save(path)),
    "transparent": ("a.png", save_transparent),
    "leaves 0..1": ("a.tif", save_bright),
    "a.webp is animated": ("a.webp", save_animation),
    "a.avif is animated": ("a.avif", save_animation),
    "a.webp is damaged": truncated("a.webp", 500),
    "stored turned": ("a.jpg", lambda path, rgb: rgb.save(path, exif=exif_of(6))),
}


@pytest.mark.parametrize("message", UNUSABLE)
def test_unusable_pictures_are_refused_with_the_reason(tmp_path, message):
    name, save = UNUSABLE[message]
    save(tmp_path / name, Image.fromarray(RNG.integers(0, 255, (48, 64, 3), dtype=np.uint8)))
    with pytest.raises(CaptureError, match=message):
        decode(tmp_path / name)


def test_turned_photos_are_turned_as_pillow_turns_them(tmp_path):
    from PIL import ImageOps

    for orientation in range(2, 9):
        path = save_photo(tmp_path / f"{orientation}.png", exif=exif_of(orientation))
        with Image.open(path) as picture:
            stored, upright = np.asarray(picture), np.asarray(ImageOps.exif_transpose(picture))
        for choice, pixels in (("ignore", stored), ("apply", upright)):
            image = decode(path, "linear", choice).image.permute(1, 2, 0).numpy()
            assert np.array_equal(np.rint(image * 255), pixels)


@pytest.mark.parametrize("name", ["a.webp", "a.avif", "webp named.jpg"])
def test_webp_and_avif_are_read_with_their_exif(tmp_path, name):
    rgb = Image.fromarray((RAMP * [255, 200, 150]).astype(np.uint8))
    kind = "AVIF" if name.endswith("avif") else "WEBP"
    rgb.save(tmp_path / name, kind, quality=95, exif=exif_of(6))
    with pytest.raises(CaptureError, match="EXIF orientation 6"):
        decode(tmp_path / name)
    found = srgb_pixels(decode(tmp_path / name, orientation="ignore").image)
    assert np.abs(found.astype(float) - np.asarray(rgb)).mean() < 3
    assert decode(tmp_path / name, orientation="apply").image.shape == (3, 64, 48)


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


def test_a_linear_dng_is_read_as_linear_light(tmp_path):
    pytest.importorskip("rawpy")
    light = RAMP * np.array([0.5, 1.0, 0.8])
    samples = np.rint(light * FULL).astype(np.uint16)
    write_dng(tmp_path / "a.dng", samples, LINEAR_RAW, (50717, LONG, 3, (FULL,) * 3, True))
    found = decode(tmp_path / "a.dng", "linear", "refuse").image
    torch.testing.assert_close(
        found, torch.from_numpy(light).movedim(-1, 0).float(), atol=1e-4, rtol=0
    )


def test_a_mosaic_is_interpolated_without_colour_conversion(tmp_path):
    pytest.importorskip("rawpy")
    light = RAMP * np.array([0.5, 1.0, 0.8])
    samples = light[..., 1].copy()  # red, green / green, blue
    samples[0::2, 0::2], samples[1::2, 1::2] = light[0::2, 0::2, 0], light[1::2, 1::2, 2]
    write_dng(
        tmp_path / "a.dng",
        np.rint(samples * FULL).astype(np.uint16),
        MOSAIC,
        (50717, LONG, 1, FULL, True),
        (33421, SHORT, 2, (2, 2), True),
        (33422, BYTE, 4, (0, 1, 1, 2), True),
    )
    found = decode(tmp_path / "a.dng", "linear", "refuse").image
    inner = (slice(None), slice(8, -8), slice(8, -8))
    expected = torch.from_numpy(light).movedim(-1, 0).float()
    torch.testing.assert_close(found[inner], expected[inner], atol=5e-3, rtol=0)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_raw_file_is_turned_by_its_orientation(tmp_path, orientation):
    pytest.importorskip("rawpy")
    samples = np.rint(RAMP * FULL).astype(np.uint16)
    white, turned = (50717, LONG, 3, (FULL,) * 3, True), (274, SHORT, 1, orientation, True)
    write_dng(tmp_path / "a.dng", samples, LINEAR_RAW, white, turned)
    stored = decode(tmp_path / "a.dng", orientation="ignore")
    assert stored.exif[0x0112] == orientation
    assert stored.image.shape == (3, 48, 64)
    shown = decode(tmp_path / "a.dng", orientation="apply").image.permute(1, 2, 0).numpy()
    assert np.array_equal(shown, upright(stored.image.permute(1, 2, 0).numpy(), orientation))


def test_a_damaged_raw_file_is_named(tmp_path):
    pytest.importorskip("rawpy")
    (tmp_path / "a.dng").write_bytes(b"II*\0" + bytes(500))
    with pytest.raises(CaptureError, match=r"a\.dng is damaged or an unknown raw file"):
        decode(tmp_path / "a.dng", "linear", "refuse")
