"""Export: a trained model as one ONNX file that measures photos without this package.

The graph does what `Predictor` does: it decodes stored samples to linear light, brings the photo to
the scale of the camera record, locates its pixels on the sensor, runs the network with aggregation
and posterior tilting, and decodes to metres in full resolution. What `measure` checks of a photo
before (camera, focus, size, processing) is not part of it.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from rangefinder.captures.formats import install
from rangefinder.common.onnx_checksum import with_checksum
from rangefinder.errors import ConfigError, ModelError
from rangefinder.inference.predictor import accuracy_probability, cell_lattice
from rangefinder.models.blocks import fused, resample
from rangefinder.models.calibration import CALIBRATION_LEVELS
from rangefinder.models.model_files import TrainedModel
from rangefinder.models.prediction import INTERVAL_LEVELS
from rangefinder.models.student import Student
from rangefinder.models.teacher import Teacher
from rangefinder.optics.srgb import LINEAR_OF_8_BIT

if TYPE_CHECKING:
    import onnx

OPSET = 20
IR_VERSION = 10
INPUTS: Mapping[str, str] = {
    "photo": "float32 [N, H, W, 3]: samples as a picture file stores them, red, green, blue",
    "bits": "int64 []: that samples use; 8: sRGB, 9 to 16: linear light, 0: linear light 0 to 1",
    "origin_px": "float64 [2]: left and top edge on the sensor [sensor px]",
    "scale": "float64 []: sensor pixels per pixel of the photo",
    "levels": "float32 [K]: probabilities of intervals, 0 to 1",
}
OUTPUTS: Mapping[str, str] = {
    "distance_m": "float32 [N, H, W]: distance along the optical axis [m]",
    "near_m": "float32 [N, K, H, W]: near ends of calibrated central intervals [m]",
    "far_m": "float32 [N, K, H, W]: far ends of these [m]",
    "accuracy_probability": "float32 [N, H, W]: probability that the relative error is below 10 %",
    "sd_dpt": "float32 [N, H, W]: standard deviation of inverse distance [dpt]",
    "posterior": "float32 [N, B, h, w]: probabilities of bins before tilting, of every cell",
}
_NEEDS = ("onnx", "onnxruntime", "onnxscript")
_CUBIC = -0.5  # coefficient of antialiased cubic convolution in `resize_sharp`
_AT_SCALE = ("light", "origin_px", "y_px", "x_px", "levels")  # inputs of `MetresFromLight`
_PREPARATION = """
<ir_version: {ir}, opset_import: ["" : {opset}]>
preparation (float[N, H, W, 3] photo, int64 bits, double scale)
    => (float[N, 3, h, w] light, float[H] y_px, float[W] x_px)
<float[256] srgb, float[17] full_scale>
{{
    least = Constant <value_float = 0.0> ()
    most = Constant <value_float = 255.0> ()
    within_8_bits = Clip (photo, least, most)
    sample_8_bit = Cast <to = 6> (within_8_bits)
    of_srgb = Gather (srgb, sample_8_bit)
    full = Gather (full_scale, bits)
    of_linear = Div (photo, full)
    eight = Constant <value_int = 8> ()
    is_srgb = Equal (bits, eight)
    stored = Where (is_srgb, of_srgb, of_linear)
    planes = Transpose <perm = [0, 3, 1, 2]> (stored)

    size = Shape <start = 1, end = 3> (photo)
    exact_size = Cast <to = 11> (size)
    scaled = Mul (exact_size, scale)
    rounded = Round (scaled)
    size_at_scale = Cast <to = 7> (rounded)
    batch_and_planes = Shape <start = 0, end = 2> (planes)
    sizes = Concat <axis = 0> (batch_and_planes, size_at_scale)
    resized = Resize <mode = "cubic", antialias = 1, exclude_outside = 1, cubic_coeff_a = {cubic},
        coordinate_transformation_mode = "half_pixel"> (planes, , , sizes)
    light = Max (resized, least)

    exact_ratio = Div (rounded, exact_size)
    ratio = Cast <to = 1> (exact_ratio)
    first = Constant <value_int = 0> ()
    second = Constant <value_int = 1> ()
    height = Gather (size, first)
    width = Gather (size, second)
    rows = Range (first, height, second)
    columns = Range (first, width, second)
    row = Cast <to = 1> (rows)
    column = Cast <to = 1> (columns)
    half = Constant <value_float = 0.5> ()
    row_centre = Add (row, half)
    column_centre = Add (column, half)
    row_ratio = Gather (ratio, first)
    column_ratio = Gather (ratio, second)
    y_px = Mul (row_centre, row_ratio)
    x_px = Mul (column_centre, column_ratio)
}}
"""


class MetresFromLight(nn.Module):
    """Photos at the scale of the camera record -> outputs, as one graph of torch.

    Args:
        model: Teacher or student.

    Raises:
        ModelError: If the graph cannot hold the network.
    """

    levels: Tensor
    masses: Tensor

    def __init__(self, model: TrainedModel) -> None:
        super().__init__()
        self._model, card = model, model.card
        self.network = fused(model.network).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self._is_teacher, self._keep = card.kind == "teacher", 1
        self._lattice = cell_lattice(card)
        if self._is_teacher:
            self._keep = _kept(model)
        central = card.calibration.central if card.calibration else CALIBRATION_LEVELS
        self.register_buffer("levels", torch.tensor((0.0, *CALIBRATION_LEVELS, 1.0)))
        self.register_buffer("masses", torch.tensor((0.0, *central, 1.0)))

    def forward(
        self, light: Tensor, origin_px: Tensor, y_px: Tensor, x_px: Tensor, levels: Tensor
    ) -> tuple[Tensor, ...]:
        """Measure.

        Args:
            light: `[N, 3, h, w]` linear light.
            origin_px: `[2]` left and top edge on the sensor [sensor px], float64.
            y_px: `[H]` rows of the outputs [px of `light`].
            x_px: `[W]` their columns [px of `light`].
            levels: `[K]` probabilities of intervals.

        Returns:
            `OUTPUTS`.
        """
        posterior = self._posterior(light, self._location(light, origin_px))
        distribution, probs = self._model.distribution, self._model.tilted(posterior)
        estimate = distribution.estimate_dpt(probs)
        tails = (1 - self._central_mass(levels)) / 2
        cells = torch.cat(
            [
                estimate[None],
                distribution.quantile_dpt(probs, torch.cat([1 - tails, tails])),
                accuracy_probability(distribution, probs, estimate)[None],
                distribution.sd_dpt(probs)[None],
            ]
        )
        maps = resample(cells, self._lattice, y_px, x_px)
        lengths_m, count = maps[:-2].reciprocal(), levels.shape[0]
        near_m, far_m = lengths_m[1 : 1 + count], lengths_m[1 + count :]
        ends = near_m.transpose(0, 1), far_m.transpose(0, 1)
        return lengths_m[0], *ends, maps[-2], maps[-1], posterior.movedim(-1, 1)

    def _posterior(self, light: Tensor, location: Tensor) -> Tensor:
        """Posteriors of the cells `[N, rows, cols, bins]`."""
        if isinstance(self.network, Student):
            return self.network.aggregated(self.network.cells(light, location))
        logits = self.network(light, location)[..., :: self._keep, :: self._keep]
        return torch.softmax(logits.movedim(1, -1).float(), dim=-1)

    def _location(self, light: Tensor, origin_px: Tensor) -> Tensor:
        """See `sensor_location`: of every pixel, or of a teacher's patch centres."""
        camera, (height, width) = self._model.card.camera, light.shape[-2:]
        first, step = 0.5, 1
        if self._is_teacher:
            card = self._model.card
            first, step = card.patch_px / 2, cast("Teacher", self.network).stride_px
            height, width = ((side - card.patch_px) // step + 1 for side in (height, width))
        x, y = (
            (origin_px[axis] + (torch.arange(count, dtype=torch.float64) * step + first) - centre)
            / camera.half_diagonal_px
            for axis, (count, centre) in enumerate(
                zip((width, height), camera.centre_px, strict=True)
            )
        )
        grid = torch.meshgrid(y.float(), x.float(), indexing="ij")
        return torch.stack([grid[1], grid[0]])[None]

    def _central_mass(self, levels: Tensor) -> Tensor:
        """See `central_mass`: levels `[K]` -> masses `[K]`, piecewise linear."""
        widths = self.levels.diff()
        inside = (levels[:, None] - self.levels[:-1]).clamp(min=0).minimum(widths)
        return (inside * (self.masses.diff() / widths)).sum(-1)


def _kept(model: TrainedModel) -> int:
    """Every which output of a teacher's dense pass is on its patch grid."""
    if not isinstance(model.network, Teacher):
        raise ModelError(
            "a custom teacher cannot be exported",
            got=model.card.teacher.network,
            expected="the built-in teacher, or a student",
        )
    keep, rest = divmod(model.card.stride_px, model.network.stride_px)
    if rest:
        raise ModelError(
            "this teacher's patch grid takes several passes, and a graph holds one",
            got=f"stride {model.card.stride_px} px",
            expected=f"a multiple of {model.network.stride_px} px",
            todo="Export the student.",
        )
    return keep


def onnx_content(model: TrainedModel, scores: Mapping[str, Any] | None = None) -> bytes:
    """A model as the content of one ONNX file.

    Its inputs are `INPUTS`, its outputs `OUTPUTS`; batch, height, width and number of levels are
    dynamic. Its metadata hold the card, the camera record, fingerprints and units.

    Args:
        model: Teacher or student.
        scores: Of its evaluation, for the metadata.

    Raises:
        ConfigError: If packages are missing.
        ModelError: If the graph cannot hold the network.
    """
    require_packages()
    import onnx

    graph = onnx.compose.merge_models(
        _preparation(), _network_graph(model), io_map=[(n, n) for n in ("light", "y_px", "x_px")]
    )
    imports = {opset.domain: opset for opset in graph.opset_import}  # both parts name theirs
    del graph.opset_import[:]
    graph.opset_import.extend(imports.values())
    _describe(graph, model, scores)
    onnx.checker.check_model(graph, full_check=True)
    return with_checksum(graph.SerializeToString(deterministic=True))


def require_packages() -> None:
    """Refuse to export where packages are missing.

    Raises:
        ConfigError: In that case.
    """
    missing = [name for name in _NEEDS if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"export needs {', '.join(missing)}, which are not installed",
            todo=f"{install('export')}.",
        )


def _preparation() -> onnx.ModelProto:
    """From stored samples to light at scale, and the rows and columns of the outputs there."""
    import onnx

    text = _PREPARATION.format(ir=IR_VERSION, opset=OPSET, cubic=_CUBIC)
    model = onnx.parser.parse_model(text)
    tables = {
        "srgb": LINEAR_OF_8_BIT,
        "full_scale": np.array([max(2**bits - 1, 1) for bits in range(17)], dtype=np.float32),
    }
    del model.graph.initializer[:]
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(values, name) for name, values in tables.items()
    )
    return model


def _network_graph(model: TrainedModel) -> onnx.ModelProto:
    """`MetresFromLight` as ONNX."""
    program = traced(model, batch=2)
    with quiet():
        graph = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(_AT_SCALE),
            output_names=list(OUTPUTS),
            verbose=False,
        )
    proto = cast("Any", graph).model_proto
    proto.ir_version = IR_VERSION
    return cast("onnx.ModelProto", proto)


def traced(model: TrainedModel, batch: int) -> torch.export.ExportedProgram:
    """`MetresFromLight` as a program of torch for photos of any size.

    Args:
        model: Teacher or student.
        batch: Number of photos at once; dynamic if it is more than one.

    Raises:
        ModelError: If the graph cannot hold the network.
    """
    module, side = MetresFromLight(model).eval(), model.card.patch_px + 32
    example = (
        torch.rand(batch, 3, side, side + 9),
        torch.zeros(2, dtype=torch.float64),
        torch.arange(side + 1) + 0.5,
        torch.arange(side + 8) + 0.5,
        torch.tensor(INTERVAL_LEVELS),
    )
    auto = torch.export.Dim.AUTO
    image = {0: auto, 2: auto, 3: auto} if batch > 1 else {2: auto, 3: auto}
    shapes: Any = (image, {}, {0: auto}, {0: auto}, {0: auto})
    no_cache = torch._dynamo.config.patch(fake_tensor_cache_enabled=False)  # dear with symbols
    with torch.no_grad(), no_cache, quiet():
        return torch.export.export(module, example, dynamic_shapes=shapes)


@contextmanager
def quiet() -> Iterator[None]:
    """Without warnings of torch about itself."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _describe(
    graph: onnx.ModelProto, model: TrainedModel, scores: Mapping[str, Any] | None
) -> None:
    """Order and descriptions of inputs and outputs; metadata."""
    import onnx

    values = {value.name: value for value in graph.graph.input}
    del graph.graph.input[:]
    graph.graph.input.extend(values[name] for name in INPUTS)
    for value in (*graph.graph.input, *graph.graph.output):
        value.doc_string = {**INPUTS, **OUTPUTS}[value.name]
    graph.graph.name = f"rangefinder_{model.card.kind}"
    graph.producer_name, graph.producer_version = "rangefinder", version("rangefinder")
    metadata = metadata_of(model, INPUTS)
    if scores is not None:
        metadata["scores"] = json.dumps(scores)
    onnx.helper.set_model_props(graph, metadata)


def metadata_of(model: TrainedModel, inputs: Mapping[str, str]) -> dict[str, str]:
    """Metadata of an exported file: its model, inputs, outputs and units, as text."""
    card = model.card
    return {
        "kind": card.kind,
        "fingerprint": model.fingerprint,
        "camera": card.camera.model_dump_json(),
        "camera_fingerprint": card.camera_fingerprint,
        "card": card.model_dump_json(),
        "inputs": json.dumps(inputs),
        "outputs": json.dumps(OUTPUTS),
        "units": json.dumps({"distance": "m", "location": "half the sensor's diagonal"}),
        "distance_reference": card.camera.distance_reference,
        "least_size_px": str(card.patch_px),
        "lattice": json.dumps(asdict(cell_lattice(card))),
    }
