"""The stem: its filter bank compares the colours, and its cells sit on the lattice."""

import pytest
import torch
from torch.nn import functional as F

from rangefinder.models.blocks import log_light
from rangefinder.models.stem import FEATURES_PER_FILTER, FilterBank
from rangefinder.models.student import Student

from .networks import small_teacher

FILTERS = 8


def filter_features(image):
    """Means of energy, two ratios and three coherences, `[FEATURES_PER_FILTER, FILTERS]`."""
    torch.manual_seed(3)
    filters = FilterBank(FILTERS)
    for weight in filters.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    with torch.inference_mode():
        means = filters(image).each(lambda x: x.mean(dim=(2, 3), keepdim=True))
        return torch.cat(means.features(), dim=1).reshape(FEATURES_PER_FILTER, FILTERS)


def picture(blurred=(), independent=False):
    """Grey noise in 0.2..0.8, colours in `blurred` blurred; or independent noise in each colour."""
    noise = torch.rand(
        1, 3 if independent else 1, 96, 96, generator=torch.Generator().manual_seed(4)
    )
    image = (0.2 + 0.6 * noise).repeat(1, 3 // noise.shape[1], 1, 1)
    for colour in blurred:
        image[:, colour] = F.avg_pool2d(image[:, colour], 3, 1, 1, count_include_pad=False)
    return image


def test_the_energy_ratio_of_the_sharper_colour_is_positive():
    red, green, blue = 0, 1, 2
    _, red_ratio, blue_ratio, *_ = filter_features(picture(blurred=(red, green)))
    assert (blue_ratio > 0.5).all()
    assert red_ratio.abs().max() < 1e-4
    _, red_ratio, blue_ratio, *_ = filter_features(picture(blurred=(blue, green)))
    assert (red_ratio > 0.5).all()
    assert blue_ratio.abs().max() < 1e-4


def test_energies_hardly_depend_on_exposure_and_white_balance():
    balance = torch.tensor([0.9, 0.6, 0.8])[:, None, None]
    plain, tinted = filter_features(picture()), filter_features(picture() * balance)
    assert (plain - tinted).abs().max() < 0.1


@pytest.mark.parametrize(("independent", "low", "high"), [(False, 0.95, 1.0), (True, -0.3, 0.3)])
def test_coherence_is_high_only_if_all_colours_have_the_same_texture(independent, low, high):
    coherences = filter_features(picture(independent=independent))[3:]
    assert low <= coherences.min()
    assert coherences.max() <= high


def test_a_blank_picture_has_finite_energies():
    assert filter_features(torch.full((1, 3, 48, 48), 0.5)).isfinite().all()


def test_the_filter_bank_hardly_depends_on_exposure_and_white_balance():
    first, image = small_teacher().stem.filters.first, 0.5 + 0.5 * torch.rand(1, 3, 72, 96)
    balance = torch.tensor([0.9, 0.6, 0.8])[:, None, None]
    with torch.inference_mode():
        plain, tinted = (first(log_light(x)) for x in (image, image * balance))
        assert (plain - tinted).abs().max() < 0.02 * plain.abs().max()


def tensors(output):
    return [output.features, *output.moments]


@pytest.mark.parametrize("stem_blocks", [0, 1, 2])
def test_the_stem_has_equal_features_in_teacher_and_student(stem_blocks):
    """Away from the edges, features of the whole photo are those of patches."""
    stem, image = small_teacher(stem_blocks=stem_blocks).stem, torch.rand(1, 3, 72, 96)
    with torch.inference_mode():
        valid, centred = tensors(stem(image)), tensors(stem.centred(image))
    for of_patches, of_photo in zip(valid, centred, strict=True):
        assert of_photo.shape[2:] == (18, 24)
        margin = (of_photo.shape[2] - of_patches.shape[2]) // 2
        inside = of_photo[:, :, margin:-margin, margin:-margin]
        torch.testing.assert_close(inside, of_patches, atol=1e-5, rtol=0)


@pytest.mark.parametrize("stem_blocks", [0, 1, 2])
def test_the_receptive_field_of_a_cell_is_centred_on_its_lattice_position(stem_blocks):
    image = torch.rand(1, 3, 72, 96, requires_grad=True)
    lattice, stem = Student.lattice, small_teacher(stem_blocks=stem_blocks).stem
    for found in tensors(stem.centred(image)):
        (change,) = torch.autograd.grad(found[:, :, 8, 10].abs().sum(), image, retain_graph=True)
        rows, cols = change.abs().sum((0, 1)).nonzero(as_tuple=True)
        seen = torch.stack([rows.min() + rows.max(), cols.min() + cols.max()]) / 2 + 0.5
        assert seen.tolist() == [lattice.first_px + lattice.stride_px * i for i in (8, 10)]
