"""drift: whether photos are still of the camera that the student was trained on."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.pipeline import Pipeline, node

from rangefinder.config import ComputeParams, DriftParams
from rangefinder.errors import ConfigError
from rangefinder.pipelines import sections

if TYPE_CHECKING:
    from rangefinder.models.model_files import TrainedModel

log = logging.getLogger(__name__)


def look_for_drift(
    drift: DriftParams, compute: ComputeParams, student: TrainedModel, raw: Path
) -> tuple[dict[str, Any], bytes]:
    """The judgement of photos with its metrics, and a page; drift is a result, not an error.

    `raw` is the project's data/01_raw; the photos are named from the project's folder.

    Raises:
        ConfigError: If no photos are named.
        CaptureError: If they are too few.
        ModelError: If the student's card has no drift reference.
    """
    from rangefinder.captures.photos import find_photos
    from rangefinder.inference.drift import find_drift
    from rangefinder.inference.drift_report import drift_page
    from rangefinder.inference.session import Session

    if drift.photos is None:
        raise ConfigError(
            "no photos are named that drift is looked for in",
            todo="Give --params drift.photos=FOLDER.",
        )
    photos = find_photos([str(raw.parents[1] / drift.photos)])
    found = find_drift(Session(student, compute.device, force=True), photos, drift)
    log.info("%s", found)
    page = drift_page(found, drift.level).encode()
    return found.content() | {"metrics": found.metrics()}, page


def create_pipeline() -> Pipeline:
    """Measure photos and judge them."""
    return Pipeline(
        [
            node(
                look_for_drift,
                [*sections("drift", "compute"), "student", "raw"],
                ["drift", "drift_page"],
                name="look_for_drift",
            )
        ]
    )
