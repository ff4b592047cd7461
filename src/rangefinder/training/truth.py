"""What a student learns from without a teacher: distances that are known."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from rangefinder.captures.manifest import CaptureSet
from rangefinder.location import PatchGrid
from rangefinder.models.io import Card
from rangefinder.models.prediction import Prediction


class Truth:
    """True distances in the place of a teacher's predictions.

    Cells whose distance is unknown get the distribution that knows nothing, which counts nothing.

    Args:
        captures: Photos whose distances are known.
        card: Of the teacher whose grid and bins are used.
    """

    def __init__(self, captures: CaptureSet, card: Card) -> None:
        self.captures, self.card = captures, card
        self.prediction = Prediction(card.prediction)
        self.fingerprint = f"truth of {captures.digest}"
        self._index = {name: i for i, name in enumerate(captures.table["capture_id"])}

    def read(self, capture_id: str) -> Tensor:
        """Packed distributions around the truth, `[rows, cols, bytes]` uint8 of one capture."""
        index = self._index[capture_id]
        distance_m = self.captures.distance_map(index)
        height, width = distance_m.shape
        grid = PatchGrid(height, width, self.card.patch_px, self.card.stride_px)
        x, y = (torch.from_numpy(centre).long() for centre in grid.centres_px)
        at = distance_m[y][:, x]
        probs = self.prediction.soft_targets(1 / at.clamp(min=1e-3))
        nothing = torch.full_like(probs, 1 / self.prediction.bins)
        return self.prediction.pack(torch.where(at[..., None] > 0, probs, nothing))


def charts_as_photos(captures: CaptureSet) -> CaptureSet:
    """The training charts in the place of the unlabelled photos."""
    table = captures.table
    kept = table[~(table["role"].eq("unlabelled") & table["split"].eq("train"))].copy()
    kept.loc[kept["role"].eq("chart") & kept["split"].eq("train"), "role"] = "unlabelled"
    return replace(captures, table=kept.reset_index(drop=True))
