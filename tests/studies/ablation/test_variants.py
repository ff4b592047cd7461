"""Variants of the ablation change their own parameters only; targets from true distances."""

from typing import get_args

import pytest
import torch

from rangefinder.config import AggregationParams, Parameters
from rangefinder.config.scoring import VariantName
from rangefinder.coordinates import PatchGrid
from rangefinder.models.student import Student
from rangefinder.models.teacher import Teacher
from rangefinder.studies.ablation.study import TrueTargets, charts_as_photos
from rangefinder.studies.ablation.variants import variants_of
from rangefinder.training.assembly import teacher_card
from rangefinder.training.frames import UnlabelledFrames
from rangefinder.training.lightning_modules import MIN_NEGENTROPY
from rangefinder.training.targets import DistillationTargets

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
        ("target_aggregation", {"student.target_aggregation"}),
        ("no_negentropy_weighting", {"student.negentropy_weighting"}),
        ("no_attenuation", {"student.attenuated_share"}),
        ("no_aggregation", {"student.aggregation_sd"}),
        ("no_composited_scenes", {"student.composited_scenes"}),
        ("on_charts", {"student.target_aggregation"}),
        ("on_truth", {"student.target_aggregation"}),
    ],
)
def test_a_variant_changes_its_parameters_only(name, changed):
    assert differences(BASE, variants_of(BASE)[name].params(BASE, seed=0)) == changed


def test_every_configurable_name_is_a_variant_of_some_method():
    modes = [
        BASE.model_copy(update={"student": BASE.student.model_copy(update=changes)})
        for changes in (
            {},
            {"sharing": "joint"},
            {
                "negentropy_weighting": False,
                "target_aggregation": AggregationParams(margin_only=False),
            },
            {"attenuated_share": 0.0, "aggregation_sd": None, "composited_scenes": 0},
        )
    ]
    assert set().union(*map(variants_of, modes)) == set(get_args(VariantName))


def test_variants_without_a_change_are_left_out():
    for name, variant in variants_of(BASE).items():
        if name not in {"all", "on_charts", "on_truth"}:
            assert variant.params(BASE, BASE.seed) != BASE
    unchanged = {
        "no_target_aggregation",
        "negentropy_weighting",
        "attenuation",
        "aggregation",
        "composited_scenes",
        f"sharing_{BASE.student.sharing}",
    }
    assert not unchanged & set(variants_of(BASE))
    for name in ("target_aggregation", "no_negentropy_weighting", "sharing_init", "no_colour"):
        changed = variants_of(BASE)[name].params(BASE, BASE.seed)
        assert name not in variants_of(changed)


def test_a_variant_takes_another_seed():
    assert differences(BASE, variants_of(BASE)["all"].params(BASE, seed=3)) == {"seed"}


def test_crops_of_all_patch_sizes_have_equally_many_patches():
    def patches(name):
        params = variants_of(BASE)[name].params(BASE, 0)
        network = Teacher(params.teacher, params.prediction.bins)
        side = params.teacher.crop_px
        return network.patch_px, PatchGrid(side, side, network.patch_px, network.stride_px).rows

    assert patches("all") == (57, 4)
    assert patches("smaller_patch") == (41, 4)
    assert patches("larger_patch") == (73, 4)


def test_the_configured_sharing_mode_is_no_variant():
    names = set(variants_of(BASE))
    assert f"sharing_{BASE.student.sharing}" not in names
    joint = BASE.model_copy(
        update={"student": BASE.student.model_copy(update={"sharing": "joint"})}
    )
    assert {"sharing_frozen"} == set(variants_of(joint)) - names


def test_configured_variants_include_the_whole_method():
    params = Parameters.model_validate({"ablation": {"variants": ["laplace"]}})
    assert set(variants_of(params)) == {"all", "laplace"}


def test_without_colour_both_networks_get_grey():
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


def test_a_laplace_prediction_is_unimodal_with_equal_slopes():
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


def test_true_targets_are_the_distances_at_the_patch_centres(captures, params):
    card = card_of(captures, params)
    photos = captures.select(role="unlabelled", split="train")
    truth = TrueTargets(captures, card)
    for index in range(len(photos)):
        packed = truth.read(photos.table["capture_id"].iloc[index])
        estimate = truth.distribution.estimate_m(truth.distribution.unpack(packed))
        expected = photos.distance_map(index)[0, 0].expand_as(estimate)
        torch.testing.assert_close(estimate, expected, rtol=0.05, atol=0)


def test_true_targets_are_uniform_where_distance_is_unknown(captures, params):
    card = card_of(captures, params)
    truth = TrueTargets(captures, card)
    name = captures.select(role="unlabelled", split="train").table["capture_id"].iloc[0]
    known = truth.captures.distance_map
    truth.captures = type("Half", (), {"distance_map": lambda _, i: half(known(i))})()
    packed = truth.read(name)
    negentropy = truth.distribution.negentropy(truth.distribution.unpack(packed))
    cols = negentropy.shape[1]
    assert float(negentropy[:, : cols // 2 - 1].max()) < 0.01
    assert float(negentropy[:, cols // 2 + 1 :].min()) > 0.3


def half(distance_m):
    distance_m = distance_m.clone()
    distance_m[:, : distance_m.shape[1] // 2] = 0
    return distance_m


def test_charts_replace_the_unlabelled_photos(captures, params):
    swapped = charts_as_photos(captures)
    photos = swapped.select(role="unlabelled", split="train")
    charts = captures.select(role="chart", split="train")
    assert set(photos.table["capture_id"]) == set(charts.table["capture_id"])
    assert len(swapped.select(role="chart", split="train")) == 0
    assert len(swapped.select(role="labelled", split="validation")) == 3
    card = card_of(captures, params)
    truth = TrueTargets(swapped, card)
    targets = DistillationTargets(truth.read, truth.distribution, None)
    frames = UnlabelledFrames(photos, targets, card.patch_px, card.stride_px, 0)
    item = frames[0]
    known = item["negentropy"] > MIN_NEGENTROPY
    estimate = truth.distribution.estimate_m(truth.distribution.unpack(item["targets"][known]))
    assert float(estimate.mean()) == pytest.approx(photos.row(0)["distance_m"], rel=0.05)
