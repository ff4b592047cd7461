"""Training crops of the teacher: charts, composited charts, and labelled captures."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from rangefinder.captures.distance_maps import near_edges
from rangefinder.captures.manifest import CaptureSet
from rangefinder.captures.pixels import Pixels
from rangefinder.config import Parameters, TeacherParams
from rangefinder.coordinates import PatchGrid, grid_location
from rangefinder.errors import CaptureError
from rangefinder.training.augmentation import mirror, photometric_jitter
from rangefinder.training.compositing import OcclusionCompositor

NEAREST = 8  # charts nearest to a distance, of which one is drawn
EVERY = 97  # every so many known pixels of a distance map are sampled
TRIES = 8  # draws of a crop until enough of its patches are labelled
MIN_LABELLED = 0.25  # share of patches that is enough
log = logging.getLogger(__name__)


class LabelShiftSampler:
    """Draws captures for crops: charts, and labelled captures with distance maps.

    Uniformly, or with a fixed share of labelled captures. Then charts are drawn with the distances
    of the labelled captures, so that the prior over distances, which decides where a patch is
    ambiguous, is theirs (label shift: Saerens et al., Adjusting the outputs of a classifier to new
    a priori probabilities, 2002).

    Args:
        inverse_dpt: Labels of each capture: one inverse distance, or one per pixel `[H, W]` [dpt],
            0 for none.
        labelled_crop_share: Share of crops of labelled captures; None: uniform over captures.
    """

    def __init__(self, inverse_dpt: Sequence[Tensor], labelled_crop_share: float | None) -> None:
        self._count = len(inverse_dpt)
        self._chart_dpt = np.array([float(x) if x.ndim == 0 else np.nan for x in inverse_dpt])
        self._charts = [i for i, known in enumerate(inverse_dpt) if known.ndim == 0]
        maps = [(i, known[known > 0]) for i, known in enumerate(inverse_dpt) if known.ndim > 0]
        self._photos = [(i, known[::EVERY].numpy()) for i, known in maps if len(known)]
        mixed = bool(self._charts and self._photos)
        if labelled_crop_share is not None and not mixed:
            log.info("teacher.labelled_crop_share is not used: it needs charts and labelled photos")
        self._share = labelled_crop_share if mixed else None

    def capture(self, rng: np.random.Generator) -> int:
        """Index of the next crop's capture."""
        if self._share is None:
            return int(rng.integers(self._count))
        if rng.random() < self._share:
            return self._photos[int(rng.integers(len(self._photos)))][0]
        return self.chart(self._charts, rng)

    def chart(self, charts: Sequence[int], rng: np.random.Generator) -> int:
        """One of the given charts."""
        if self._share is None:
            return charts[int(rng.integers(len(charts)))]
        _, seen = self._photos[int(rng.integers(len(self._photos)))]
        gaps = np.abs(self._chart_dpt[list(charts)] - rng.choice(seen))
        nearest = gaps.argsort()[:NEAREST]
        return charts[int(rng.choice(nearest))]


@dataclass(frozen=True)
class CropPlan:
    """How crops are drawn."""

    params: TeacherParams  # size, batches, edges, compositing and jitter
    seed: int  # of all randomness
    crop_px: int  # side of a crop; what lies beyond its last patch is cut off
    steps: int  # batches per epoch

    @classmethod
    def of(cls, params: Parameters) -> Self:
        """The plan under these parameters."""
        options = params.teacher
        return cls(options, params.seed, options.crop_px, options.steps_per_epoch)


class ChartCrops(Dataset[dict[str, Tensor]]):
    """Batches of crops; one dense pass over a crop trains many patches.

    A patch's label is the distance at its centre. In captures with a distance map, patches whose
    centre is unknown or close to a depth discontinuity have none.

    Photos stay on disk and are read in parts. A batch depends only on the seed and its number,
    which counts on from epoch to epoch, so that a resumed training draws the same batches.

    Args:
        captures: Charts, each with its distance, and labelled captures, each with its map.
        plan: How crops are drawn.
        patch_px: Side of the teacher's patch.
        stride_px: The teacher's stride.
    """

    def __init__(self, captures: CaptureSet, plan: CropPlan, patch_px: int, stride_px: int) -> None:
        if len(captures) == 0:
            raise CaptureError(
                "there is nothing to train the teacher on",
                todo="Add captures of role 'chart' or 'labelled' to the training split.",
            )
        self.captures, self.plan = captures, plan
        self.composite = OcclusionCompositor.of(captures, plan.params.occluder_radius)
        self.grid = PatchGrid(plan.crop_px, plan.crop_px, patch_px, stride_px)
        self.crop_px, _ = self.grid.covered_px
        self.pixels = Pixels(captures)
        self.inverse_dpt = [labels_dpt(captures, i, plan) for i in range(len(captures))]
        self.sampler = LabelShiftSampler(self.inverse_dpt, plan.params.labelled_crop_share)
        self.others = self._same_placement()
        x, y = self.grid.centres_px
        self.centres = torch.from_numpy(y).long()[:, None], torch.from_numpy(x).long()[None]

    def __len__(self) -> int:
        """Batches per epoch."""
        return self.plan.steps

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """One batch: image `[N, 3, c, c]`, location `[N, 2, r, r]`, inverse_dpt `[N, r, r]`.

        An inverse distance of 0 stands for a patch without a label.
        """
        rng = np.random.default_rng([self.plan.seed, *divmod(number, self.plan.steps)])
        charts = [self.sampler.capture(rng) for _ in range(self.plan.params.batch_size)]
        crops = [self._crop(chart, rng) for chart in charts]
        return {name: torch.stack([crop[name] for crop in crops]) for name in crops[0]}

    def _crop(self, chart: int, rng: np.random.Generator) -> dict[str, Tensor]:
        size, (height, width) = self.crop_px, self.pixels.sizes[chart]
        for _ in range(TRIES):
            top = int(rng.integers(height - size + 1))
            left = int(rng.integers(width - size + 1))
            inverse_dpt = self._cells(chart, top, left)
            if (inverse_dpt > 0).float().mean() >= MIN_LABELLED:
                break
        image = self.pixels.crop(chart, top, left, size, size)
        others = self.others[chart]
        if others and rng.random() < self.plan.params.composited_share:
            pair = chart, self.sampler.chart(others, rng)
            image, inverse_dpt = self._composited(pair, top, left, rng)
        placement = self.pixels.placements[chart].crop(left, top)
        location = torch.from_numpy(grid_location(self.captures.camera, placement, self.grid))
        if self.plan.params.photometric_jitter:
            image = photometric_jitter(image, self.plan.params, rng)
        item = {"image": image, "location": location, "inverse_dpt": inverse_dpt}
        return mirror(item, rng) if self.captures.camera.symmetric else item

    def _composited(
        self, pair: tuple[int, int], top: int, left: int, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Crop of two composited charts, and the inverse distance at its patch centres [dpt]."""
        far, near = sorted(pair, key=lambda chart: float(self.inverse_dpt[chart]))
        size, placement = self.crop_px, self.pixels.placements[near].crop(left, top)
        near_image, far_image = (self.pixels.crop(i, top, left, size, size) for i in (near, far))
        near_dpt, far_dpt = self.inverse_dpt[near], self.inverse_dpt[far]
        image, alpha = self.composite(near_image, far_image, float(near_dpt), placement, rng)
        rows, cols = self.centres
        return image, torch.where(alpha[rows, cols] >= 0.5, near_dpt, far_dpt)

    def _same_placement(self) -> list[list[int]]:
        """For each flat chart: all of its size at its place of the sensor; for others, none."""
        others: list[list[int]] = [[] for _ in self.inverse_dpt]
        for group in self.pixels.same_placement([known.ndim == 0 for known in self.inverse_dpt]):
            for chart in group:
                others[chart] = group
        return others

    def _cells(self, chart: int, top: int, left: int) -> Tensor:
        """Labels at the patch centres of a crop: inverse distance `[r, r]` [dpt], 0 for none."""
        known = self.inverse_dpt[chart]
        rows, cols = self.centres
        if known.ndim == 0:
            return known.expand(rows.shape[0], cols.shape[1])
        return known[rows + top, cols + left]


class EpochNumbers(Sampler[int]):
    """Numbers of an epoch's batches; loader processes outlive epochs and know none.

    Args:
        steps: Batches per epoch.
    """

    def __init__(self, steps: int) -> None:
        self.steps, self.epoch = steps, 0

    def __len__(self) -> int:
        """Batches per epoch."""
        return self.steps

    def __iter__(self) -> Iterator[int]:
        """The epoch's numbers in order."""
        first = self.epoch * self.steps
        return iter(range(first, first + self.steps))


def crop_loader(
    crops: ChartCrops, numbers: EpochNumbers, workers: int = 0
) -> DataLoader[dict[str, Tensor]]:
    """Loader of an epoch's batches, with so many processes."""
    return DataLoader(
        crops, None, sampler=numbers, num_workers=workers, persistent_workers=workers > 0
    )


def labels_dpt(captures: CaptureSet, index: int, plan: CropPlan) -> Tensor:
    """Labels of a capture: one inverse distance, or one per pixel `[H, W]` [dpt], 0 for none."""
    row = captures.row(index)
    if row["distance_map"] is None:
        return torch.tensor(1.0 / row["distance_m"], dtype=torch.float32)
    distance_m = captures.distance_map(index)
    near = near_edges(distance_m.numpy(), plan.params.edge_step, plan.params.edge_band_px)
    usable = (distance_m > 0) & ~torch.from_numpy(near)
    return torch.where(usable, 1.0 / distance_m, 0.0)
