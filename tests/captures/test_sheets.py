"""Printed sheets: their true size, textures of their own, and how they are found in a photo."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.transform import ProjectiveTransform, warp

from rangefinder.captures.fiducials import find_sheet, project
from rangefinder.captures.images import srgb_to_linear
from rangefinder.captures.sheets import UNITS, SheetPlan, draw_sheet, write_pdf
from rangefinder.errors import CaptureError

PLAN = SheetPlan("A4", 60)
VIEWS = {
    "frontal": [(60, 50), (420, 50), (420, 305), (60, 305)],
    "aslant": [(80, 90), (400, 40), (420, 330), (60, 280)],
    "turned": [(330, 30), (340, 330), (130, 320), (120, 40)],
}


@pytest.fixture(scope="module")
def sheet():
    return draw_sheet(PLAN, 1)


def photograph(sheet, corners, blur_px, seed=0):
    """The sheet on a cluttered wall, `[3, 360, 480]` linear light, and its true homography."""
    rng = np.random.default_rng(seed)
    light = srgb_to_linear(np.asarray(sheet) / 255)
    height, width = light.shape[:2]
    paper = np.array([(0, 0), (width, 0), (width, height), (0, height)], dtype=float)
    view = ProjectiveTransform.from_estimate(paper, np.array(corners, dtype=float))
    wall = np.full((360, 480, 3), 0.4)
    for _ in range(12):
        x, y, r = rng.uniform((0, 0, 3), (480, 360, 14))
        inside = np.hypot(np.arange(480) - x, np.arange(360)[:, None] - y) < r
        wall[inside] = rng.uniform(0.02, 0.9)
    seen = warp(light, view.inverse, output_shape=(360, 480), cval=-1.0, order=1)
    photo = np.where(seen < 0, wall, seen)
    photo = gaussian_filter(photo, (blur_px, blur_px, 0)) + rng.normal(0, 0.01, photo.shape)
    scale = np.diag([width / UNITS[0], height / UNITS[1], 1.0])
    image = torch.from_numpy(np.clip(photo, 0, 1).astype(np.float32).transpose(2, 0, 1).copy())
    return image, view.params @ scale


@pytest.mark.parametrize("blur_px", [0.7, 3.0])
@pytest.mark.parametrize("view", VIEWS)
def test_sheet_is_found_aslant_blurred_and_among_clutter(sheet, view, blur_px):
    image, truth = photograph(sheet, VIEWS[view], blur_px)
    found = find_sheet(image)
    assert found is not None
    paper = np.array([(0, 0), (UNITS[0], 0), UNITS, (0, UNITS[1])])
    apart = np.linalg.norm(found.corners_px[:, None] - project(truth, paper)[None], axis=-1)
    assert apart.min(axis=1).max() < 3.0


def test_mask_shows_texture_and_neither_margin_nor_wall(sheet):
    image, truth = photograph(sheet, VIEWS["aslant"], 1.0)
    mask = find_sheet(image).mask()
    rows, cols = np.nonzero(mask)
    places = project(np.linalg.inv(truth), np.stack([cols + 0.5, rows + 0.5], axis=-1))
    assert (places > 2.1).all()
    assert (places < np.array(UNITS) - 2.1).all()
    whole = np.prod(np.array(UNITS) - 5) / np.prod(UNITS)
    paper = np.array(VIEWS["aslant"], dtype=float)
    after = np.roll(paper, -1, axis=0)
    area = 0.5 * abs((paper[:, 0] * after[:, 1] - paper[:, 1] * after[:, 0]).sum())
    assert mask.sum() == pytest.approx(whole * area, rel=0.05)


def test_where_a_mark_is_hidden_or_nothing_hangs_no_sheet_is_found(sheet):
    image, _ = photograph(sheet, VIEWS["frontal"], 1.0)
    hidden = image.clone()
    hidden[:, :80, :100] = 0.4
    assert find_sheet(hidden) is None
    assert find_sheet(torch.rand(3, 120, 160, generator=torch.Generator().manual_seed(0))) is None


def test_large_photo_is_found_at_its_own_scale(sheet):
    image, _ = photograph(sheet, VIEWS["aslant"], 1.0)
    large = torch.nn.functional.interpolate(image[None], scale_factor=4.0, mode="bilinear")[0]
    corners, few = find_sheet(large).corners_px, find_sheet(image).corners_px
    assert np.allclose(corners, few * 4, atol=8)


def test_every_sheet_has_a_texture_of_its_own_and_a_seed_repeats_it(sheet):
    again, other = draw_sheet(PLAN, 1), draw_sheet(PLAN, 2)
    assert np.array_equal(np.asarray(sheet), np.asarray(again))
    assert np.abs(np.asarray(sheet).astype(int) - np.asarray(other)).mean() > 20


def test_sheet_is_printed_in_its_true_size(sheet, tmp_path):
    assert sheet.size == (702, 496)
    write_pdf(tmp_path / "sheet.pdf", sheet, PLAN.dpi)
    content = (tmp_path / "sheet.pdf").read_bytes()
    box = content.split(b"/MediaBox")[1].split(b"]")[0].strip(b" [")
    width, height = (float(part) / 72 * 25.4 for part in box.split()[2:])
    assert (width, height) == (pytest.approx(297, abs=0.5), pytest.approx(210, abs=0.5))


def test_too_many_dots_are_refused():
    with pytest.raises(CaptureError, match="too many dots"):
        draw_sheet(SheetPlan("A1", 600), 1)
