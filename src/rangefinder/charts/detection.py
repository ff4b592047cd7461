"""Detection of a printed sheet in a photo by its fiducial discs."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from rangefinder.charts.sheets import MARGIN, MARK_RADIUS, MARKS, UNITS

Array = NDArray[np.float64]
MAX_SIDE_PX = 1200  # larger photos are reduced before detection
THRESHOLDS = 14  # brightnesses at which the photo is binarised
MIN_RADIUS_PX = 1.5  # of a disc
MAX_AREA = 0.01  # of a disc, share of the photo's pixels
MAX_ECCENTRICITY = 0.9  # discs seen aslant are ellipses
MIN_SOLIDITY = 0.85
RING = 1.35  # of a disc's radius: still the white of the margin
MIN_CONTRAST = 1.5  # ring / disc
MAX_DISCS = 16  # that are tried
MAX_OFFSET = 0.8  # of a disc from its predicted place, in radii
MAX_RADIUS_RATIO = 1.7  # of a disc to its predicted radius


@dataclass(frozen=True)
class FoundSheet:
    """A sheet in a photo."""

    homography: Array  # `[3, 3]` from units of the sheet to the photo [px]
    shape: tuple[int, int]  # height and width of the photo [px]

    def mask(self, inset: float = 0.5) -> NDArray[np.bool_]:
        """Pixels `[H, W]` that show the texture.

        Args:
            inset: What is left out along the texture's border, where blur mixes it with the margin
                [24ths of the sheet's height].
        """
        from skimage.draw import polygon2mask

        low, (right, bottom) = MARGIN + inset, np.array(UNITS) - MARGIN - inset
        corners = np.array([(low, low), (right, low), (right, bottom), (low, bottom)])
        outline = project(self.homography, corners)[:, ::-1] - 0.5
        inside = polygon2mask(self.shape, outline)  # type: ignore[no-untyped-call]
        return np.asarray(inside, dtype=np.bool_)


def project(homography: Array, points: Array) -> Array:
    """Map points `[n, 2]` by a homography `[3, 3]`."""
    mapped = np.column_stack([points, np.ones(len(points))]) @ homography.T
    return np.asarray(mapped[:, :2] / mapped[:, 2:])


def find_sheet(image: Tensor) -> FoundSheet | None:
    """The sheet in a photo `[3, H, W]` (linear light); None if not all six discs are in it."""
    height, width = image.shape[1:]
    grey = image.mean(dim=0, keepdim=True)[None]
    factor = max(1.0, max(height, width) / MAX_SIDE_PX)
    if factor > 1:
        size = round(height / factor), round(width / factor)
        grey = functional.interpolate(grey, size=size, mode="area")
    discs = find_discs(grey[0, 0])
    found = _fit(discs)
    if found is None:
        return None
    scale = np.diag([width / grey.shape[-1], height / grey.shape[-2], 1.0])
    return FoundSheet(scale @ found, (height, width))


def find_discs(grey: Tensor) -> Array:
    """Dark discs on bright ground in `[H, W]` linear light, by multi-level thresholding.

    Returns:
        `[n, 3]` (x, y, radius) [px], those of highest contrast and size first.
    """
    from skimage.measure import label, regionprops

    values = grey.numpy().astype(np.float64)
    low, high = np.percentile(values, (1, 99))
    found: list[tuple[float, float, float, float]] = []
    for level in np.geomspace(max(low, 1e-3), max(high, 2e-3), THRESHOLDS + 2)[1:-1]:
        pieces = label(values < level)  # type: ignore[no-untyped-call]
        area = np.bincount(pieces.ravel())
        pieces[((area < np.pi * MIN_RADIUS_PX**2) | (area > MAX_AREA * values.size))[pieces]] = 0
        for region in regionprops(pieces):  # type: ignore[no-untyped-call]
            radius = float(np.sqrt(region.area / np.pi))
            large = max(region.bbox[2] - region.bbox[0], region.bbox[3] - region.bbox[1])
            if large > 4 * radius or region.eccentricity > MAX_ECCENTRICITY:
                continue
            if region.solidity < MIN_SOLIDITY or region.euler_number != 1:
                continue
            y, x = (float(c) for c in region.centroid)
            evenness = _ring_evenness(values, x, y, region.axis_major_length / 2)
            if evenness > 0:  # fiducial discs are larger than specks of a texture
                found.append((evenness * radius, x + 0.5, y + 0.5, radius))
    kept: list[tuple[float, float, float]] = []
    for _, x, y, radius in sorted(found, reverse=True):
        if all(np.hypot(x - a, y - b) > max(radius, r) for a, b, r in kept):
            kept.append((x, y, radius))
    return np.array(kept[:MAX_DISCS]).reshape(-1, 3)


def _ring_evenness(values: Array, x: float, y: float, radius: float) -> float:
    """Darkest over brightest of the ring around a disc; 0 if it is not brighter than the disc."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    cols = np.round(x + RING * radius * np.cos(angle)).astype(np.intp)
    rows = np.round(y + RING * radius * np.sin(angle)).astype(np.intp)
    size = np.array(values.shape)[:, None]
    if np.any((np.stack([rows, cols]) < 0) | (np.stack([rows, cols]) >= size)):
        return 0.0
    ring = values[rows, cols]
    middle = max(float(values[round(y), round(x)]), 1e-4)
    if ring.min() < MIN_CONTRAST * middle:
        return 0.0
    return float(ring.min() / ring.max())  # paper is evenly bright


def _fit(discs: Array) -> Array | None:
    """Homography from sheet units to pixels that fits six discs best; None if none does.

    Exhaustive search over quadruples of discs as the four corners.
    """
    best, smallest = None, 1.0
    for four in itertools.combinations(range(len(discs)), 4):
        corners = _clockwise(discs[list(four)])
        if corners is None:
            continue
        for turn in range(2):  # which pair of sides is the long one; half a turn changes nothing
            homography = _homography(MARKS[:4], np.roll(corners, turn, axis=0)[:, :2])
            if homography is None:
                continue
            misfit = _misfit(homography, discs)
            if misfit < smallest:
                best, smallest = homography, misfit
    return best


def _clockwise(discs: Array) -> Array | None:
    """Four discs in the order of corners, or None if they are not convex."""
    centre = discs[:, :2].mean(axis=0)
    angle = np.arctan2(discs[:, 1] - centre[1], discs[:, 0] - centre[0])
    ordered = discs[np.argsort(angle)]
    side = np.roll(ordered[:, :2], -1, axis=0) - ordered[:, :2]
    after = np.roll(side, -1, axis=0)
    turns = side[:, 0] * after[:, 1] - side[:, 1] * after[:, 0]
    return ordered if (turns > 0).all() else None


def _homography(points: Array, images: Array) -> Array | None:
    """Homography that maps four points to their images (direct linear transformation)."""
    rows = []
    for (x, y), (u, v) in zip(points, images, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    try:
        solved = np.linalg.solve(np.array(rows), images.ravel())
    except np.linalg.LinAlgError:
        return None
    return np.append(solved, 1.0).reshape(3, 3)


def _misfit(homography: Array, discs: Array) -> float:
    """Largest deviation of a disc from its mark, relative to the tolerance; above 1: no sheet."""
    centres = project(homography, MARKS)
    edges = (project(homography, MARKS + side) for side in np.eye(2) * MARK_RADIUS)
    radius = np.sqrt(np.prod([np.linalg.norm(e - centres, axis=1) for e in edges], axis=0))
    apart = np.linalg.norm(centres[:, None] - discs[None, :, :2], axis=-1)
    nearest = apart.argmin(axis=1)
    if len(set(nearest.tolist())) < len(MARKS):
        return np.inf
    ratio = np.abs(np.log(discs[nearest, 2] / radius)) / np.log(MAX_RADIUS_RATIO)
    off = apart[np.arange(len(MARKS)), nearest] / (MAX_OFFSET * radius)
    return float(max(ratio.max(), off.max()))
