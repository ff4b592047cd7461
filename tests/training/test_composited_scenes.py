"""Composited scenes: nearer charts hide farther ones, and every cell's distance is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rangefinder.camera import Camera
from rangefinder.captures.manifest import Capture, write_captures
from rangefinder.config import StudentParams, TeacherParams
from rangefinder.optics.blur import TracedBlur
from rangefinder.training import compositing
from rangefinder.training.compositing import CompositedScenes

CAMERA = Camera(width_px=160, height_px=120, pixel_pitch_um=125.0)
DISTANCES_M = (0.8, 1.1, 1.5, 2.0, 2.6, 3.0, 4.0)
RED = 0.4  # at 1 m
SHEET = torch.ones(120, 160)  # that does not fill its photo
SHEET[:, :40] = 0
STRIDE_PX = 4


@pytest.fixture(autouse=True)
def no_jitter(monkeypatch):
    """No photometric jitter, so that red is proportional to inverse distance."""
    monkeypatch.setattr(compositing, "photometric_jitter", lambda image, params, rng: image)


def chart(number, distance_m, size=(120, 160)):
    """A chart whose red is proportional to its inverse distance."""
    image = torch.full((3, *size), 0.5)
    image[0] = RED / distance_m
    return Capture(image, "chart", f"chart-{number}", "train", distance_m=distance_m)


def captures_of(folder, charts, camera=CAMERA):
    return write_captures(folder / "set", camera, charts)


@pytest.fixture
def charts(tmp_path):
    return captures_of(tmp_path, [chart(i, d) for i, d in enumerate(DISTANCES_M)])


def scenes_of(captures, scenes=5, seed=0, **changes):
    options = StudentParams(composited_scenes=scenes, **changes)
    return CompositedScenes(captures, options, TeacherParams(), seed)


def test_a_scene_shows_charts_at_their_distances(charts):
    for item in map(scenes_of(charts).__getitem__, range(5)):
        shown = 1 / item["inverse_dpt"].unique()
        assert {round(float(d), 3) for d in shown} <= set(DISTANCES_M)
        assert len(shown) > 1


@pytest.mark.parametrize(("crop_px", "most"), [(None, 0.97), (64, 0.94)])
def test_the_distance_of_a_cell_is_that_of_the_chart_at_its_pixel(tmp_path, crop_px, most):
    """Close to the focus nothing is blurred: colours are those of the charts."""
    distances_m = (2.9, 2.95, 3.0, 3.05, 3.1)
    sharp = captures_of(tmp_path, [chart(i, d) for i, d in enumerate(distances_m)])
    scenes = scenes_of(sharp, crop_px=crop_px)
    equal = []
    for item in map(scenes.__getitem__, range(15)):  # as they are, and mirrored
        assert len(item["inverse_dpt"].unique()) > 1
        red = item["image"][0, ::STRIDE_PX, ::STRIDE_PX]
        equal.append((red - RED * item["inverse_dpt"]).abs() < 1e-4)
    assert torch.stack(equal).float().mean() > most  # boundaries cross some pixels


def test_boundaries_are_as_wide_as_the_blur(charts):
    def pure(diameter_px):
        nodes = (np.array([0.2, 1.5]), np.array([0.0, 120.0]), np.array([0.0, 160.0]))
        blur = TracedBlur(np.full((2, 2, 2), diameter_px), *nodes)
        scenes = [scenes_of(replace(charts, blur=blur))[i] for i in range(5)]
        reds = RED / torch.tensor(DISTANCES_M)
        off = [(s["image"][0][..., None] - reds).abs().amin(-1) for s in scenes]
        return float((torch.stack(off) < 1e-4).float().mean())

    assert 1 > pure(1.0) > pure(8.0) + 0.03 > pure(24.0) + 0.06


def test_the_nearer_chart_hides_the_farther(tmp_path):
    """The nearer of two charts covers a part of the farther one."""
    two = captures_of(tmp_path, [chart(0, 2.9), chart(1, 3.1)])
    for item in map(scenes_of(two, scenes=8).__getitem__, range(8)):
        near = (1 / item["inverse_dpt"] - 2.9).abs() < 0.01
        assert 0 < near.float().mean() < 0.5


def test_training_crops_lie_anywhere_on_the_sensor(charts):
    scenes = scenes_of(charts, scenes=40, crop_px=64)
    items = [scenes[number] for number in range(40)]
    assert all(item["image"].shape[1:] == scenes.size == (61, 61) for item in items)
    middles = torch.stack([item["location"].mean((1, 2)) for item in items])
    assert middles.std(0).min() > 0.05
    assert (middles.abs() < 0.1).any()


def test_scenes_are_kept_and_repeated_mirrored(charts):
    scenes = scenes_of(charts, scenes=2)
    once, again, later = scenes[1], scenes_of(charts, scenes=2)[1], [scenes[i] for i in (3, 5, 7)]
    torch.testing.assert_close(once, again)
    assert any(not torch.equal(once["image"], other["image"]) for other in later)
    for other in later:
        flips = [(), (0,), (1,), (0, 1)]
        assert any(
            torch.equal(other["inverse_dpt"], once["inverse_dpt"].flip(axes)) for axes in flips
        )
    assert not torch.equal(once["image"], scenes_of(charts, seed=1)[1]["image"])


def test_a_lens_that_is_not_symmetric_is_not_mirrored(charts, tmp_path):
    lopsided = CAMERA.model_copy(update={"symmetric": False})
    captures = captures_of(
        tmp_path / "lopsided", [chart(i, d) for i, d in enumerate(DISTANCES_M)], lopsided
    )
    scenes = scenes_of(captures, scenes=1)
    assert all(torch.equal(scenes[i]["location"], scenes[0]["location"]) for i in range(6))


def test_only_charts_of_one_size_are_composited(tmp_path):
    charts = [chart(i, d) for i, d in enumerate(DISTANCES_M[:4])]
    other = [chart(i + 10, d, (96, 128)) for i, d in enumerate(DISTANCES_M[4:])]
    scenes = scenes_of(captures_of(tmp_path, [*other, *charts]))
    for item in map(scenes.__getitem__, range(5)):
        assert item["image"].shape[1:] == scenes.size == (117, 157)
        assert float(1 / item["inverse_dpt"].min()) <= DISTANCES_M[3] + 1e-4


def test_scenes_need_two_charts_that_fill_their_photos(tmp_path):
    assert len(scenes_of(captures_of(tmp_path, [chart(0, 1.0)]))) == 0
    sheets = [replace(chart(i, d), distance_map=SHEET * d) for i, d in enumerate(DISTANCES_M)]
    assert len(scenes_of(captures_of(tmp_path / "masked", sheets))) == 0
    photo = Capture(torch.rand(3, 120, 160), "unlabelled", "photo", "train")
    assert len(scenes_of(captures_of(tmp_path / "photos", [photo]))) == 0


def test_no_more_scenes_are_kept_than_memory_allows(charts, monkeypatch):
    monkeypatch.setattr(compositing, "KEEP_BYTES", 3 * 6 * 117 * 157)
    assert len(scenes_of(charts, scenes=100)) == 3
