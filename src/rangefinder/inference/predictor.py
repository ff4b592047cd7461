"""The predictor in torch: a model and a photo -> distance, intervals, uncertainty of every pixel.

Every command, the evaluation, the served model and the benchmark predict through `Predictor`.
Posteriors are decoded on the network's cells, and only the outputs that are asked for are
interpolated to the pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rangefinder.captures.images import resize_sharp
from rangefinder.captures.manifest import CaptureSet
from rangefinder.config import CacheParams, ComputeParams, Device
from rangefinder.coordinates import PatchGrid, Placement, location_map
from rangefinder.inference.interface import ACCURATE_WITHIN, FOR_SCORES, REPORTED, WHOLE, Outputs
from rangefinder.inference.tiles import Tile, cells_by_tiles
from rangefinder.inference.two_distances import CellPlaces, two_distances
from rangefinder.models.aggregation import Cells
from rangefinder.models.blocks import Lattice, fused, resample
from rangefinder.models.card import Card
from rangefinder.models.device import inference_autocast, torch_device
from rangefinder.models.distribution import DistanceDistribution
from rangefinder.models.model_files import TrainedModel
from rangefinder.models.prediction import Float, Prediction, Sides, TwoDistances
from rangefinder.models.student import Student, full_frame
from rangefinder.photo_domain import Shift
from rangefinder.sweep.sweep import Sweep

Box = tuple[int, int, int, int]
DECODED_VALUES = 2**22  # probabilities decoded at once


@dataclass(frozen=True)
class Posterior:
    """Predictive distributions of one photo, to be decoded."""

    model: TrainedModel  # made them, and knows how to read them
    probs: Tensor  # `[rows, cols, bins]` probabilities
    lattice: Lattice  # where the cells sit, in pixels at the scale of the camera record
    size_px: tuple[int, int]  # height and width of the photo
    at_scale_px: tuple[int, int]  # the same at the scale of the camera record
    shifts: tuple[Shift, ...] = ()  # domain shifts of the photo

    @torch.inference_mode()
    def decode(self, outputs: Outputs = REPORTED) -> Prediction:
        """Maps `[H, W]` of what is asked for."""
        cells = self._cells(outputs)
        if self.lattice == Student.lattice and self.at_scale_px == self.size_px:
            maps = full_frame(cells, *self.size_px)
        else:
            y, x = (
                (torch.arange(n) + 0.5) * (m / n)
                for n, m in zip(self.size_px, self.at_scale_px, strict=True)
            )
            maps = resample(cells[None], self.lattice, y, x)[0]
        prediction = _prediction(maps.cpu(), outputs)
        if not outputs.two_distances:
            return prediction
        both = self.two_distances(*map(np.arange, self.size_px))
        return replace(prediction, two_distances=both)

    def two_distances(
        self, rows: NDArray[np.integer], columns: NDArray[np.integer]
    ) -> TwoDistances:
        """See `PhotoPosterior.two_distances`."""
        first_px, stride_px = self.lattice.first_px, self.lattice.stride_px
        cells = CellPlaces(first_px, stride_px, self.size_px, self.at_scale_px)
        probs = self.probs.cpu().numpy()
        return two_distances(probs, self.model.card, self.shifts, (rows, columns), cells)

    @property
    def _focus_dpt(self) -> float:
        return 1 / self.model.card.camera.focus_distance_m

    def _cells(self, outputs: Outputs) -> Tensor:
        """Outputs on the network's cells `[K, rows, cols]`, lengths in dioptres."""
        at_once = max(1, DECODED_VALUES // self.probs[0].numel())
        return torch.cat(
            [self._decoded(rows, outputs) for rows in torch.split(self.probs, at_once)], dim=1
        )

    def _decoded(self, probs: Tensor, outputs: Outputs) -> Tensor:
        """`_cells` of some rows of the posterior."""
        distribution, probs = self.model.distribution, self.model.tilted(probs)
        estimate = distribution.estimate_dpt(probs)
        decoded = [estimate[None]]
        if outputs.levels:
            tails = [self.model.card.tail(level, self.shifts) for level in outputs.levels]
            ends = (*(1 - tail for tail in tails), *tails)  # near ends first
            decoded.append(distribution.quantile_dpt(probs, ends))
        if outputs.sd:
            decoded.append(distribution.sd_dpt(probs)[None])
        if outputs.accuracy:
            decoded.append(accuracy_probability(distribution, probs, estimate)[None])
        if outputs.sides:
            decoded.append(torch.stack(distribution.sides_dpt(probs, self._focus_dpt)))
        return torch.cat(decoded)


def cell_lattice(card: Card) -> Lattice:
    """Where a model's cells sit, in pixels at the scale of the camera record."""
    if card.kind == "student":
        return Student.lattice
    return Lattice(card.patch_px / 2, card.stride_px)


def accuracy_probability(
    distribution: DistanceDistribution, probs: Tensor, estimate_dpt: Tensor
) -> Tensor:
    """Probability `[...]` that the relative error of an estimate `[...]` is below 10 %."""
    low, high = estimate_dpt / (1 + ACCURATE_WITHIN), estimate_dpt / (1 - ACCURATE_WITHIN)
    return distribution.probability_between(probs, low, high)


def _prediction(maps: Tensor, outputs: Outputs) -> Prediction:
    """Name the decoded maps `[K, H, W]`."""
    count = len(outputs.levels)
    lengths_m = maps[: 1 + 2 * count].reciprocal_().numpy()
    rest = list(maps[1 + 2 * count :].numpy())
    return Prediction(
        distance_m=lengths_m[0],
        interval_m={
            level: (lengths_m[1 + i], lengths_m[1 + count + i])
            for i, level in enumerate(outputs.levels)
        },
        sd_dpt=rest.pop(0) if outputs.sd else None,
        accuracy_probability=rest.pop(0) if outputs.accuracy else None,
        sides=Sides(rest.pop(0), 1 / rest.pop(0), 1 / rest.pop(0)) if outputs.sides else None,
    )


class Predictor:
    """Predicts photos with one model.

    Args:
        model: Teacher or student.
        device: `auto`, `cpu` or `cuda`.
        cache: How a teacher is swept; None: by default.
        exact: Keep a student in float32, also where the device is faster in another precision.

    Raises:
        ConfigError: If there is no such device.
    """

    def __init__(
        self,
        model: TrainedModel,
        device: Device = "auto",
        cache: CacheParams | None = None,
        *,
        exact: bool = False,
    ) -> None:
        self.model, self.card, self._exact = model, model.card, exact
        self._device = torch_device(device)
        if self.card.kind == "teacher":
            self._sweep = Sweep(
                model.network,
                self.card.camera,
                cache or CacheParams(),
                self.card.patch_px,
                self.card.stride_px,
                ComputeParams(device=device),
            )
        else:
            self._network = cast("Student", fused(model.network).to(self._device))

    @cached_property
    def fingerprint(self) -> str:
        """Hash of weights and card."""
        return self.model.fingerprint

    def __call__(
        self, image: Tensor | Float, placement: Placement = WHOLE, outputs: Outputs = REPORTED
    ) -> Prediction:
        """Predict one photo; see `posterior` for arguments and errors."""
        return self.posterior(image, placement).decode(outputs)

    @torch.inference_mode()
    def posterior(
        self, image: Tensor | Float, placement: Placement = WHOLE, shifts: tuple[Shift, ...] = ()
    ) -> Posterior:
        """See `PhotoPredictor.posterior`."""
        image = torch.as_tensor(image)
        size, card = (image.shape[1], image.shape[2]), self.card
        at_scale = placement.size_on_sensor(card.camera, *size)
        PatchGrid(*at_scale, card.patch_px, card.stride_px)  # refuses what is too small
        if placement.scale != 1.0:
            image, placement = resize_sharp(image, *at_scale), Placement(placement.origin_px)
        if card.kind == "teacher":
            probs = self._sweep(image, placement)
            return Posterior(self.model, probs, cell_lattice(card), size, at_scale, shifts)
        cells = cells_by_tiles(partial(self._cells, image, placement), at_scale)
        probs = self._network.aggregated(cells)[0]
        return Posterior(self.model, probs, cell_lattice(card), size, at_scale, shifts)

    def _cells(self, image: Tensor, placement: Placement, tile: Tile) -> Cells:
        """A student's cells of a tile of a photo `[3, h, w]` at scale 1."""
        rows, columns = tile.pixels
        pixels, place = image[:, rows, columns], placement.crop(columns.start, rows.start)
        location = torch.from_numpy(location_map(self.card.camera, place, *pixels.shape[1:]))
        with nullcontext() if self._exact else inference_autocast(self._device):
            return self._network.cells(
                pixels[None].to(self._device), location[None].to(self._device)
            )


def capture_predictions(
    model: TrainedModel, captures: CaptureSet, cache: CacheParams, device: Device
) -> Callable[[int], Prediction]:
    """Function from a capture's index to a model's prediction, with all that scores need.

    Raises:
        CameraMismatchError: If the model belongs to another camera.
    """
    captures.camera.require(model.card.camera_fingerprint, f"the {model.card.kind}")
    predict = Predictor(model, device, cache)
    return lambda index: predict(captures.image(index), captures.placement(index), FOR_SCORES)


def common_support(card: Card, captures: CaptureSet) -> Callable[[int], Box]:
    """Function from a capture's index to the pixels that patch centres surround.

    Returns:
        Left, top, right and bottom [px], the latter two exclusive.
    """

    def box(index: int) -> Box:
        row = captures.row(index)
        grid = PatchGrid(row["height_px"], row["width_px"], card.patch_px, card.stride_px)
        return grid.support_px

    return box
