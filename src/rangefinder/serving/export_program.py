"""Export: a trained model as one program of torch (`torch.export`, .pt2), which needs no package.

It begins at linear light at the scale of the camera record, where programs of torch usually begin,
and takes one photo of any size.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rangefinder.captures.light import Float, resized
from rangefinder.coordinates import Placement
from rangefinder.inference.interface import Outputs
from rangefinder.models.model_files import TrainedModel
from rangefinder.models.prediction import Prediction
from rangefinder.serving.export import metadata_of, quiet, traced

INPUTS: Mapping[str, str] = {
    "light": "float32 [1, 3, h, w]: linear light 0 to 1, at the scale of the camera record",
    "origin_px": "float64 [2]: left and top edge on the sensor [sensor px]",
    "y_px": "float32 [H]: rows of the outputs [px of light]",
    "x_px": "float32 [W]: their columns [px of light]",
    "levels": "float32 [K]: probabilities of intervals, 0 to 1",
}
METADATA = "metadata.json"  # in the archive: what an ONNX file has as metadata


def program_content(model: TrainedModel) -> bytes:
    """A model as the content of one file of `torch.export`.

    Its inputs are `INPUTS`, its outputs `export.OUTPUTS`; height, width and number of levels are
    dynamic.

    Args:
        model: Teacher or student.

    Raises:
        ModelError: If the graph cannot hold the network.
    """
    program, file = traced(model, batch=1), BytesIO()
    metadata = {METADATA: json.dumps(metadata_of(model, INPUTS))}
    with quiet():
        torch.export.save(program, file, extra_files=metadata)
    return file.getvalue()


class ProgramPredictor:
    """Predicts photos with an exported program, to compare it with its model.

    Args:
        path: The file, of `program_content`: programs of others may run code.
    """

    def __init__(self, path: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._module = torch.export.load(path).module()

    @torch.inference_mode()
    def __call__(self, image: Float, placement: Placement, outputs: Outputs) -> Prediction:
        """Distance, intervals and accuracy probability `[H, W]` of linear light `[3, H, W]`."""
        size = image.shape[1], image.shape[2]
        at_scale = round(size[0] * placement.scale), round(size[1] * placement.scale)
        light = image if at_scale == size else resized(image, *at_scale)
        y, x = ((torch.arange(n) + 0.5) * (m / n) for n, m in zip(size, at_scale, strict=True))
        maps: tuple[Tensor, ...] = self._module(
            torch.from_numpy(np.ascontiguousarray(light))[None],
            torch.tensor(placement.origin_px, dtype=torch.float64),
            y,
            x,
            torch.tensor(outputs.levels),
        )
        distance, near, far, accuracy, sd, _ = (values[0].numpy() for values in maps)
        return Prediction(
            distance_m=distance,
            interval_m={level: (near[i], far[i]) for i, level in enumerate(outputs.levels)},
            sd_dpt=sd,
            accuracy_probability=accuracy,
        )
