"""Occlusion compositing of two charts: the boundary has the blur of the nearer one."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rangefinder.camera import Camera
from rangefinder.captures.manifest import Capture, write_captures
from rangefinder.config import TeacherParams
from rangefinder.coordinates import Placement
from rangefinder.optics.blur import ThinBlur, TracedBlur, blur_px
from rangefinder.training.chart_crops import ChartCrops, CropPlan
from rangefinder.training.compositing import OcclusionCompositor, blur_disc

CAMERA = Camera(width_px=160, height_px=120, pixel_pitch_um=125.0)
SIZE = 64
WHOLE, THIN = Placement(), ThinBlur(CAMERA)


def before(near_dpt, seed, placement=WHOLE, blur=THIN):
    """A white chart before a black one: the picture is the blurred alpha."""
    white, black = torch.ones(3, SIZE, SIZE), torch.zeros(3, SIZE, SIZE)
    composite = OcclusionCompositor(CAMERA.height_px, blur, TeacherParams().occluder_radius)
    return composite(white, black, near_dpt, placement, np.random.default_rng(seed))


def mixed(near_dpt, placement=WHOLE, blur=THIN):
    """Mean amount of mixed light, over many occluders."""
    found = [before(near_dpt, seed, placement, blur)[0][0] for seed in range(20)]
    return float(torch.stack([(x * (1 - x)).sum() for x in found]).mean())


@pytest.mark.parametrize("diameter_px", [0.0, 0.6, 3.0, 8.4, 23.7])
def test_a_blur_disc_has_sum_1_and_the_variance_of_its_diameter(diameter_px):
    disc = blur_disc(diameter_px)
    place = np.arange(disc.shape[0]) - disc.shape[0] // 2
    assert disc.sum() == pytest.approx(1, abs=1e-5)
    variance = float((disc * place[None] ** 2).sum())
    assert variance == pytest.approx(diameter_px**2 / 16, rel=0.1, abs=0.1)  # of a uniform disc


@pytest.mark.parametrize("seed", range(8))
def test_a_boundary_is_as_wide_as_the_blur_of_the_nearer_chart(seed):
    """Light mixes within the blur's radius of the outline, and nowhere else."""
    near_dpt = 1 / 0.8
    image, front = before(near_dpt, seed)
    mixed = (image[0] > 0.01) & (image[0] < 0.99)
    radius = float(blur_px(CAMERA, 1 / near_dpt)) / 2
    edges = torch.nn.functional.max_pool2d(front[None], 3, 1, 1)[0] != front
    reach = 2 * int(np.ceil(radius + 1)) + 1
    close = torch.nn.functional.max_pool2d(edges.float()[None], reach, 1, reach // 2)[0] > 0
    inner = slice(reach, SIZE - reach)  # the outline goes on beyond the crop
    assert not bool((mixed & ~close)[inner, inner].any())
    assert 0 < float(front.mean()) < 1


def test_blur_is_smaller_in_a_binned_photo_and_none_at_the_focus():
    binned = Placement(scale=2.0)
    assert mixed(1 / CAMERA.focus_distance_m) < mixed(1.25, binned) < mixed(1.25)


def test_a_boundary_is_blurred_as_the_lens_does_at_its_distance_and_location():
    """A lens that blurs more to the right, and nearer objects more."""
    discs_px = np.array([[[1.0, 5.0]] * 2, [[3.0, 15.0]] * 2])
    nodes = (np.array([0.5, 1.25]), np.array([0.0, 120.0]), np.array([0.0, 160.0]))
    blur = TracedBlur(discs_px, *nodes)
    left, right = Placement((-60.0, 20.0)), Placement((160.0, 20.0))
    assert mixed(0.5, left, blur) < mixed(1.25, left, blur) < mixed(0.5, right, blur)
    assert mixed(0.5, right, blur) < mixed(1.25, right, blur)
    assert mixed(1.25, Placement((0.0, 0.0)), blur) > mixed(1.25, left, blur)


def charts(folder, distances_m):
    """Charts whose brightness is proportional to their inverse distance."""

    def chart(index, distance_m):
        image = torch.full((3, 120, 160), 0.5 / distance_m)
        return Capture(image, "chart", f"s{index}", "train", distance_m=distance_m)

    return write_captures(folder / "set", CAMERA, [chart(*one) for one in enumerate(distances_m)])


def crops(captures, share):
    params = TeacherParams(batch_size=32, composited_share=share, photometric_jitter=False)
    plan = CropPlan(params, 0, 61, steps=4)
    return ChartCrops(captures, plan, patch_px=9, stride_px=4)


def test_the_label_of_a_patch_is_the_chart_in_front_at_its_centre(tmp_path):
    batch = crops(charts(tmp_path, (0.8, 2.0, 4.0)), 1.0)[0]
    shown = 2 * batch["image"][:, 0, 4:57:4, 4:57:4]  # brightness is inverse distance
    labels = batch["inverse_dpt"]
    two = (labels != labels[:, :1, :1]).flatten(1).any(1)
    assert 0.3 < float(two.float().mean()) < 1
    other = torch.where(
        labels == labels.amax((1, 2), True), labels.amin((1, 2), True), labels.amax((1, 2), True)
    )
    closer = (shown - labels).abs() <= (shown - other).abs()
    assert float(closer[two].float().mean()) > 0.9
    pure = (shown - labels).abs() < 0.01
    assert float(pure[two].float().mean()) > 0.4
    assert bool((labels[~two] > 0).all())


def test_a_crop_has_the_blur_of_its_sensor_location(tmp_path):
    """Only the right half of this lens blurs."""
    discs_px = np.array([[[0.5, 0.5, 25.0, 25.0]] * 2] * 2)
    nodes = (np.array([0.2, 1.5]), np.array([0.0, 120.0]), np.array([0.0, 79.0, 81.0, 160.0]))
    camera = CAMERA.model_copy(update={"symmetric": False})  # so that crops stay on their side
    whole = replace(charts(tmp_path, (0.8, 2.0)), camera=camera, blur=TracedBlur(discs_px, *nodes))
    batch = crops(whole, 1.0)[0]
    light = batch["image"][:, 0]
    mixed = ((light > 0.26) & (light < 0.61)).float().mean((1, 2))  # charts have 0.25 and 0.625
    x = batch["location"][:, 0]
    left, right = x.amax((1, 2)) < 0, x.amin((1, 2)) > 0
    assert left.any()
    assert right.any()
    assert mixed[right].mean() > 3 * mixed[left].mean()


def test_without_a_share_charts_are_not_composited(tmp_path):
    batch = crops(charts(tmp_path, (0.8, 2.0)), 0.0)[0]
    labels = batch["inverse_dpt"]
    assert bool((labels == labels[:, :1, :1]).all())
    assert float(batch["image"].flatten(1).std(1).max()) < 1e-5


def test_a_batch_is_reproducible(tmp_path):
    captures = charts(tmp_path, (0.8, 2.0, 4.0))
    one, again, next_one = crops(captures, 0.5)[1], crops(captures, 0.5)[1], crops(captures, 0.5)[2]
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["image"], next_one["image"])


def test_only_charts_of_one_placement_are_composited(tmp_path):
    captures = charts(tmp_path / "a", (0.8, 2.0))
    assert crops(captures, 0.5).others == [[0, 1], [0, 1]]
    moved = [
        Capture(
            torch.full((3, 100, 100), 0.5 / distance_m),
            "chart",
            f"s{index}",
            "train",
            distance_m=distance_m,
            placement=Placement((10.0 * index, 0.0)),
        )
        for index, distance_m in enumerate((0.8, 2.0))
    ]
    assert crops(write_captures(tmp_path / "b", CAMERA, moved), 0.5).others == [[0], [1]]


def test_a_labelled_capture_is_not_composited(tmp_path):
    image, distance_m = torch.rand(3, 120, 160), torch.full((120, 160), 2.0)
    room = Capture(image, "labelled", "room", "train", distance_map=distance_m)
    captures = write_captures(tmp_path / "set", CAMERA, [room])
    assert crops(captures, 1.0).others == [[]]
    assert bool((crops(captures, 1.0)[0]["inverse_dpt"] == 0.5).all())
