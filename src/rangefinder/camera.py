"""The camera record: lens, sensor and focus setting, with its fingerprint."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Self

from rangefinder.common.files import atomic_write
from rangefinder.common.foreign import guarded, read_json
from rangefinder.config import CameraParams, parse
from rangefinder.config.project import read_yaml
from rangefinder.errors import CameraMismatchError, ConfigError

CAMERA_FILE = "camera.yml"  # beside captures
RECORD_FILE = "camera.json"  # as ingestion writes it
YAML = (".yml", ".yaml")
ONE_CAMERA = "Use data and models of one camera, or run ingestion again."

# Fields of a lens that change the blur, by kind. A file counts by its content, not its path.
_LENS_CONTENT = {
    "optiland_sample": ("kind", "name", "clear_radius_factor", "corner_pupil"),
    "zemax": ("kind", "sha256", "clear_radius_factor", "corner_pupil"),
    "thin": ("kind", "axial_colour", "secondary_spectrum", "spherical"),
    "measured": ("kind", "sha256"),
    "calibrated": ("kind", "sha256"),
    "none": ("kind",),
}


class Camera(CameraParams):
    """The camera record. Geometry is in pixels of the full sensor."""

    @classmethod
    def from_params(cls, params: CameraParams) -> Self:
        """The record of validated parameters."""
        return cls.model_validate(params.model_dump(exclude_unset=True))

    @property
    def centre_px(self) -> tuple[float, float]:
        """Optical centre (x, y) [px from the top-left corner]."""
        return self.optical_centre_px or (self.width_px / 2, self.height_px / 2)

    @property
    def half_diagonal_px(self) -> float:
        """Half of the sensor's diagonal [px]: the unit of locations."""
        return math.hypot(self.width_px, self.height_px) / 2

    @property
    def in_words(self) -> str:
        """Name, lens, focus and size, for people."""
        return (
            f"{self.name}: {self.focal_length_mm:g} mm, f/{self.f_number:g}, focused at "
            f"{self.focus_distance_m:g} m, {self.width_px} x {self.height_px} px, "
            f"lens {self.lens.title}"
        )

    @property
    def fingerprint(self) -> str:
        """Hash of everything that changes the blur: neither the name nor how photos are stored."""
        content = self.model_dump(mode="json", exclude={"name", "encoding"})
        fields = _LENS_CONTENT[self.lens.kind]
        if self.lens.kind == "zemax" and self.lens.glasses:  # a lens refuses those it has not
            fields = (*fields, "glasses")
        content["lens"] = {name: content["lens"][name] for name in fields}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def reduced(self, times: int) -> Self:
        """The record of photos whose width and height are divided by `times`."""
        centre = self.optical_centre_px
        change = {
            "pixel_pitch_um": float(f"{self.pixel_pitch_um * times:.6g}"),
            "width_px": self.width_px // times,
            "height_px": self.height_px // times,
            "optical_centre_px": centre and (centre[0] / times, centre[1] / times),
        }
        return self.model_copy(update=change)

    def reduced_entries(self, times: int) -> str:
        """What to write into the record for photos divided by `times`."""
        reduced = self.reduced(times)
        return (
            f"pixel_pitch_um: {reduced.pixel_pitch_um:g}, width_px: {reduced.width_px}, "
            f"height_px: {reduced.height_px}"
        )

    def save(self, path: Path) -> None:
        """Write the record as JSON."""
        content = self.model_dump(mode="json") | {"fingerprint": self.fingerprint}
        text = json.dumps(content, indent=2) + "\n"
        atomic_write(path, lambda partial: partial.write_text(text, encoding="utf-8"))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a record.

        Raises:
            ConfigError: If the file is not a camera record.
            CameraMismatchError: If its fingerprint is not that of its content.
        """
        with guarded(
            ConfigError,
            f"{path} is not a camera record",
            expected="camera.json as ingestion writes it",
            todo="Run ingestion again, or take another file.",
        ):
            content = read_json(path)
            stated = content.pop("fingerprint", None)
            camera = cls.model_validate(content)
        if stated is not None:
            camera.require(stated, str(path))
        return camera

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a record: a user's camera.yml, or a camera.json of this project.

        Raises:
            ConfigError: If it cannot be read or is not valid.
        """
        if path.suffix not in YAML:
            return cls.load(path)
        content = read_yaml(path)
        if not content:
            raise ConfigError(
                f"{path} is no camera record",
                got="nothing" if path.exists() else "no such file",
                expected="focal_length_mm, f_number, pixel_pitch_um, width_px, height_px, "
                "focus_distance_m",
                todo="Write it beside captures.csv.",
            )
        return cls.from_params(parse(CameraParams, content, str(path)))

    def require(self, fingerprint: str, owner: str, todo: str = ONE_CAMERA) -> None:
        """Refuse what belongs to another camera; `owner` and `todo` are for the message.

        Raises:
            CameraMismatchError: If `fingerprint` is not this camera's.
        """
        if fingerprint != self.fingerprint:
            raise CameraMismatchError(
                f"{owner} belongs to another camera",
                got=f"camera fingerprint {fingerprint}",
                expected=f"{self.fingerprint} ({self.name})",
                todo=todo,
            )
