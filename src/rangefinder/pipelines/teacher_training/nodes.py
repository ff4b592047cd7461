"""Charts -> teacher."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rangefinder.config import Parameters

if TYPE_CHECKING:
    from rangefinder.captures.manifest import CaptureSet
    from rangefinder.models.io import TrainedModel


def train(parameters: Parameters, captures: CaptureSet, checkpoints: Path) -> TrainedModel:
    """The patch network that knows what the lens does at each distance and place."""
    from rangefinder.deploy.tracking import epoch_logger
    from rangefinder.training.fit import train_teacher

    return train_teacher(captures, parameters, checkpoints, epoch_logger("teacher"))
