"""A printed sheet is found in photos of it, and masked."""

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt, gaussian_filter
from skimage.draw import polygon2mask
from skimage.transform import ProjectiveTransform, warp

from rangefinder.charts.detection import find_sheet, project
from rangefinder.charts.sheets import MARGIN, UNITS, SheetPlan, draw_sheet
from rangefinder.optics.srgb import srgb_to_linear

PLAN = SheetPlan("A4", 60)
VIEWS = {
    "frontal": [(60, 50), (420, 50), (420, 305), (60, 305)],
    "tilted": [(80, 90), (400, 40), (420, 330), (60, 280)],
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


def farthest_px(mask, other):
    """Hausdorff distance of two masks [px]."""
    beyond = distance_transform_edt(~other)[mask].max()
    return max(beyond, distance_transform_edt(~mask)[other].max())


@pytest.mark.parametrize("blur_px", [0.7, 3.0])
@pytest.mark.parametrize("view", VIEWS)
def test_a_sheet_is_found_tilted_blurred_and_among_clutter(sheet, view, blur_px):
    image, truth = photograph(sheet, VIEWS[view], blur_px)
    found = find_sheet(image)
    assert found is not None
    paper = np.array([(0, 0), (UNITS[0], 0), UNITS, (0, UNITS[1])])
    shown = polygon2mask((360, 480), project(truth, paper)[:, ::-1] - 0.5)
    assert farthest_px(found.mask(inset=-MARGIN), shown) < 3.0


def test_the_mask_covers_the_texture_and_neither_margin_nor_wall(sheet):
    image, truth = photograph(sheet, VIEWS["tilted"], 1.0)
    mask = find_sheet(image).mask()
    rows, cols = np.nonzero(mask)
    places = project(np.linalg.inv(truth), np.stack([cols + 0.5, rows + 0.5], axis=-1))
    assert (places > 2.1).all()
    assert (places < np.array(UNITS) - 2.1).all()
    share = np.prod(np.array(UNITS) - 5) / np.prod(UNITS)
    paper = np.array(VIEWS["tilted"], dtype=float)
    after = np.roll(paper, -1, axis=0)
    area = 0.5 * abs((paper[:, 0] * after[:, 1] - paper[:, 1] * after[:, 0]).sum())
    assert mask.sum() == pytest.approx(share * area, rel=0.05)


def test_no_sheet_is_found_without_all_its_marks(sheet):
    image, _ = photograph(sheet, VIEWS["frontal"], 1.0)
    hidden = image.clone()
    hidden[:, :80, :100] = 0.4
    assert find_sheet(hidden) is None
    assert find_sheet(torch.rand(3, 120, 160, generator=torch.Generator().manual_seed(0))) is None


def test_the_mask_of_a_large_photo_has_its_resolution(sheet):
    image, _ = photograph(sheet, VIEWS["tilted"], 1.0)
    large = torch.nn.functional.interpolate(image[None], scale_factor=4.0, mode="bilinear")[0]
    few = find_sheet(image).mask().repeat(4, axis=0).repeat(4, axis=1)
    assert farthest_px(find_sheet(large).mask(), few) < 8
