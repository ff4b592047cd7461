"""The PSF bank of one camera, kept between runs under its fingerprint."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rangefinder.camera import Camera
from rangefinder.common.sealed import read_arrays, write_arrays
from rangefinder.config import BankParams, Interval
from rangefinder.errors import LensError
from rangefinder.optics.blur import TracedBlur, disc_px

Float = NDArray[np.float64]
Nodes = tuple[NDArray[np.int64], NDArray[np.float32]]
BANK_VERSION = 3  # raise it whenever the code that builds banks changes their content
REBUILD = "Delete it; ingestion builds it again."
log = logging.getLogger(__name__)
_TENSORS = ("kernels", "relative_illumination", "inverse_distance_dpt", "field_y_px", "field_x_px")


@dataclass(frozen=True, eq=False)
class PsfBank:
    """Point spread functions over distance, field and colour.

    Kernels are oriented as the picture (x right, y down). Their middle pixel is the centroid of the
    green light: where the point is in a sharp picture.

    Attributes:
        relative_illumination: `[D, Fy, Fx]` light relative to the axis at the same distance
            (vignetting), <= 1.
    """

    kernels: Tensor  # `[D, Fy, Fx, 3, k, k]`, each of sum 1
    relative_illumination: Tensor
    inverse_distance_dpt: Tensor  # `[D]` float64, ascending, equally spaced
    field_y_px: Tensor  # `[Fy]` float64 field nodes [sensor px], equally spaced, edge to edge
    field_x_px: Tensor  # `[Fx]` likewise
    camera: str  # fingerprint of the camera
    fingerprint: str  # hash of camera, sampling, range and bank code

    @property
    def distances_m(self) -> Tensor:
        """`[D]` distances of the planes, far to near [m]."""
        return 1.0 / self.inverse_distance_dpt

    def blur(self) -> TracedBlur:
        """Blur diameters, of the mean PSF of the three colours."""
        nodes = (self.inverse_distance_dpt, self.field_y_px, self.field_x_px)
        return TracedBlur(disc_px(self.kernels.mean(3)), *(x.double().numpy() for x in nodes))

    @property
    def radius_px(self) -> int:
        """Half the side of a kernel [px], without its middle."""
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
    def padded_nodes(self) -> tuple[*Nodes, *Nodes]:
        """For rows and columns of the padded frame: node before each, weight of the next, 0..1.

        The padded frame is the sensor enlarged by `radius_px` on every side; beyond the sensor's
        edge the kernels are those of the edge.
        """
        rows = self._nodes(self.field_y_px.numpy(), self.size_px[0])
        return *rows, *self._nodes(self.field_x_px.numpy(), self.size_px[1])

    def _nodes(self, nodes: Float, size: int) -> Nodes:
        centre = np.arange(-self.radius_px, size + self.radius_px) + 0.5
        steps = centre.clip(nodes[0], nodes[-1]) / (nodes[-1] - nodes[0]) * (nodes.size - 1)
        before = np.minimum(steps.astype(np.int64), nodes.size - 2)
        return before, (steps - before).astype(np.float32)

    def save(self, path: Path) -> None:
        """Write the bank atomically."""
        arrays = {name: getattr(self, name).numpy() for name in _TENSORS}
        write_arrays(path, arrays, {"camera": self.camera, "fingerprint": self.fingerprint})

    @classmethod
    def load(cls, path: Path, fingerprint: str | None = None) -> PsfBank:
        """Read a bank; `fingerprint` is expected if given.

        Raises:
            LensError: If the file is no bank, or has another fingerprint.
        """
        try:
            arrays, metadata = read_arrays(path, _TENSORS)
            tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
            bank = cls(**tensors, camera=metadata["camera"], fingerprint=metadata["fingerprint"])
        except (OSError, KeyError, TypeError, ValueError) as exc:
            raise LensError(
                f"{path} is not a bank of point spread functions ({exc})", todo=REBUILD
            ) from exc
        if fingerprint is not None and bank.fingerprint != fingerprint:
            raise LensError(
                f"{path} holds point spread functions of another camera, range or sampling",
                got=f"fingerprint {bank.fingerprint}",
                expected=fingerprint,
                todo=REBUILD,
            )
        return bank


def bank_fingerprint(
    camera: Camera, params: BankParams, working_m: Interval, stop_f_number: float | None = None
) -> str:
    """Hash of everything that changes a bank."""
    content: dict[str, object] = {} if stop_f_number is None else {"stop_f_number": stop_f_number}
    content |= {
        "camera": camera.fingerprint,
        "bank": params.model_dump(mode="json"),
        "working_m": list(working_m),
        "version": BANK_VERSION,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def build_bank(
    camera: Camera,
    params: BankParams,
    working_m: Interval,
    home: Path = Path(),
    stop_f_number: float | None = None,
) -> PsfBank:
    """Build the bank of a camera; shows progress on a terminal.

    Args:
        camera: The camera record.
        params: Sampling of the bank.
        working_m: Nearest and farthest distance from `camera.distance_reference` [m].
        home: Folder that `camera.lens.file` is relative to.
        stop_f_number: f-number that the lens is stopped down to; None: the record's.

    Raises:
        LensError: If the lens cannot be traced, does not cover the sensor or the range, or its blur
            is larger than a kernel.
    """
    from rangefinder.optics.psf_sources import lens_kernels
    from rangefinder.optics.psf_tracing import fold_field

    inverse = np.linspace(1.0 / working_m[1], 1.0 / working_m[0], params.distances)
    field_y = np.linspace(0.0, camera.height_px, params.field_rows)
    field_x = np.linspace(0.0, camera.width_px, params.field_cols)
    field = fold_field(camera, field_y, field_x)
    kernels, flux = lens_kernels(camera, params, 1.0 / inverse, field, home, stop_f_number)
    illumination = torch.from_numpy(flux[:, field.node_point].astype(np.float32))
    return PsfBank(
        kernels=torch.from_numpy(field.unfold(kernels)),
        relative_illumination=illumination.clamp(max=1.0),
        inverse_distance_dpt=torch.from_numpy(inverse),
        field_y_px=torch.from_numpy(field_y),
        field_x_px=torch.from_numpy(field_x),
        camera=camera.fingerprint,
        fingerprint=bank_fingerprint(camera, params, working_m, stop_f_number),
    )


def bank_for(
    camera: Camera, params: BankParams, working_m: Interval, folder: Path, home: Path = Path()
) -> PsfBank:
    """The bank of a camera: `<fingerprint>.safetensors` in `folder`.

    It is built if it is not there, or damaged. Arguments and errors are those of `build_bank`.
    """
    fingerprint = bank_fingerprint(camera, params, working_m)
    path = folder / f"{fingerprint}.safetensors"
    if path.exists():
        try:
            return PsfBank.load(path, fingerprint)
        except LensError as exc:
            log.warning("%s; it is built again", exc.finding)
    if camera.lens.caveat:
        log.warning(camera.lens.caveat)
    bank = build_bank(camera, params, working_m, home)
    bank.save(path)
    return bank
