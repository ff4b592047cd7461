"""What a student's training draws its batches from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from rangefinder.captures.manifest import CaptureSet
from rangefinder.config import Parameters
from rangefinder.models.device import torch_device
from rangefinder.models.io import Card
from rangefinder.models.prediction import Prediction
from rangefinder.training.charts import ChartCrops, EpochNumbers, crop_loader
from rangefinder.training.data import LabelledFrames, SameSizeBatches, UnlabelledFrames
from rangefinder.training.fading import Fading
from rangefinder.training.feed import Ahead
from rangefinder.training.laid import LaidCharts
from rangefinder.training.pooling import Lessons
from rangefinder.training.sources import crop_plan, taught, watched


@dataclass(frozen=True)
class Photos:
    """What distillation draws its batches from.

    Attributes:
        loaders: Batches of unlabelled photos with targets; of scenes of charts, if there are any;
            with joint sharing also of chart crops.
        watched: Labelled validation scenes.
        listeners: What wants to know the epoch.
        steps: Batches per epoch.
    """

    loaders: dict[str, Ahead | DataLoader[Any]]
    watched: DataLoader[Any]
    listeners: list[object]
    steps: int

    @classmethod
    def of(
        cls,
        captures: CaptureSet,
        targets: Callable[[str], Tensor],
        card: Card,
        params: Parameters,
        prediction: Prediction | None = None,
        laid: LaidCharts | None = None,
    ) -> Photos:
        """Arrange captures for a student under these parameters.

        `prediction` unpacks the targets; None: as the card says. `laid` are scenes of charts; None:
        of the charts among the captures.
        """
        options, grid = params.student, (card.patch_px, card.stride_px)
        train = captures.select(role="unlabelled", split="train")
        packing = prediction or Prediction(card.prediction)
        device = torch_device(params.compute.device)
        lessons = Lessons(targets, packing, options.pooling, device)
        fading = Fading(options.faded_share, params.noise)
        frames = UnlabelledFrames(train, lessons, *grid, params.seed, options.crop_px, fading)
        batches = SameSizeBatches(train, options.batch_size, params.seed)
        photos = Ahead(DataLoader(frames, batch_sampler=batches), device)
        loaders: dict[str, Ahead | DataLoader[Any]] = {"photos": photos}
        listeners: list[object] = [frames, batches]
        if laid is None:
            laid = LaidCharts(taught(captures), options, params.seed)
        if len(laid) > 0:
            numbers = EpochNumbers(len(batches))
            loaders["laid"] = Ahead(DataLoader(laid, sampler=numbers), device)
            listeners.append(numbers)
        if options.sharing == "joint":
            plan = replace(crop_plan(params), steps=len(batches))
            crops = ChartCrops(taught(captures), plan, *grid)
            numbers = EpochNumbers(plan.steps)
            loaders["charts"] = crop_loader(crops, numbers)
            listeners.append(numbers)
        frames_watched = LabelledFrames(watched(captures), *grid)
        return cls(loaders, DataLoader(frames_watched), listeners, len(batches))
