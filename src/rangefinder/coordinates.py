"""One sensor coordinate system, and the grid of patches.

Origin at the optical centre, x right, y down, unit = half the sensor's diagonal. Pixel `i` of an
image covers `[i, i + 1)`; its centre is `i + 0.5`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from rangefinder.camera import Camera
from rangefinder.errors import CaptureError

Float = NDArray[np.float32]


MOST_SCALE = 64.0  # sensor pixels per image pixel, and its inverse
FARTHEST_PX = 1e6  # of an origin
MOST_SENSORS = 4  # pixels of an image at the sensor's scale / those of the sensor


@dataclass(frozen=True)
class Placement:
    """Where an image sits on the sensor; every image carries one."""

    origin_px: tuple[float, float] = (0.0, 0.0)  # (x, y) of the image's top-left corner [sensor px]
    scale: float = 1.0  # sensor pixels per image pixel (2.0 for 2x2 binning)

    def __post_init__(self) -> None:
        near = all(abs(place) <= FARTHEST_PX for place in self.origin_px)
        if not (near and 1 / MOST_SCALE <= self.scale <= MOST_SCALE):
            raise CaptureError(
                "an image cannot sit there on the sensor",
                got=f"origin {self.origin_px} px, scale {self.scale}",
                expected=f"an origin within {FARTHEST_PX:,.0f} px, a scale of 1/{MOST_SCALE:g} to "
                f"{MOST_SCALE:g}",
            )

    @classmethod
    def given(cls, origin_px: tuple[float, float] | None, scale: float | None) -> Self | None:
        """Placement by what somebody states, or None if that is nothing."""
        if origin_px is None and scale is None:
            return None
        return cls((0.0, 0.0) if origin_px is None else origin_px, 1.0 if scale is None else scale)

    def crop(self, left: float, top: float) -> Placement:
        """Placement of a crop that starts at (left, top) [image px]."""
        x, y = self.origin_px
        return Placement((x + left * self.scale, y + top * self.scale), self.scale)

    def size_on_sensor(self, camera: Camera, height_px: int, width_px: int) -> tuple[int, int]:
        """Height and width of an image at the sensor's scale [sensor px].

        Raises:
            CaptureError: If it is larger than `MOST_SENSORS` sensors.
        """
        height, width = round(height_px * self.scale), round(width_px * self.scale)
        most = MOST_SENSORS * camera.width_px * camera.height_px
        if self.scale > 1 and height * width > most:
            raise CaptureError(
                f"at scale {self.scale:g} the photo is larger than the camera's",
                got=f"{width}x{height} px",
                expected=f"about {camera.width_px}x{camera.height_px} px",
                todo="State the scale by which the photo was made smaller.",
            )
        return height, width

    def to_image(self, sensor_px: tuple[float, float]) -> tuple[float, float]:
        """Place (x, y) in the image [image px] of a place on the sensor [sensor px]."""
        x, y = (
            (place - origin) / self.scale
            for place, origin in zip(sensor_px, self.origin_px, strict=True)
        )
        return x, y


def sensor_location(
    camera: Camera, placement: Placement, x_px: NDArray[np.floating], y_px: NDArray[np.floating]
) -> Float:
    """Locations `[2, h, w]` (x, y; half the sensor's diagonal = 1) of a lattice of image positions.

    Args:
        camera: The camera that took the image.
        placement: Where the image sits on the sensor.
        x_px: Columns `[w]` [image px].
        y_px: Rows `[h]` [image px].
    """
    x, y = (
        (origin + position * placement.scale - centre) / camera.half_diagonal_px
        for origin, position, centre in zip(
            placement.origin_px, (x_px, y_px), camera.centre_px, strict=True
        )
    )
    location = np.empty((2, len(y_px), len(x_px)), dtype=np.float32)
    location[0], location[1] = x[None, :], y[:, None]
    return location


@dataclass(frozen=True)
class PatchGrid:
    """The lattice of patches cut from an image of `height_px` x `width_px`.

    Patch (row, col) covers image rows `origin_px[1] + row * stride_px` up to `+ patch_px`, and
    columns alike.
    """

    height_px: int
    width_px: int
    patch_px: int
    stride_px: int
    origin_px: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if self.patch_px < 1 or self.stride_px < 1:
            raise CaptureError(
                "patch and stride must be at least one pixel",
                got=f"patch {self.patch_px} px, stride {self.stride_px} px",
            )
        room = min(self.height_px - self.origin_px[1], self.width_px - self.origin_px[0])
        if min(self.origin_px) < 0 or room < self.patch_px:
            raise CaptureError(
                "image is smaller than one patch",
                got=f"{self.width_px}x{self.height_px} px from {self.origin_px}",
                expected=f"at least {self.patch_px}x{self.patch_px} px",
                todo="Use a larger image.",
            )

    @property
    def rows(self) -> int:
        """Number of patch rows."""
        return (self.height_px - self.origin_px[1] - self.patch_px) // self.stride_px + 1

    @property
    def cols(self) -> int:
        """Number of patch columns."""
        return (self.width_px - self.origin_px[0] - self.patch_px) // self.stride_px + 1

    @property
    def centres_px(self) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Patch centres, x `[cols]` and y `[rows]` [image px]."""
        half = self.patch_px / 2
        x = self.origin_px[0] + half + self.stride_px * np.arange(self.cols)
        y = self.origin_px[1] + half + self.stride_px * np.arange(self.rows)
        return x, y

    @property
    def covered_px(self) -> tuple[int, int]:
        """Height and width [px] that patches cover; the lattice of its mirror image is the same."""
        rows, cols = ((count - 1) * self.stride_px for count in (self.rows, self.cols))
        return rows + self.patch_px, cols + self.patch_px

    @property
    def margin_cells(self) -> int:
        """Cells by which the lattice can be extended on each side, within the image."""
        return (self.patch_px - 1) // 2 // self.stride_px

    def to_edges(self) -> PatchGrid:
        """The same lattice, extended to the image's edges, where no whole patch fits."""
        return replace(self, patch_px=self.patch_px - 2 * self.margin_cells * self.stride_px)

    @property
    def support_px(self) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) of the pixels that patch centres surround, right exclusive."""
        x, y = self.centres_px
        return int(np.ceil(x[0])), int(np.ceil(y[0])), int(x[-1]), int(y[-1])


def grid_location(camera: Camera, placement: Placement, grid: PatchGrid) -> Float:
    """Location of every patch centre, `[2, rows, cols]`."""
    return sensor_location(camera, placement, *grid.centres_px)


def location_map(camera: Camera, placement: Placement, height_px: int, width_px: int) -> Float:
    """Location of every pixel centre, `[2, height_px, width_px]`."""
    x, y = np.arange(width_px) + 0.5, np.arange(height_px) + 0.5
    return sensor_location(camera, placement, x, y)


def axis_cosine(
    focal_length_px: float, centre_px: tuple[float, float], height_px: int, width_px: int
) -> Float:
    """Cosine `[height_px, width_px]` of the angle between a pixel's ray and the optical axis.

    A pinhole, without distortion. All lengths are in pixels of the image.

    Args:
        focal_length_px: From the projection centre to the image.
        centre_px: Optical centre (x, y), from the image's top-left corner.
        height_px: Rows.
        width_px: Columns.
    """
    x = np.arange(width_px) + 0.5 - centre_px[0]
    y = np.arange(height_px) + 0.5 - centre_px[1]
    ray_px = np.sqrt(focal_length_px**2 + x[None, :] ** 2 + y[:, None] ** 2)
    return (focal_length_px / ray_px).astype(np.float32)
