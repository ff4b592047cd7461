"""Variants change what they say they change, and nothing else."""

from typing import get_args

import pytest
import torch

from rangefinder.ablation_config import VariantName
from rangefinder.config import Parameters, PoolingParams
from rangefinder.location import PatchGrid
from rangefinder.models.student import Student
from rangefinder.models.teacher import Teacher
from rangefinder.training.data import UnlabelledFrames
from rangefinder.training.fit import teacher_card
from rangefinder.training.modules import LEAST_CONFIDENCE
from rangefinder.training.pooling import Lessons
from rangefinder.training.truth import Truth, charts_as_photos
from rangefinder.training.variants import variants_of

BASE = Parameters()


def differences(one: Parameters, other: Parameters) -> set[str]:
    a, b = one.model_dump(), other.model_dump()
    return {
        f"{section}.{key}" if isinstance(a[section], dict) else section
        for section in a
        if a[section] != b[section]
        for key in (a[section] if isinstance(a[section], dict) else [""])
        if not isinstance(a[section], dict) or a[section][key] != b[section][key]
    }


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("all", set()),
        ("no_location", {"teacher.location", "student.location"}),
        ("no_colour", {"teacher.colour"}),
        ("laplace", {"teacher.form"}),
        ("smaller_patch", {"teacher.blocks", "teacher.crop_px"}),
        ("larger_patch", {"teacher.blocks", "teacher.crop_px"}),
        ("sharing_init", {"student.sharing"}),
        ("pooling", {"student.pooling"}),
        ("no_weighting", {"student.confidence_weighting"}),
        ("no_fading", {"student.faded_share"}),
        ("no_agreement", {"student.agreement_sd"}),
        ("no_laid_charts", {"student.laid_charts"}),
        ("on_charts", {"student.pooling"}),
        ("on_truth", {"student.pooling"}),
    ],
)
def test_a_variant_changes_what_it_says(name, changed):
    assert differences(BASE, variants_of(BASE)[name].params(BASE, seed=0)) == changed


def test_every_name_that_may_be_asked_for_is_a_variant():
    modes = [
        BASE.model_copy(update={"student": BASE.student.model_copy(update=changes)})
        for changes in (
            {},
            {"sharing": "joint"},
            {"confidence_weighting": False, "pooling": PoolingParams(edges_only=False)},
            {"faded_share": 0.0, "agreement_sd": None, "laid_charts": 0},
        )
    ]
    assert set().union(*map(variants_of, modes)) == set(get_args(VariantName))


def test_what_would_change_nothing_is_left_out():
    for name, variant in variants_of(BASE).items():
        if name not in {"all", "on_charts", "on_truth"}:
            assert variant.params(BASE, BASE.seed) != BASE
    own = {
        "no_pooling",
        "weighting",
        "fading",
        "agreement",
        "laid_charts",
        f"sharing_{BASE.student.sharing}",
    }
    assert not own & set(variants_of(BASE))
    for name in ("pooling", "no_weighting", "sharing_init", "no_colour"):
        changed = variants_of(BASE)[name].params(BASE, BASE.seed)
        assert name not in variants_of(changed)


def test_a_variant_takes_another_seed():
    assert differences(BASE, variants_of(BASE)["all"].params(BASE, seed=3)) == {"seed"}


def test_crops_hold_as_many_patches_whatever_the_patch():
    def patches(name):
        params = variants_of(BASE)[name].params(BASE, 0)
        network = Teacher(params.teacher, params.prediction.bins)
        side = params.teacher.crop_px
        return network.patch_px, PatchGrid(side, side, network.patch_px, network.stride_px).rows

    assert patches("all") == (57, 4)
    assert patches("smaller_patch") == (41, 4)
    assert patches("larger_patch") == (73, 4)


def test_the_runs_own_way_of_sharing_is_no_variant():
    names = set(variants_of(BASE))
    assert f"sharing_{BASE.student.sharing}" not in names
    joint = BASE.model_copy(
        update={"student": BASE.student.model_copy(update={"sharing": "joint"})}
    )
    assert {"sharing_frozen"} == set(variants_of(joint)) - names


def test_wanted_variants_always_come_with_the_whole_method():
    params = Parameters.model_validate({"ablation": {"variants": ["laplace"]}})
    assert set(variants_of(params)) == {"all", "laplace"}


def test_without_colour_both_networks_see_grey():
    options = BASE.teacher.model_copy(update={"colour": False})
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 96, 96, generator=generator)
    grey = image.mean(1, keepdim=True).expand_as(image)
    for network, place in (
        (Teacher(options, 48).eval(), torch.zeros(1, 2, 10, 10)),
        (Student(BASE.student, options, 48).eval(), torch.zeros(1, 2, 96, 96)),
    ):
        torch.testing.assert_close(network(image, place), network(grey, place))
        network.stem.colour = True
        assert not torch.allclose(network(image, place), network(grey, place), atol=1e-3)


def test_a_laplace_prediction_has_one_peak_and_falls_off_evenly():
    options = BASE.teacher.model_copy(update={"form": "laplace"})
    logits = Teacher(options, 48).eval()(torch.rand(1, 3, 97, 97), torch.zeros(1, 2, 11, 11))
    rise = logits.diff(dim=1)
    turns = (rise[:, 1:].sign() != rise[:, :-1].sign()).sum(1)
    assert int(turns.max()) <= 2  # up, perhaps one bin across the peak, down
    steps = rise.abs()
    outer = steps[:, [0, -1]]
    torch.testing.assert_close(outer.amax(1), steps.amax(1))


def card_of(captures, params):
    network = Teacher(params.teacher, params.prediction.bins)
    return teacher_card(captures, network, params)


def test_truth_stands_where_the_teachers_answers_would(captures, params):
    card = card_of(captures, params)
    photos = captures.select(role="unlabelled", split="train")
    truth = Truth(captures, card)
    for index in range(len(photos)):
        packed = truth.read(photos.table["capture_id"].iloc[index])
        estimate = truth.prediction.estimate_m(truth.prediction.unpack(packed))
        expected = photos.distance_map(index)[0, 0].expand_as(estimate)
        torch.testing.assert_close(estimate, expected, rtol=0.05, atol=0)


def test_what_nobody_knows_counts_nothing(captures, params):
    card = card_of(captures, params)
    truth = Truth(captures, card)
    name = captures.select(role="unlabelled", split="train").table["capture_id"].iloc[0]
    known = truth.captures.distance_map
    truth.captures = type("Half", (), {"distance_map": lambda _, i: half(known(i))})()
    packed = truth.read(name)
    information = truth.prediction.information(truth.prediction.unpack(packed))
    cols = information.shape[1]
    assert float(information[:, : cols // 2 - 1].max()) < 0.01
    assert float(information[:, cols // 2 + 1 :].min()) > 0.3


def half(distance_m):
    distance_m = distance_m.clone()
    distance_m[:, : distance_m.shape[1] // 2] = 0
    return distance_m


def test_charts_take_the_photos_place(captures, params):
    swapped = charts_as_photos(captures)
    photos = swapped.select(role="unlabelled", split="train")
    charts = captures.select(role="chart", split="train")
    assert set(photos.table["capture_id"]) == set(charts.table["capture_id"])
    assert len(swapped.select(role="chart", split="train")) == 0
    assert len(swapped.select(role="labelled", split="validation")) == 3
    card = card_of(captures, params)
    truth = Truth(swapped, card)
    lessons = Lessons(truth.read, truth.prediction, None)
    frames = UnlabelledFrames(photos, lessons, card.patch_px, card.stride_px, 0)
    item = frames[0]
    known = item["confidence"] > LEAST_CONFIDENCE
    estimate = truth.prediction.estimate_m(truth.prediction.unpack(item["targets"][known]))
    assert float(estimate.mean()) == pytest.approx(photos.row(0)["distance_m"], rel=0.05)
