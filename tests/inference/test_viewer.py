"""The page of a measured photo: what it holds, and that it needs nothing else."""

from __future__ import annotations

import base64
import io
import json
import re
import zlib
from dataclasses import astuple, replace

import numpy as np
import pytest
import torch
from PIL import Image

from rangefinder.inference.output import back_project
from rangefinder.inference.session import Session
from rangefinder.inference.viewer import MAPS, pack, page, shown_places
from rangefinder.optics.srgb import srgb_pixels

from ..commands.conftest import call
from ..tiny_camera import CAMERA, make_model, random_pixels

DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


def unpacked(content: dict) -> dict[str, np.ndarray]:
    """The maps of a view, read independently of the page's own code."""
    size = content["rows"], content["columns"]
    planes = np.frombuffer(zlib.decompress(base64.b64decode(content["maps"])), np.uint8)
    steps = np.ascontiguousarray(planes.reshape(4, -1).T).view("<i4").reshape(len(MAPS), *size)
    return dict(zip(MAPS, steps.cumsum(axis=-1) / 10_000, strict=True))


def scrambled(camera=CAMERA, **more):
    """A student whose predictions differ from place to place."""
    model = make_model("student", camera, **more)
    generator = torch.Generator().manual_seed(5)
    for parameter in model.network.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model


def portrait(folder, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = folder / "turned.png"
    Image.fromarray(random_pixels(seed=4)).save(path, exif=exif)
    return path


@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
def test_every_pixel_has_the_numbers_that_are_read_at_it(tmp_path, orientation):
    session = Session(scrambled(orientation="ignore"), "cpu")
    measured = session.measure(portrait(tmp_path, orientation))
    flat = torch.zeros_like(measured.posterior.probs)
    flat[..., 9], flat[..., 2] = 0.6, 0.4
    probs = torch.where(torch.arange(len(flat))[:, None, None] > 5, flat, measured.posterior.probs)
    measured = replace(measured, posterior=replace(measured.posterior, probs=probs))
    content = measured.view().content()
    maps = unpacked(content)
    height, width = measured.distance_m.shape
    assert (content["rows"], content["columns"]) == (height, width)
    assert (content["height_px"], content["width_px"]) == (height, width)
    divided = 0
    for x, y in [(0, 0), (5, 9), (width - 1, 0), (0, height - 1), (width - 1, height - 1)]:
        reading = measured.at(x, y)
        for name in MAPS[:4]:
            assert maps[name][y, x] == getattr(reading, name)
        ends = [maps[name][y, x] for name in MAPS[4:]]
        if reading.two_distances is None:
            assert ends == [0] * 8
        else:
            divided += 1
            assert ends == [value for one in reading.two_distances for value in astuple(one)]
    assert 0 < divided < 5


@pytest.mark.parametrize("orientation", [1, 6])
def test_the_picture_is_the_photo_as_viewers_show_it(tmp_path, orientation):
    session = Session(scrambled(orientation="ignore"), "cpu")
    measured = session.measure(portrait(tmp_path, orientation))
    kind, _, text = measured.view().content()["photo"].partition(",")
    assert kind == "data:image/jpeg;base64"
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))).astype(float)
    expected = srgb_pixels(measured.photo.shown_light)
    assert np.corrcoef(shown.mean(-1).ravel(), expected.mean(-1).ravel())[0, 1] > 0.8


@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
def test_the_corners_give_places_in_space(tmp_path, orientation):
    camera = CAMERA.model_copy(update={"optical_centre_px": (30.0, 20.0)})
    measured = Session(scrambled(camera, orientation="ignore"), "cpu").measure(
        portrait(tmp_path, orientation)
    )
    view = measured.view()
    height, width = view.size_px
    cloud = back_project(measured.stored.distance_m, camera, measured.photo.placement)
    shown = measured.photo.shown(cloud)
    for x, y in [(0, 0), (width - 1, 3), (11, height - 2)]:
        across, down = (x + 0.5) / width, (y + 0.5) / height
        (a, b), (c, d) = view.corner_slopes
        slope = (a * (1 - across) + b * across) * (1 - down) + (
            c * (1 - across) + d * across
        ) * down
        depth = measured.distance_m[y, x] - view.lens_m
        assert slope * depth == pytest.approx(shown[y, x, :2], abs=1e-6)


def test_a_page_of_480x360_is_small_and_needs_no_network(tmp_path):
    camera = CAMERA.model_copy(update={"width_px": 480, "height_px": 360})
    measured = Session(scrambled(camera), "cpu").measure(random_pixels(480, 360))
    file = measured.save(tmp_path, "a", html=True)["page"]
    assert file.stat().st_size < 3e6
    text = file.read_text(encoding="utf-8")
    assert not re.search(r"https?:|src=\"(?!data:)|@import|url\((?!\$)", text)
    assert "connect-src 'self'" in text
    assert len(json.loads(DATA.search(text)[1])["views"]) == 1


def test_names_cannot_end_the_page_s_data(tmp_path):
    content = Session(make_model("student"), "cpu").measure(random_pixels()).view()
    text = page([replace(content, name="</script><b>$DATA").content()])
    assert text.count("</script>") == page([]).count("</script>")
    assert json.loads(DATA.search(text)[1])["views"][0]["name"] == "</script><b>$DATA"


def test_large_photos_are_thinned_out_evenly():
    rows, columns = shown_places((3000, 4000))
    assert (len(rows), len(columns)) == (900, 1200)
    assert set(np.diff(columns)) == {3, 4}
    assert columns[0] + columns[-1] == 3999
    rows, columns = shown_places((48, 64))
    assert rows.tolist() == list(range(48))
    assert columns.tolist() == list(range(64))


def test_maps_are_packed_to_four_decimals():
    maps = np.array([[[1.23456, 700.0, np.nan], [0.00004, 0.3, 0.25]]])
    steps = np.frombuffer(zlib.decompress(pack(maps)), np.uint8).reshape(4, -1).T
    found = np.ascontiguousarray(steps).view("<i4").reshape(1, 2, 3).cumsum(axis=-1) / 10_000
    assert found.tolist() == [[[1.2346, 700.0, 0.0], [0.0, 0.3, 0.25]]]


def test_measure_writes_a_page_if_asked(model_folder, photo_folder, tmp_path):
    arguments = ("measure", photo_folder / "b.png", "--model", model_folder / "student", "--json")
    done = call(*arguments, "--out", tmp_path / "out", "--html")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["files"]["page"] == str(tmp_path / "out/b_view.html")
    call(*arguments, "--out", tmp_path / "plain")
    assert not list((tmp_path / "plain").glob("*.html"))
