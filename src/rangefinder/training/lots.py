"""Which captures the crops of a batch come from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

NEAREST = 8  # charts, among which one is drawn
EVERY = 97  # known pixels of a photo of which one is kept


class Lots:
    """Draws captures: charts, and photos with distance maps.

    All alike, unless a share of the crops is set aside for photos. Then charts are drawn at the
    distances that these photos show: what patches cannot tell, such as the side of the focus, is
    learned to be as likely as it is there (label shift, Saerens et al. 2002).

    Args:
        inverse_dpt: What each capture teaches: one inverse distance, or one per pixel `[H, W]`
            [dpt], 0 for none.
        mapped_share: Crops of photos, where there are charts too; None: all captures alike.
    """

    def __init__(self, inverse_dpt: Sequence[Tensor], mapped_share: float | None) -> None:
        self._count = len(inverse_dpt)
        self._chart_dpt = np.array([float(x) if x.ndim == 0 else np.nan for x in inverse_dpt])
        self._charts = [i for i, known in enumerate(inverse_dpt) if known.ndim == 0]
        maps = [(i, known[known > 0]) for i, known in enumerate(inverse_dpt) if known.ndim > 0]
        self._photos = [(i, known[::EVERY].numpy()) for i, known in maps if len(known)]
        self._share = mapped_share if self._charts and self._photos else None

    def capture(self, rng: np.random.Generator) -> int:
        """The next crop's capture."""
        if self._share is None:
            return int(rng.integers(self._count))
        if rng.random() < self._share:
            return self._photos[int(rng.integers(len(self._photos)))][0]
        return self.chart(self._charts, rng)

    def chart(self, charts: Sequence[int], rng: np.random.Generator) -> int:
        """One of some charts."""
        if self._share is None:
            return charts[int(rng.integers(len(charts)))]
        _, seen = self._photos[int(rng.integers(len(self._photos)))]
        gaps = np.abs(self._chart_dpt[list(charts)] - rng.choice(seen))
        nearest = gaps.argsort()[:NEAREST]
        return charts[int(rng.choice(nearest))]
