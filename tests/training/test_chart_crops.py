"""Training crops of the teacher: which captures are drawn, and the label of each patch."""

import numpy as np
import pytest
import torch

from rangefinder.camera import Camera
from rangefinder.captures.manifest import Capture, write_captures
from rangefinder.config import TeacherParams
from rangefinder.training.chart_crops import ChartCrops, CropPlan, LabelShiftSampler, labels_dpt

CAMERA = Camera(width_px=64, height_px=48)
PLAIN = TeacherParams(composited_share=0.0, photometric_jitter=False, batch_size=16)
CHARTS_DPT = np.linspace(0.2, 1.4, 121)
PHOTO = torch.zeros(60, 80)  # half of it unknown, half at 2 to 2.5 m
PHOTO[30:] = torch.linspace(0.4, 0.5, 80)
KNOWN = [*torch.from_numpy(CHARTS_DPT).float(), PHOTO]
CHARTS = list(range(len(CHARTS_DPT)))


def test_without_a_share_captures_are_drawn_uniformly():
    sampler, rng = LabelShiftSampler(KNOWN, None), np.random.default_rng(0)
    drawn = np.bincount([sampler.capture(rng) for _ in range(12_200)], minlength=122)
    assert drawn.min() > 50
    assert drawn.max() < 150


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_photos_have_their_share_and_charts_the_distances_of_photos(share):
    sampler, rng = LabelShiftSampler(KNOWN, share), np.random.default_rng(0)
    drawn = np.array([sampler.capture(rng) for _ in range(2000)])
    assert (drawn == 121).mean() == pytest.approx(share, abs=0.03)
    if share < 1:
        charts = CHARTS_DPT[drawn[drawn < 121]]
        assert charts.min() > 0.35
        assert charts.max() < 0.55
        assert charts.mean() == pytest.approx(0.45, abs=0.01)
        assert len(np.unique(charts)) > 10


def test_a_photo_without_labels_is_never_drawn():
    sampler, rng = LabelShiftSampler([*KNOWN, torch.zeros(9, 9)], 0.5), np.random.default_rng(0)
    assert 122 not in {sampler.capture(rng) for _ in range(500)}


def test_the_second_chart_of_a_pair_is_drawn_like_the_first_among_those_given():
    sampler, rng = LabelShiftSampler(KNOWN, 0.5), np.random.default_rng(0)
    near = [chart for chart in CHARTS if CHARTS_DPT[chart] > 1]
    assert CHARTS_DPT[[sampler.chart(CHARTS, rng) for _ in range(200)]].max() < 0.55
    assert set(near[:8]) == {sampler.chart(near, rng) for _ in range(200)}


@pytest.mark.parametrize("known", [KNOWN[:-1], [PHOTO, PHOTO], [*KNOWN[:2], torch.zeros(9, 9)]])
def test_with_photos_or_charts_alone_captures_are_drawn_uniformly(known):
    sampler, rng = LabelShiftSampler(known, 0.5), np.random.default_rng(0)
    drawn = np.bincount([sampler.capture(rng) for _ in range(100 * len(known))])
    assert drawn == pytest.approx(100, abs=45)


def ramp_set(folder):
    """A labelled capture whose distance grows from left to right; its first rows are unknown."""
    distance_m = torch.linspace(1.0, 2.0, 64).expand(48, 64).clone()
    distance_m[:16] = 0
    image = (1 / distance_m).nan_to_num(posinf=0).expand(3, 48, 64) / 2
    capture = Capture(image, "labelled", "room", "train", distance_map=distance_m)
    return write_captures(folder / "set", CAMERA, [capture])


@pytest.mark.parametrize("crop_px", [21, 24])
def test_the_label_of_a_patch_is_the_distance_at_its_centre(tmp_path, crop_px):
    plan = CropPlan(PLAIN, 0, crop_px, steps=1)
    batch = ChartCrops(ramp_set(tmp_path), plan, patch_px=9, stride_px=4)[0]
    shown = 2 * batch["image"][:, 0, 4:17:4, 4:17:4]  # patch centres show 1 / distance
    labels = batch["inverse_dpt"]
    assert labels.shape == (16, 4, 4)
    known = labels > 0
    assert bool(known.any())
    torch.testing.assert_close(labels[known], shown[known], atol=0.02, rtol=0)
    assert bool((labels[shown == 0] == 0).all())


def test_patches_near_a_depth_discontinuity_have_no_label(tmp_path):
    distance_m = torch.ones(48, 64)
    distance_m[:, 32:] = 2.0
    capture = Capture(torch.rand(3, 48, 64), "labelled", "room", "train", distance_map=distance_m)
    captures = write_captures(tmp_path / "set", CAMERA, [capture])
    labels = labels_dpt(
        captures, 0, CropPlan(TeacherParams(edge_step=0.05, edge_band_px=6), 0, 21, steps=1)
    )
    assert bool((labels[:, 25:39] == 0).all())
    assert bool((labels[:, :25] == 1).all())
    assert bool((labels[:, 39:] == 0.5).all())


def test_photometric_jitter_changes_exposure_and_white_balance_but_no_label(tmp_path):
    jittered = PLAIN.model_copy(update={"photometric_jitter": True})
    plan = CropPlan(jittered, 0, 21, steps=1)
    batch = ChartCrops(ramp_set(tmp_path), plan, patch_px=9, stride_px=4)[0]
    gains = []
    for image, labels in zip(batch["image"], batch["inverse_dpt"], strict=True):
        known = labels > 0
        gain = 2 * image[:, 4:17:4, 4:17:4][:, known] / labels[known]
        torch.testing.assert_close(gain, gain[:, :1].expand_as(gain), rtol=0.02, atol=0)
        gains.append(gain[:, 0])
    spread = torch.stack(gains).log().std(dim=0)
    assert bool((spread > 0.05).all())
