"""Exported models: photos measured by ONNX Runtime or OpenVINO, without torch.

The file computes what `Predictor` does (see `serving.export`); its metadata hold the model's card.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rangefinder.captures.formats import install
from rangefinder.common.foreign import guarded, parse_json
from rangefinder.common.onnx_checksum import require_whole
from rangefinder.coordinates import PatchGrid, Placement
from rangefinder.errors import ConfigError, ModelError
from rangefinder.inference.interface import REPORTED, WHOLE, Outputs
from rangefinder.inference.two_distances import CellPlaces, two_distances
from rangefinder.models.calibration import level_of_mass
from rangefinder.models.card import Card
from rangefinder.models.prediction import REPORTED_LEVEL, Float, Prediction, TwoDistances
from rangefinder.photo_domain import Shift

FileRuntime = Literal["onnx", "openvino"]
FILE_RUNTIMES: tuple[FileRuntime, ...] = get_args(FileRuntime)
SUFFIX = ".onnx"
LINEAR = 0  # bits of samples that are linear light 0 to 1
_MODULES: Mapping[FileRuntime, str] = {"onnx": "onnxruntime", "openvino": "openvino"}
Arrays = Mapping[str, NDArray[Any]]
Run = Callable[[Arrays, Sequence[str]], list[NDArray[Any]]]


def is_exported(name: str) -> bool:
    """Whether a model's name is that of an exported file."""
    return Path(name).suffix.lower() == SUFFIX


def installed_runtimes() -> list[FileRuntime]:
    """Runtimes that can measure with an exported file here."""
    return [name for name in FILE_RUNTIMES if find_spec(_MODULES[name]) is not None]


class FilePredictor:
    """Predicts photos with one exported model.

    Args:
        path: The file.
        runtime: What computes it.
        threads: Of the runtime; 0: its own choice.

    Raises:
        ConfigError: If the runtime is not installed.
        ModelError: If the file cannot be read, or no model of this version is in it.
    """

    def __init__(self, path: Path, runtime: FileRuntime = "onnx", threads: int = 0) -> None:
        if runtime not in installed_runtimes():
            raise ConfigError(
                f"{_MODULES[runtime]}, which computes {path}, is not installed",
                todo=f"{install(runtime)}.",
            )
        if not path.is_file():
            raise ModelError(f"there is no model {path}")
        open_file = {"onnx": _open_onnx, "openvino": _open_openvino}[runtime]
        again = "Export it again with 'rangefinder export'."
        with guarded(ModelError, f"{path} cannot be read as a model", todo=again):
            require_whole(path)
            metadata, self.run = open_file(path, threads)
        self.runtime = runtime
        with guarded(
            ModelError, f"{path} is no model that this version of Rangefinder exported", todo=again
        ):
            self.card = Card.read(parse_json(metadata["card"]), str(path))
            self.fingerprint = metadata["fingerprint"]
            lattice = parse_json(metadata["lattice"])
            self.first_px, self.stride_px = float(lattice["first_px"]), float(lattice["stride_px"])

    def __call__(
        self, image: Float, placement: Placement = WHOLE, outputs: Outputs = REPORTED
    ) -> Prediction:
        """Predict one photo; see `posterior` for arguments and errors."""
        return self.posterior(image, placement).decode(outputs)

    def posterior(
        self, image: Float, placement: Placement = WHOLE, shifts: tuple[Shift, ...] = ()
    ) -> FilePosterior:
        """See `PhotoPredictor.posterior`."""
        return self.of_samples(image.transpose(1, 2, 0), LINEAR, placement, shifts)

    def of_samples(
        self,
        samples: NDArray[np.generic],
        bits: int,
        placement: Placement = WHOLE,
        shifts: tuple[Shift, ...] = (),
    ) -> FilePosterior:
        """Predictive distributions of one photo as its file stores it.

        Args:
            samples: `[H, W, 3]`.
            bits: As the file takes them: 8 is sRGB, 9 to 16 linear light, 0 linear light 0 to 1.
            placement: Where the photo sits on the sensor.
            shifts: Domain shifts of the photo, for which intervals are widened.

        Raises:
            CaptureError: If the photo is smaller than a patch.
        """
        size = samples.shape[0], samples.shape[1]
        at_scale = placement.size_on_sensor(self.card.camera, *size)
        PatchGrid(*at_scale, self.card.patch_px, self.card.stride_px)  # refuses what is too small
        feeds = {
            "photo": np.ascontiguousarray(samples, dtype=np.float32)[None],
            "bits": np.array(bits),
            "origin_px": np.array(placement.origin_px, dtype=np.float64),
            "scale": np.array(placement.scale, dtype=np.float64),
        }
        return FilePosterior(self, feeds, size, at_scale, shifts)


@dataclass
class FilePosterior:
    """One photo, which the file computes when something is asked for."""

    predictor: FilePredictor
    feeds: Arrays  # inputs of the file, but the levels of intervals
    size_px: tuple[int, int]  # height and width of the photo
    at_scale_px: tuple[int, int]  # the same at the scale of the camera record
    shifts: tuple[Shift, ...] = ()  # domain shifts of the photo
    _probs: Float | None = field(default=None, repr=False)  # `[bins, rows, cols]`, once computed

    def decode(self, outputs: Outputs = REPORTED) -> Prediction:
        """Maps `[H, W]` of what is asked for.

        Raises:
            ModelError: If that is the prediction by the defocus sign, which only torch computes.
        """
        if outputs.sides:
            raise ModelError("an exported model does not predict by the defocus sign")
        levels = outputs.levels or (REPORTED_LEVEL,)
        names = ["distance_m", "near_m", "far_m", "accuracy_probability", "sd_dpt", "posterior"]
        distance, near, far, accuracy, sd, probs = self._run(levels, names)
        self._probs = probs
        return Prediction(
            distance_m=distance,
            interval_m={level: (near[i], far[i]) for i, level in enumerate(outputs.levels)},
            sd_dpt=sd if outputs.sd else None,
            accuracy_probability=accuracy if outputs.accuracy else None,
            two_distances=(
                self.two_distances(*map(np.arange, self.size_px)) if outputs.two_distances else None
            ),
        )

    def two_distances(
        self, rows: NDArray[np.integer], columns: NDArray[np.integer]
    ) -> TwoDistances:
        """See `PhotoPosterior.two_distances`."""
        if self._probs is None:
            (self._probs,) = self._run((REPORTED_LEVEL,), ["posterior"])
        first_px, stride_px = self.predictor.first_px, self.predictor.stride_px
        cells = CellPlaces(first_px, stride_px, self.size_px, self.at_scale_px)
        probs = np.moveaxis(self._probs, 0, -1)
        return two_distances(probs, self.predictor.card, self.shifts, (rows, columns), cells)

    def _run(self, levels: Sequence[float], names: Sequence[str]) -> list[NDArray[Any]]:
        """Outputs of the file, without the axis of photos."""
        card = self.predictor.card
        fed = [1 - 2 * card.tail(level, self.shifts) for level in levels]
        if card.calibration:  # which the file applies
            fed = [level_of_mass(card.calibration.central, mass) for mass in fed]
        feeds = {**self.feeds, "levels": np.array(fed, dtype=np.float32)}
        return [values[0] for values in self.predictor.run(feeds, names)]


def _open_onnx(path: Path, threads: int) -> tuple[Mapping[str, str], Run]:
    """Metadata of a file, and what ONNX Runtime computes with it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    return metadata, lambda feeds, names: session.run(list(names), feeds)


def _open_openvino(path: Path, threads: int) -> tuple[Mapping[str, str], Run]:
    """Metadata of a file, and what OpenVINO computes with it, in float32."""
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    _resize_as_pillow_does(model)
    metadata = {name: value.astype(str) for name, value in model.rt_info["framework"].items()}
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    compiled = core.compile_model(model, "CPU", settings)

    def run(feeds: Arrays, names: Sequence[str]) -> list[NDArray[Any]]:
        found = compiled(dict(feeds))
        return [found[name] for name in names]

    return metadata, run


def _resize_as_pillow_does(model: Any) -> None:
    """Have photos resized with antialiasing, which OpenVINO's `cubic` leaves out."""
    from openvino import opset11

    for node in model.get_ops():
        if node.get_type_name() != "Interpolate" or node.get_attributes()["mode"] != "cubic":
            continue
        axes = opset11.constant(np.array([2, 3], dtype=np.int64))
        sizes = opset11.gather(node.input_value(1), axes, opset11.constant(np.int64(0)))
        resized = opset11.interpolate(
            node.input_value(0),
            sizes,
            "bicubic_pillow",
            "sizes",
            pads_begin=[0] * 4,
            pads_end=[0] * 4,
            cube_coeff=node.get_attributes()["cube_coeff"],
            axes=axes,
        )
        node.output(0).replace(resized.output(0))
