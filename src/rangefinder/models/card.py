"""The card of a model: what its weights are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Literal

from pydantic import Field

from rangefinder.camera import Camera
from rangefinder.config import (
    Digest,
    Orientation,
    PredictionParams,
    SampleBits,
    Seed,
    Strict,
    StudentParams,
    TeacherParams,
)
from rangefinder.errors import ModelError
from rangefinder.models.calibration import Calibration, central_mass
from rangefinder.models.drift_reference import DriftReference
from rangefinder.photo_domain import PhotoDomain, Shift

FORMAT: Literal[3] = 3  # of cards; raise it whenever their fields or the networks change


class Card(Strict):
    """What weights are: enough to build the network, to place its patches and to refuse mix-ups."""

    format: Literal[3] = FORMAT
    kind: Literal["teacher", "student"]
    camera: Camera
    camera_fingerprint: Digest
    lens_caveat: str = Field(
        "", max_length=2000, description="what is not the lens's own about simulated blur"
    )
    teacher: TeacherParams
    student: StudentParams | None = None
    prediction: PredictionParams
    patch_px: int = Field(ge=1, le=4096, description="side of the teacher's patch")
    stride_px: int = Field(ge=1, le=4096)
    input_encoding: Literal["linear_light"] = "linear_light"
    orientation: Orientation = Field("refuse", description="of photos stored turned, in training")
    sample_bits: SampleBits | None = Field(
        None, description="of 16-bit photos that do not say it, in training; None: all"
    )
    dataset: Digest = Field(description="digest of the captures trained on")
    seed: Seed
    cache: Digest | None = Field(None, description="fingerprint of the teacher cache (student)")
    calibration: Calibration | None = None
    photos: PhotoDomain | None = Field(None, description="photos trained on")
    drift: DriftReference | None = Field(None, description="what drift is measured against")
    weights_sha256: Digest = ""

    @classmethod
    def read(cls, content: Any, owner: str) -> Card:
        """Card of its content as JSON.

        Raises:
            ModelError: If it is of another format; `owner` is for the message.
            ValidationError: If it is not valid.
            CameraMismatchError: If its camera is not the one it names.
        """
        found = content.get("format", 1) if isinstance(content, dict) else None
        if found is not None and found != FORMAT:
            raise ModelError(
                f"{owner} has another card format",
                got=found,
                expected=FORMAT,
                todo="Train it again with this version.",
            )
        card = cls.model_validate(content)
        card.camera.require(card.camera_fingerprint, f"the card of {owner}")
        return card

    def title(self, fingerprint: str) -> str:
        """Kind, fingerprint and camera of the model, in words."""
        return f"{self.kind} {fingerprint}, camera {self.camera.name}"

    def tail(self, level: float, shifts: Collection[Shift] = ()) -> float:
        """Probability mass on either side of the calibrated central interval of this level.

        Args:
            level: Probability that the interval should hold the truth.
            shifts: Domain shifts of the photo, for which intervals are widened.
        """
        own = self.calibration.central if self.calibration else None
        return (1 - self._mass(own, level, shifts)) / 2

    def two_modes_mass(self, level: float, shifts: Collection[Shift] = ()) -> float:
        """Probability mass of the calibrated highest-density region of this level in two modes.

        Arguments as those of `tail`.
        """
        own = self.calibration.two_modes or self.calibration.central if self.calibration else None
        return self._mass(own, level, shifts)

    @staticmethod
    def _mass(own: Sequence[float] | None, level: float, shifts: Collection[Shift]) -> float:
        """The largest mass that own masses, by level, or those of shifts have at a level."""
        fitted = [own] if own else []
        fitted += [shift.effect.central for shift in shifts if shift.effect is not None]
        return max((central_mass(masses, level) for masses in fitted), default=level)
