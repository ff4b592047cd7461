"""Energies compare the colours: which is sharper, by how much, and whether they can be compared."""

import pytest
import torch
from torch.nn import functional as F

from rangefinder.models.energies import COMPARED, ColourFilters

FILTERS = 8


def compared(image):
    """Mean of level, two ratios and three coherences over an image, `[COMPARED, FILTERS]`."""
    torch.manual_seed(3)
    filters = ColourFilters(FILTERS)
    for weight in filters.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    with torch.inference_mode():
        means = filters(image).each(lambda x: x.mean(dim=(2, 3), keepdim=True))
        return torch.cat(means.compared(), dim=1).reshape(COMPARED, FILTERS)


def picture(blurred=(), independent=False):
    """Grey noise in 0.2..0.8, colours in `blurred` blurred; or noise of its own in each colour."""
    noise = torch.rand(
        1, 3 if independent else 1, 96, 96, generator=torch.Generator().manual_seed(4)
    )
    image = (0.2 + 0.6 * noise).repeat(1, 3 // noise.shape[1], 1, 1)
    for colour in blurred:
        image[:, colour] = F.avg_pool2d(image[:, colour], 3, 1, 1, count_include_pad=False)
    return image


def test_the_sharper_colour_shows_in_the_sign_of_its_ratio():
    red, green, blue = 0, 1, 2
    _, red_ratio, blue_ratio, *_ = compared(picture(blurred=(red, green)))
    assert (blue_ratio > 0.5).all()
    assert red_ratio.abs().max() < 1e-4
    _, red_ratio, blue_ratio, *_ = compared(picture(blurred=(blue, green)))
    assert (red_ratio > 0.5).all()
    assert blue_ratio.abs().max() < 1e-4


def test_exposure_and_white_balance_change_no_energy_by_much():
    balance = torch.tensor([0.9, 0.6, 0.8])[:, None, None]
    plain, tinted = compared(picture()), compared(picture() * balance)
    assert (plain - tinted).abs().max() < 0.1


@pytest.mark.parametrize(("independent", "low", "high"), [(False, 0.95, 1.0), (True, -0.3, 0.3)])
def test_coherence_tells_whether_colours_show_the_same(independent, low, high):
    coherences = compared(picture(independent=independent))[3:]
    assert low <= coherences.min()
    assert coherences.max() <= high


def test_a_blank_picture_has_finite_energies():
    assert compared(torch.full((1, 3, 48, 48), 0.5)).isfinite().all()
