"""Parameters of a camera, the distances it works over, how its blur is traced, and its noise."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from rangefinder.strict import Interval, Strict


class LensParams(Strict):
    """Where the lens's point spread functions come from."""

    kind: Literal["optiland_sample", "zemax", "thin", "measured", "none"] = Field(
        "optiland_sample", description="none: real captures only, nothing is simulated"
    )
    name: str = Field("CookeTriplet", description="class in optiland.samples.objectives")
    file: str | None = Field(
        None, description="zemax: .zmx file; measured: folder of point sources; from the project"
    )
    sha256: str | None = Field(None, description="of what `file` holds; filled in by ingestion")
    clear_radius_factor: float = Field(1.06, ge=1, le=2, description="of rims / on-axis beam's")
    corner_pupil: float = Field(
        0.3, ge=0.0, le=1.0, description="pupil radii that rims leave to the sensor's corners"
    )
    axial_colour: float = Field(
        0.0015, ge=0.0, le=0.05, description="thin: change of focal length, 0.45 to 0.65 um"
    )
    spherical: float = Field(
        0.002, ge=-0.1, le=0.1, description="thin: shift of the rim's focus / focal length"
    )

    @model_validator(mode="after")
    def _file_given(self) -> Self:
        if self.kind in ("zemax", "measured") and self.file is None:
            raise ValueError(f"kind {self.kind} needs a file")
        return self

    @property
    def title(self) -> str:
        """For people."""
        if self.kind == "optiland_sample":
            return self.name
        return f"{self.kind} lens" if self.file is None else f"{self.kind} lens {self.file}"


class CameraParams(Strict):
    """Lens + sensor + focus setting; one trained model belongs to one camera."""

    name: str = Field("default", pattern=r"^[a-z0-9_-]+$")
    focal_length_mm: float = Field(50.0, gt=1.0, le=2000.0)
    f_number: float = Field(3.5, ge=0.7, le=64.0)
    pixel_pitch_um: float = Field(41.6667, gt=0.5, le=500.0, description="of the stored image")
    width_px: int = Field(480, ge=16, le=20000)
    height_px: int = Field(360, ge=16, le=20000)
    focus_distance_m: float = Field(3.0, gt=0.05, le=1000.0)
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
    kernel_px: int = Field(25, ge=3, le=129, description="odd: side of one kernel")
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
    jpeg_quality: int | None = Field(
        None, ge=1, le=100, description="simulated photos go through JPEG, colour at half the size"
    )
