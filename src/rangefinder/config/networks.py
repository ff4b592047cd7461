"""Sections `prediction`, `teacher`, `cache`, `student`, `compute`, and `adaptation.yml`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from rangefinder.config.strict import (
    Channels,
    Counts,
    Few,
    Interval,
    LossWeight,
    Many,
    Ordered,
    Step,
    Strict,
)

Device = Literal["auto", "cpu", "cuda"]
MOST_BATCH_BYTES = 4 * 2**30


def require_batch(size: int, pixels: int, size_name: str, pixels_name: str) -> None:
    """Refuse a batch of training whose input alone is larger than any that trains.

    Args:
        size: Number of images.
        pixels: Of one.
        size_name: Parameter of the number.
        pixels_name: Parameter of the pixels.

    Raises:
        ValueError: With the memory that it would take.
    """
    if (taken := 12 * size * pixels) > MOST_BATCH_BYTES:
        raise ValueError(
            f"{size_name} {size} times {pixels:,} pixels ({pixels_name}) would take "
            f"{taken / 2**30:.1f} GB before the network has begun; at most "
            f"{MOST_BATCH_BYTES / 2**30:g} GB"
        )


class PredictionParams(Strict):
    """The bins of the predictive distribution over inverse distance."""

    bins: int = Field(48, ge=4, le=512)
    inverse_range_dpt: Ordered = (0.16, 1.47)
    label_sd_bins: float = Field(0.7, gt=0, le=10)

    @property
    def range_m(self) -> Interval:
        """Nearest and farthest bin centre [m]."""
        low, high = self.inverse_range_dpt
        return 1 / high, 1 / low

    @model_validator(mode="after")
    def _has_a_width(self) -> Self:
        if self.inverse_range_dpt[0] == self.inverse_range_dpt[1]:
            raise ValueError("inverse_range_dpt must not be a single distance")
        low, high = self.inverse_range_dpt
        least = (high - low) / (self.bins - 1) / 2
        if low <= least:
            raise ValueError(
                f"inverse_range_dpt begins at {low:g}: its first bin is wider and reaches beyond "
                f"infinity; let it begin above {least:.3g}, or take more bins than {self.bins}"
            )
        return self


class OptimiserParams(Strict):
    """Muon on hidden convolutions, AdamW on the rest, one learning-rate cycle."""

    learning_rate: float = Field(0.02, gt=0, le=1)
    adamw_rate: float = Field(0.15, gt=0, le=10)
    warm_up_share: float = Field(0.15, gt=0, lt=1)
    weight_decay: float = Field(1e-2, ge=0, le=1)


class TeacherParams(OptimiserParams):
    """Patch network and its training."""

    network: str | None = Field(None, pattern=r"^[\w.]+:\w+$", max_length=200)
    stem_channels: tuple[Channels, Channels] = (16, 32)
    channels: int = Field(56, ge=4, le=1024)
    blocks: int = Field(6, ge=1, le=12)
    stem_blocks: int = Field(2, ge=0, le=12)
    filters: int = Field(16, ge=0, le=1024)
    projection_channels: int = Field(96, ge=4, le=4096)
    form: Literal["categorical", "laplace"] = "categorical"
    colour: bool = True
    location: bool = True
    crop_px: int = Field(69, ge=16, le=4096)
    edge_step: Step = 0.05
    edge_band_px: int = Field(8, ge=0, le=4096)
    composited_share: float = Field(0.5, ge=0, le=1)
    occluder_radius: Ordered = (0.06, 0.32)
    labelled_crop_share: float | None = Field(None, ge=0, le=1)
    photometric_jitter: bool = True
    jitter_sd: float = Field(0.2, ge=0, le=2)
    jitter_min_exposure: float = Field(0.6, gt=0, le=1)
    batch_size: int = Field(28, ge=1, le=65536)
    steps_per_epoch: Many = 750
    max_epochs: Many = 5
    patience_epochs: Many = 8

    @model_validator(mode="after")
    def _batch_fits_into_memory(self) -> Self:
        require_batch(self.batch_size, self.crop_px**2, "batch_size", "crop_px")
        return self

    @model_validator(mode="after")
    def _stem_blocks_exist(self) -> Self:
        if self.stem_blocks > self.blocks:
            raise ValueError(f"stem_blocks {self.stem_blocks} must not exceed blocks {self.blocks}")
        return self


class CacheParams(Strict):
    """The sweep of the teacher over unlabelled captures."""

    patch_batch: int = Field(512, ge=1, le=65536)
    check_patches: Many = 64
    tolerance: float = Field(1e-5, gt=0, le=1e-2)
    tile_px: int = Field(768, ge=64, le=65536)
    gpu_tolerance: float = Field(5e-3, ge=0, le=0.1)
    audit_photos: Many = 16
    audit_patches: Many = 128
    audit_tolerance: float = Field(1e-4, gt=0, le=1e-1)


class AggregationParams(Strict):
    """Cross-bilateral aggregation of the teacher's posteriors into distillation targets."""

    margin_only: bool = True
    reach_px: int = Field(48, ge=8, le=1024)
    colour_sd: float = Field(0.1, gt=0, le=10)
    negentropy_power: float = Field(2.0, ge=0, le=10)
    unary_weight: float = Field(0.25, ge=0, le=10)
    smoothing: float = Field(0.05, ge=0, le=1)


class StudentParams(OptimiserParams):
    """Whole-image network and its distillation."""

    sharing: Literal["none", "init", "frozen", "joint"] = "frozen"
    location: bool = True
    channels: tuple[Channels, Channels, Channels] = (40, 64, 96)
    batch_size: Few = 4
    max_epochs: Many = 7
    target_aggregation: AggregationParams | None = AggregationParams()
    attenuated_share: float = Field(0.5, ge=0, le=1)
    min_contrast: float = Field(0.05, gt=0, le=1)
    aggregation_sd: float | None = Field(0.3, gt=0, le=10)
    colour_only_sd: float = Field(0.1, gt=0, le=10)
    aggregation_noise: float = Field(0.04, gt=0, le=1)
    boundary_power: float = Field(10.0, ge=0, le=100)
    composited_scenes: int = Field(240, ge=0, le=1_000_000)
    occluders: Counts = (4, 10)
    boundary_step: Step = 0.03
    boundary_loss_weight: LossWeight = 5.0
    ranking_step: Step = 0.1
    ranking_loss_weight: LossWeight = 0.1
    negentropy_weighting: bool = True
    full_weight_negentropy: float = Field(0.25, gt=0, le=1)
    min_tilt_scenes: Many = 20
    chart_loss_weight: LossWeight = 0.2
    crop_px: int | None = Field(None, ge=16, le=20000)


class ComputeParams(Strict):
    """Where and how networks run."""

    device: Device = "auto"
    threads: int = Field(0, ge=0, le=1024)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    workers: int = Field(1, ge=0, le=256)


class AdaptationParams(Strict):
    """The whole of conf/*/adaptation.yml: how a trained student adapts to new photos."""

    epochs: Many = 4
    learning_rate: float = Field(3.3e-3, gt=0, le=1)
