"""Sections `camera`, `range`, `bank`, `noise` and `captures`: how photos come about."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from rangefinder.config.strict import (
    Counts,
    Digest,
    File,
    Interval,
    Name,
    Odd,
    Ordered,
    Strict,
    ordered,
)

Quality = Annotated[int, Field(ge=1, le=100)]
Chroma = Literal["4:4:4", "4:2:2", "4:2:0"]


def _unquoted(value: object) -> object:
    """`4:2:0` from 14520, which YAML 1.1 reads without quotes: a number in base 60.

    DVC leaves quotes out where it writes a file, as `dvc exp run -S` does.
    """
    if not isinstance(value, int):
        return value
    return f"{value // 3600}:{value // 60 % 60}:{value % 60}"


Split = Literal["train", "validation", "test"]
DistancePrior = Literal["inverse", "log"]  # distances are uniform in it
Scenes = Literal["shapes", "rooms", "both"]  # what simulated scenes show
Wavelength = Annotated[float, Field(ge=0.35, le=1.1)]
Weight = Annotated[float, Field(ge=0.0, le=1e6)]
Coefficient = Annotated[float, Field(ge=-1e4, le=1e4)]
Gain = Annotated[float, Field(ge=-20.0, le=20.0)]
Place = Annotated[float, Field(ge=-20_000.0, le=40_000.0)]  # [px] of a sensor of at most 20000
Weights = Annotated[tuple[Weight, ...], Field(max_length=64)]
Orientation = Literal["refuse", "ignore", "apply"]  # of photos whose EXIF says they are turned
SampleBits = Annotated[int, Field(ge=9, le=16)]


class GlassParams(Strict):
    """Refractive index of a glass: nd and Vd, or Sellmeier's B1, B2, B3, C1, C2, C3 [um^2]."""

    nd: float | None = Field(None, gt=1.0, lt=3.0)
    vd: float | None = Field(None, gt=5.0, lt=120.0)
    sellmeier: (
        tuple[Coefficient, Coefficient, Coefficient, Coefficient, Coefficient, Coefficient] | None
    ) = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        abbe = self.nd is not None and self.vd is not None
        if abbe == (self.sellmeier is not None) or (self.nd is None) != (self.vd is None):
            raise ValueError("a glass needs nd and vd, or sellmeier: [B1, B2, B3, C1, C2, C3]")
        return self


Row = tuple[Gain, Gain, Gain]
Matrix = tuple[Row, Row, Row]
GREY_TOLERANCE = 0.01
LEAST_DETERMINANT = 0.01
FARTHEST_M = 1000.0  # as good as infinity for any blur
MOST_KERNEL_PX = 129
MOST_BANK_BYTES = 8 * 2**30


class LensParams(Strict):
    """Where the lens's point spread functions come from."""

    kind: Literal["optiland_sample", "zemax", "thin", "measured", "calibrated", "none"] = (
        "optiland_sample"
    )
    name: Name = "CookeTriplet"
    file: File | None = None
    sha256: Digest | None = None
    glasses: dict[Name, GlassParams] = Field(default_factory=dict, max_length=200)
    clear_radius_factor: float = Field(1.06, ge=1, le=2)
    corner_pupil: float = Field(0.3, ge=0.0, le=1.0)
    axial_colour: float = Field(0.0015, ge=-0.05, le=0.05)
    secondary_spectrum: float = Field(0.0008, ge=0.0, le=0.05)
    spherical: float = Field(0.002, ge=-0.1, le=0.1)

    @model_validator(mode="after")
    def _file_given(self) -> Self:
        if self.kind in ("zemax", "measured", "calibrated") and self.file is None:
            raise ValueError(f"kind {self.kind} needs a file")
        return self

    def __hash__(self) -> int:
        return hash(self.model_dump_json())  # a mapping, as `glasses` is, has no hash

    @property
    def caveat(self) -> str:
        """What is not this lens's own about its point spread functions; empty if nothing."""
        if self.kind != "thin":
            return ""
        return (
            "A thin lens: axial colour, secondary spectrum and spherical aberration are typical, "
            "not this lens's."
        )

    @property
    def title(self) -> str:
        """For people."""
        if self.kind == "optiland_sample":
            return self.name
        return f"{self.kind} lens" if self.file is None else f"{self.kind} lens {self.file}"


def _keeps_grey(matrix: Matrix) -> Matrix:
    rows = [sum(row) for row in matrix]
    if max(abs(total - 1.0) for total in rows) > GREY_TOLERANCE:
        raise ValueError(f"each row must sum to 1, so that grey stays grey; got {rows}")
    if abs(np.linalg.det(matrix)) < LEAST_DETERMINANT:
        raise ValueError("its colours cannot be told apart: the determinant is 0")
    return matrix


ColourMatrix = Annotated[Matrix, AfterValidator(_keeps_grey)]


class EncodingParams(Strict):
    """How the camera stores its photos; simulated ones are stored alike."""

    formats: tuple[Literal["linear", "srgb", "jpeg"], ...] = Field(
        ("linear",), min_length=1, max_length=20
    )
    jpeg_quality: Annotated[tuple[Quality, Quality], AfterValidator(ordered)] = (95, 95)
    chroma: tuple[Annotated[Chroma, BeforeValidator(_unquoted)], ...] = Field(
        ("4:2:0",), min_length=1, max_length=20
    )
    colour: bool = True
    colour_matrix: ColourMatrix | None = None
    tone_shoulder: float = Field(0.0, ge=0.0, le=10.0)
    development_jitter: float = Field(0.0, ge=0.0, le=1.0)


class CameraParams(Strict):
    """Lens + sensor + focus setting; one trained model belongs to one camera."""

    name: str = Field("default", pattern=r"^[a-z0-9_-]+$", max_length=100)
    focal_length_mm: float = Field(50.0, gt=1.0, le=2000.0)
    f_number: float = Field(3.5, ge=0.7, le=64.0)
    pixel_pitch_um: float = Field(41.6667, ge=0.3, le=500.0)
    width_px: int = Field(480, ge=16, le=20000)
    height_px: int = Field(360, ge=16, le=20000)
    focus_distance_m: float = Field(3.0, ge=0.01, le=FARTHEST_M)
    distance_reference: Literal["sensor", "front_vertex", "entrance_pupil"] = "sensor"
    distance_offset_m: float = Field(0.0, ge=-10.0, le=10.0)
    optical_centre_px: tuple[Place, Place] | None = None
    symmetric: bool = True
    encoding: EncodingParams = EncodingParams()
    lens: LensParams = LensParams()


class RangeParams(Strict):
    """Distances the product works over and reports on."""

    working_m: Interval = (0.7, 5.0)
    report_m: Interval = (0.7, 4.0)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for name, (near, far) in (("working_m", self.working_m), ("report_m", self.report_m)):
            if not 0.0 < near < far:
                raise ValueError(f"{name} must be 0 < near < far [m], got {(near, far)}")
            if far > FARTHEST_M:
                meant = f"{(near, far)}: millimetres? then {(near / 1000, far / 1000)}"
                raise ValueError(f"{name} must end at {FARTHEST_M:g} m or nearer ({meant})")
        return self


class SpectrumParams(Strict):
    """Spectral responses of the three channels: sensitivity of the pixels times light.

    The defaults are typical of colour cameras in daylight (shapes as in Jiang et al., What is the
    space of spectral sensitivity functions for digital color cameras?, 2013).
    """

    wavelengths_um: tuple[Wavelength, ...] = Field(
        tuple(round(0.42 + 0.02 * i, 2) for i in range(14)), max_length=64
    )
    red: Weights = (0, 0, 0, 0, 0, 0.05, 0.05, 0.12, 0.6, 1, 0.9, 0.65, 0.4, 0.12)
    green: Weights = (0, 0.05, 0.1, 0.25, 0.55, 0.95, 1, 0.85, 0.58, 0.3, 0.13, 0.06, 0, 0)
    blue: Weights = (0.45, 0.85, 1, 0.75, 0.35, 0.12, 0.05, 0, 0, 0, 0, 0, 0, 0)

    @model_validator(mode="after")
    def _one_weight_each(self) -> Self:
        for name, weights in (("red", self.red), ("green", self.green), ("blue", self.blue)):
            if len(weights) != len(self.wavelengths_um):
                raise ValueError(
                    f"{name} needs one weight for each of {len(self.wavelengths_um)} wavelengths, "
                    f"got {len(weights)}"
                )
            if sum(weights) <= 0.0:
                raise ValueError(f"{name} has no light: a weight must be above 0")
        return self

    @property
    def shares(self) -> NDArray[np.float64]:
        """`[3, W]` share of each wavelength in the light of red, green and blue."""
        weights = np.array([self.red, self.green, self.blue], dtype=np.float64)
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))


class BankParams(Strict):
    """Sampling of the point spread functions."""

    distances: int = Field(96, ge=2, le=512)
    field_rows: Odd = Field(7, ge=3, le=31)
    field_cols: Odd = Field(9, ge=3, le=31)
    kernel_px: Odd = Field(25, ge=3, le=MOST_KERNEL_PX)
    pupil_samples: int = Field(101, ge=9, le=1025)
    subpixel: int = Field(3, ge=1, le=9)
    gaussian_px: float = Field(0.4, ge=0.0, le=3.0)
    spectrum: SpectrumParams = SpectrumParams()

    @property
    def size_bytes(self) -> int:
        """Memory that the kernels take."""
        return 3 * 4 * self.distances * self.field_rows * self.field_cols * self.kernel_px**2

    @model_validator(mode="after")
    def _fits_into_memory(self) -> Self:
        if self.size_bytes > MOST_BANK_BYTES:
            raise ValueError(
                "distances x field_rows x field_cols kernels of kernel_px^2 would take "
                f"{self.size_bytes / 2**30:.1f} GB; at most {MOST_BANK_BYTES / 2**30:g} GB"
            )
        return self


class NoiseParams(Strict):
    """Sensor noise and exposure."""

    full_well_e: float = Field(10000.0, gt=0, le=1e8)
    read_noise_e: float = Field(6.0, ge=0, le=1e6)
    bits: int = Field(12, ge=8, le=16)
    exposure: Ordered = (0.35, 1.0)
    focus_sd_dpt: float = Field(0.0, ge=0.0, le=1.0)


class CaptureParams(Strict):
    """What ingestion renders and imports."""

    source: Literal["builtin", "files", "both"] = "builtin"
    tables: tuple[File, ...] = Field((), max_length=1000)
    validation_share: float = Field(0.2, ge=0, lt=1)
    test_share: float = Field(0.2, ge=0, lt=1)
    fold: int = Field(0, ge=0, le=1000)
    withheld_share: float = Field(0, ge=0, le=1)
    orientation: Orientation = "refuse"
    sample_bits: SampleBits | None = None
    doubtful_maps: Literal["refuse", "accept"] = "refuse"
    skip_bad: bool = False
    train_charts: int = Field(600, ge=1, le=1_000_000)
    validation_charts: int = Field(40, ge=0, le=100_000)
    unlabelled: int = Field(480, ge=0, le=1_000_000)
    validation: int = Field(40, ge=0, le=100_000)
    test: int = Field(40, ge=0, le=100_000)
    import_splits: tuple[Split, ...] = Field(("train", "validation", "test"), max_length=3)
    scenes: Scenes = "shapes"
    distance_prior: DistancePrior = "inverse"
    objects: Counts = (4, 10)
    slanted_share: float = Field(0.4, ge=0, le=1)
    weak_texture_share: float = Field(0.25, ge=0, le=1)
    photograph_share: float = Field(0.4, ge=0, le=1)
    texture_window_px: Odd = Field(15, ge=1, le=255)
    remapped_frames: int = Field(0, ge=0, le=1000)
    real_scenes: tuple[Literal["motorcycle"], ...] = Field(("motorcycle",), max_length=1)
    workers: int = Field(2, ge=1, le=256)

    @model_validator(mode="after")
    def _tables_given(self) -> Self:
        if self.source != "builtin" and not self.tables:
            raise ValueError(f"source {self.source} needs at least one entry in tables")
        return self
