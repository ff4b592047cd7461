"""The page in a real browser: dropped photos, hovering, tapping, keys, two points, no network."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rangefinder.inference.output import back_project
from rangefinder.inference.session import Measurement, PointReading, Session
from rangefinder.inference.viewer import page as page_of
from rangefinder.models.model_files import load_model, save_model

from ..browser import PHONE, Looker
from ..browser import looker as open_page
from ..inference.test_viewer import portrait, scrambled
from ..tiny_camera import random_pixels
from .conftest import started

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, scrambled(orientation="ignore"))
    return folder


@pytest.fixture(scope="module")
def session(model):
    return Session(load_model(model), "cpu")


@pytest.fixture(scope="module")
def server(model, tmp_path_factory):
    with started(model, tmp_path_factory.mktemp("server") / "tmp") as server:
        yield server


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> list[Path]:
    """One as the sensor is, one held upright."""
    folder = tmp_path_factory.mktemp("photos")
    Image.fromarray(random_pixels(seed=1)).save(folder / "plain.png")
    return [folder / "plain.png", portrait(folder, 6)]


class Reader(Looker):
    """Somebody who reads distances off the page."""

    def text(self, name: str) -> str:
        return self.page.locator(f"#{name}").inner_text()

    def place(self, measured: Measurement, x: int, y: int) -> tuple[float, float]:
        """Where a pixel's centre is in the window."""
        height, width = measured.distance_m.shape
        box = self.page.locator("#stage").bounding_box()
        return (
            box["x"] + (x + 0.5) / width * box["width"],
            box["y"] + (y + 0.5) / height * box["height"],
        )

    def hover(self, measured: Measurement, x: int, y: int) -> None:
        self.page.mouse.move(*self.place(measured, x, y))

    def drop(self, photos: list[Path]) -> None:
        """Drop files, as from a file manager."""
        content = [[path.name, base64.b64encode(path.read_bytes()).decode()] for path in photos]
        carried = self.page.evaluate_handle(
            """files => {
                const carried = new DataTransfer();
                for (const [name, text] of files)
                    carried.items.add(new File(
                        [Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name));
                return carried;
            }""",
            content,
        )
        self.page.dispatch_event("#drop", "drop", {"dataTransfer": carried})

    def shows(self, name: str) -> None:
        self.page.wait_for_function("name => document.title.startsWith(name)", arg=name)


looker = partial(open_page, kind=Reader)


def numbers(text: str) -> list[float]:
    return [float(found) for found in re.findall(r"\d+\.?\d*", text)]


def agree(look: Reader, reading: PointReading) -> None:
    """The page shows what `measure --at` prints."""
    printed = numbers(str(reading).partition("): ")[2])
    assert numbers(look.text("value")) + numbers(look.text("interval")) == printed
    assert numbers(look.text("place")) == [reading.x_px, reading.y_px]
    assert numbers(look.text("accuracy")) == [round(100 * reading.accuracy_probability)]


def test_dropped_photos_are_read_by_hovering(browser, server, session, photos):
    with looker(browser, server.url) as look:
        assert session.fingerprint in look.text("model")
        look.drop(photos)
        look.shows("turned.png")
        for path in reversed(photos):
            look.page.locator("#photos button", has_text=path.name).click()
            measured = session.measure(path)
            for x, y in ((0, 0), (20, 11), (30, 40), (47, 47)):
                look.hover(measured, x, y)
                agree(look, measured.at(x, y))
        assert look.fits()
        assert look.errors == []


def test_chosen_files_are_measured_and_bad_ones_are_named(browser, server, photos, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_text("no photo")
    with looker(browser, server.url) as look:
        look.page.locator("#files").set_input_files([bad, photos[0]])
        look.shows("plain.png")
        problem = look.page.locator("#problems li")
        assert problem.inner_text().startswith("bad.jpg is no JPEG, PNG or TIFF")
        assert "Save it as JPEG" in problem.inner_text()
        problem.locator("button").click()
        assert problem.count() == 0


@pytest.mark.parametrize("orientation", [1, 6])
def test_two_points_have_a_depth_and_a_distance_between_them(
    browser, session, tmp_path, orientation
):
    measured = session.measure(portrait(tmp_path, orientation))
    url = measured.save(tmp_path, "a", html=True)["page"].as_uri()
    camera, photo = session.card.camera, measured.photo
    cloud = photo.shown(back_project(measured.stored.distance_m, camera, photo.placement))
    with looker(browser, url) as look:
        for x, y in ((5, 40), (41, 7)):
            look.page.mouse.click(*look.place(measured, x, y))
        one, other = cloud[40, 5], cloud[7, 41]
        assert numbers(look.text("value-a")) == [pytest.approx(one[2], abs=6e-4)]
        assert numbers(look.text("value-b")) == [pytest.approx(other[2], abs=6e-4)]
        assert numbers(look.text("depth")) == [pytest.approx(abs(one[2] - other[2]), abs=8e-4)]
        apart = float(np.linalg.norm(one - other))
        assert apart > 1.05 * abs(one[2] - other[2])
        assert numbers(look.text("space")) == [pytest.approx(apart, abs=8e-4)]
        look.page.locator("#clear").click()
        assert not look.page.locator("#list").is_visible()
        assert look.errors == []


def test_a_saved_page_is_read_by_keys_without_a_network(browser, session, photos, tmp_path):
    measured = session.measure(photos[0])
    url = measured.save(tmp_path, "a", html=True)["page"].as_uri()
    with looker(browser, url, offline=True, color_scheme="dark") as look:
        look.page.locator("#stage").focus()
        for key, (x, y) in {
            "ArrowRight": (33, 24),
            "ArrowUp": (33, 23),
            "Shift+ArrowLeft": (23, 23),
            "Shift+ArrowDown": (23, 33),
        }.items():
            look.page.keyboard.press(key)
            agree(look, measured.at(x, y))
        look.page.keyboard.press("Enter")
        assert look.page.locator("#pin-a").is_visible()
        look.page.keyboard.press("Escape")
        assert not look.page.locator("#pin-a").is_visible()
        assert look.page.locator("#overlay").is_visible()
        look.page.keyboard.press("o")
        assert not look.page.locator("#overlay").is_visible()
        assert not look.page.locator("#drop").is_visible()
        dark = look.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert sum(numbers(dark)) < 100
        assert look.errors == []


def test_a_phone_reads_by_tapping(browser, session, photos, tmp_path):
    measured = session.measure(photos[1])
    url = measured.save(tmp_path, "a", html=True)["page"].as_uri()
    with looker(browser, url, PHONE, has_touch=True, is_mobile=True) as look:
        look.page.touchscreen.tap(*look.place(measured, 30, 20))
        agree(look, measured.at(30, 20))
        assert look.fits()
        assert look.page.locator("#tip").is_visible()
        assert look.errors == []


def coloured(look: Reader) -> np.ndarray:
    """The overlay's samples `[H, W, 4]`."""
    width, height, samples = look.page.evaluate(
        """() => {
            const canvas = document.getElementById("overlay"), { width, height } = canvas;
            const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
            return [width, height, [...data]];
        }"""
    )
    return np.array(samples).reshape(height, width, 4)


def test_the_overlay_has_the_colours_of_distances_and_leaves_out_what_is_not_known(
    browser, session, photos, tmp_path
):
    from rangefinder.inference.output import distance_colours

    measured = session.measure(photos[0])
    least = float(np.median(measured.accuracy_probability))
    url = measured.save(tmp_path, "a", html=True)["page"].as_uri()
    with looker(browser, url) as look:
        set_range = "(e, value) => { e.value = value; e.dispatchEvent(new Event('input')); }"
        look.page.locator("#least").evaluate(set_range, 5 * round(20 * least))
        least = 0.05 * round(20 * least)
        samples = coloured(look)
        known = measured.accuracy_probability >= least + 1e-4
        unknown = measured.accuracy_probability < least - 1e-4
        assert known.any()
        assert unknown.any()
        assert (samples[unknown][:, 3] == 0).all()
        assert (samples[known][:, 3] == 255).all()
        expected = distance_colours(measured.distance_m, session.card.prediction.range_m)
        assert np.abs(samples[known][:, :3] - expected[known]).max() < 3
        look.page.locator("#opacity").evaluate(set_range, 40)
        assert look.page.locator("#overlay").evaluate("e => e.style.opacity") == "0.4"
        look.page.locator("#hatched").uncheck()
        assert not look.page.locator("#unknown").is_visible()
        assert (coloured(look)[..., 3] == 255).all()
        look.page.locator("#shown").uncheck()
        assert not look.page.locator("#overlay").is_visible()


def test_both_distances_are_named_where_two_are_possible(browser, session, photos, tmp_path):
    measured = session.measure(photos[0])
    probs = torch.zeros_like(measured.posterior.probs)
    probs[..., 9], probs[..., 2] = 0.6, 0.4
    measured = replace(measured, posterior=replace(measured.posterior, probs=probs))
    (tmp_path / "a.html").write_text(page_of([measured.view().content()]), encoding="utf-8")
    with looker(browser, (tmp_path / "a.html").as_uri()) as look:
        look.hover(measured, 20, 30)
        assert " or " in look.text("interval")
        agree(look, measured.at(20, 30))
