"""Every parameter of the project, typed, with unit and range; unknown keys are refused."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from rangefinder.ablation_config import AblationParams
from rangefinder.benchmark_config import BenchmarkParams
from rangefinder.camera_config import BankParams as BankParams
from rangefinder.camera_config import CameraParams as CameraParams
from rangefinder.camera_config import LensParams as LensParams
from rangefinder.camera_config import NoiseParams as NoiseParams
from rangefinder.camera_config import RangeParams as RangeParams
from rangefinder.limit_config import LimitParams as LimitParams
from rangefinder.strict import Interval as Interval
from rangefinder.strict import Strict as Strict
from rangefinder.strict import parse as parse


class CaptureParams(Strict):
    """What ingestion renders and imports."""

    source: Literal["builtin", "files", "both"] = Field(
        "builtin", description="simulated captures, those of `tables`, or both"
    )
    tables: tuple[str, ...] = Field((), description="captures.csv, or folders of charts/1.25m/*")
    validation_share: float = Field(0.2, ge=0, lt=1, description="of imported scenes")
    test_share: float = Field(0.2, ge=0, lt=1, description="of imported scenes")
    fold: int = Field(0, ge=0, description="so many test shares later, others are tested")
    withheld_share: float = Field(0, ge=0, le=1, description="labelled scenes shown unlabelled")
    orientation: Literal["refuse", "ignore", "apply"] = Field(
        "refuse", description="photos whose EXIF says they are turned"
    )
    skip_bad: bool = Field(False, description="leave bad rows of tables out instead of ending")
    train_charts: int = Field(600, ge=1, le=1_000_000)
    validation_charts: int = Field(40, ge=0, le=100_000)
    unlabelled: int = Field(480, ge=0, le=1_000_000)
    validation: int = Field(40, ge=0, le=100_000, description="labelled scenes")
    test: int = Field(40, ge=0, le=100_000, description="labelled scenes")
    objects: tuple[int, int] = Field((4, 10), description="fewest and most objects in a scene")
    slanted_share: float = Field(0.4, ge=0, le=1, description="surfaces that are not frontal")
    weak_texture_share: float = Field(0.25, ge=0, le=1, description="surfaces of low contrast")
    photograph_share: float = Field(0.4, ge=0, le=1, description="surfaces that show photographs")
    texture_window_px: int = Field(15, ge=1, le=255, description="of the texture energy map")
    real_scenes: tuple[Literal["motorcycle"], ...] = ("motorcycle",)
    workers: int = Field(2, ge=1, le=256, description="rendering processes")

    @model_validator(mode="after")
    def _tables_given(self) -> Self:
        if self.source != "builtin" and not self.tables:
            raise ValueError(f"source {self.source} needs at least one entry in tables")
        return self


class PredictionParams(Strict):
    """The bins of the predictive distribution over inverse distance."""

    bins: int = Field(48, ge=4, le=512)
    inverse_range_dpt: Interval = Field((0.16, 1.47), description="lowest and highest bin centre")
    label_sd_bins: float = Field(0.7, gt=0, le=10, description="width of soft labels")


class TeacherParams(Strict):
    """Patch network and its training."""

    network: str | None = Field(
        None,
        pattern=r"^[\w.]+:\w+$",
        description="import path of a network of one's own; null: the built-in one",
    )
    stem_channels: tuple[int, int] = (16, 32)
    channels: int = Field(56, ge=4, le=1024)
    blocks: int = Field(6, ge=1, le=12, description="3x3 convolutions at the patch stride")
    stem_blocks: int = Field(2, ge=0, le=12, description="of these, in the layers a student shares")
    filters: int = Field(16, ge=0, le=1024, description="whose energies compare the colours")
    mixed: int = Field(96, ge=4, le=4096, description="channels that all is mixed into")
    form: Literal["categorical", "laplace"] = Field(
        "categorical", description="laplace: one distance and how sure, to compare with"
    )
    colour: bool = Field(True, description="false: both networks see the mean of the colours")
    location: bool = Field(True, description="give the network each patch's place on the sensor")
    crop_px: int = Field(69, ge=16, le=4096, description="side of a training crop of a chart")
    edge_step: float = Field(0.05, gt=0, description="relative step of a labelled capture's map")
    edge_band_px: int = Field(8, ge=0, description="around such steps labels are not learned")
    occluded_share: float = Field(
        0.5, ge=0, le=1, description="crops that show one chart before another"
    )
    mapped_share: float | None = Field(
        None, ge=0, le=1, description="crops of captures with a distance map; null: all alike"
    )
    relit: bool = Field(True, description="show every crop under a light of its own")
    batch_size: int = Field(28, ge=1, le=65536, description="crops")
    steps_per_epoch: int = Field(750, ge=1)
    max_epochs: int = Field(5, ge=1)
    patience_epochs: int = Field(8, ge=1, description="early stopping on validation")
    learning_rate: float = Field(0.02, gt=0, le=1, description="highest, of convolutions")
    weight_decay: float = Field(1e-2, ge=0, le=1)

    @model_validator(mode="after")
    def _early_blocks_exist(self) -> Self:
        if self.stem_blocks > self.blocks:
            raise ValueError(f"stem_blocks {self.stem_blocks} must not exceed blocks {self.blocks}")
        return self


class CacheParams(Strict):
    """The sweep of the teacher over unlabelled captures."""

    patch_batch: int = Field(512, ge=1, description="patches per batch of the patch loop")
    check_patches: int = Field(64, ge=1, description="real patches in the exactness check")
    tolerance: float = Field(1e-5, gt=0, le=1e-2, description="largest difference [probability]")
    tile_px: int = Field(768, ge=64, le=65536, description="largest side of a tile with its halo")
    gpu_tolerance: float = Field(
        5e-3, ge=0, le=0.1, description="largest difference of bfloat16 [probability]; 0: never"
    )
    audit_photos: int = Field(16, ge=1, description="photos that an audit draws")
    audit_patches: int = Field(128, ge=1, description="patches that it draws of each")
    audit_tolerance: float = Field(
        1e-4, gt=0, le=1e-1, description="largest difference [probability] beyond packing"
    )


class PoolingParams(Strict):
    """How a cell's neighbours have their say in what the student is taught there."""

    edges_only: bool = Field(True, description="only where no whole patch fits; else everywhere")
    reach_px: int = Field(48, ge=8, le=1024, description="farthest neighbour along each axis")
    colour_sd: float = Field(0.1, gt=0, le=10, description="logarithm of light")
    confidence_power: float = Field(2.0, ge=0, le=10, description="of what a neighbour knows")
    own_power: float = Field(0.25, ge=0, le=10, description="of the cell's own distribution")
    open_share: float = Field(0.05, ge=0, le=1, description="of neighbours' say that stays open")


class StudentParams(Strict):
    """Whole-image network and its distillation."""

    sharing: Literal["none", "init", "frozen", "joint"] = "frozen"
    location: bool = True
    channels: tuple[int, int, int] = Field((40, 64, 96), description="at strides 8, 16 and 32")
    batch_size: int = Field(4, ge=1)
    max_epochs: int = Field(7, ge=1)
    learning_rate: float = Field(0.02, gt=0, le=1, description="highest, of convolutions")
    weight_decay: float = Field(1e-2, ge=0, le=1)
    pooling: PoolingParams | None = Field(
        PoolingParams(), description="null: each cell is taught its own patch's prediction"
    )
    faded_share: float = Field(
        0.5, ge=0, le=1, description="photos that lose texture here and there, targets stay"
    )
    agreement_sd: float | None = Field(
        0.3,
        gt=0,
        le=10,
        description="change in the logarithm of light that parts neighbours, at most 0.1 without "
        "laid charts; null: none are heard",
    )
    laid_charts: int = Field(
        240, ge=0, description="scenes of charts that show where things end; 0: none are shown"
    )
    confidence_weighting: bool = Field(
        True, description="weigh each cell by what the teacher knows there"
    )
    full_confidence: float = Field(
        0.25, gt=0, le=1, description="from which a cell counts fully; 1: the teacher is certain"
    )
    chart_loss_weight: float = Field(0.2, ge=0, description="sharing: joint only")
    crop_px: int | None = Field(None, ge=16, description="side of training crops; null: all")


class EvaluationParams(Strict):
    """How models are scored."""

    distance_edges_m: tuple[float, ...] = (0.7, 1.0, 1.5, 2.0, 3.0, 4.0)
    strong_texture_share: float = Field(0.5, gt=0, lt=1, description="upper share counted strong")
    centre_radius: float = Field(0.4, gt=0, le=1, description="half diagonal = 1")
    corner_radius: float = Field(0.8, gt=0, le=1, description="half diagonal = 1")
    edge_step: float = Field(0.05, gt=0, description="relative distance step that is an edge")
    edge_band_px: int = Field(8, ge=1)
    bootstrap: int = Field(500, ge=10, description="resamples of scenes")
    figures: int = Field(6, ge=1, description="captures shown side by side")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        edges = self.distance_edges_m
        if len(edges) < 2 or edges[0] <= 0 or sorted(set(edges)) != list(edges):
            raise ValueError(f"distance_edges_m must be >= 2, positive and ascending, got {edges}")
        if self.centre_radius > self.corner_radius:
            raise ValueError("centre_radius must not be above corner_radius")
        return self


class ComputeParams(Strict):
    """Where and how numbers are crunched."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(0, ge=0, le=1024, description="CPU threads of torch; 0: all cores")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of convolutions in training; auto: the quicker one"
    )
    workers: int = Field(1, ge=0, le=256, description="processes that draw crops; 0: none")


class Parameters(Strict):
    """The whole of conf/*/parameters.yml."""

    seed: int = Field(0, ge=0)
    camera: CameraParams = CameraParams()
    range: RangeParams = RangeParams()
    bank: BankParams = BankParams()
    noise: NoiseParams = NoiseParams()
    captures: CaptureParams = CaptureParams()
    prediction: PredictionParams = PredictionParams()
    teacher: TeacherParams = TeacherParams()
    cache: CacheParams = CacheParams()
    student: StudentParams = StudentParams()
    evaluation: EvaluationParams = EvaluationParams()
    benchmark: BenchmarkParams = BenchmarkParams()
    ablation: AblationParams = AblationParams()
    limit: LimitParams = LimitParams()
    compute: ComputeParams = ComputeParams()

    @model_validator(mode="after")
    def _own_teacher_shares_nothing(self) -> Self:
        if (own := self.teacher.network) and (sharing := self.student.sharing) != "none":
            needed = f"student.sharing must be 'none' with teacher.network {own!r}"
            raise ValueError(f"{needed}: only the built-in teacher shares layers, got {sharing!r}")
        return self


def parse_parameters(raw: dict[str, Any]) -> Parameters:
    """Typed parameters of a nested mapping as loaded from conf/.

    Raises:
        ConfigError: Naming every wrong key, its value and what is allowed.
    """
    return parse(Parameters, raw, "conf/<env>/parameters.yml or after --params")
