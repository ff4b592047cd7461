"""The bank of point spread functions of one camera, kept between runs under its fingerprint."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from rangefinder.camera import Camera
from rangefinder.config import BankParams, Interval
from rangefinder.errors import LensError
from rangefinder.files import write_whole

Float = NDArray[np.float64]
CanvasNodes = tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]
BANK_VERSION = 1  # raise it whenever the code that makes banks changes what they hold


@dataclass(frozen=True, eq=False)
class PsfBank:
    """Point spread functions over distance, field and colour.

    Kernels stand on the sensor as the picture does (x right, y down), centred on the centroid of
    the green light; a kernel's middle pixel is the place the point would have in a sharp picture.

    Attributes:
        kernels: `[D, Fy, Fx, 3, k, k]`, each of sum 1.
        gain: `[D, Fy, Fx]` light relative to the axis at the same distance (vignetting), <= 1.
        inverse_distance_dpt: `[D]` float64, ascending, equally spaced.
        field_y_px: `[Fy]` float64 places of the nodes [sensor px], equally spaced, edge to edge.
        field_x_px: `[Fx]` likewise.
        camera: Fingerprint of the camera.
        fingerprint: Hash of camera, sampling, range and bank code.
    """

    kernels: Tensor
    gain: Tensor
    inverse_distance_dpt: Tensor
    field_y_px: Tensor
    field_x_px: Tensor
    camera: str
    fingerprint: str

    @property
    def distances_m(self) -> Tensor:
        """`[D]` distances of the planes, far to near [m]."""
        return 1.0 / self.inverse_distance_dpt

    @property
    def radius_px(self) -> int:
        """Reach of a kernel on either side of its middle [px]."""
        return int(self.kernels.shape[-1]) // 2

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width of the sensor [px]."""
        return round(float(self.field_y_px[-1])), round(float(self.field_x_px[-1]))

    @cached_property
    def support_px(self) -> tuple[int, ...]:
        """Per distance: reach of the kernels' light on either side of their middle [px]."""
        reach = (torch.arange(self.kernels.shape[-1]) - self.radius_px).abs()
        lit = self.kernels.amax(dim=(1, 2, 3)) > 0.0
        rows = (lit.any(dim=2) * reach).amax(dim=1)
        cols = (lit.any(dim=1) * reach).amax(dim=1)
        return tuple(torch.maximum(rows, cols).tolist())

    @cached_property
    def padded_kernels(self) -> NDArray[np.float32]:
        """`[D, Fy, Fx, 3, k, kw]`: kernels with columns of 0 up to a multiple of 8, for speed."""
        spare = -self.kernels.shape[-1] % 8
        return torch.nn.functional.pad(self.kernels, (0, spare)).numpy()

    @cached_property
    def canvas_nodes(self) -> CanvasNodes:
        """For rows and columns of the canvas: field node before each, and way to the next, 0..1.

        The canvas is the sensor enlarged by `radius_px` on every side; beyond the sensor's edge the
        kernels are those of the edge.
        """
        rows = self._nodes(self.field_y_px.numpy(), self.size_px[0])
        return *rows, *self._nodes(self.field_x_px.numpy(), self.size_px[1])

    def _nodes(self, nodes: Float, size: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        place = np.arange(-self.radius_px, size + self.radius_px) + 0.5
        steps = place.clip(nodes[0], nodes[-1]) / (nodes[-1] - nodes[0]) * (nodes.size - 1)
        before = np.minimum(steps.astype(np.int64), nodes.size - 2)
        return before, (steps - before).astype(np.float32)

    def save(self, path: Path) -> None:
        """Write the bank; a reader never meets half a file."""
        tensors = {name: getattr(self, name).contiguous() for name in _TENSORS}
        content = save(tensors, {"camera": self.camera, "fingerprint": self.fingerprint})
        write_whole(path, lambda partial: partial.write_bytes(content))

    @classmethod
    def load(cls, path: Path, fingerprint: str | None = None) -> PsfBank:
        """Read a bank.

        Args:
            path: File that `save` wrote.
            fingerprint: The bank that is wanted; none: any.

        Raises:
            LensError: If the file is no bank, or another one.
        """
        try:
            with safe_open(path, framework="pt") as file:
                stated = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in _TENSORS}
            bank = cls(**tensors, camera=stated["camera"], fingerprint=stated["fingerprint"])
        except (OSError, KeyError, SafetensorError) as exc:
            raise LensError(
                f"{path} is not a bank of point spread functions ({exc})",
                todo="Delete it; ingestion builds it again.",
            ) from exc
        if fingerprint is not None and bank.fingerprint != fingerprint:
            raise LensError(
                f"{path} holds point spread functions of another camera, range or sampling",
                got=f"fingerprint {bank.fingerprint}",
                expected=fingerprint,
                todo="Delete it; ingestion builds it again.",
            )
        return bank


_TENSORS = ("kernels", "gain", "inverse_distance_dpt", "field_y_px", "field_x_px")


def bank_fingerprint(camera: Camera, params: BankParams, working_m: Interval) -> str:
    """Hash of everything that changes a bank."""
    content = {
        "camera": camera.fingerprint,
        "bank": params.model_dump(mode="json"),
        "working_m": list(working_m),
        "version": BANK_VERSION,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def build_bank(
    camera: Camera, params: BankParams, working_m: Interval, home: Path = Path()
) -> PsfBank:
    """Make the bank of a camera; shows progress on a terminal.

    Args:
        camera: The camera record.
        params: Sampling of the bank.
        working_m: Nearest and farthest distance, measured from `camera.distance_reference` [m].
        home: Folder that `camera.lens.file` starts from.

    Raises:
        LensError: If the lens cannot be traced, does not cover the sensor or the range, or blurs
            more than `params.kernel_px` holds.
    """
    from rangefinder.optics.kernels import fold_field
    from rangefinder.optics.sources import lens_kernels

    if len(params.wavelengths_um) != 3 or not all(params.wavelengths_um):
        raise LensError(
            "a bank has three colours",
            got=f"bank.wavelengths_um = {params.wavelengths_um}",
            expected="one or more wavelengths for each of red, green and blue",
        )
    inverse = np.linspace(1.0 / working_m[1], 1.0 / working_m[0], params.distances)
    field_y = np.linspace(0.0, camera.height_px, params.field_rows)
    field_x = np.linspace(0.0, camera.width_px, params.field_cols)
    field = fold_field(camera, field_y, field_x)
    kernels, flux = lens_kernels(camera, params, 1.0 / inverse, field, home)
    return PsfBank(
        kernels=torch.from_numpy(field.unfold(kernels)),
        gain=torch.from_numpy(flux[:, field.node_point].astype(np.float32)).clamp(max=1.0),
        inverse_distance_dpt=torch.from_numpy(inverse),
        field_y_px=torch.from_numpy(field_y),
        field_x_px=torch.from_numpy(field_x),
        camera=camera.fingerprint,
        fingerprint=bank_fingerprint(camera, params, working_m),
    )


def bank_for(
    camera: Camera,
    params: BankParams,
    working_m: Interval,
    folder: Path,
    home: Path = Path(),
) -> PsfBank:
    """The bank of a camera: read from `folder` if it was built before, else built and kept there.

    Args:
        camera: The camera record.
        params: Sampling of the bank.
        working_m: Nearest and farthest distance [m].
        folder: Holds `<fingerprint>.safetensors`.
        home: Folder that `camera.lens.file` starts from.

    Raises:
        LensError: As `build_bank` and `PsfBank.load`.
    """
    fingerprint = bank_fingerprint(camera, params, working_m)
    path = folder / f"{fingerprint}.safetensors"
    if path.exists():
        return PsfBank.load(path, fingerprint)
    bank = build_bank(camera, params, working_m, home)
    bank.save(path)
    return bank
