"""Scenes of charts: the nearer hide the farther, and every cell's distance is known."""

import pytest
import torch

from rangefinder.camera import Camera
from rangefinder.captures.manifest import Capture, write_captures
from rangefinder.training import laid
from rangefinder.training.laid import LaidCharts

CAMERA = Camera(width_px=160, height_px=120, pixel_pitch_um=125.0)
DISTANCES_M = (0.8, 1.1, 1.5, 2.0, 2.6, 3.0, 4.0)
STRIDE_PX = 4


def chart(number, distance_m, size=(120, 160)):
    """A chart that is as red as it is near; its blue says which light it stands in."""
    image = torch.full((3, *size), 0.5)
    image[0] = 0.4 / distance_m
    return Capture(image, "chart", f"chart-{number}", "train", distance_m=distance_m)


def captures_of(folder, charts, camera=CAMERA):
    return write_captures(folder / "set", camera, charts)


@pytest.fixture
def charts(tmp_path):
    return captures_of(tmp_path, [chart(i, d) for i, d in enumerate(DISTANCES_M)])


def scenes_of(captures, scenes=5, seed=0):
    return LaidCharts(captures, scenes, patch_px=9, stride_px=STRIDE_PX, seed=seed)


def test_a_scene_shows_charts_at_their_distances(charts):
    for item in map(scenes_of(charts).__getitem__, range(5)):
        shown = 1 / item["inverse_dpt"].unique()
        assert {round(float(d), 3) for d in shown} <= set(DISTANCES_M)
        assert len(shown) > 1


def test_every_cell_lies_where_its_pixel_does(charts):
    """Where nothing near is blurred, a cell's colour is that of the chart at its distance."""
    focus = captures_of(
        charts.folder.parent / "focus",
        [chart(i, d) for i, d in enumerate((2.9, 3.0, 3.1))],
        CAMERA.model_copy(update={"focus_distance_m": 3.0}),
    )
    for item in map(scenes_of(focus).__getitem__, range(5)):
        rows, cols = item["inverse_dpt"].shape
        cells = item["image"][:, ::STRIDE_PX, ::STRIDE_PX]
        assert cells.shape == (3, rows, cols)
        for inverse_dpt in item["inverse_dpt"].unique():
            colours = cells[0][item["inverse_dpt"] == inverse_dpt]
            sharp = (colours - colours.median()).abs() < 1e-3
            assert sharp.float().mean() > 0.8  # all but the border of what lies before it


def test_scenes_stay_and_come_round_mirrored(charts):
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


def test_only_charts_that_are_alike_are_laid_together(tmp_path):
    charts = [chart(i, d) for i, d in enumerate(DISTANCES_M[:4])]
    other = [chart(i + 10, d, (96, 128)) for i, d in enumerate(DISTANCES_M[4:])]
    scenes = scenes_of(captures_of(tmp_path, [*other, *charts]))
    for item in map(scenes.__getitem__, range(5)):
        assert item["image"].shape[1:] == scenes.size == (117, 157)
        assert float(1 / item["inverse_dpt"].min()) <= DISTANCES_M[3] + 1e-4


def test_without_two_charts_there_are_no_scenes(tmp_path):
    assert len(scenes_of(captures_of(tmp_path, [chart(0, 1.0)]))) == 0
    photo = Capture(torch.rand(3, 120, 160), "unlabelled", "photo", "train")
    assert len(scenes_of(captures_of(tmp_path / "photos", [photo]))) == 0


def test_no_more_scenes_are_kept_than_memory_allows(charts, monkeypatch):
    monkeypatch.setattr(laid, "KEEP_BYTES", 3 * 6 * 117 * 157)
    assert len(scenes_of(charts, scenes=100)) == 3
