"""Sections that change no training: how models are scored, compared, timed and taken apart."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from rangefinder.config.strict import File, Many, Ordered, Seed, Step, Strict

Side = Annotated[int, Field(ge=16, le=65536)]  # of a photo [px]
Stride = Annotated[int, Field(ge=1, le=4096)]
Batch = Annotated[int, Field(ge=1, le=65536)]
Megapixels = Annotated[float, Field(gt=0, le=1000)]
Distance = Annotated[float, Field(gt=0, le=1000)]  # [m]


class EvaluationParams(Strict):
    """How models are scored."""

    distance_edges_m: tuple[Distance, ...] = Field((0.7, 1.0, 1.5, 2.0, 3.0, 4.0), max_length=64)
    strong_texture_share: float = Field(0.5, gt=0, lt=1)
    centre_radius: float = Field(0.4, gt=0, le=1)
    corner_radius: float = Field(0.8, gt=0, le=1)
    edge_step: Step = 0.05
    edge_band_px: int = Field(8, ge=1, le=4096)
    bootstrap: int = Field(500, ge=10, le=100_000)
    figures: int = Field(6, ge=1, le=1000)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        edges = self.distance_edges_m
        if len(edges) < 2 or sorted(set(edges)) != list(edges):
            raise ValueError(f"distance_edges_m must be >= 2, positive and ascending, got {edges}")
        if self.centre_radius > self.corner_radius:
            raise ValueError("centre_radius must not be above corner_radius")
        return self


class PromotionParams(Strict):
    """By how much a candidate has to be better than the champion, and may be worse in parts."""

    margin: float = Field(0.02, ge=0, lt=1)
    calibration_tolerance: float = Field(0.02, ge=0, lt=1)
    distance_tolerance: float = Field(0.1, ge=0, le=10)
    edge_tolerance: float = Field(0.05, ge=0, le=10)
    latency_tolerance: float = Field(0.15, ge=0, le=10)
    latency_turns: int = Field(15, ge=3, le=1000)


class DriftParams(Strict):
    """When photos are no longer those of the camera that a model was trained on."""

    photos: File | None = None
    level: float = Field(0.01, gt=0, lt=0.5)
    own_refused: float = Field(0.05, gt=0, lt=1)
    min_photos: int = Field(20, ge=5, le=1000)
    window_photos: int = Field(50, ge=5, le=10_000)

    @model_validator(mode="after")
    def _window_is_enough(self) -> Self:
        if self.window_photos < self.min_photos:
            raise ValueError("window_photos must not be below min_photos: nothing would be judged")
        return self


class IdentifiabilityParams(Strict):
    """What `rangefinder lens` asks of a camera: textures, noise and how finely to look."""

    planes: int = Field(64, ge=8, le=512)
    every: int = Field(4, ge=1, le=64)
    noise: float = Field(0.01, gt=0, le=1)
    strong_contrast: float = Field(0.5, gt=0, le=5)
    weak_contrast: float = Field(0.05, gt=0, le=5)
    coloured: float = Field(0.15, ge=0, lt=1)
    slope: float = Field(2.0, gt=0, le=4)
    slopes: Ordered = (1.6, 2.6)
    log_contrast: float = Field(2.0, gt=0, le=10)
    log_colour: float = Field(0.4, gt=0, le=5)
    most_decorrelation: float = Field(0.6, gt=0, lt=1)
    least_gap: float = Field(0.1, ge=0, le=2)
    search_steps: int = Field(30, ge=1, le=1000)
    frequency_share: int = Field(8, ge=1, le=64)


class BenchmarkParams(Strict):
    """What is timed, and how often."""

    sizes_px: tuple[tuple[Side, Side], ...] = Field(
        ((480, 360), (1280, 960), (1920, 1080)), min_length=1, max_length=100
    )
    strides_px: tuple[Stride, ...] = Field((4, 1), min_length=1, max_length=100)
    sample_patches: Many = 2048
    patch_batches: tuple[Batch, ...] = Field((64, 256, 1024), min_length=1, max_length=100)
    min_repeats: int = Field(3, ge=1, le=1000)
    max_repeats: int = Field(15, ge=1, le=10000)
    seconds_per_case: float = Field(2.0, gt=0, le=600)
    matmul_side: int = Field(1536, ge=16, le=16384)
    curve_megapixels: tuple[Megapixels, ...] = Field(
        (0.1, 0.3, 1.0, 3.0, 10.0), min_length=2, max_length=100
    )
    epoch_steps: int = Field(72, ge=1, le=10000)
    rendered: int = Field(6, ge=2, le=10000)
    runtimes: tuple[Literal["torch", "onnx", "openvino"], ...] = Field(
        ("torch", "onnx", "openvino"), max_length=3
    )
    stream_frames: int = Field(500, ge=1, le=100000)
    large_megapixels: tuple[Megapixels, ...] = Field((24.0, 100.0), max_length=100)


VariantName = Literal[
    "all",
    "no_location",
    "no_colour",
    "laplace",
    "smaller_patch",
    "larger_patch",
    "no_composited_charts",
    "sharing_none",
    "sharing_init",
    "sharing_frozen",
    "sharing_joint",
    "no_target_aggregation",
    "target_aggregation",
    "no_negentropy_weighting",
    "negentropy_weighting",
    "attenuation",
    "no_attenuation",
    "aggregation",
    "composited_scenes",
    "no_composited_scenes",
    "no_aggregation",
    "on_charts",
    "on_truth",
]


class AblationParams(Strict):
    """What is left out or replaced, to see what it does."""

    seeds: tuple[Seed, ...] = Field((0,), min_length=1, max_length=100)
    variants: tuple[VariantName, ...] | None = Field(None, min_length=1, max_length=100)
    workers: int = Field(2, ge=1, le=256)
