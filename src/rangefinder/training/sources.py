"""Which captures a training learns from and is watched on, and what is known of them."""

from __future__ import annotations

import hashlib

from rangefinder.captures.manifest import CaptureSet
from rangefinder.captures.schema import Role
from rangefinder.config import Parameters
from rangefinder.errors import CaptureError
from rangefinder.training.charts import CropPlan


def label_digest(captures: CaptureSet) -> str:
    """Hash of what is known of distances: numbers, maps and masks. Ids are of pixels only."""
    digest = hashlib.sha256()
    for row in captures.table.sort_values("capture_id").to_dict("records"):
        digest.update(f"{row['capture_id']} {row['distance_m']}".encode())
        for column in ("distance_map", "valid_mask"):
            if isinstance(row[column], str):
                digest.update((captures.folder / row[column]).read_bytes())
    return digest.hexdigest()


def crop_plan(params: Parameters) -> CropPlan:
    """How chart crops are drawn under these parameters."""
    options = params.teacher
    return CropPlan(
        options.crop_px,
        options.batch_size,
        options.steps_per_epoch,
        params.seed,
        options.edge_step,
        options.edge_band_px,
        options.occluded_share,
        options.relit,
        options.mapped_share,
    )


def taught(captures: CaptureSet) -> CaptureSet:
    """What the teacher learns from: charts, and captures with distance maps."""
    return captures.select(role=("chart", "labelled"), split="train")


def watched(captures: CaptureSet) -> CaptureSet:
    """What a training is watched on: labelled validation scenes, or charts where there are none.

    Raises:
        CaptureError: If there is neither.
    """
    roles: tuple[Role, ...] = ("labelled", "chart")
    for role in roles:
        found = captures.select(role=role, split="validation")
        if len(found):
            return found
    raise CaptureError(
        "there is no validation capture, so training would not know when to stop",
        expected="labelled captures or charts of the validation split",
        todo="Bring captures of more scenes or chart sheets, or name splits in the table.",
    )
