"""The teacher: a patch of the photo and its place on the sensor -> distribution over distance.

Valid convolutions only and nothing that looks beyond the patch, so one pass over a whole image is
the same as one pass per patch.
"""

from __future__ import annotations

import itertools
from typing import cast

from torch import Tensor, nn

from rangefinder.config import TeacherParams
from rangefinder.models.layers import ConvNorm, LocationModulation, Stem

STEM_PATCH_PX = 9  # what the two strided convolutions see


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
        self.modulation = LocationModulation(widths[-1]) if params.location else None
        self.mix = ConvNorm(widths[-1], params.channels, kernel=1)
        self.head = nn.Conv2d(params.channels, bins, 1)

    @property
    def stride_px(self) -> int:
        """Distance of neighbouring predictions in a dense pass [px]."""
        return Stem.stride_px

    @property
    def patch_px(self) -> int:
        """Side of the patch one prediction sees [px]."""
        return STEM_PATCH_PX + 2 * Stem.stride_px * self.params.blocks

    def forward(self, image: Tensor, location: Tensor) -> Tensor:
        """Predict.

        Args:
            image: `[N, 3, H, W]` linear light; a patch when H = W = `patch_px`.
            location: `[N, 2, rows, cols]` sensor place of each patch centre.

        Returns:
            `[N, bins, rows, cols]` logits.
        """
        features = self.trunk(self.stem(image))
        if self.modulation is not None:
            features = self.modulation(features, location)
        return cast("Tensor", self.head(self.mix(features)))
