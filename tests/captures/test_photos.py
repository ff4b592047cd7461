"""Photos of another camera, size or setting are refused with the reason, or forced."""

import re
import struct
import zlib

import numpy as np
import pytest
import tifffile
import torch
from PIL import ExifTags, Image

from rangefinder.captures.added_photos import add_photos
from rangefinder.captures.manifest import Capture, read_captures, write_captures
from rangefinder.captures.photos import PhotoPolicy, find_photos, read_photo
from rangefinder.coordinates import Placement
from rangefinder.errors import CaptureError

from ..tiny_camera import CAMERA, random_pixels

POLICY, FORCED = PhotoPolicy(CAMERA), PhotoPolicy(CAMERA, force=True)


def with_exif(path, **entries):
    exif, settings = Image.Exif(), {ExifTags.Base[name]: value for name, value in entries.items()}
    exif[ExifTags.Base.Orientation] = settings.pop(ExifTags.Base.Orientation, 1)
    exif.get_ifd(ExifTags.IFD.Exif).update(settings)
    exif[ExifTags.IFD.Exif] = settings  # without it a TIFF is saved without them
    Image.fromarray(random_pixels()).save(path, exif=exif)
    return path


def test_photo_of_the_camera_is_taken_as_it_is(photo_folder):
    for path in find_photos([str(photo_folder)]):
        photo = read_photo(path, POLICY)
        assert photo.image.shape == (3, 48, 64)
        assert (photo.placement, photo.warnings) == (Placement(), ())


def test_exif_that_agrees_is_no_reason(tmp_path):
    right = {"FocalLength": 50.0, "FNumber": 2.0, "SubjectDistance": 1.5, "Orientation": 1}
    assert read_photo(with_exif(tmp_path / "x.jpg", **right), POLICY).warnings == ()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"FocalLength": 35.0}, r"focal length \[mm\] 35, the camera record 50"),
        ({"FNumber": 2.8}, "f-number 2.8, the camera record 2"),
        ({"SubjectDistance": 3.0}, r"focus distance \[m\] 3, the camera record 1.5"),
        ({"Orientation": 6}, "turned"),
    ],
)
@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.tif"])
def test_other_settings_are_refused_unless_forced(tmp_path, name, entry, message):
    path = with_exif(tmp_path / name, **entry)
    with pytest.raises(CaptureError, match=message):
        read_photo(path, POLICY)
    forced = read_photo(path, FORCED)
    assert re.search(message, forced.warnings[0])


def test_other_size_needs_origin_and_scale(tmp_path):
    Image.fromarray(random_pixels(32, 24)).save(tmp_path / "small.png")
    path = tmp_path / "small.png"
    with pytest.raises(CaptureError, match=r"32x24 px, the camera 64x48.*--origin"):
        read_photo(path, POLICY)
    assert read_photo(path, FORCED).placement == Placement((0.0, 0.0), 2.0)
    binned, crop = Placement((0.0, 0.0), 2.0), Placement((10.0, 20.0))
    for placement in (binned, crop):
        photo = read_photo(path, PhotoPolicy(CAMERA, placement))
        assert (photo.placement, photo.warnings) == (placement, ())
    with pytest.raises(CaptureError, match="reaches to"):
        read_photo(path, PhotoPolicy(CAMERA, Placement((40.0, 20.0))))


def test_a_scale_that_makes_a_photo_huge_is_refused_even_if_forced(photo_folder):
    policy = PhotoPolicy(CAMERA, Placement(scale=60.0), force=True)
    with pytest.raises(CaptureError, match="at scale 60 the photo is larger than the camera's"):
        read_photo(photo_folder / "b.png", policy)


def test_record_of_another_camera_beside_the_photo_is_seen(photo_folder):
    CAMERA.save(photo_folder.parent / "camera.json")
    assert read_photo(photo_folder / "b.png", POLICY).warnings == ()
    other = CAMERA.model_copy(update={"name": "other", "focus_distance_m": 2.0})
    other.save(photo_folder / "camera.json")
    with pytest.raises(CaptureError, match=other.fingerprint):
        read_photo(photo_folder / "b.png", POLICY)
    assert read_photo(photo_folder / "b.png", FORCED).warnings


def png_header(width, height):
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


BROKEN = {
    "missing.png": None,
    "empty.png": b"",
    "text.png": b"This is no picture.\n",
    "bomb.png": png_header(40000, 40000),
    "huge.png": png_header(16000, 16000),
    "header.png": png_header(64, 48),
    "junk.tif": b"II*\x00\xff\xff\xff\xff",
    "text.tif": b"no TIFF",
}


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_picture_ends_in_one_clean_error(tmp_path, name, force):
    if BROKEN[name] is not None:
        (tmp_path / name).write_bytes(BROKEN[name])
    with pytest.raises(CaptureError, match=name):
        read_photo(tmp_path / name, PhotoPolicy(CAMERA, force=force))


@pytest.mark.parametrize("name", ["a.tif", "b.png", "c.jpg"])
def test_cut_off_photos_are_refused(photo_folder, name):
    path = photo_folder / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CaptureError, match=name):
        read_photo(path, POLICY)


@pytest.mark.parametrize("mode", ["CMYK", "P", "1"])
def test_colour_modes_without_linear_light_are_refused(tmp_path, mode):
    path = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    Image.fromarray(random_pixels()).convert(mode).save(path)
    with pytest.raises(CaptureError, match=path.name):
        read_photo(path, FORCED)


def test_one_pixel_is_refused(tmp_path):
    Image.fromarray(random_pixels(1, 1)).save(tmp_path / "dot.png")
    with pytest.raises(CaptureError, match="1x1"):
        read_photo(tmp_path / "dot.png", POLICY)


def test_sixteen_bit_colour_tiff_is_sized_before_it_is_read(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((10, 20, 3), np.uint16), photometric="rgb")
    with pytest.raises(CaptureError, match="20x10"):
        read_photo(tmp_path / "x.tif", POLICY)


def test_photos_are_added_as_the_model_reads_them(tmp_path, caplog):
    old = Capture(torch.rand(3, 48, 64), "unlabelled", "room", "train")
    captures = write_captures(tmp_path / "set", CAMERA, [old])
    turned = with_exif(tmp_path / "turned.png", Orientation=6)
    twelve = tmp_path / "twelve.tif"
    tifffile.imwrite(twelve, random_pixels(seed=1).astype(np.uint16) * 16, photometric="rgb")
    photos = [turned, twelve]
    added = add_photos(tmp_path / "plain", captures, photos, POLICY)
    assert (added.new, list(added.refused)) == (1, [str(turned)])
    assert (
        "a 16-bit photo is above 4095. 12 bits in 16? Set captures.sample_bits: 12" in caplog.text
    )
    policy = PhotoPolicy(CAMERA, orientation="ignore", sample_bits=12)
    added = add_photos(tmp_path / "like training", captures, photos, policy)
    assert (added.new, added.refused) == (2, {})
    stored = read_captures(tmp_path / "like training")
    assert stored.image(0).shape == stored.image(1).shape == (3, 48, 64)
    assert stored.image(1).max() > 0.9


def test_added_photos_keep_how_their_files_store_them(tmp_path):
    (tmp_path / "set").mkdir()
    first = Capture(torch.rand(3, 48, 64), "unlabelled", "s", "train")
    captures = write_captures(tmp_path / "set/captures", CAMERA, [first])
    jpeg, png = tmp_path / "a.jpg", tmp_path / "b.png"
    Image.fromarray(random_pixels(seed=1)).save(jpeg, quality=90, subsampling="4:2:0")
    Image.fromarray(random_pixels(seed=2)).save(png)
    add_photos(tmp_path / "added", captures, [jpeg], POLICY)
    add_photos(tmp_path / "added", captures, [png], POLICY)  # the first is written again
    assert read_captures(tmp_path / "added").table["storage"].tolist() == ["jpeg 90 4:2:0", "srgb"]


def test_photos_are_found_by_file_folder_and_pattern(photo_folder):
    (photo_folder / "notes.txt").write_text("no photo")
    every = [photo_folder / name for name in ("a.tif", "b.png", "c.jpg")]
    assert find_photos([str(photo_folder)]) == every
    assert find_photos([str(photo_folder / "*.png"), str(photo_folder)]) == [
        every[1],
        every[0],
        every[2],
    ]
    with pytest.raises(CaptureError, match="no photo in"):
        find_photos([str(photo_folder / "*.gif")])
