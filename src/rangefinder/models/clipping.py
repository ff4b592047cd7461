"""An overexposed place shows nothing of blur: a network that answers there is guessing."""

from __future__ import annotations

from torch import Tensor

from rangefinder.models.lattice import mean_around_cells

CLIPPED = 0.998  # light from which a pixel is taken for clipped; 1: all that the sensor can say
MOST = 0.5  # share of clipped pixels around a cell that still has an answer of its own
WINDOW_PX = 9  # side of the window that is looked at, odd


def silent_where_clipped(logits: Tensor, image: Tensor, stride_px: int) -> Tensor:
    """The same logits, but all alike where a photo is overexposed: nothing is known there.

    Args:
        logits: `[N, bins, rows, cols]`, cell i centred on pixel `stride_px` i.
        image: `[N, 3, H, W]` linear light, 1 where it is clipped.
        stride_px: Pixels from one cell to the next.
    """
    clipped = (image.amax(dim=1, keepdim=True) >= CLIPPED).to(image.dtype)
    return logits * (mean_around_cells(clipped, WINDOW_PX, stride_px) <= MOST)
