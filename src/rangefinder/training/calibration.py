"""What is fitted on validation captures after training: intervals, tilting, the photo domain."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from rangefinder.captures.manifest import CaptureSet
from rangefinder.captures.photo_statistics import photo_statistics
from rangefinder.config import Interval
from rangefinder.models.blocks import fused
from rangefinder.models.calibration import Calibration, fitted_central
from rangefinder.models.model_files import TrainedModel
from rangefinder.photo_domain import DEGREES, UNCOVERED_LEVEL, Effect, PhotoDomain, Storage
from rangefinder.training.frames import Batch, quarter
from rangefinder.training.lightning_modules import DistanceModule
from rangefinder.training.photo_shifts import Degree, changes

CELLS_PER_SCENE = 10_000  # neighbouring cells are highly correlated
SHIFTED_CELLS = 1_000  # per scene, of each of many shifts
SHIFTED_SCENES = 40  # at most
STATISTICS_OF = 128  # training captures, at most


@torch.inference_mode()
def calibrate(
    model: TrainedModel,
    module: DistanceModule,
    validation: DataLoader[Batch],
    tilt_m: Interval | None = None,
) -> TrainedModel:
    """Fit interval calibration, and posterior tilting, on validation captures.

    Args:
        model: The trained model.
        module: Its module, in the state that training ended with.
        validation: Labelled captures, one at a time.
        tilt_m: Distances whose relative error posterior tilting minimises [m]; None: no tilting, as
            for teachers.

    Returns:
        The same network with a card that has the calibration.
    """
    module.eval()
    cells = _Cells()
    for batch in validation:
        cells.add(module, batch, CELLS_PER_SCENE)
    calibration = Calibration.fit(model.distribution, *cells.joined(), tilt_m)
    card = model.card.model_copy(update={"calibration": calibration})
    return TrainedModel(model.network, card)


@dataclass
class _Cells:
    """Predicted probabilities and true inverse distances [dpt] of some cells of captures."""

    probs: list[Tensor] = field(default_factory=list)
    truth_dpt: list[Tensor] = field(default_factory=list)

    def add(self, module: DistanceModule, batch: Batch, count: int) -> None:
        """Predict one capture at `count` cells or somewhat fewer."""
        known = (batch["inverse_dpt"] > 0).nonzero(as_tuple=True)
        chosen = tuple(index[:: 1 + len(known[0]) // count] for index in known)
        logits = module.grid_logits(batch).movedim(1, -1)[chosen]
        self.probs.append(logits.float().softmax(-1))
        self.truth_dpt.append(batch["inverse_dpt"][chosen])

    def joined(self) -> tuple[Tensor, Tensor]:
        """`[N, bins]` and `[N]`."""
        return torch.cat(self.probs), torch.cat(self.truth_dpt)


@torch.inference_mode()
def with_photo_domain(
    model: TrainedModel,
    module: DistanceModule,
    validation: DataLoader[Batch],
    trained_on: CaptureSet,
    range_m: Interval,
) -> TrainedModel:
    """The same network with a card that says what photos it was trained on (`PhotoDomain`).

    What other photos cost it is measured on validation captures, changed as `changes` does.

    Args:
        model: The calibrated model.
        module: Its module, in the state that training ended with.
        validation: Labelled captures, one at a time.
        trained_on: The training's captures, of which some are looked at.
        range_m: True distances [m] that what shifts cost is measured over.
    """
    looked_at = range(0, len(trained_on), 1 + len(trained_on) // STATISTICS_OF)
    domain = PhotoDomain.of(
        map(Storage.parse, trained_on.table["storage"]),
        [photo_statistics(trained_on.image(i), trained_on.placement(i)) for i in looked_at],
    )
    photos = domain.model_copy(update={"effects": _effects(model, module, validation, range_m)})
    return TrainedModel(model.network, model.card.model_copy(update={"photos": photos}))


@dataclass
class _Observed:
    """Cells and statistics of captures that were changed in one way."""

    cells: _Cells = field(default_factory=_Cells)
    statistics: list[Mapping[str, float]] = field(default_factory=list)

    def effect(self, model: TrainedModel, range_m: Interval, quality: int | None) -> Effect:
        """Effect of the change on cells whose true distance lies in a range; errors as they are."""
        probs, truth_dpt = self.cells.joined()
        inside = (truth_dpt >= 1 / range_m[1]) & (truth_dpt <= 1 / range_m[0])
        if inside.any():
            probs, truth_dpt = probs[inside], truth_dpt[inside]
        probs, distribution = model.tilted(probs), model.distribution
        tail = model.card.tail(UNCOVERED_LEVEL)
        low, high = distribution.quantile_dpt(probs, (tail, 1 - tail))
        degree = {
            name: float(np.median([row[name] for row in self.statistics]))
            for name in DEGREES
            if all(name in row for row in self.statistics)
        }
        return Effect(
            error_ratio=float((truth_dpt / distribution.estimate_dpt(probs) - 1).abs().mean()),
            coverage=float(((low <= truth_dpt) & (truth_dpt <= high)).float().mean()),
            central=fitted_central(distribution, probs, truth_dpt),
            degree=degree if quality is None else degree | {"quality": quality},
        )


def _effects(
    model: TrainedModel, module: DistanceModule, validation: DataLoader[Batch], range_m: Interval
) -> dict[str, tuple[Effect, ...]]:
    """Effects of changes by kind and degree; of a large photo, one quarter is predicted."""
    network, module.network = module.network, fused(module.network)  # it has much to predict
    unchanged = Degree(lambda image: image)
    kinds = changes()
    degrees = [unchanged, *itertools.chain(*kinds.values())]
    observed = {degree: _Observed() for degree in degrees}
    batches = itertools.islice(validation, SHIFTED_SCENES)
    count = min(len(validation), SHIFTED_SCENES)
    bar = tqdm(batches, "measuring domain shifts", total=count, unit="capture", disable=None)
    for number, batch in enumerate(bar):
        is_large = batch["inverse_dpt"].numel() >= 4 * SHIFTED_CELLS
        for degree, seen in observed.items():
            image = degree.change(batch["image"][0])
            changed = batch | {"image": image[None]}
            if is_large:
                changed = quarter(changed, number % 4)
            seen.cells.add(module, changed, SHIFTED_CELLS)
            seen.statistics.append(photo_statistics(image))
    module.network = network
    usual = observed[unchanged].effect(model, range_m, None).error_ratio

    def effect(degree: Degree) -> Effect:
        found = observed[degree].effect(model, range_m, degree.quality)
        return found.model_copy(update={"error_ratio": found.error_ratio / usual})

    return {kind: tuple(map(effect, steps)) for kind, steps in kinds.items()}
