"""A patch network of the user's own in the place of the built-in teacher."""

from __future__ import annotations

import hashlib
import inspect
import pkgutil
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from rangefinder.config import TeacherParams
from rangefinder.errors import ConfigError
from rangefinder.models.teacher import Teacher

CONTRACT = (
    "a torch.nn.Module class, made by Class(bins), with attributes patch_px and stride_px, whose "
    "forward takes patches [N, 3, patch_px, patch_px] and their places [N, 2, 1, 1] and gives "
    "logits [N, bins] or [N, bins, 1, 1]"
)
PATCHES = 512  # per batch of a validation


class OwnTeacher(nn.Module):
    """Patch network imported by name. Nothing is asked of it but to answer for single patches.

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
            raise _unfit(path, "patch_px = {}, stride_px = {}".format(*sizes))
        self.patch_px, self.stride_px = cast("list[int]", sizes)

    def forward(self, image: Tensor, location: Tensor) -> Tensor:
        """Patches `[N, 3, P, P]` at places `[N, 2, 1, 1]` -> logits `[N, bins, 1, 1]`.

        If the network is dense, larger images and their lattices of places do as well.
        """
        logits = cast("Tensor", self.network(image, location))
        return logits[:, :, None, None] if logits.dim() == 2 else logits

    def side_by_side(self, image: Tensor, location: Tensor) -> Tensor:
        """Logits `[N, bins, rows, cols]` of patches that touch, each by itself.

        Args:
            image: `[N, 3, H, W]`.
            location: `[N, 2, rows, cols]` place of each patch; rows = H // patch_px, cols alike.
        """
        size, (count, _, rows, cols) = self.patch_px, location.shape
        windows = image.unfold(2, size, size).unfold(3, size, size)
        patches = windows.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
        places = location.movedim(1, -1).flatten(0, 2)[:, :, None, None]
        batches = zip(torch.split(patches, PATCHES), torch.split(places, PATCHES), strict=True)
        logits = torch.cat([self(*batch) for batch in batches])
        return logits.reshape(count, rows, cols, -1).movedim(-1, 1)


def build_teacher(params: TeacherParams, bins: int) -> Teacher | OwnTeacher:
    """The built-in teacher, or the user's own where its import path is given."""
    if params.network is None:
        return Teacher(params, bins)
    return OwnTeacher(params.network, bins)


def code_digest(network: nn.Module) -> str:
    """Hash of the file that a user's own network is written in; empty for built-in ones."""
    if not isinstance(network, OwnTeacher):
        return ""
    file = inspect.getfile(type(network.network))
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def _imported(path: str) -> type[nn.Module]:
    try:
        found = pkgutil.resolve_name(path)
    except (ImportError, AttributeError, ValueError) as exc:
        raise _unfit(path, str(exc)) from exc
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise _unfit(path, repr(found))
    return found


def _unfit(path: str, got: str) -> ConfigError:
    return ConfigError(
        f"teacher.network {path!r} is not a patch network",
        got=got,
        expected=CONTRACT,
        todo="Put its module into src/ or install its package.",
    )
