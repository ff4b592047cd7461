"""Calibration of a trained model on the scenes that its training was watched on."""

from __future__ import annotations

import torch
from torch.utils.data import DataLoader

from rangefinder.models.calibration import Calibration
from rangefinder.models.io import TrainedModel
from rangefinder.training.modules import Batch, RangingModule


@torch.inference_mode()
def calibrated(
    model: TrainedModel, module: RangingModule, watched: DataLoader[Batch]
) -> TrainedModel:
    """The same model with a card that says how to read its intervals.

    Args:
        model: The trained model.
        module: Its module, in the state that training ended with.
        watched: Validation scenes, one at a time.
    """
    prediction = model.prediction
    ranks = []
    module.eval()
    for batch in watched:
        probs = module.grid_logits(batch).movedim(1, -1).float().softmax(-1)
        known = batch["inverse_dpt"] > 0
        truth_dpt = batch["inverse_dpt"][known]
        least = torch.full_like(truth_dpt, -1.0)  # below all bins
        ranks.append(prediction.probability_between(probs[known], least, truth_dpt))
    card = model.card.model_copy(update={"calibration": Calibration.fit(torch.cat(ranks))})
    return TrainedModel(model.network, card)
