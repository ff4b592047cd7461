"""The teacher: a patch of the photo and its place on the sensor -> distribution over distance.

Valid convolutions only and nothing that looks beyond the patch, so one pass over a whole image is
the same as one pass per patch.
"""

from __future__ import annotations

import itertools
from typing import cast

from torch import Tensor, nn

from rangefinder.config import TeacherParams
from rangefinder.models.energies import COMPARED, PatchEnergies
from rangefinder.models.heads import build_head
from rangefinder.models.layers import ConvNorm, LocationModulation, Mix
from rangefinder.models.stem import Stem


class Teacher(nn.Module):
    """Exactly dense patch network.

    Args:
        params: Widths and depth.
        bins: Bins of the predictive distribution.
    """

    def __init__(self, params: TeacherParams, bins: int) -> None:
        super().__init__()
        self.params = params
        self.stem = Stem(params)
        widths = [self.stem.channels] + [params.channels] * (params.blocks - params.stem_blocks)
        self.trunk = nn.Sequential(*(ConvNorm(a, b) for a, b in itertools.pairwise(widths)))
        self.energies = PatchEnergies(2 * params.blocks - 1) if params.filters else None
        self.mix = Mix(widths[-1] + COMPARED * params.filters, params.mixed)
        self.modulation = LocationModulation(params.mixed) if params.location else None
        self.decide = ConvNorm(params.mixed, params.mixed, kernel=1)
        self.head = build_head(params, params.mixed, bins)

    @property
    def stride_px(self) -> int:
        """Distance of neighbouring predictions in a dense pass [px]."""
        return Stem.stride_px

    @property
    def patch_px(self) -> int:
        """Side of the patch one prediction sees [px]."""
        return Stem.strided_px + 2 * Stem.stride_px * self.params.blocks

    def forward(self, image: Tensor, location: Tensor) -> Tensor:
        """Predict.

        Args:
            image: `[N, 3, H, W]` linear light; a patch when H = W = `patch_px`.
            location: `[N, 2, rows, cols]` sensor place of each patch centre.

        Returns:
            `[N, bins, rows, cols]` logits.
        """
        features, products = self.stem(image)
        compared = self.energies(products) if self.energies is not None else []
        features = self.mix([self.trunk(features), *compared])
        if self.modulation is not None:
            features = self.modulation(features, location)
        return cast("Tensor", self.head(self.decide(features)))
