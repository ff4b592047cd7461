"""Parameters of the benchmark: they change what is timed, never what is learned."""

from __future__ import annotations

from pydantic import Field

from rangefinder.strict import Strict


class BenchmarkParams(Strict):
    """What is timed, and how often."""

    sizes_px: tuple[tuple[int, int], ...] = Field(
        ((480, 360), (1280, 960), (1920, 1080)),
        min_length=1,
        description="(width, height) of photos; ratios are taken at the first",
    )
    strides_px: tuple[int, ...] = Field((4, 1), min_length=1, description="of the patch grid")
    sample_patches: int = Field(2048, ge=1, description="of the loops, scaled by count")
    patch_batches: tuple[int, ...] = Field(
        (64, 256, 1024), min_length=1, description="tried by the loops; the best is used"
    )
    min_repeats: int = Field(3, ge=1, le=1000)
    max_repeats: int = Field(15, ge=1, le=10000)
    seconds_per_case: float = Field(2.0, gt=0, le=600, description="no repeat is begun after it")
    matmul_side: int = Field(1536, ge=16, le=16384, description="of the matrices compared with")
    curve_megapixels: tuple[float, ...] = Field((0.1, 0.3, 1.0, 3.0, 10.0), min_length=2)
    epoch_steps: int = Field(72, ge=1, le=10000, description="timed steps of distillation")
    rendered: int = Field(6, ge=2, le=10000, description="captures of each kind rendered")
