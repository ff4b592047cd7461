"""How picture files store photos."""

import numpy as np
import pytest
import torch
from PIL import Image

from rangefinder.captures.decoding import decode
from rangefinder.captures.images import write_linear
from rangefinder.photo_domain import Storage

PIXELS = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize("quality", [30, 50, 75, 90, 95, 98])
@pytest.mark.parametrize("chroma", ["4:4:4", "4:2:2", "4:2:0"])
def test_quality_and_chroma_of_a_jpeg_are_read_from_its_tables(tmp_path, quality, chroma):
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg", quality=quality, subsampling=chroma)
    assert decode(tmp_path / "a.jpg").storage == Storage("jpeg", quality, chroma)


def test_a_grey_jpeg_has_no_chroma(tmp_path):
    Image.fromarray(PIXELS[..., 0]).save(tmp_path / "a.jpg", quality=90)
    assert decode(tmp_path / "a.jpg").storage == Storage("jpeg", 90, "4:4:4")


def test_other_formats_are_linear_srgb_or_lossy(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    Image.fromarray(PIXELS).save(tmp_path / "a.webp")
    write_linear(tmp_path / "a.tif", decode(tmp_path / "a.png").image)
    found = {name: decode(tmp_path / f"a.{name}").storage.format for name in ("png", "webp", "tif")}
    assert found == {"png": "srgb", "webp": "lossy", "tif": "linear"}
    assert decode(tmp_path / "a.png", "linear").storage == Storage("linear")
    assert decode(tmp_path / "a.tif", "srgb").storage == Storage("srgb")


def test_a_jpeg_with_previews_behind_its_photo_is_that_photo(tmp_path):
    photo, preview = Image.fromarray(PIXELS), Image.fromarray(PIXELS[::2, ::2])
    options = {"quality": 95, "subsampling": "4:2:0"}
    photo.save(tmp_path / "a.jpg", **options)
    photo.save(tmp_path / "b.jpg", format="MPO", save_all=True, append_images=[preview], **options)
    with Image.open(tmp_path / "b.jpg") as picture:
        assert (picture.format, picture.n_frames) == ("MPO", 2)
    plain, several = decode(tmp_path / "a.jpg"), decode(tmp_path / "b.jpg")
    assert torch.equal(several.image, plain.image)
    assert several.storage == plain.storage == Storage("jpeg", 95, "4:2:0")
