"""export: the evaluated student -> one ONNX file that measures photos without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kedro.pipeline import Pipeline, node

if TYPE_CHECKING:
    from rangefinder.models.model_files import TrainedModel


def export(student: TrainedModel, evaluation: dict[str, Any]) -> bytes:
    """The file's content, with the student's scores; an error if its distances are others."""
    from rangefinder.serving.export_check import checked_export

    content, _ = checked_export(student, evaluation["models"]["student"])
    return content


def create_pipeline() -> Pipeline:
    """Export and check."""
    return Pipeline(
        [node(export, ["student", "evaluation"], "exported_student", name="export_student")]
    )
