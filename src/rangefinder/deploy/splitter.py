"""The patch loop as a user of MONAI would write it, for comparison."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import islice

import torch
from torch import Tensor, nn

from rangefinder.camera import Camera
from rangefinder.location import PatchGrid, Placement, grid_location

HOW_TO_GET = "MONAI is not installed (pip install 'rangefinder[bench]')"


def has_monai() -> bool:
    """Whether MONAI can be imported."""
    return find_spec("monai") is not None


def monai_loop(
    network: nn.Module, camera: Camera, patch_px: int, stride_px: int, batch: int
) -> Callable[[Tensor, Placement], Tensor]:
    """Patches by MONAI's sliding-window splitter, then the network on batches of them.

    Args:
        network: The teacher, ready for inference.
        camera: The camera of the photos.
        patch_px: Side of a patch.
        stride_px: Stride of the grid; for MONAI an overlap of patch - stride whole pixels.
        batch: Patches per batch.

    Returns:
        Function from a photo `[3, H, W]` and its placement to `[rows, cols, bins]` probabilities.
    """
    from monai.inferers.splitter import SlidingWindowSplitter

    splitter = SlidingWindowSplitter(patch_px, overlap=patch_px - stride_px, pad_mode=None)
    device = next(network.parameters()).device

    @torch.inference_mode()
    def run(image: Tensor, placement: Placement) -> Tensor:
        grid = PatchGrid(image.shape[1], image.shape[2], patch_px, stride_px)
        places = torch.from_numpy(grid_location(camera, placement, grid))

        def answers() -> Iterator[Tensor]:
            pieces = iter(splitter(image[None].to(device)))
            while pairs := list(islice(pieces, batch)):
                patches = torch.cat([patch for patch, _ in pairs])
                cells = [(int(y) // stride_px, int(x) // stride_px) for _, (y, x) in pairs]
                rows, cols = torch.tensor(cells).T
                location = places[:, rows, cols].T[:, :, None, None].to(device)
                batch_ = patches.contiguous(memory_format=torch.channels_last)
                yield torch.softmax(network(batch_, location).float(), dim=1)[:, :, 0, 0].cpu()

        return torch.cat(list(answers())).reshape(grid.rows, grid.cols, -1)

    return run
