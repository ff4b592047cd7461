"""Calibration of a trained model on the scenes that its training was watched on."""

from __future__ import annotations

import torch
from torch.utils.data import DataLoader

from rangefinder.captures.manifest import CaptureSet
from rangefinder.config import Interval
from rangefinder.models.calibration import Calibration
from rangefinder.models.io import TrainedModel
from rangefinder.training.modules import Batch, RangingModule

CELLS = 10_000  # of one scene; those beside each other say much the same
SCENES = 20  # fewer say more of what stands in them than of a student


@torch.inference_mode()
def calibrated(
    model: TrainedModel,
    module: RangingModule,
    watched: DataLoader[Batch],
    report_m: Interval | None = None,
) -> TrainedModel:
    """The same model with a card that says how to read what it predicts.

    Args:
        model: The trained model.
        module: Its module, in the state that training ended with.
        watched: Validation scenes, one at a time.
        report_m: Distances among which estimates are to err least; None: they are left alone, as a
            teacher's are.
    """
    probs, truth_dpt = [], []
    module.eval()
    for batch in watched:
        known = (batch["inverse_dpt"] > 0).nonzero(as_tuple=True)
        chosen = tuple(index[:: 1 + len(known[0]) // CELLS] for index in known)
        logits = module.grid_logits(batch).movedim(1, -1)[chosen]
        probs.append(logits.float().softmax(-1))
        truth_dpt.append(batch["inverse_dpt"][chosen])
    calibration = Calibration.fit(
        model.prediction, torch.cat(probs), torch.cat(truth_dpt), report_m
    )
    card = model.card.model_copy(update={"calibration": calibration})
    return TrainedModel(model.network, card)


def leaning_range(captures: CaptureSet, report_m: Interval) -> Interval | None:
    """Distances among which a student's estimates are to err least, where this can be learned.

    A few rooms tell at which distances their walls are, and charts what was photographed. So how
    far estimates lean is asked of many scenes or not at all.

    Args:
        captures: All captures.
        report_m: Distances that users ask for.

    Returns:
        `report_m`, or None where fewer than `SCENES` labelled scenes are watched.
    """
    scenes = captures.select(role="labelled", split="validation").table["scene"]
    return report_m if scenes.nunique() >= SCENES else None
