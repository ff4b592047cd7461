"""How wide a lens blurs the outline of a thing, by its distance and its place on the sensor."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor

from rangefinder.camera import Camera
from rangefinder.errors import LensError
from rangefinder.optics.geometry import blur_px

if TYPE_CHECKING:
    from scipy.interpolate import RegularGridInterpolator

    from rangefinder.optics.lens import PsfBank

Float = NDArray[np.float64]
DISC = 2.0 * math.sqrt(2.0)  # diameter of a disc / its rms radius


@dataclass(frozen=True)
class ThinBlur:
    """What a thin lens does, the same everywhere on the sensor: all that is known of some lenses.

    Attributes:
        camera: Its record.
    """

    camera: Camera

    @property
    def fingerprint(self) -> str:
        """Hash of all that it depends on."""
        return f"thin {self.camera.fingerprint}"

    def diameter_px(self, inverse_dpt: float, x_px: float, y_px: float) -> float:
        """See `TracedBlur.diameter_px`."""
        return float(blur_px(self.camera, 1 / inverse_dpt))


@dataclass(frozen=True, eq=False)
class TracedBlur:
    """What a lens does whose point spread functions are known.

    Aberrations move the sharpest distance and leave blur there too, and in the corners a lens that
    vignettes blurs half as much as a thin one.

    Attributes:
        discs_px: `[D, Fy, Fx]` diameter of the disc that is as wide as the blur [sensor px].
        inverse_dpt: `[D]` inverse distances, ascending [dpt].
        field_y_px: `[Fy]` places on the sensor [px].
        field_x_px: `[Fx]` likewise.
    """

    discs_px: Float
    inverse_dpt: Float
    field_y_px: Float
    field_x_px: Float

    @classmethod
    def of(cls, bank: PsfBank) -> TracedBlur:
        """Discs as wide as the kernels of a bank, on the mean of all colours."""
        nodes = (bank.inverse_distance_dpt, bank.field_y_px, bank.field_x_px)
        return cls(disc_px(bank.kernels.mean(3)), *(node.double().numpy() for node in nodes))

    @property
    def fingerprint(self) -> str:
        """Hash of all that it says."""
        digest = hashlib.sha256()
        for name in _ARRAYS:
            digest.update(np.ascontiguousarray(getattr(self, name)).tobytes())
        return f"traced {digest.hexdigest()[:16]}"

    def diameter_px(self, inverse_dpt: float, x_px: float, y_px: float) -> float:
        """Diameter of the disc [sensor px] that is as wide as the blur of a point.

        Args:
            inverse_dpt: Its inverse distance [dpt]; beyond what was traced: that of the end.
            x_px: Where it is on the sensor [px]; beyond the edge: that of the edge.
            y_px: Likewise.
        """
        wanted = (inverse_dpt, y_px, x_px)
        inside = [np.clip(at, *axis[[0, -1]]) for at, axis in zip(wanted, self._axes, strict=True)]
        return float(self._between(inside)[0])

    @property
    def _axes(self) -> tuple[Float, Float, Float]:
        return self.inverse_dpt, self.field_y_px, self.field_x_px

    @cached_property
    def _between(self) -> RegularGridInterpolator:
        from scipy.interpolate import RegularGridInterpolator

        return RegularGridInterpolator(self._axes, self.discs_px)

    def save(self, path: Path) -> None:
        """Write it."""
        save_file({name: np.ascontiguousarray(getattr(self, name)) for name in _ARRAYS}, path)

    @classmethod
    def load(cls, path: Path) -> TracedBlur:
        """Read what `save` wrote.

        Raises:
            LensError: If it is damaged, or another file.
        """
        try:
            arrays = load_file(path)
            return cls(*(arrays[name] for name in _ARRAYS))
        except (OSError, KeyError, SafetensorError) as exc:
            raise LensError(f"{path} does not say how a lens blurs ({exc})") from exc


Blur = ThinBlur | TracedBlur
_ARRAYS = ("discs_px", "inverse_dpt", "field_y_px", "field_x_px")


def disc_px(kernels: Tensor) -> Float:
    """Diameter `[...]` of the disc as wide (rms) as kernels `[..., k, k]` [px]."""
    weights = kernels.double().numpy()
    reach = np.arange(weights.shape[-1]) - weights.shape[-1] // 2
    rows, cols = weights.sum(-1), weights.sum(-2)
    light = rows.sum(-1)
    square = ((rows + cols) @ reach**2) / light
    middle = ((rows @ reach) / light) ** 2 + ((cols @ reach) / light) ** 2
    return np.asarray(DISC * np.sqrt(np.maximum(square - middle, 0.0)))
