"""Every parameter of the project, typed, with unit and range; unknown keys are refused."""

from __future__ import annotations

from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rangefinder.errors import ConfigError

Interval = tuple[float, float]
Model = TypeVar("Model", bound=BaseModel)


class Strict(BaseModel):
    """Base of all configuration: frozen, no unknown keys, no NaN or infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LensParams(Strict):
    """Where the lens's rays come from."""

    kind: Literal["optiland_sample"] = "optiland_sample"
    name: str = Field("DoubleGauss", description="class in optiland.samples.objectives")
    clear_radius_factor: float = Field(
        1.06, ge=1.0, le=2.0, description="clear radius of each surface / on-axis beam radius"
    )
    corner_pupil: float = Field(
        0.3, ge=0.0, le=1.0, description="pupil radii that rims leave to the sensor's corners"
    )


class CameraParams(Strict):
    """Lens + sensor + focus setting; one trained model belongs to one camera."""

    name: str = Field("default", pattern=r"^[a-z0-9_-]+$")
    focal_length_mm: float = Field(50.0, gt=1.0, le=2000.0)
    f_number: float = Field(2.0, ge=0.7, le=64.0)
    pixel_pitch_um: float = Field(41.6667, gt=0.5, le=500.0, description="of the stored image")
    width_px: int = Field(480, ge=16, le=20000)
    height_px: int = Field(360, ge=16, le=20000)
    focus_distance_m: float = Field(1.5, gt=0.05, le=1000.0)
    distance_reference: Literal["sensor", "front_vertex", "entrance_pupil"] = "sensor"
    optical_centre_px: tuple[float, float] | None = Field(
        None, description="(x, y) from the top-left corner; null: the middle of the sensor"
    )
    symmetric: bool = Field(True, description="rotationally symmetric lens: mirroring is allowed")
    lens: LensParams = LensParams()


class RangeParams(Strict):
    """Distances the product works over and reports on."""

    working_m: Interval = Field((0.7, 5.0), description="distances rendered and learned")
    report_m: Interval = Field((0.7, 4.0), description="distances scored")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for name, (near, far) in (("working_m", self.working_m), ("report_m", self.report_m)):
            if not 0.0 < near < far:
                raise ValueError(f"{name} must be 0 < near < far [m], got {(near, far)}")
        return self


class BankParams(Strict):
    """Sampling of the point spread functions."""

    distances: int = Field(96, ge=2, le=512, description="planes, equally spaced in dioptres")
    field_rows: int = Field(7, ge=3, le=31, description="odd: field nodes over the height")
    field_cols: int = Field(9, ge=3, le=31, description="odd: field nodes over the width")
    kernel_px: int = Field(31, ge=3, le=129, description="odd: side of one kernel")
    pupil_samples: int = Field(161, ge=9, le=1025, description="rays across the pupil")
    subpixel: int = Field(3, ge=1, le=9, description="histogram cells per pixel")
    gaussian_px: float = Field(0.4, ge=0.0, le=3.0, description="sd of pixel and diffraction blur")
    wavelengths_um: tuple[tuple[float, ...], ...] = Field(
        ((0.595, 0.615, 0.64), (0.515, 0.535, 0.56), (0.45, 0.465, 0.485)),
        description="wavelengths of red, green and blue",
    )


class NoiseParams(Strict):
    """Sensor noise and exposure."""

    full_well_e: float = Field(10000.0, gt=0, description="electrons at full scale")
    read_noise_e: float = Field(6.0, ge=0, description="sd, electrons")
    bits: int = Field(12, ge=8, le=16)
    exposure: Interval = Field((0.35, 1.0), description="brightest scene value / full scale")


class CaptureParams(Strict):
    """What ingestion renders."""

    train_charts: int = Field(1200, ge=1, le=1_000_000)
    validation_charts: int = Field(40, ge=1, le=100_000)
    unlabelled: int = Field(400, ge=1, le=1_000_000)
    validation: int = Field(40, ge=1, le=100_000, description="labelled scenes")
    test: int = Field(40, ge=1, le=100_000, description="labelled scenes")
    objects: tuple[int, int] = Field((4, 10), description="fewest and most objects in a scene")
    slanted_share: float = Field(0.4, ge=0, le=1, description="surfaces that are not frontal")
    weak_texture_share: float = Field(0.25, ge=0, le=1, description="surfaces of low contrast")
    photograph_share: float = Field(0.4, ge=0, le=1, description="surfaces that show photographs")
    texture_window_px: int = Field(15, ge=1, le=255, description="of the texture energy map")
    real_scenes: tuple[Literal["motorcycle"], ...] = ("motorcycle",)
    workers: int = Field(2, ge=1, le=256, description="rendering processes")


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
    stem_channels: tuple[int, int] = (32, 64)
    channels: int = Field(96, ge=4, le=1024)
    blocks: int = Field(4, ge=0, le=12, description="3x3 convolutions at the patch stride")
    stem_blocks: int = Field(2, ge=0, le=12, description="of these, in the layers a student shares")
    location: bool = Field(True, description="give the network each patch's place on the sensor")
    crop_px: int = Field(61, ge=16, le=4096, description="side of a training crop of a chart")
    batch_size: int = Field(24, ge=1, le=65536, description="crops")
    steps_per_epoch: int = Field(500, ge=1)
    max_epochs: int = Field(14, ge=1)
    patience_epochs: int = Field(8, ge=1, description="early stopping on validation")
    learning_rate: float = Field(3e-3, gt=0, le=1)
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


class StudentParams(Strict):
    """Whole-image network and its distillation."""

    sharing: Literal["none", "init", "frozen", "joint"] = "joint"
    location: bool = True
    channels: tuple[int, int, int] = Field((64, 96, 128), description="at strides 8, 16 and 32")
    batch_size: int = Field(4, ge=1)
    max_epochs: int = Field(10, ge=1)
    learning_rate: float = Field(2e-3, gt=0, le=1)
    weight_decay: float = Field(1e-2, ge=0, le=1)
    confidence_weighting: bool = Field(
        False, description="weigh each cell by what the teacher knows of it"
    )
    chart_loss_weight: float = Field(0.2, ge=0, description="sharing: joint only")


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
    epoch_steps: int = Field(8, ge=1, le=10000, description="timed steps of distillation")
    rendered: int = Field(6, ge=2, le=10000, description="captures of each kind rendered")


class ComputeParams(Strict):
    """Where and how numbers are crunched."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(0, ge=0, le=1024, description="CPU threads of torch; 0: all cores")


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
    compute: ComputeParams = ComputeParams()

    @model_validator(mode="after")
    def _own_teacher_shares_nothing(self) -> Self:
        if self.teacher.network is not None and self.student.sharing != "none":
            raise ValueError(
                f"student.sharing must be 'none' with teacher.network {self.teacher.network!r}: "
                f"a student shares the built-in teacher's layers only, got {self.student.sharing!r}"
            )
        return self


def parse_parameters(raw: dict[str, Any]) -> Parameters:
    """Validate raw parameters.

    Args:
        raw: Nested mapping as loaded from conf/.

    Returns:
        The typed parameters.

    Raises:
        ConfigError: Naming every wrong key, its value and what is allowed.
    """
    return parse(Parameters, raw, "conf/<env>/parameters.yml or after --params")


def parse(model: type[Model], raw: Any, place: str) -> Model:
    """Validate raw configuration.

    Args:
        model: What it should be.
        raw: Nested mapping.
        place: Where a user changes it.

    Returns:
        The typed configuration.

    Raises:
        ConfigError: Naming every wrong key, its value and what is allowed.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as exc:
        problems = [_describe(model, error) for error in exc.errors()]
        raise ConfigError(
            "configuration is not valid:\n  " + "\n  ".join(problems),
            todo=f"\nMend it in {place}.",
        ) from exc


def _describe(model: type[BaseModel], error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        allowed = ", ".join(sorted(_keys_at(model, error["loc"][:-1])))
        return f"{key}: unknown key (value {error['input']!r}); allowed here: {allowed}"
    return f"{key}: {error['msg']}; found {error['input']!r}"


def _keys_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    for part in path:
        annotation = model.model_fields[str(part)].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)
