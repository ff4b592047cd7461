"""The teacher: a patch of the photo and its sensor location -> distribution over distance.

Valid convolutions only, no padding and no per-patch normalisation, so one pass over a whole image
equals one pass per patch. A custom patch network may take its place.
"""

from __future__ import annotations

import hashlib
import inspect
import itertools
import pkgutil
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from rangefinder.config import TeacherParams
from rangefinder.errors import ConfigError
from rangefinder.models.blocks import ConvNorm, LocationFiLM, Projection, build_head
from rangefinder.models.size import sized
from rangefinder.models.stem import FEATURES_PER_FILTER, PatchMoments, Stem


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
        self.patch_moments = PatchMoments(2 * params.blocks - 1) if params.filters else None
        self.projection = Projection(
            widths[-1] + FEATURES_PER_FILTER * params.filters, params.projection_channels
        )
        self.modulation = LocationFiLM(params.projection_channels) if params.location else None
        self.hidden = ConvNorm(params.projection_channels, params.projection_channels, kernel=1)
        self.head = build_head(params, params.projection_channels, bins)

    @property
    def stride_px(self) -> int:
        """Distance of neighbouring predictions in a dense pass [px]."""
        return Stem.stride_px

    @property
    def patch_px(self) -> int:
        """Side of the patch, which is the receptive field [px]."""
        return Stem.strided_px + 2 * Stem.stride_px * self.params.blocks

    def forward(self, image: Tensor, location: Tensor) -> Tensor:
        """Predict.

        Args:
            image: `[N, 3, H, W]` linear light; a patch when H = W = `patch_px`.
            location: `[N, 2, rows, cols]` sensor location of each patch centre.

        Returns:
            `[N, bins, rows, cols]` logits.
        """
        features, moments = self.stem(image)
        pooled = self.patch_moments(moments) if self.patch_moments is not None else []
        features = self.projection([self.trunk(features), *pooled])
        if self.modulation is not None:
            features = self.modulation(features, location)
        return cast("Tensor", self.head(self.hidden(features)))


CONTRACT = (
    "a torch.nn.Module class, made by Class(bins), with attributes patch_px and stride_px, whose "
    "forward takes patches [N, 3, patch_px, patch_px] and locations [N, 2, 1, 1] and returns "
    "logits [N, bins] or [N, bins, 1, 1]"
)
PATCHES_PER_BATCH = 512  # in validation


class CustomTeacher(nn.Module):
    """A user's patch network, imported by name; it needs to predict single patches only.

    Args:
        path: "package.module:Class" of a network, see `CONTRACT`.
        bins: Bins of the predictive distribution.

    Raises:
        ConfigError: If there is no such class, or it is not what it should be.
    """

    def __init__(self, path: str, bins: int) -> None:
        super().__init__()
        self.network = _imported(path)(bins)
        sizes = [getattr(self.network, name, None) for name in ("patch_px", "stride_px")]
        if not all(isinstance(size, int) and size > 0 for size in sizes):
            raise _not_a_patch_network(path, "patch_px = {}, stride_px = {}".format(*sizes))
        self.patch_px, self.stride_px = cast("list[int]", sizes)

    def forward(self, image: Tensor, location: Tensor) -> Tensor:
        """Patches `[N, 3, P, P]` at locations `[N, 2, 1, 1]` -> logits `[N, bins, 1, 1]`.

        A dense network accepts larger images with a grid of locations, too.
        """
        logits = cast("Tensor", self.network(image, location))
        return logits[:, :, None, None] if logits.dim() == 2 else logits

    def side_by_side(self, image: Tensor, location: Tensor) -> Tensor:
        """Logits `[N, bins, rows, cols]` of adjacent patches, each predicted alone.

        Args:
            image: `[N, 3, H, W]`.
            location: `[N, 2, rows, cols]` location of each patch; rows = H // patch_px, cols alike.
        """
        size, (count, _, rows, cols) = self.patch_px, location.shape
        windows = image.unfold(2, size, size).unfold(3, size, size)
        patches = windows.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
        locations = location.movedim(1, -1).flatten(0, 2)[:, :, None, None]
        batches = zip(
            torch.split(patches, PATCHES_PER_BATCH),
            torch.split(locations, PATCHES_PER_BATCH),
            strict=True,
        )
        logits = torch.cat([self(*batch) for batch in batches])
        return logits.reshape(count, rows, cols, -1).movedim(-1, 1)


def build_teacher(params: TeacherParams, bins: int) -> Teacher | CustomTeacher:
    """The built-in teacher, or the custom one that `params.network` names.

    Raises:
        ConfigError: If its weights would be too large, or there is no such network.
    """
    if params.network is None:
        return sized(lambda: Teacher(params, bins), "teacher")
    return CustomTeacher(params.network, bins)


def code_digest(network: nn.Module) -> str:
    """Hash of a custom teacher's source file; empty for the built-in one."""
    if not isinstance(network, CustomTeacher):
        return ""
    file = inspect.getfile(type(network.network))
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def _imported(path: str) -> type[nn.Module]:
    try:
        found = pkgutil.resolve_name(path)
    except (ImportError, AttributeError, ValueError) as exc:
        raise _not_a_patch_network(path, str(exc)) from exc
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise _not_a_patch_network(path, repr(found))
    return found


def _not_a_patch_network(path: str, got: str) -> ConfigError:
    return ConfigError(
        f"teacher.network {path!r} is not a patch network",
        got=got,
        expected=CONTRACT,
        todo="Put its module into src/ or install its package.",
    )
