"""teacher_training: labelled patches and their places -> teacher."""

from __future__ import annotations

from kedro.pipeline import Pipeline, node

from rangefinder.pipelines.teacher_training.nodes import train


def create_pipeline() -> Pipeline:
    """Train the teacher."""
    return Pipeline(
        [
            node(
                train,
                ["parameters", "captures", "teacher_checkpoints"],
                "teacher",
                name="train_teacher",
            )
        ]
    )
