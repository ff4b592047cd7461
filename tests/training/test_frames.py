"""Frames: photo, location map, and targets or truth are cropped and mirrored together."""

import pytest
import torch
from torch.utils.data import DataLoader

from rangefinder.camera import Camera
from rangefinder.captures.manifest import Capture, write_captures
from rangefinder.coordinates import PatchGrid, Placement, grid_location, location_map
from rangefinder.training.frames import LabelledFrames, UnlabelledFrames, quarter

CAMERA = Camera(width_px=64, height_px=48)
GRID = PatchGrid(48, 64, patch_px=9, stride_px=4)


class LocationTargets:
    """Targets that hold the sensor location of their patch centre."""

    def __init__(self, captures) -> None:
        self.at = {
            name: captures.placement(i) for i, name in enumerate(captures.table["capture_id"])
        }

    def __call__(self, capture_id, image, grid):
        here = torch.from_numpy(grid_location(CAMERA, self.at[capture_id], grid.to_edges()))
        return here.movedim(0, -1), here[0]


@pytest.fixture(scope="module", params=[True, False], ids=["symmetric", "not_symmetric"])
def photos(request, tmp_path_factory):
    """Photos whose red and green are the sensor location of each pixel."""
    camera = Camera(width_px=64, height_px=48, symmetric=request.param)

    def photo(index):
        placement = Placement((float(index), 0.0))
        here = torch.from_numpy(location_map(CAMERA, placement, 48, 64)) / 4 + 0.5
        image = torch.cat([here, here[:1]])
        return Capture(image, "unlabelled", f"s{index}", "train", placement=placement)

    folder = tmp_path_factory.mktemp("photos") / "set"
    return write_captures(folder, camera, map(photo, range(4)))


def frames_of(photos, crop_px):
    targets = LocationTargets(photos)
    return UnlabelledFrames(photos, targets, GRID.patch_px, GRID.stride_px, 0, crop_px)


@pytest.mark.parametrize("crop_px", [None, 25, 30, 48, 500])
def test_photo_location_and_targets_are_cropped_together(photos, crop_px):
    frames = frames_of(photos, crop_px)
    side = crop_px or 500
    for frames.epoch in range(5):
        for index in range(len(frames)):
            item = frames[index]
            part = PatchGrid(min(side, 48), min(side, 64), GRID.patch_px, GRID.stride_px)
            assert item["image"].shape == (3, *part.covered_px)
            signs = torch.sign(item["location"][:, 0, 0] * (item["image"][:2, 0, 0] - 0.5))
            shown = (item["image"][:2] - 0.5) * 4 * signs[:, None, None]
            torch.testing.assert_close(shown, item["location"], atol=1e-4, rtol=0)
            rows, cols = item["y_px"].long(), item["x_px"].long()
            assert item["targets"].shape[:2] == (len(rows), len(cols))
            here = item["image"][:2][:, rows][:, :, cols].movedim(0, -1)
            torch.testing.assert_close((here - 0.5) * 4, item["targets"], atol=1e-3, rtol=0)


def test_random_crops_cover_all_of_a_photo(photos):
    frames = frames_of(photos, 33)
    seen = set()
    for frames.epoch in range(200):
        seen |= {tuple(location) for location in frames[0]["targets"].flatten(0, 1).tolist()}
    whole, _ = LocationTargets(photos)(photos.table["capture_id"][0], None, GRID)
    assert seen == {tuple(location) for location in whole.flatten(0, 1).tolist()}


@torch.inference_mode()
def test_a_teacher_predicts_in_quarters_what_it_predicts_in_the_whole(captures, teacher):
    scenes = captures.select(role="labelled", split="validation")
    network = teacher.network.eval()
    (batch, *_) = DataLoader(LabelledFrames(scenes, network.patch_px, network.stride_px))
    whole = network(batch["image"], batch["grid_location"])
    rows, cols = whole.shape[2:]
    for number in range(4):
        part = quarter(batch, number)
        logits = network(part["image"], part["grid_location"])
        height, width = logits.shape[2:]
        assert (height, width) == ((rows + 1) // 2, (cols + 1) // 2)
        top, left = (number // 2) * (rows - height), (number % 2) * (cols - width)
        here = (..., slice(top, top + height), slice(left, left + width))
        torch.testing.assert_close(logits, whole[here], atol=1e-4, rtol=1e-4)
        assert torch.equal(part["inverse_dpt"], batch["inverse_dpt"][here])
        y, x = part["y_px"][0].long(), part["x_px"][0].long()
        at_centres = part["location"][0][:, y][:, :, x]
        torch.testing.assert_close(at_centres, part["grid_location"][0], atol=0.05, rtol=0)
