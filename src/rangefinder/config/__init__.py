"""Every parameter with its type and range; conf/base/parameters.yml says what each one is."""

from __future__ import annotations

from typing import Any, Self, cast

from pydantic import model_validator

from rangefinder.config.imaging import BankParams as BankParams
from rangefinder.config.imaging import CameraParams as CameraParams
from rangefinder.config.imaging import CaptureParams as CaptureParams
from rangefinder.config.imaging import Chroma as Chroma
from rangefinder.config.imaging import EncodingParams as EncodingParams
from rangefinder.config.imaging import GlassParams as GlassParams
from rangefinder.config.imaging import LensParams as LensParams
from rangefinder.config.imaging import NoiseParams as NoiseParams
from rangefinder.config.imaging import Orientation as Orientation
from rangefinder.config.imaging import RangeParams as RangeParams
from rangefinder.config.imaging import SampleBits as SampleBits
from rangefinder.config.networks import AdaptationParams as AdaptationParams
from rangefinder.config.networks import AggregationParams as AggregationParams
from rangefinder.config.networks import CacheParams as CacheParams
from rangefinder.config.networks import ComputeParams as ComputeParams
from rangefinder.config.networks import Device as Device
from rangefinder.config.networks import OptimiserParams as OptimiserParams
from rangefinder.config.networks import PredictionParams as PredictionParams
from rangefinder.config.networks import StudentParams as StudentParams
from rangefinder.config.networks import TeacherParams as TeacherParams
from rangefinder.config.networks import require_batch
from rangefinder.config.scoring import AblationParams as AblationParams
from rangefinder.config.scoring import BenchmarkParams as BenchmarkParams
from rangefinder.config.scoring import DriftParams as DriftParams
from rangefinder.config.scoring import EvaluationParams as EvaluationParams
from rangefinder.config.scoring import IdentifiabilityParams as IdentifiabilityParams
from rangefinder.config.scoring import PromotionParams as PromotionParams
from rangefinder.config.strict import Digest as Digest
from rangefinder.config.strict import Interval as Interval
from rangefinder.config.strict import Name as Name
from rangefinder.config.strict import Seed as Seed
from rangefinder.config.strict import Strict as Strict
from rangefinder.config.strict import parse as parse
from rangefinder.config.tracking import TrackingParams as TrackingParams
from rangefinder.config.tracking import parse_tracking as parse_tracking


class Parameters(Strict):
    """The whole of conf/*/parameters.yml."""

    seed: Seed = 0
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
    promotion: PromotionParams = PromotionParams()
    drift: DriftParams = DriftParams()
    benchmark: BenchmarkParams = BenchmarkParams()
    ablation: AblationParams = AblationParams()
    identifiability: IdentifiabilityParams = IdentifiabilityParams()
    compute: ComputeParams = ComputeParams()

    @classmethod
    def only(cls, **sections: Any) -> Self:
        """Parameters of some validated sections; the use of any other is an AttributeError.

        So a pipeline node cannot depend on a section that is not among its inputs.
        """
        params = cast("Self", cls.model_construct(**sections))
        for name in set(cls.model_fields) - set(sections):
            del params.__dict__[name]
        return params

    @model_validator(mode="after")
    def _batch_fits_into_memory(self) -> Self:
        side, camera = self.student.crop_px, self.camera
        pixels = side**2 if side else camera.width_px * camera.height_px
        name = "student.crop_px; without it whole photos"
        require_batch(self.student.batch_size, pixels, "student.batch_size", name)
        return self

    @model_validator(mode="after")
    def _custom_teacher_shares_nothing(self) -> Self:
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
