"""What training draws: mirrored photos keep picture, places and targets together."""

import pytest
import torch

from rangefinder.camera import Camera
from rangefinder.captures.manifest import Capture, write_captures
from rangefinder.location import PatchGrid, Placement, grid_location, location_map
from rangefinder.training.charts import ChartCrops, CropPlan, learned_inverse_dpt
from rangefinder.training.data import UnlabelledFrames, mirror

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
    every = torch.from_numpy(location_map(CAMERA, Placement(), *GRID.covered_px))
    item = {"image": torch.cat([every, every[:1]]), "location": every}
    item |= {"targets": here.movedim(0, -1), "confidence": here[0]}
    mirrored = mirror(item, Coin(*falls))
    shown = mirrored["image"][:2][:, y.long()][:, :, x.long()].movedim(0, -1)
    torch.testing.assert_close(mirrored["targets"], shown, atol=1e-6, rtol=0)
    torch.testing.assert_close(mirrored["confidence"], shown[..., 0], atol=1e-6, rtol=0)


def ramp_set(folder):
    """A labelled capture whose distance grows from left to right, its first rows unknown."""
    distance_m = torch.linspace(1.0, 2.0, 64).expand(48, 64).clone()
    distance_m[:16] = 0
    image = (1 / distance_m).nan_to_num(posinf=0).expand(3, 48, 64) / 2
    capture = Capture(image, "labelled", "room", "train", distance_map=distance_m)
    return write_captures(folder / "set", CAMERA, [capture])


@pytest.mark.parametrize("crop_px", [21, 24])
def test_a_labelled_capture_teaches_each_patch_the_distance_at_its_centre(tmp_path, crop_px):
    plan = CropPlan(crop_px, batch_size=16, steps=1, seed=0)
    batch = ChartCrops(ramp_set(tmp_path), plan, patch_px=9, stride_px=4)[0]
    shown = 2 * batch["image"][:, 0, 4:17:4, 4:17:4]  # patch centres show 1 / distance
    learned = batch["inverse_dpt"]
    assert learned.shape == (16, 4, 4)
    known = learned > 0
    assert bool(known.any())
    torch.testing.assert_close(learned[known], shown[known], atol=0.02, rtol=0)
    assert bool((learned[shown == 0] == 0).all())


def test_labels_close_to_a_step_in_distance_are_not_learned(tmp_path):
    distance_m = torch.ones(48, 64)
    distance_m[:, 32:] = 2.0
    capture = Capture(torch.rand(3, 48, 64), "labelled", "room", "train", distance_map=distance_m)
    captures = write_captures(tmp_path / "set", CAMERA, [capture])
    learned = learned_inverse_dpt(captures, 0, CropPlan(21, 1, 1, 0, 0.05, 6))
    assert bool((learned[:, 25:39] == 0).all())
    assert bool((learned[:, :25] == 1).all())
    assert bool((learned[:, 39:] == 0.5).all())


class Lattice:
    """Targets that say where on the sensor they are about, as a teacher's cache is laid out."""

    def __init__(self, captures) -> None:
        self.at = {
            name: captures.placement(i) for i, name in enumerate(captures.table["capture_id"])
        }

    def __call__(self, capture_id, image, grid):
        here = torch.from_numpy(grid_location(CAMERA, self.at[capture_id], grid.to_edges()))
        return here.movedim(0, -1), here[0]


@pytest.fixture(scope="module", params=[True, False], ids=["symmetric", "not_symmetric"])
def places(request, tmp_path_factory):
    """Photos whose red and green tell where each pixel is on the sensor."""
    camera = Camera(width_px=64, height_px=48, symmetric=request.param)

    def photo(index):
        placement = Placement((float(index), 0.0))
        here = torch.from_numpy(location_map(CAMERA, placement, 48, 64)) / 4 + 0.5
        image = torch.cat([here, here[:1]])
        return Capture(image, "unlabelled", f"s{index}", "train", placement=placement)

    folder = tmp_path_factory.mktemp("places") / "set"
    return write_captures(folder, camera, map(photo, range(4)))


@pytest.mark.parametrize("crop_px", [None, 25, 30, 48, 500])
def test_image_places_and_targets_are_cut_together(places, crop_px):
    frames = UnlabelledFrames(places, Lattice(places), GRID.patch_px, GRID.stride_px, 0, crop_px)
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


def test_crops_reach_all_of_a_photo(places):
    frames = UnlabelledFrames(places, Lattice(places), GRID.patch_px, GRID.stride_px, 0, 33)
    seen = set()
    for frames.epoch in range(200):
        seen |= {tuple(place) for place in frames[0]["targets"].flatten(0, 1).tolist()}
    every = Lattice(places)(places.table["capture_id"][0], None, GRID)[0].flatten(0, 1).tolist()
    assert seen == {tuple(place) for place in every}


def test_another_light_changes_colours_and_brightness_but_no_distance(tmp_path):
    plan = CropPlan(crop_px=21, batch_size=16, steps=1, seed=0, relit=True)
    batch = ChartCrops(ramp_set(tmp_path), plan, patch_px=9, stride_px=4)[0]
    gains = []
    for image, learned in zip(batch["image"], batch["inverse_dpt"], strict=True):
        known = learned > 0
        gain = 2 * image[:, 4:17:4, 4:17:4][:, known] / learned[known]
        torch.testing.assert_close(gain, gain[:, :1].expand_as(gain), rtol=0.02, atol=0)
        gains.append(gain[:, 0])
    spread = torch.stack(gains).log().std(dim=0)
    assert bool((spread > 0.05).all())
