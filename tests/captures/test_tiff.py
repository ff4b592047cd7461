"""TIFF as cameras and programs write it: every page, plane, depth and tone direction."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from rangefinder.captures.decoding import decode
from rangefinder.captures.sample_bits import SampleBits
from rangefinder.errors import CaptureError
from rangefinder.optics.srgb import LINEAR_OF_8_BIT

from ..conftest import ROOT

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 65536, (48, 64, 3), dtype=np.uint16)
GREY = COLOUR[..., 0]
BYTES = (COLOUR >> 8).astype(np.uint8)
FIELD = ROOT.parent / "shared/data/field_cases"


def light(path: Path, **options) -> np.ndarray:
    return decode(path, **options).image.permute(1, 2, 0).numpy()


def packed(values: np.ndarray, bits: int) -> bytes:
    """Rows of samples of so many bits each, filled up to whole bytes."""
    rows = (np.unpackbits(row.astype(">u2").view(np.uint8)).reshape(-1, 16) for row in values)
    return b"".join(np.packbits(row[:, 16 - bits :].ravel()).tobytes() for row in rows)


def write_packed(path: Path, values: np.ndarray, bits: int) -> None:
    """A grey TIFF of so many bits per sample: a header, one IFD and one strip."""
    height, width = values.shape
    strip = packed(values, bits)
    tags = (
        *((256, width), (257, height), (258, bits), (259, 1), (262, 1)),
        *((273, 8), (277, 1), (278, height), (279, len(strip))),
    )
    ifd = struct.pack("<H", len(tags))
    ifd += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip + ifd + bytes(4))


def test_planes_that_lie_one_after_the_other_are_read(tmp_path):
    stacked = np.moveaxis(COLOUR, -1, 0)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stacked, photometric="rgb", planarconfig="separate")
    assert np.array_equal(np.rint(light(path) * 65535), COLOUR)


@pytest.mark.parametrize("pixels", [GREY, BYTES[..., 0], (GREY / 65535).astype(np.float32)])
def test_white_is_zero_is_turned_round(tmp_path, pixels):
    black, white = tmp_path / "black.tif", tmp_path / "white.tif"
    full = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else np.float32(1)
    tifffile.imwrite(black, pixels, photometric="minisblack")
    tifffile.imwrite(white, full - pixels, photometric="miniswhite")
    np.testing.assert_allclose(light(white), light(black), atol=1e-7)


def test_an_opaque_channel_beside_white_is_zero_stays_opaque(tmp_path):
    opaque = np.full_like(GREY, 65535)
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        np.stack([65535 - GREY, opaque], axis=-1),
        photometric="miniswhite",
        extrasamples=["unassalpha"],
        planarconfig="contig",
    )
    assert np.array_equal(np.rint(light(path)[..., 0] * 65535), GREY)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_samples_are_scaled_by_the_bits_that_the_tag_says(tmp_path, bits):
    values = RNG.integers(0, 2**bits, (48, 63))
    write_packed(tmp_path / "a.tif", values, bits)
    decoded = decode(tmp_path / "a.tif", sample_bits=16)
    assert np.array_equal(np.rint(decoded.image[0].numpy() * (2**bits - 1)), values)
    assert decoded.largest is None  # nothing is to be doubted


def test_four_bits_are_srgb_as_eight_are(tmp_path):
    values = RNG.integers(0, 16, (48, 64))
    write_packed(tmp_path / "four.tif", values, 4)
    tifffile.imwrite(tmp_path / "eight.tif", (values * 17).astype(np.uint8))
    np.testing.assert_allclose(light(tmp_path / "four.tif"), light(tmp_path / "eight.tif"), 1e-5)


def test_untold_bits_are_doubted_over_a_set_and_set_by_an_option(tmp_path):
    for number, top in enumerate((800, 4095, 3000)):
        values = np.minimum(GREY >> 4, top)
        tifffile.imwrite(tmp_path / f"{number}.tif", values)
        Image.fromarray(values).save(tmp_path / f"{number}.png")
    bits = SampleBits()
    for path in sorted(tmp_path.iterdir()):
        bits.add(decode(path).largest)
    assert bits.suspected == 12
    assert bits.doubt == "no sample of 6 16-bit photos is above 4095"
    assert bits.todo() == "12 bits in 16? Set captures.sample_bits: 12"
    for suffix in ("tif", "png"):
        scaled = decode(tmp_path / f"1.{suffix}", sample_bits=12)
        assert np.array_equal(np.rint(scaled.image[0].numpy() * 4095), GREY >> 4)
        assert scaled.largest is None
    with pytest.raises(CaptureError, match=r"1\.tif has samples above 1023"):
        decode(tmp_path / "1.tif", sample_bits=10)


def test_one_photo_that_needs_all_bits_ends_the_doubt():
    bits = SampleBits()
    assert not bits.doubt
    bits.add(None)
    assert not bits.doubt
    bits.add(1000)
    assert bits.suspected == 10
    bits.add(60000)
    assert not bits.doubt


def test_a_photo_that_is_clipped_where_fewer_bits_end_is_doubted_among_others():
    bits = SampleBits()
    for largest in (60000, 4095, 4000, 4096):
        bits.add(largest)
    assert (bits.suspected, bits.doubt) == (12, "no sample of 2 16-bit photos is above 4095")


def test_the_mosaic_of_a_sensor_is_refused(tmp_path):
    pattern = [(33421, 3, 2, (2, 2), True), (33422, 1, 4, (0, 1, 1, 2), True)]
    tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="cfa", extratags=pattern)
    with pytest.raises(CaptureError, match=r"a\.tif is the mosaic of a sensor.*Demosaic"):
        decode(tmp_path / "a.tif")


def test_ycbcr_is_read_where_its_decoder_turns_it_into_rgb(tmp_path):
    smooth = np.repeat(np.linspace(0, 255, 64, dtype=np.uint8)[None], 48, axis=0)
    smooth = np.stack([smooth, smooth[:, ::-1], smooth // 2], axis=-1)
    options = {"compression": "jpeg", "compressionargs": {"level": 100, "outcolorspace": "ycbcr"}}
    tifffile.imwrite(tmp_path / "jpeg.tif", smooth, photometric="rgb", **options)
    tifffile.imwrite(tmp_path / "rgb.tif", smooth, photometric="rgb")
    assert np.abs(light(tmp_path / "jpeg.tif") - light(tmp_path / "rgb.tif")).max() < 0.05
    plain = bytearray((tmp_path / "rgb.tif").read_bytes())
    at = plain.index(struct.pack("<HHI", 262, 3, 1))
    plain[at + 8 : at + 10] = struct.pack("<H", 6)
    (tmp_path / "plain.tif").write_bytes(plain)
    with pytest.raises(CaptureError, match="YCBCR"):
        decode(tmp_path / "plain.tif")


@pytest.mark.parametrize("first", ["photo", "thumbnail"])
@pytest.mark.parametrize("flagged", [True, False])
def test_thumbnails_are_no_pages(tmp_path, first, flagged):
    small = BYTES[::2, ::2] if flagged else BYTES[::4, ::4]
    pages = [(BYTES, 0), (small, 1 if flagged else 0)]
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for pixels, kind in pages if first == "photo" else reversed(pages):
            file.write(pixels, photometric="rgb", subfiletype=kind, metadata=None)
    tifffile.imwrite(tmp_path / "alone.tif", BYTES, photometric="rgb")
    assert np.array_equal(light(tmp_path / "a.tif"), light(tmp_path / "alone.tif"))


def test_reduced_copies_inside_a_page_are_no_pages(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(BYTES, photometric="rgb", subifds=1, metadata=None)
        file.write(BYTES[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
    assert light(tmp_path / "a.tif").shape == (48, 64, 3)


def test_a_photo_inside_its_thumbnail_is_found(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:  # as TIFF/EP lays it out
        file.write(BYTES[::2, ::2], photometric="rgb", subfiletype=1, subifds=1, metadata=None)
        file.write(BYTES, photometric="rgb", metadata=None)
    assert light(tmp_path / "a.tif").shape == (48, 64, 3)


def test_several_pages_are_refused_with_their_count(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([BYTES] * 3), photometric="rgb")
    with pytest.raises(CaptureError, match=r"a\.tif holds 3 pages; expected one photo"):
        decode(tmp_path / "a.tif")


def test_damaged_files_end_in_one_clean_error_or_a_picture(tmp_path):
    with tifffile.TiffWriter(tmp_path / "whole.tif") as file:
        file.write(COLOUR, photometric="rgb", subifds=1, compression="lzw")
        file.write(COLOUR[::2, ::2], photometric="rgb", subfiletype=1)
    whole, path = (tmp_path / "whole.tif").read_bytes(), tmp_path / "a.tif"
    reasons = []
    for number in range(300):
        damaged = bytearray(whole)
        for place in RNG.integers(0, len(whole) if number % 2 else 400, 4):
            damaged[place] = RNG.integers(256)
        path.write_bytes(damaged[: RNG.integers(1, len(whole))] if number % 3 == 0 else damaged)
        try:
            assert decode(path).image.shape[0] == 3
        except CaptureError as error:
            reasons.append(str(error))
    assert len(reasons) > 50
    assert all("a.tif" in reason for reason in reasons)


@pytest.mark.skipif(not FIELD.is_dir(), reason="no shared data here")
def test_files_from_the_field_are_read_or_refused_as_they_should_be():
    assert light(FIELD / "photo_planar_rgb16.tif").shape == (180, 240, 3)
    white, packed_12 = FIELD / "photo_white_is_zero.tif", FIELD / "pillow_12bit.cropped.tif"
    with Image.open(white) as picture:  # Pillow turns it round
        assert np.array_equal(light(white)[..., 0], LINEAR_OF_8_BIT[np.asarray(picture)])
    with Image.open(packed_12) as picture:
        assert np.array_equal(np.rint(light(packed_12)[..., 0] * 4095), np.asarray(picture))
    assert decode(FIELD / "photo_12bit_in_16.tif").largest == 4095
    assert light(FIELD / "photo_12bit_in_16.tif", sample_bits=12).max() == 1.0
    with pytest.raises(CaptureError, match="mosaic"):
        decode(FIELD / "photo_bayer_cfa.tif")
