"""What training draws: mirrored photos keep picture, places and targets together."""

import pytest
import torch

from rangefinder.camera import Camera
from rangefinder.location import PatchGrid, Placement, grid_location, location_map
from rangefinder.training.data import mirror

CAMERA = Camera(width_px=64, height_px=48)
GRID = PatchGrid(48, 64, patch_px=9, stride_px=4)


class Coin:
    """Chance that falls as told."""

    def __init__(self, *falls: float) -> None:
        self.falls = list(falls)

    def random(self) -> float:
        return self.falls.pop(0)


@pytest.mark.parametrize("falls", [(0.1, 0.1), (0.9, 0.1), (0.1, 0.9), (0.9, 0.9)])
def test_a_mirrored_photo_shows_what_stands_at_the_mirrored_place(falls):
    """A picture of |place| is the same in the mirror, and every place follows its pixel."""
    places = torch.from_numpy(location_map(CAMERA, Placement(), 48, 64))
    image = torch.cat([places, places[:1]])
    item = mirror({"image": image, "location": places}, Coin(*falls))
    signs = torch.tensor([-1.0 if fall >= 0.5 else 1.0 for fall in falls])[:, None, None]
    torch.testing.assert_close(item["location"], signs * item["image"][:2])
    torch.testing.assert_close(item["location"], places, atol=1e-6, rtol=0)


@pytest.mark.parametrize("falls", [(0.9, 0.1), (0.1, 0.9), (0.9, 0.9)])
def test_targets_move_with_the_pixels_they_are_about(falls):
    x, y = (torch.from_numpy(centre).float() for centre in GRID.centres_px)
    here = torch.from_numpy(grid_location(CAMERA, Placement(), GRID))
    every = torch.from_numpy(location_map(CAMERA, Placement(), 48, 64))
    item = {"image": torch.cat([every, every[:1]]), "location": every}
    item |= {"targets": here.movedim(0, -1), "confidence": here[0], "x_px": x, "y_px": y}
    mirrored = mirror(item, Coin(*falls))
    rows, cols = mirrored["y_px"].long(), mirrored["x_px"].long()
    shown = mirrored["image"][:2][:, rows][:, :, cols].movedim(0, -1)
    torch.testing.assert_close(mirrored["targets"], shown, atol=1e-6, rtol=0)
    torch.testing.assert_close(mirrored["confidence"], shown[..., 0], atol=1e-6, rtol=0)
